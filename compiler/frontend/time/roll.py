"""Rolling an unrolled graph: T-tuples of values become nodes of one step.

A tuple (v[a], ..., v[T-1]) of values at consecutive steps becomes a node whose operands are the
tuples of the operands.  A tuple that another node already stands for one step earlier is a Delay.
Early steps that look different (the exporter folded them) are accepted when evaluating the rolled
step gives the same numbers (see ``probe.py``).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.axes import (
    norm_axis,
)
from snncc.compiler.frontend.flat.elementwise import COMMUTATIVE
from snncc.compiler.frontend.flat.flat import Arr, FlatGraph, OperatorNode, Val, attr_int
from snncc.compiler.frontend.flat.rules import broken_rules_are_diagnostics
from snncc.compiler.frontend.time.alike import align, describe, signature
from snncc.compiler.frontend.time.parameters import is_parameter
from snncc.compiler.frontend.time.pieces import reordered
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.frontend.time.stepops import convert, data_operands
from snncc.compiler.frontend.time.timing import (
    Index,
    Lay,
    Layouts,
    index_of,
    is_stack,
    per_step_operands,
    step_shape,
    steps_of,
)


@dataclass(slots=True)
class Check:
    """The value ``val`` of the file must equal ``node`` at step ``t``.

    ``asked``: the node that stands for the values of which ``val`` is one.
    """

    node: RNode
    t: int
    val: Val
    asked: RNode


@dataclass(slots=True)
class _Entry:
    start: int
    vals: tuple[Val, ...]
    node: RNode


@dataclass(slots=True)
class _Work:
    node: RNode
    kind: str
    a: int
    vals: tuple[Val, ...]
    lay: Lay | None = None


@dataclass(slots=True)
class Roller:
    """Rolls one graph.  ``states`` maps a state input to the output that follows it."""

    flat: FlatGraph
    steps: int
    layouts: Layouts
    states: dict[int, Val]
    time_inputs: dict[int, Lay]
    merged: bool = False
    """Samples and steps share axis 0 of the input."""
    depth: int = 1
    """How deep steps are compared before they are taken as alike (``alike.signature``)."""
    single: bool = False
    """The file holds one step, and its input an axis of size one for it."""
    apart: bool = False
    """No steps are alike: every node of the file is computed from whole tensors."""
    memo: dict[tuple[object, ...], RNode] = field(default_factory=dict[tuple[object, ...], RNode])
    places: dict[int, list[_Entry]] = field(default_factory=dict[int, list[_Entry]])
    queue: list[tuple[int, int, _Work]] = field(default_factory=list[tuple[int, int, _Work]])
    checks: list[Check] = field(default_factory=list[Check])
    serial: int = 0

    # ------------------------------------------------------------------ requests
    def _request(self, key: tuple[object, ...], work: _Work) -> RNode:
        found = self.memo.get(key)
        if found is not None:
            return found
        self.memo[key] = work.node
        self.serial += 1
        heapq.heappush(self.queue, (work.a, self.serial, work))
        return work.node

    def tuple_(self, a: int, vals: Sequence[Val]) -> RNode:
        """Return the node of values at steps ``a``, ``a+1``, ..."""
        v = vals[-1]
        node = RNode("?", v.shape, v.dtype, val=v, start=a, vals=tuple(vals))
        return self._request(
            ("tuple", a, tuple(x.id for x in vals)), _Work(node, "tuple", a, tuple(vals))
        )

    def static(self, v: Val) -> RNode:
        """Return the node of a value that is the same at every step."""
        node = RNode("?", v.shape, v.dtype, val=v)
        return self._request(("static", v.id), _Work(node, "static", 0, (v,)))

    def stacked(self, v: Val, lay: Lay) -> RNode:
        """Return the node of a tensor that holds all steps along an axis."""
        node = RNode("?", step_shape(v.shape, lay), v.dtype, val=v)
        return self._request(("stacked", v.id, lay), _Work(node, "stacked", 0, (v,), lay))

    def run(self) -> None:
        """Expand everything that was requested, early starts first."""
        while self.queue:
            work = heapq.heappop(self.queue)[2]
            val = work.vals[-1]
            with broken_rules_are_diagnostics(
                val.node.op if val.node else "value", partial(self.where, val)
            ):
                self._expand(work)

    def _expand(self, work: _Work) -> None:
        if work.kind == "tuple":
            self._expand_tuple(work.node, work.a, work.vals)
        elif work.kind == "static":
            self._expand_static(work.node, work.vals[0])
        elif work.kind == "whole":
            v = work.vals[0]
            assert v.node is not None
            convert(work.node, v, [self.static(v.node.val(i)) for i in data_operands(v.node)])
        else:
            assert work.lay is not None
            self._expand_stacked(work.node, work.vals[0], work.lay)

    def where(self, v: Val) -> str:
        """Return a value's place for messages."""
        return f"{self.flat.file}:{v.node.name if v.node else v.name}"

    # ------------------------------------------------------------------ tuples
    def _lookup(self, p: RNode, a: int, vals: tuple[Val, ...]) -> RNode | None:
        last, end = vals[-1], a + len(vals) - 1
        for e in self.places.get(last.id, []):
            for i in [i for i, x in enumerate(e.vals) if x is last]:
                shift = end - (e.start + i)
                if shift < 0:
                    continue
                same = all(
                    e.vals[a + j - shift - e.start] is x
                    for j, x in enumerate(vals)
                    if 0 <= a + j - shift - e.start < len(e.vals)
                )
                overlap = min(len(vals), i + 1)
                if not same or (overlap < 2 < self.steps and len(vals) > 1):
                    continue
                node = e.node
                for _ in range(shift):
                    node = self._delay(node)
                for j, x in enumerate(vals):
                    if not 0 <= a + j - shift - e.start < len(e.vals):
                        self.checks.append(Check(node, a + j, x, p))
                return node
        return None

    def _delay(self, source: RNode) -> RNode:
        key = ("delay", source.id)
        found = self.memo.get(key)
        if found is None:
            found = RNode("Delay", source.shape, source.dtype, [source], val=source.val)
            self.memo[key] = found
        return found

    def _expand_tuple(self, p: RNode, a: int, vals: tuple[Val, ...]) -> None:
        n = len(vals)
        first = vals[0]
        if all(v.const is not None for v in vals):
            self._const_tuple(p, a, vals)
            return
        if n > 1 and all(v is first for v in vals):
            p.alias = self.static(first)
            return
        if self.steps == 1 and first.node is None:
            self._input(p, first)
            return
        found = self._lookup(p, a, vals) if self.steps > 1 else None
        if found is not None and resolve(found) is not p:
            p.alias = found
            return
        if n == 1 and first.node is None:
            self._input(p, first)
            return
        for v in {v.id: v for v in vals if v.const is None}.values():
            self.places.setdefault(v.id, []).append(_Entry(a, vals, p))
        r = self._regular_from(vals)
        if r:
            if n - r < 2 < n:
                fail(
                    "E0107",
                    f"the last two of {n} steps compute different things "
                    f"({describe(vals[-2])} and {describe(vals[-1])})",
                    self.where(vals[-1]),
                    help="check [timesteps] in the configuration against the exported model",
                )
            p.alias = self.tuple_(a + r, vals[r:])
            self.checks.extend(Check(p, a + j, vals[j], p) for j in range(r))
            return
        indices = [index_of(v) for v in vals]
        if indices[0] is not None and (
            self._time_index(p, a, vals, indices) or self._pieces(p, a, vals, indices)
        ):
            return
        self._unify(p, a, vals)

    def _const_tuple(self, p: RNode, a: int, vals: tuple[Val, ...]) -> None:
        arrays = [np.asarray(v.const) for v in vals]
        names = list(dict.fromkeys(v.param for v in vals if is_parameter(v)))
        if len(names) < 2 and all(np.array_equal(x, arrays[-1]) for x in arrays[:-1]):
            p.op, p.const = "Const", arrays[-1]
            return
        if len({x.shape for x in arrays}) > 1:
            fail(
                "E0107",
                f"the {len(vals)} steps use constants of different shapes here",
                self.where(vals[-1]),
            )
        first, last = a, a + len(vals)
        # what stands at the other steps is not in the file; checks.py finds it where it matters
        arrays = [*([arrays[0]] * a), *arrays, *([arrays[-1]] * (self.steps - last))]
        p.op, p.const = "SeqConst", np.stack(arrays)
        p.attrs = {"first": first, "last": last, "parameters": tuple(names)}

    def _input(self, p: RNode, v: Val) -> None:
        if v.id in self.states:
            p.op = "Delay"
            p.ins = [self.tuple_(0, (self.states[v.id],))]
            return
        if self.single and v.id in self.time_inputs:
            self._stacked_input(p, v, self.time_inputs[v.id])
            return
        p.op = "SeqInput" if v.id in self.time_inputs else "Input"
        p.attrs = {"name": v.name}

    def _regular_from(self, vals: tuple[Val, ...]) -> int:
        last = signature(vals[-1], self.depth)
        r = len(vals) - 1
        while r > 0 and signature(vals[r - 1], self.depth) == last:
            r -= 1
        return r

    def _time_index(
        self, p: RNode, a: int, vals: tuple[Val, ...], indices: list[Index | None]
    ) -> bool:
        first = indices[0]
        assert first is not None
        base, axis = first.base, first.axis
        lay = Lay(axis, 1, first.length)
        whole = base.shape[axis] == first.length * self.steps
        if not whole or (len(vals) == 1 and self.layouts.find(base) != lay):
            return False
        shift: int | None = None
        for j, i in enumerate(indices):
            if i is None or i.base is not base or i.axis != axis or i.start % i.length:
                return False
            d = a + j - i.start // i.length
            if shift not in (None, d) or d < 0:
                return False
            shift = d
        node = self.stacked(base, lay)
        for _ in range(shift or 0):
            node = self._delay(node)
        if first.keep:
            p.alias = node
        else:
            p.op, p.ins = "View", [node]
        return True

    def _pieces(self, p: RNode, a: int, vals: tuple[Val, ...], indices: list[Index | None]) -> bool:
        """Steps that take pieces of one tensor in any order: the whole tensor is reordered."""
        first = indices[0]
        assert first is not None
        found = [i for i in indices if i is not None]
        if len({(i.start, i.length, i.axis) for i in found}) == 1:
            return False  # the same piece of what is there at each step
        alike = all(
            i.base is first.base and (i.axis, i.length) == (first.axis, first.length) for i in found
        )
        if not alike or len(found) < len(vals):
            fail(
                "E0107",
                f"the {len(vals)} steps take pieces of different tensors here",
                self.where(vals[-1]),
            )
        node = reordered(self.static(first.base), found, a, self.steps)
        p.op, p.ins = "View", [node]
        return True

    def _unify(self, p: RNode, a: int, vals: tuple[Val, ...]) -> None:
        nodes: list[OperatorNode] = []
        for v in vals:
            if v.node is None:
                fail("E0107", f"input {v.name!r} stands at one step only", self.where(v))
            nodes.append(v.node)
        last = nodes[-1]
        columns = [[n.ins[i] for n in nodes] for i in data_operands(last)]
        if last.op in COMMUTATIVE and len(columns) == 2 and len(nodes) > 1:
            columns = align(columns)
        ins: list[RNode] = []
        for column in columns:
            ins.append(self.tuple_(a, [x for x in column if x is not None]))
        convert(p, vals[-1], ins)

    # ------------------------------------------------------------------ static values
    def _expand_static(self, p: RNode, v: Val) -> None:
        if v.const is not None:
            p.op, p.const = "Const", np.asarray(v.const)
            return
        known = self.steps > 1 and not v.fixed and (v.node is None or not self.apart)
        lay = self.layouts.find(v) if known else None
        if lay is not None and not self._is_whole(v, lay):
            p.op, p.ins, p.attrs = "TimeToAxis", [self.stacked(v, lay)], {"lay": lay}
        elif v.node is None:
            self._input(p, v)
        else:
            p.alias = self._whole(v)

    def _whole(self, v: Val) -> RNode:
        """Return the node of a value that an operator computes from whole tensors."""
        node = RNode("?", v.shape, v.dtype, val=v)
        return self._request(("whole", v.id), _Work(node, "whole", 0, (v,)))

    def _is_whole(self, v: Val, lay: Lay) -> bool:
        """Whether the steps along an axis of a value cannot be computed one by one."""
        if v.node is None or is_stack(v.node, self.steps):
            return False
        return per_step_operands(v, lay, self.steps) is None

    # ------------------------------------------------------------------ tensors over all steps
    def _expand_stacked(self, p: RNode, v: Val, lay: Lay) -> None:
        if v.const is not None:
            self._stacked_const(p, np.asarray(v.const), lay)
            return
        node = v.node
        if node is None:
            self._stacked_input(p, v, lay)
            return
        if is_stack(node, self.steps) and (
            norm_axis(attr_int(node.attrs, "axis", 0), len(v.shape)) == lay.axis
        ):
            p.alias = self.tuple_(0, [node.val(i) for i in range(self.steps)])
            return
        lays = per_step_operands(v, lay, self.steps)
        if lays is None:  # the steps are those of a whole tensor
            p.op, p.ins, p.attrs = "AxisToTime", [self._whole(v)], {"lay": lay}
            return
        ins = [
            self.stacked(node.val(i), lays[i]) if i in lays else self.static(node.val(i))
            for i in data_operands(node)
        ]
        convert(p, v, ins, lay=lay)

    def _stacked_const(self, p: RNode, array: Arr, lay: Lay) -> None:
        each = steps_of(array, lay, self.steps)
        held = is_parameter(p.val)
        if not held and all(np.array_equal(each[0], each[t]) for t in range(1, self.steps)):
            p.op, p.const = "Const", each[0]
            return
        names = (p.val.param,) if held and p.val is not None else ()
        p.op, p.const = "SeqConst", each
        p.attrs = {"first": 0, "last": self.steps, "parameters": names, "lay": lay}

    def _stacked_input(self, p: RNode, v: Val, lay: Lay) -> None:
        known = self.time_inputs.get(v.id)
        if known != lay:
            fail(
                "E0108",
                f"the time axis of input {v.name!r} is "
                f"{'unknown' if known is None else known.axis}, the model uses axis {lay.axis}",
                self.where(v),
                help=f"set time_axis = {lay.axis} in the configuration",
            )
        shape = (
            (*v.shape[: lay.axis], *v.shape[lay.axis + 1 :])
            if lay.pure and not self.merged
            else (*v.shape[: lay.axis], lay.outer * lay.inner, *v.shape[lay.axis + 1 :])
        )
        key = ("input", v.id)
        node = self.memo.get(key)
        if node is None:
            node = RNode("SeqInput", shape, v.dtype, attrs={"name": v.name}, val=v)
            self.memo[key] = node
        p.op, p.ins = "View", [node]
