"""The rolled graph: what one time step computes.

Every node stands for a value at each step; ``Delay`` is the value one step before, so a recurrence
is a cycle through a Delay.  Shapes are step shapes: an axis that held the steps has size one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from snncc.compiler.frontend.flat.flat import Arr, AttrValue, DType, Shape, Val

_numbers = count(1)


@dataclass(eq=False, slots=True)
class RNode:
    """A value of the step.

    ``vals`` are the flat values that this node stands for, from step ``start`` on.  ``alias``
    points to the node that replaced this one.
    """

    op: str
    shape: Shape
    dtype: DType
    ins: list[RNode] = field(default_factory=list["RNode"])
    attrs: dict[str, AttrValue] = field(default_factory=dict[str, AttrValue])
    const: Arr | None = None
    val: Val | None = None
    start: int = 0
    vals: tuple[Val, ...] = ()
    alias: RNode | None = None
    init: Arr | None = None
    """Of a Delay: the value at step 0, None for zeros or what its second operand is."""
    id: int = field(default_factory=lambda: next(_numbers))

    def at(self, t: int) -> Val | None:
        """Return the flat value at a step, if it is in the file."""
        i = t - self.start
        return self.vals[i] if 0 <= i < len(self.vals) else None

    @property
    def uniform(self) -> float | None:
        """The number that fills a constant, or None."""
        if self.const is None or self.const.size == 0:
            return None
        first = self.const.reshape(-1)[0]
        if self.const.size > 1 and not np.all(self.const == first):
            return None
        return float(first)


def resolve(node: RNode) -> RNode:
    """Follow aliases."""
    while node.alias is not None:
        node = node.alias
    return node


def make(
    op: str, shape: Shape, dtype: DType, ins: Iterable[RNode] = (), **attrs: AttrValue
) -> RNode:
    """Make a node."""
    return RNode(op, shape, dtype, list(ins), dict(attrs))


def constant(array: Arr, val: Val | None = None) -> RNode:
    """Make a constant node."""
    node = RNode("Const", array.shape, array.dtype, const=array, val=val)
    return node


def reachable(roots: Iterable[RNode]) -> list[RNode]:
    """Return all nodes that roots depend on, operands first (a Delay's source anywhere)."""
    order: list[RNode] = []
    state: dict[int, int] = {}
    pending = list(roots)
    while pending:
        stack: list[tuple[RNode, Iterator[RNode]]] = []
        root = resolve(pending.pop())
        if state.get(root.id):
            continue
        state[root.id] = 1
        stack.append((root, iter(root.ins if root.op != "Delay" else root.ins[1:])))
        if root.op == "Delay":
            pending.append(root.ins[0])
        while stack:
            node, it = stack[-1]
            nxt = next(it, None)
            if nxt is None:
                stack.pop()
                order.append(node)
                continue
            nxt = resolve(nxt)
            if not state.get(nxt.id):
                state[nxt.id] = 1
                if nxt.op == "Delay":
                    pending.append(nxt.ins[0])
                    stack.append((nxt, iter(nxt.ins[1:])))
                else:
                    stack.append((nxt, iter(nxt.ins)))
    return order


def users(nodes: Iterable[RNode]) -> dict[int, list[RNode]]:
    """Return the users of each node by id."""
    out: dict[int, list[RNode]] = {}
    for n in nodes:
        for i in n.ins:
            out.setdefault(resolve(i).id, []).append(n)
    return out
