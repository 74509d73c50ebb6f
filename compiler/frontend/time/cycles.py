"""Cycles of the rolled graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.ir.components import components


def cycles(nodes: Sequence[RNode], inside: Callable[[RNode], bool]) -> list[list[RNode]]:
    """Return the cycles through time among nodes that are ``inside``, operands' first."""

    def operands(n: RNode) -> list[RNode]:
        return [i for i in map(resolve, reversed(n.ins)) if inside(i)]

    groups = components([n for n in nodes if inside(n)], operands)
    return [g for g in groups if any(n.op == "Delay" for n in g)]
