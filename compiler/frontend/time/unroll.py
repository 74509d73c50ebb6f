"""From the flat graph to the rolled step: inputs, steps, states, outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.diag import CompileError, DiagnosticSink, fail
from snncc.compiler.frontend.flat.axes import axes_of, norm_axis
from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import FlatGraph, Shape, Val, attr_int, attr_key
from snncc.compiler.frontend.flat.shapes import (
    REDUCES,
)
from snncc.compiler.frontend.time.checks import run_checks
from snncc.compiler.frontend.time.cuts import cut_values
from snncc.compiler.frontend.time.roll import Roller
from snncc.compiler.frontend.time.rolled import RNode, make
from snncc.compiler.frontend.time.stepops import convert, data_operands
from snncc.compiler.frontend.time.timing import Lay, Layouts, count_steps, index_of
from snncc.compiler.ir.core import Value

MAX_DEPTH = 64
MAX_EXACT = 10
DEPTHS = (1, 3)
"""How deep steps are compared: deeper where a step that looks alike does not compute the same."""


@dataclass(slots=True)
class Output:
    """A result of the model: its step, and where the file has the time axis (None: nowhere)."""

    name: str
    node: RNode
    lay: Lay | None
    shape: Shape
    state: bool = False


@dataclass(slots=True)
class Rolled:
    """The rolled model."""

    steps: int
    """Steps that the file holds; 1 for a step graph."""
    outputs: list[Output] = field(default_factory=list[Output])
    time_inputs: dict[int, Lay] = field(default_factory=dict[int, Lay])
    states: dict[int, Val] = field(default_factory=dict[int, Val])
    single: bool = False
    """The file holds one step, and its input an axis of size one for it."""
    stands: list[tuple[RNode, int, tuple[int, ...]]] = field(
        default_factory=list[tuple[RNode, int, tuple[int, ...]]]
    )
    """Node, its first step, and the numbers of the flat values that it stands for."""
    written: dict[int, Value] = field(default_factory=dict[int, Value])
    """What the module writer made of the nodes, by their numbers."""


def roll_model(
    flat: FlatGraph,
    steps: int | None,
    time_axis: int | None,
    merged: bool,
    sink: DiagnosticSink,
) -> Rolled:
    """Roll a flat graph; ``merged``: samples and steps share axis 0 of the input."""
    held = count_steps(flat, steps)
    states = pair_states(flat) if held == 1 else {}
    if held == 1 and not states and steps and steps > 1:
        held = _hidden_steps(flat, steps)
    data = [v for v in flat.inputs if v.id not in states]
    time_inputs: dict[int, Lay] = {}
    single = False
    if time_axis is not None and data:
        x = data[0]
        if held == 1 and not states and x.shape[time_axis : time_axis + 1] == (steps,):
            held, single = steps or 1, steps == 1  # all steps at once, none of them cut out
        if held == 1:
            time_inputs[x.id] = Lay(time_axis)
        elif merged:
            time_inputs[x.id] = Lay(0, x.shape[0] // held, 1)
        elif time_axis < len(x.shape) and x.shape[time_axis] == held:
            time_inputs[x.id] = Lay(time_axis)
    problem: CompileError | None = None
    for depth in DEPTHS if held > 1 else DEPTHS[:1]:
        layouts = Layouts(held, time_inputs, cut_values(flat, held) if held > 1 else {})
        roller = Roller(flat, held, layouts, states, time_inputs, merged, depth, single)
        try:
            return _roll(roller)
        except CompileError as error:
            problem = problem or error
            if all(d.code != "E0107" for d in error.diagnostics):
                break
    assert problem is not None
    raise problem


def _roll(roller: Roller) -> Rolled:
    flat, held, layouts = roller.flat, roller.steps, roller.layouts
    states, time_inputs = roller.states, roller.time_inputs
    result = Rolled(held, time_inputs=time_inputs, states=states)
    result.single = roller.single
    final = _Final(roller)
    wanted = set(v.id for v in states.values())
    found: dict[int, Output] = {}
    places = [layouts.find(v) if held > 1 else None for v in flat.outputs]
    # results over time first: what they define helps to read those of the last step
    for k in sorted(range(len(places)), key=lambda k: places[k] is None):
        name, v, lay = flat.output_names[k], flat.outputs[k], places[k]
        if roller.single:
            node, lay = _single_step(roller, v)
        elif held == 1:
            node = roller.tuple_(0, (v,))
            lay = Lay(0)
        elif lay is not None:
            node = roller.stacked(v, lay)
        else:
            node = final.node(v)
        found[k] = Output(name, node, lay, v.shape, v.id in wanted)
        roller.run()
    result.outputs = [found[k] for k in range(len(places))]
    run_checks(roller)
    result.stands = [
        (n, n.start, tuple(v.id for v in n.vals) or ((n.val.id,) if n.val is not None else ()))
        for key, n in roller.memo.items()
        if key[0] != "delay"
    ]
    result.stands += [(n, -1, (i,)) for i, n in final.memo.items()]
    return result


def _single_step(roller: Roller, v: Val) -> tuple[RNode, Lay | None]:
    """Return a result of a file that holds one step, and its time axis, of size one, if any.

    That axis lies where the input has it, before what the samples have.
    """
    x, lay = next((x, roller.time_inputs[x.id]) for x in roller.flat.inputs
                  if x.id in roller.time_inputs)  # fmt: skip
    node, k = roller.tuple_(0, (v,)), lay.axis
    samples = (*x.shape[:k], *x.shape[k + 1 :])[:1]
    step = (*v.shape[:k], *v.shape[k + 1 :])
    if v.shape[k : k + 1] == (1,) and step[:1] == samples:
        return make("View", step, v.dtype, [node]), lay
    return make("TimeReduce", v.shape, v.dtype, [node], kind="last"), None


# ---------------------------------------------------------------------- states of step graphs
@dataclass(frozen=True, slots=True)
class _Reach:
    """The inputs that a value depends on, as sets of bits: bit i is the i-th input."""

    direct: int = 0
    """Through arithmetic without comparisons."""
    near: int = 0
    """Through arithmetic."""
    far: int = 0
    """In any way."""


_KEEPING = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Expand"})
_COMPARING = frozenset({"Greater", "GreaterOrEqual", "Equal"})


def _reaches(flat: FlatGraph) -> dict[int, _Reach]:
    """Return what each value depends on; constants depend on nothing."""
    found = {v.id: _Reach(1 << i, 1 << i, 1 << i) for i, v in enumerate(flat.inputs)}
    for node in flat.nodes:
        direct = near = far = 0
        for x in node.ins:
            if x is not None and x.id in found:
                one = found[x.id]
                direct, near, far = direct | one.direct, near | one.near, far | one.far
        keeps = node.op in ELEMENTWISE or node.op in _KEEPING
        plain = keeps and node.op not in _COMPARING
        for v in node.outs:
            if v.const is None:
                found[v.id] = _Reach(direct if plain else 0, near if keeps else 0, far)
    return found


def pair_states(flat: FlatGraph) -> dict[int, Val]:
    """Pair inputs that are states with the outputs that hold their next values."""
    rest = flat.inputs[1:]
    if not rest:
        return {}
    scores: list[tuple[float, int, int]] = []
    reaches = _reaches(flat)
    for j, out in enumerate(flat.outputs):
        if out.const is not None or out.node is None:
            continue
        reach = reaches[out.id]
        for i, v in enumerate(rest):
            bit = 2 << i
            if v.shape != out.shape or not reach.far & bit:
                continue
            score = 8.0 if reach.direct & bit else 4.0 if reach.near & bit else 1.0
            score += _likeness(v.name, flat.output_names[j])
            score += 1.0 if len(rest) - i == len(flat.outputs) - j else 0.0
            scores.append((score, i, j))
    return {rest[i].id: flat.outputs[j] for i, j in _assign(scores).items()}


def _likeness(a: str, b: str) -> float:
    common = 0
    for x, y in zip(a.lower(), b.lower(), strict=False):
        if x != y:
            break
        common += 1
    return 1.5 * common / max(len(a), len(b), 1)


def _assign(scores: list[tuple[float, int, int]]) -> dict[int, int]:
    """Return the assignment of inputs to outputs with the highest total score."""
    table: dict[int, list[tuple[float, int]]] = {}
    for score, i, j in scores:
        table.setdefault(i, []).append((score, j))
    if len(table) > MAX_EXACT:
        out: dict[int, int] = {}
        taken: set[int] = set()
        for _, i, j in sorted(scores, reverse=True):
            if i not in out and j not in taken:
                out[i] = j
                taken.add(j)
        return out
    best: dict[frozenset[int], tuple[float, dict[int, int]]] = {frozenset(): (0.0, {})}
    for i, options in table.items():
        grown = dict(best)
        for used, (total, pairs) in best.items():
            for score, j in options:
                key = used | {j}
                if j not in used and total + score > grown.get(key, (-1.0, {}))[0]:
                    grown[key] = (total + score, {**pairs, i: j})
        best = grown
    return max(best.values(), key=lambda found: found[0])[1]


# ---------------------------------------------------------------------- results without time axis
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


def _hidden_steps(flat: FlatGraph, hint: int) -> int:
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


class _Final:
    """Results that have no time axis: the last step, or a reduction over the steps."""

    def __init__(self, roller: Roller) -> None:
        self.roller = roller
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
        if v.const is not None or node is None:
            return r.static(v)
        for entry in r.places.get(v.id, []):
            if any(e is v and entry.start + i == steps - 1 for i, e in enumerate(entry.vals)):
                return self._over_time("last", entry.node, v.shape)
        x = node.val(0)
        lay = r.layouts.find(x) if node.op in REDUCES or index_of(v) else None
        if lay is not None and node.op in REDUCES:
            found = self._reduce(v, x, lay)
            if found is not None:
                return found
        index = index_of(v)
        if lay is not None and index is not None and index.axis == lay.axis:
            if index.start == (steps - 1) * index.length:
                return self._over_time("last", r.stacked(x, lay), v.shape)
            fail("E0104", f"the result uses step {index.start} alone", r.where(v))
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
