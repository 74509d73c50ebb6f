"""What became of each node of an ONNX file.

An import folds, merges, rolls up and recognises; afterwards every node of the file is one of: an
op of the graph (at one of its time steps), a part of such an op, a part of an output, a constant,
or of no use to the outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from snncc.compiler.diag import CompileError, Diagnostic
from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import FlatGraph, Val
from snncc.compiler.frontend.flat.shapes import supported
from snncc.compiler.frontend.onnx.build import RULES, STANDARD, Bound
from snncc.compiler.frontend.onnx.file import read_model
from snncc.compiler.frontend.time.unroll import Rolled
from snncc.compiler.ir.core import Op, Value

MAX_PARTS = 3


@dataclass(frozen=True, slots=True)
class FileNode:
    """One node of the file: its name, its operator, and what it became or why it cannot."""

    name: str
    op: str
    ok: bool
    note: str


@dataclass(slots=True)
class NodeTrace:
    """Filled by an import that is asked for it."""

    nodes: list[FileNode] = field(default_factory=list[FileNode])

    def conclude(
        self,
        read: Sequence[tuple[str, str, tuple[Bound, ...]]],
        flat: FlatGraph,
        rolled: Rolled,
    ) -> None:
        """Say of every node that was read what the finished module has in its place."""
        fates = _Fates(flat, rolled)
        bodies: dict[str, tuple[str, list[Bound]]] = {}
        for name, op, outs in read:  # the body of a loop is read once per iteration
            bodies.setdefault(name, (op, []))[1].extend(outs)
        for name, (op, results) in bodies.items():
            self.nodes.append(FileNode(name, op, True, fates.note(op, results)))


class _Fates:
    """For each flat value: the op that it became, or the ops that it is a part of."""

    def __init__(self, flat: FlatGraph, rolled: Rolled) -> None:
        self.steps = rolled.steps
        self.became: dict[int, tuple[str, int]] = {}
        self.parts: dict[int, list[str]] = {}
        results = {v.id: n for n, v in zip(flat.output_names, flat.outputs, strict=True)}
        for node, start, ids in rolled.stands:
            while node.alias is not None:
                node = node.alias
            written = rolled.written.get(node.id)
            if written is None or not (text := _op_text(written)):
                continue
            for i, number in enumerate(ids):
                step = start + i if start >= 0 and len(set(ids)) > 1 else -1
                self.became.setdefault(number, (text, step))
        for each in reversed(flat.nodes):
            for v in each.outs:
                if v.id not in self.became and v.id in results:
                    self.parts.setdefault(v.id, []).append(f"output {results[v.id]}")
                known = self.became.get(v.id)
                mine = [known[0]] if known else self.parts.get(v.id, [])
                for x in each.ins:
                    if x is not None and x.const is None:
                        held = self.parts.setdefault(x.id, [])
                        held += [m for m in mine if m not in held]

    def note(self, op: str, outs: Iterable[Bound]) -> str:
        """Return what a node became."""
        vals = [v for v in outs if isinstance(v, Val)]
        if op in ("Loop", "Scan", "If"):
            return "unrolled"
        if not vals or all(v.const is not None for v in vals):
            return "constant"
        for v in vals:
            if v.id in self.became:
                text, step = self.became[v.id]
                return f"{text}, step {step + 1} of {self.steps}" if step >= 0 else text
        for v in vals:
            if v.node is None and v.const is None:
                return f"input {v.name}"
        found = list(dict.fromkeys(p for v in vals for p in self.parts.get(v.id, [])))
        if not found:
            return "not needed"
        more = f" and {len(found) - MAX_PARTS} more" if len(found) > MAX_PARTS else ""
        return f"part of {', '.join(found[:MAX_PARTS])}{more}"


def _op_text(value: Value) -> str:
    """Return an op as a person would call it: kind, and layer or weight; '' when it is gone."""
    op = value.owner
    if not isinstance(op, Op):
        return f"input {value.name}"
    if op.parent is None:
        return ""
    kind = op.name.removeprefix("graph.")
    if isinstance(op.attrs.get("layer"), str):
        return f"{kind} {op.str_attr('layer')}"
    for x in op.operands[1:2]:
        if isinstance(x.owner, Op) and x.owner.name == "graph.param":
            return f"{kind} {x.owner.str_attr('name')}"
    return kind


# ---------------------------------------------------------------------- files that are refused
def refused_nodes(path: Path, error: CompileError) -> list[FileNode]:
    """Return a verdict for every node of a file whose import failed; [] if nothing can be read.

    The import ends at the first fault; unknown operators are found without it.
    """
    try:
        model = read_model(path)
    except CompileError:
        return []
    bodies = {(f.domain, f.name) for f in model.functions}
    faults = {str(d.where).removeprefix(f"{path}:"): d for d in error.diagnostics}
    return [_judged(name, n, bodies, faults) for name, n in _all_nodes(model.graph.node, "")]


def _all_nodes(
    nodes: Iterable[onnx.NodeProto], prefix: str
) -> Iterator[tuple[str, onnx.NodeProto]]:
    for n in nodes:
        name = prefix + (n.name or (n.output[0] if n.output else n.op_type))
        yield name, n
        for a in n.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(a.g.node, f"{name}/")


def _judged(
    name: str,
    n: onnx.NodeProto,
    bodies: set[tuple[str, str]],
    faults: dict[str, Diagnostic],
) -> FileNode:
    for where, fault in faults.items():
        if where == name or where.startswith(f"{name}/"):
            return FileNode(name, n.op_type, False, f"{fault.code}: {fault.message}")
    known = (n.domain, n.op_type) in bodies or n.domain.startswith("ai.snncc")
    if n.domain in STANDARD:
        known = n.op_type in RULES or n.op_type in ELEMENTWISE or supported(n.op_type)
    elif not known:
        text = f"E0106: no function body for {n.domain}::{n.op_type} in the file"
        return FileNode(name, n.op_type, False, text)
    if not known:
        return FileNode(name, n.op_type, False, f"E0104: operator {n.op_type} is not supported")
    return FileNode(name, n.op_type, True, "a known operator")
