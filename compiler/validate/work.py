"""How much work one evaluation of a graph module is."""

from __future__ import annotations

import math

from snncc.compiler.ir.core import Module, Op


def products(module: Module) -> int:
    """Return the number of products in one evaluation, at least one for every element computed."""
    return sum(_products(op) for op in module.walk())


def _products(op: Op) -> int:
    if not op.results or op.name in ("graph.param", "graph.const"):
        return 0
    out = op.results[0].type.size
    if op.name not in ("graph.linear", "graph.conv", "graph.conv_transpose", "graph.matmul"):
        return out
    first, second = op.operands[0].type, op.operands[1].type.step_shape
    if op.name == "graph.linear":
        return first.size * second[1]
    if op.name == "graph.conv_transpose":
        return first.size * math.prod(second[1:])
    return out * (math.prod(second[1:]) if op.name == "graph.conv" else first.step_shape[-1])
