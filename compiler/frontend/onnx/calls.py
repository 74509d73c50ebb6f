"""The functions of an ONNX file before they are inlined: do calls end, how many nodes come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import onnx

from snncc.compiler.diag import fail

MAX_NESTED_CALLS = 500
Key: TypeAlias = tuple[str, str]
"""Domain and name of a function."""
Functions: TypeAlias = Mapping[Key, onnx.FunctionProto]


@dataclass(frozen=True, slots=True)
class _Size:
    """What inlining a function makes: nodes (at least), and how deep its calls are nested."""

    nodes: int
    depth: int


def check_calls(
    functions: Functions, graph: onnx.GraphProto, limit: int, where: Callable[[str], str]
) -> None:
    """Refuse a file whose functions call themselves (E0106), or of which too much comes (E0109).

    ``limit`` is the largest number of nodes, ``where`` makes the place of a node for messages.
    """
    sizes: dict[Key, _Size] = {}
    path: list[tuple[Key, str, Iterator[tuple[Key, str]]]] = []
    on_path: set[Key] = set()
    roots = _calls(functions, graph.node)
    while True:
        try:
            key, name = next(path[-1][2] if path else roots)
        except StopIteration:
            if not path:
                break
            done, name, _ = path.pop()
            on_path.discard(done)
            sizes[done] = _measure(functions[done], functions, sizes)
            _refuse_large(done, name, sizes[done], limit, where)
            continue
        if key in on_path:
            ring = [*(k for k, _, _ in path[[k for k, _, _ in path].index(key) :]), key]
            text = " -> ".join(_text(k) for k in ring[:4]) + (" -> ..." if len(ring) > 4 else "")
            fail("E0106", f"{_text(key)} calls itself ({text})", where(name))
        if key not in sizes:
            on_path.add(key)
            path.append((key, name, _calls(functions, functions[key].node)))


def _text(key: Key) -> str:
    return f"{key[0]}::{key[1]}"


def _refuse_large(
    key: Key, name: str, size: _Size, limit: int, where: Callable[[str], str]
) -> None:
    if size.depth > MAX_NESTED_CALLS:
        fail(
            "E0109",
            f"calls of functions below {_text(key)} are nested {size.depth} deep; "
            f"{MAX_NESTED_CALLS} is the limit",
            where(name),
            help="export the model with its functions inlined",
        )
    if size.nodes > limit:
        count = str(size.nodes) if size.nodes < 10**12 else "more than 10^12"
        fail("E0109", f"{_text(key)} would become {count} nodes; {limit} is the limit", where(name))


def _measure(f: onnx.FunctionProto, functions: Functions, known: Mapping[Key, _Size]) -> _Size:
    """Return a function's size; those that it calls are known.  Nested graphs may run or not."""
    nodes = len(f.node)
    for n in f.node:
        key = (n.domain, n.op_type)
        if key in functions:
            nodes += known[key].nodes
    depth = 1 + max((known[k].depth for k, _ in _calls(functions, f.node)), default=0)
    return _Size(nodes, depth)


def _calls(functions: Functions, nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[Key, str]]:
    """Yield the functions that nodes call, those in nested graphs too, with the caller's name."""
    for n in nodes:
        key = (n.domain, n.op_type)
        if key in functions:
            yield key, n.name or (n.output[0] if n.output else n.op_type)
        for a in n.attribute:
            if a.type == onnx.AttributeProto.GRAPH:  # protobuf reads at most 100 nested graphs
                yield from _calls(functions, a.g.node)
