"""The layers of a module as a picture: Graphviz's DOT language."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from snncc.compiler.ir.core import Module, Op, Value
from snncc.compiler.ir.views import layers

LOOKS = "node [shape=box, style=rounded, fontname=Helvetica]; edge [fontname=Helvetica];"


def dot(module: Module) -> str:
    """Return one digraph: a box per layer with its ops, an edge per tensor between layers.

    Edges between layers that reach each other (recurrence, a training step) are drawn, too; what
    belongs to no layer, such as inputs, is left out.  The order is that of the text.
    """
    lines = [f"digraph {_quoted(module.name)} {{", f"  {LOOKS}"]
    for func in module.funcs.values():
        graph = layers(func)
        for name in graph:
            ops: list[Op] = graph.nodes[name]["ops"]
            lines.append(f"  {_quoted(name)} [label={_quoted(_label(name, ops))}];")
        for source, target in graph.edges:
            values: list[Value] = graph.edges[source, target]["values"]
            label = "\n".join(map(_tensor, values))
            lines.append(f"  {_quoted(source)} -> {_quoted(target)} [label={_quoted(label)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _label(name: str, ops: Sequence[Op]) -> str:
    counted = Counter(op.name.partition(".")[2] for op in ops)
    shown = [f"{n} {kind}" if n > 1 else kind for kind, n in counted.items()]
    return "\n".join([name, *(", ".join(shown[i : i + 3]) for i in range(0, len(shown), 3))])


def _tensor(value: Value) -> str:
    shape = "x".join(map(str, value.type.shape)) or "scalar"
    return f"{shape} {value.type.dtype}"


def _quoted(text: str) -> str:
    """Return a text as a DOT string; quotes, backslashes and line ends are escaped."""
    return json.dumps(text, ensure_ascii=False)
