"""Results that have no time axis: the last step, a reduction over the steps, single steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.axes import axes_of, norm_axis
from snncc.compiler.frontend.flat.elementwise import COMPARE
from snncc.compiler.frontend.flat.flat import FlatGraph, Shape, Val, attr_int, attr_key
from snncc.compiler.frontend.flat.shapes import REDUCES
from snncc.compiler.frontend.time.roll import Roller
from snncc.compiler.frontend.time.rolled import RNode, make
from snncc.compiler.frontend.time.stepops import convert, data_operands
from snncc.compiler.frontend.time.timing import Lay, index_of

MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a file is read: each attempt takes fewer steps to be alike than the one before."""

    depth: int = 1
    """How deep steps are compared: a step that looks alike may not compute the same."""
    prologue: bool = False
    """First steps may differ: what the file computes there is taken."""
    selected: bool = False
    """Results may use single steps of what the model computes."""
    apart: bool = False
    """No steps are alike: every node of the file is an operator of its own."""


def _families(outputs: list[Val], depth: int) -> dict[int, int]:
    """Return a hash of each ancestor's expression down to a depth, steps not told apart."""
    order = sorted({x for o in outputs for x in _walk(o)}, key=lambda v: v.id)
    hashes = {v.id: _label(v) for v in order}
    for _ in range(depth):
        new: dict[int, int] = {}
        for v in order:
            node = v.node
            new[v.id] = hashes[v.id]
            if node is None or v.const is not None or index_of(v) is not None:
                continue
            new[v.id] = hash((_label(v), *(hashes[i.id] for i in node.ins if i is not None)))
        hashes = new
    return hashes


def _label(v: Val) -> int:
    if v.const is not None:
        return hash(("const", v.id if v.size > 1 else float(np.asarray(v.const).reshape(-1)[0])))
    if v.node is None:
        return hash(("input", v.id))
    if index_of(v) is not None:
        return hash(("index", v.shape))
    return hash((v.node.op, v.shape, v.index, attr_key(v.node.attrs)))


def _walk(v: Val) -> Iterator[Val]:
    seen: set[int] = set()
    stack = [v]
    while stack:
        x = stack.pop()
        if x.id in seen:
            continue
        seen.add(x.id)
        yield x
        if x.node is not None and index_of(x) is None and x.const is None:
            stack.extend(i for i in x.node.ins if i is not None)


def _family(v: Val, outputs: list[Val], steps: int | None) -> list[Val]:
    """Return the values that compute what ``v`` computes at other steps, ``v`` last."""
    for depth in (2, 3, 4, 8, 16, 32, MAX_DEPTH):
        hashes = _families([v], depth)
        found = sorted((x for x in _walk(v) if hashes[x.id] == hashes[v.id]), key=lambda x: x.id)
        if steps is None or len(found) <= steps:
            return found
    return [v]


def hidden_steps(flat: FlatGraph, hint: int) -> int:
    """Return the steps of a graph that neither cuts inputs nor stacks outputs."""
    todo, seen = list(flat.outputs), 0
    while todo and seen < MAX_DEPTH:
        v = todo.pop(0)
        seen += 1
        n = len(_family(v, flat.outputs, hint))
        if n > 1 and n >= hint - 2:
            return hint
        if _spine(v, hint, "Add") or _spine(v, hint, "Max"):
            return hint
        if v.node is not None:
            todo.extend(i for i in v.node.ins if i is not None and i.const is None)
    return 1


def _spine(v: Val, steps: int, op: str) -> list[Val] | None:
    """Return the terms of a left- or right-leaning chain of one operator, oldest first."""
    for side in (0, 1):
        terms: list[Val] = []
        x = v
        while x.node is not None and x.node.op == op and len(terms) < steps - 1:
            terms.append(x.node.val(1 - side))
            x = x.node.val(side)
        if len(terms) != steps - 1:
            continue
        if x.node is not None and x.node.op == op and op == "Add":
            for i in (0, 1):
                k = x.node.val(i).const
                if k is not None and not np.asarray(k).any():
                    x = x.node.val(1 - i)  # the sum starts from zero
                    break
        terms.append(x)
        if len({t.shape for t in terms}) == 1 and not any(t.fixed for t in terms):
            return terms[::-1]
    return None


