"""Spike functions of a file: what is a step or a staircase of one value.

A comparison of real data is one.  So is a composition of ``Sign``, ``Ceil``, ``Floor``, ``Round``,
``Trunc`` or a conversion to integers with functions of constants, when it goes from 0 up by ones:
it is looked at as a function of one number, on a fine grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snncc.compiler.validate.arithmetic import Array, Hard
from snncc.compiler.validate.onnx.operators import LOCAL, VIEWS, Call, operator_named
from snncc.compiler.validate.onnx.tape import Step, Tape, real_operands

COMPARISONS = {"Greater": 1.0, "GreaterOrEqual": 1.0, "Less": -1.0, "LessOrEqual": -1.0}
"""Operators that compare, and the sign that left less right has in them."""
RANKS = frozenset(("ReduceMax", "ReduceMin", "TopK"))
MOVED = frozenset(("Slice", "Gather", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Split"))
ROUNDING = frozenset(("Sign", "Floor", "Ceil", "Round", "Trunc"))
GRID = np.linspace(-6, 6, 2401) + 1.3e-4
UP, CONE = 4, 16
"""How many operators a composition reaches up from the rounding one, and has at most."""


@dataclass(eq=False)
class Jump:
    """A spike function: the step whose result it is, what it compares, threshold and direction.

    ``source``: left and right side of a comparison, or the one argument of a composition, whose
    first step is at ``theta``; or such an argument and the threshold that it is counted in.
    ``count``: it has more than one step.
    """

    step: Step
    source: list[int]
    sign: float
    theta: float = 0.0
    count: bool = False


@dataclass(frozen=True)
class Asked:
    """A comparison of spikes with a number: its result where there is none, and where one is."""

    spikes: int
    at_zero: bool
    at_one: bool


def spike_functions(tape: Tape) -> tuple[dict[int, Jump], dict[int, Asked]]:
    """Return the spike functions, and the comparisons of spikes, by the number of their value."""
    found: dict[int, Jump] = {}
    asked: dict[int, Asked] = {}
    spikes: set[int] = set()
    for s in tape.steps:
        if s.op in COMPARISONS or s.op == "Equal":
            about = _asks(tape, s, spikes)
            if about is not None:
                asked[s.outs[0]] = about
                spikes.add(s.outs[0])
            elif s.op != "Equal" and real_operands(tape, s) and not chooses(tape, s):
                pair = [i for i in s.ins if i is not None]
                if any(tape.data[i] for i in pair):
                    found[s.outs[0]] = Jump(s, pair, COMPARISONS[s.op])
                    spikes.add(s.outs[0])
        elif _still_spikes(tape, s, spikes):
            spikes.add(s.outs[0])
            first = s.ins[0]
            if s.op == "Cast" and first is not None and _becomes_truth(tape, s, first):
                asked[s.outs[0]] = Asked(first, False, True)
    rounding = [s for s in tape.steps if _rounds(tape, s)]
    if rounding:
        _compositions(tape, rounding, found)
        spikes |= {v for v, jump in found.items() if not jump.count}
        for s in tape.steps:  # what asks for spikes that are compositions is no spike function
            if s.op in COMPARISONS and s.outs[0] in found:
                about = _asks(tape, s, spikes - {s.outs[0]})
                if about is not None:
                    asked[s.outs[0]] = about
                    del found[s.outs[0]]
            elif s.outs[0] not in found and _still_spikes(tape, s, spikes):
                spikes.add(s.outs[0])
    return found, asked


def chooses(tape: Tape, s: Step) -> bool:
    """Whether a comparison finds the greatest of several, ``v >= max(v)``: no spike function.

    One side is computed from the other alone, by a maximum or as one of the first k.
    """
    if s.op not in COMPARISONS or None in s.ins[:2]:
        return False
    a, b = (i for i in s.ins[:2] if i is not None)
    return _is_rank(tape, a, b) or _is_rank(tape, b, a)


def _is_rank(tape: Tape, v: int, of: int) -> bool:
    ranked, todo, seen = False, [v], {of}
    while todo:
        x = todo.pop()
        if x in seen or not tape.data[x]:
            continue
        seen.add(x)
        made = tape.maker.get(x)
        if made is None or made.op not in RANKS | MOVED:
            return False
        ranked |= made.op in RANKS
        todo.extend(i for i in made.ins if i is not None)
    return ranked


def _asks(tape: Tape, s: Step, spikes: set[int]) -> Asked | None:
    """Read a comparison of spikes with a number, such as ``s > 0`` or ``s == 0``."""
    for k, (v, other) in enumerate(((s.ins[0], s.ins[1]), (s.ins[1], s.ins[0]))):
        if v not in spikes or other is None or tape.data[other]:
            continue
        numbers = tape.value[other].reshape(-1).astype(np.float64)
        if not numbers.size or bool(np.any(numbers != numbers[0])):
            return None
        pair = (np.array([0.0, 1.0]), numbers[:1])
        a, b = pair if k == 0 else pair[::-1]
        call = Call({}, Hard(), 1, s.opset)
        low, high = (bool(x) for x in operator_named(s.op)(call, a, b))
        return Asked(v, low, high)
    return None


def _becomes_truth(tape: Tape, s: Step, first: int) -> bool:
    """Whether spikes that were numbers become truth values."""
    return tape.value[first].dtype.kind != "b" and tape.value[s.outs[0]].dtype.kind == "b"


def _still_spikes(tape: Tape, s: Step, spikes: set[int]) -> bool:
    """Whether a step hands on spikes, or their complement, as zeros and ones."""
    first = s.ins[0] if s.ins else None
    if s.op in ("Cast", "Identity", "Not") or s.op in VIEWS:
        return first in spikes
    if s.op == "Where":  # where(spikes, 1, 0)
        numbers = [
            tape.value[i].reshape(-1) for i in s.ins[1:] if i is not None and not tape.data[i]
        ]
        ends = [set(np.unique(a).tolist()) for a in numbers]
        return first in spikes and ends in ([{1.0}, {0.0}], [{0.0}, {1.0}])
    if s.op == "Sub" and len(s.ins) == 2 and s.ins[1] in spikes and first is not None:
        return not tape.data[first] and bool(np.all(tape.value[first] == 1))
    return False


def _rounds(tape: Tape, s: Step) -> bool:
    first = s.ins[0] if s.ins else None
    if first is None or not tape.data[first] or not real_operands(tape, s):
        return False
    return s.op in ROUNDING or (s.op == "Cast" and np.dtype(s.attributes["to"]).kind in "iu")


def _compositions(tape: Tape, rounding: list[Step], found: dict[int, Jump]) -> None:
    users: dict[int, list[Step]] = {}
    for s in tape.steps:
        for i in dict.fromkeys(s.ins):
            if i is not None:
                users.setdefault(i, []).append(s)
    done: set[int] = set()
    known: dict[object, _Shape | None] = {}
    for s in rounding:
        if s.outs[0] in done:
            continue
        first = s.ins[0]
        assert first is not None
        for root, divisor in _upwards(tape, first, found):
            cone = _Cone(tape, root, users, s.outs[0], found, divisor)
            key = cone.key()
            if key not in known:
                known[key] = cone.shape()
            shape = known[key]
            if shape is None or (divisor is not None and shape.theta != 1.0):
                continue
            end = cone.steps[shape.end].outs[0]
            inside = cone.before(end)
            for v in inside & found.keys():
                if _internal(v, end, inside, users):
                    del found[v]
            source = [root] if divisor is None else [root, divisor]
            found[end] = Jump(tape.maker[end], source, 1.0, shape.theta, shape.count)
            done |= inside
            break


def _internal(v: int, end: int, inside: set[int], users: dict[int, list[Step]]) -> bool:
    """Whether a value serves nothing but the composition that ends with ``end``."""
    todo, seen = [v], {v}
    while todo:
        for s in users.get(todo.pop(), ()):
            out = s.outs[0]
            if out not in inside:
                return False
            if out != end and out not in seen:
                seen.add(out)
                todo.append(out)
    return True


def single(tape: Tape, s: Step) -> int | None:
    """Return the one operand of an element-wise step that depends on data, or None."""
    held = {i for i in s.ins if i is not None and tape.data[i]}
    return held.pop() if len(held) == 1 and s.op in LOCAL else None


def _upwards(tape: Tape, v: int, stop: dict[int, Jump]) -> Iterator[tuple[int, int | None]]:
    """Yield what a rounded value may be stairs of, with a threshold that it is divided by."""
    yield v, None
    for _ in range(UP):
        if v not in tape.maker or v in stop:
            return
        made = tape.maker[v]
        if made.op == "Div" and None not in made.ins and all(tape.data[i] for i in made.ins if i):
            h, theta = (i for i in made.ins if i is not None)
            yield h, theta
            return
        above = single(tape, made)
        if above is None:
            return
        v = above
        yield v, None


@dataclass(frozen=True)
class _Shape:
    """A staircase: the step of the cone that ends it, its first threshold, several steps or one."""

    end: int
    theta: float
    count: bool


class _Cone:
    """The steps near a value that are functions of it alone."""

    def __init__(
        self, tape: Tape, root: int, users: dict[int, list[Step]], through: int,
        found: dict[int, Jump], divisor: int | None = None,
    ) -> None:  # fmt: skip
        """``through``: the rounded value that a staircase must be made of.

        ``divisor``: a threshold that moves; the stairs are in its multiples, so it counts as 1.
        """
        self.tape, self.root, self.through, self.divisor = tape, root, through, divisor
        self.taken = found.keys()
        self.steps: list[Step] = []
        held = {root}
        todo = sorted(users.get(root, ()), key=lambda s: s.index)
        while todo and len(self.steps) < CONE:
            s = todo.pop(0)
            if s.op in LOCAL and s.outs[0] not in held and self.follows(s, held):
                self.steps.append(s)
                held.add(s.outs[0])
                coming = {id(u): u for u in (*todo, *users.get(s.outs[0], ()))}
                todo = sorted(coming.values(), key=lambda s: s.index)

    def follows(self, s: Step, held: set[int]) -> bool:
        """Whether a step's operands are held, or numbers."""
        return all(i is None or i in held or self.number(i) is not None for i in s.ins)

    def number(self, i: int) -> float | None:
        """The number that fills a constant."""
        if self.tape.data[i]:
            return 1.0 if i == self.divisor else None
        c = self.tape.value[i].reshape(-1)
        return float(c[0]) if c.size and bool(np.all(c == c[0])) else None

    def key(self) -> object:
        """What the cone computes, whatever its values are called."""
        place = {self.root: -1} | {s.outs[0]: k for k, s in enumerate(self.steps)}
        alike = self.tape.value[self.root].shape
        return tuple(
            (
                s.op,
                str(s.attributes.get("to", "")),
                tuple(None if i is None else place.get(i, self.number(i)) for i in s.ins),
                tuple(i in place for i in s.ins),
                s.outs[0] == self.through,
                s.outs[0] in self.taken,
                self.tape.value[s.outs[0]].shape == alike,
            )
            for s in self.steps
        )

    def before(self, end: int) -> set[int]:
        """Values of the cone that ``end`` is made of."""
        inside: set[int] = set()
        mine = {s.outs[0] for s in self.steps}
        todo = [end]
        while todo:
            v = todo.pop()
            if v in mine and v not in inside:
                inside.add(v)
                todo.extend(i for i in self.tape.maker[v].ins if i is not None)
        return inside

    def values(self, grid: Array) -> dict[int, Array]:
        """Evaluate the cone where the root has the values of a grid."""
        known: dict[int, Array] = {self.root: grid}
        for s in self.steps:
            ins = [
                None if i is None else known[i] if i in known else np.array([self.number(i)])
                for i in s.ins
            ]
            first = ins[0]
            if s.op in VIEWS and first is not None:
                known[s.outs[0]] = first
                continue
            call = Call(s.attributes, Hard(), 1, s.opset)
            with np.errstate(all="ignore"):
                known[s.outs[0]] = np.asarray(operator_named(s.op)(call, *ins))
        return known

    def shape(self) -> _Shape | None:
        """Find the staircase; one with a single step is preferred, else the first.

        What limits a count comes after it, as an operator of its own.
        """
        values = self.values(GRID)
        if self.through not in values:
            return None
        after = {self.through}
        best, count = -1, True
        for k, s in enumerate(self.steps):
            v = s.outs[0]
            if v != self.through and not any(i in after for i in s.ins):
                continue
            after.add(v)
            alike = self.tape.value[v].shape == self.tape.value[self.root].shape
            several = _staircase(values[v]) if alike and v not in self.taken else None
            if several is not None and (best < 0 or not several):
                best, count = k, several
        if best < 0:
            return None
        end = values[self.steps[best].outs[0]]
        best = next(  # what follows and is the same is made from it by its own operators
            k
            for k, s in enumerate(self.steps)
            if s.outs[0] in after and np.array_equal(values[s.outs[0]], end)
        )
        return _Shape(best, self.threshold(self.steps[best].outs[0], values), count)

    def threshold(self, end: int, values: dict[int, Array]) -> float:
        """Halve the interval around the first step until it is found."""
        place = int(np.flatnonzero(np.diff(values[end].astype(np.float64)))[0])
        low, high = float(GRID[place]), float(GRID[place + 1])
        for _ in range(48):
            middle = (low + high) / 2
            if float(self.values(np.array([middle]))[end][0]) > 0:
                high = middle
            else:
                low = middle
        return round((low + high) / 2, 9)


def _staircase(y: Array) -> bool | None:
    """Whether a function that goes up from 0 by ones has several steps; None for any other."""
    if y.shape != GRID.shape:
        return None
    rises = np.diff(y.astype(np.float64))
    places = np.flatnonzero(rises)
    if not places.size or y[0] != 0 or not np.all(rises[places] == 1.0):
        return None
    return places.size > 1