class Results:
    """Results that have no time axis: the last step, or a reduction over the steps."""

    def __init__(self, roller: Roller, attempt: Attempt) -> None:
        self.roller, self.attempt = roller, attempt
        self.seeded = False
        self.memo: dict[int, RNode] = {}

    def node(self, v: Val) -> RNode:
        """Return the node of a value that has no time axis."""
        if v.id not in self.memo:
            self.memo[v.id] = self._node(v)
        return self.memo[v.id]

    def _over_time(self, kind: str, x: RNode, shape: Shape) -> RNode:
        node = make("TimeReduce", x.shape, x.dtype, [x], kind=kind)
        node.val = x.val
        return node if shape == x.shape else make("View", shape, x.dtype, [node])

    def _node(self, v: Val) -> RNode:
        r, steps = self.roller, self.roller.steps
        node = v.node
        if v.const is not None or node is None or self.attempt.apart:
            return r.static(v)
        for entry in r.places.get(v.id, []):
            if any(e is v and entry.start + i == steps - 1 for i, e in enumerate(entry.vals)):
                return self._over_time("last", entry.node, v.shape)
        if self.attempt.selected:
            self._seed(v)
            for entry in r.places.get(v.id, []):
                return self._step(entry.node, entry.start + entry.vals.index(v), v)
        if r.layouts.find(v) is not None:
            return r.static(v)
        x = node.val(0)
        lay = r.layouts.find(x) if node.op in REDUCES or index_of(v) else None
        if lay is not None and node.op in REDUCES:
            found = self._reduce(v, x, lay)
            if found is not None:
                return found
        index = index_of(v)
        if lay is not None and index is not None and index.axis == lay.axis:
            step, rest = divmod(index.start, index.length)
            if rest or lay.outer > 1 or index.length != lay.inner:
                return r.static(v)  # several steps, or parts of them
            if step == steps - 1:
                return self._over_time("last", r.stacked(x, lay), v.shape)
            if self.attempt.selected:
                return self._step(r.stacked(x, lay), step, v)
            fail("E0107", f"the result uses step {step} alone", r.where(v))
        for op, kind in (("Add", "sum"), ("Max", "max")):
            terms = _spine(v, steps, op) if node.op == op else None
            if terms is not None and self._alike(terms):
                return self._over_time(kind, r.tuple_(0, terms), v.shape)
        family = _family(v, [v], steps)
        if len(family) > 1 and len(family) >= steps - 2:
            start = steps - len(family)
            return self._over_time("last", r.tuple_(start, family), v.shape)
        ins = [self.node(node.val(i)) for i in data_operands(node)]
        out = RNode("?", v.shape, v.dtype)
        convert(out, v, ins)
        return out

    def _step(self, x: RNode, step: int, v: Val) -> RNode:
        """Return one step of a value that varies with time."""
        node = make("StepOf", x.shape, x.dtype, [x], step=step)
        node.val = v
        return node if v.shape == x.shape else make("View", v.shape, x.dtype, [node])

    def _seed(self, v: Val) -> None:
        """Roll up the recurrences below a result, latest first, before single steps are taken."""
        if self.seeded:
            return
        self.seeded = True
        r = self.roller
        for x in sorted(_walk(v), key=lambda x: -x.id):
            if x.node is None or x.node.op not in COMPARE or x.fixed or x.id in r.places:
                continue
            family = _family(x, [x], r.steps)
            if len(family) == r.steps:
                r.tuple_(0, family)
                r.run()

    def _alike(self, terms: list[Val]) -> bool:
        """Whether the terms are one value at different steps, not parts of one step."""
        last = terms[-1].node
        same = [t for t in terms if t.node is not None and last and t.node.op == last.op]
        return len(same) >= max(len(terms) - 1, 2)

    def _reduce(self, v: Val, x: Val, lay: Lay) -> RNode | None:
        node = v.node
        assert node is not None
        axes = {norm_axis(a, len(x.shape)) for a in axes_of(node) or range(len(x.shape))}
        kind = node.op[6:].lower()
        if lay.axis not in axes or not lay.pure or kind not in ("sum", "mean", "max"):
            return None
        inner = self.roller.stacked(x, lay)
        others = tuple(sorted(axes - {lay.axis}))
        if others:
            shape = tuple(1 if i in others else d for i, d in enumerate(inner.shape))
            before = RNode("Reduce", shape, x.dtype, [inner], val=v)
            before.attrs = {"kind": kind, "axes": others, "keepdims": 1}
            inner = before
        keep = attr_int(node.attrs, "keepdims", 1)
        reduced = self._over_time(kind, inner, v.shape if not keep else inner.shape)
        return reduced
