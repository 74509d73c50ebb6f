"""Spike functions of a file: what is a step or a staircase of one value.

A comparison of real data is one.  So is a composition of ``Sign``, ``Ceil``, ``Floor``, ``Round``,
``Trunc`` or a conversion to integers with functions of constants, when it goes from 0 up by ones: it
is looked at as a function of one number, on a fine grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snncc.compiler.validate.arithmetic import Array, Hard
from snncc.compiler.validate.operators import LOCAL, VIEWS, Call, operator_named
from snncc.compiler.validate.tape import Step, Tape, real_operands

COMPARISONS = {"Greater": 1.0, "GreaterOrEqual": 1.0, "Less": -1.0, "LessOrEqual": -1.0}
"""Operators that compare, and the sign that left less right has in them."""
ROUNDING = frozenset(("Sign", "Floor", "Ceil", "Round", "Trunc"))
GRID = np.linspace(-6, 6, 2401) + 1.3e-4
UP, DOWN = 4, 6
"""How many operators a composition reaches up and down from the rounding one."""


@dataclass(eq=False)
class Jump:
    """A spike function: the step whose result it is, what it compares, threshold and direction.

    ``source``: left and right side of a comparison, or the one argument of a composition, whose
    first step is at ``theta``.  ``count``: it has more than one step.
    """

    step: Step
    source: list[int]
    sign: float
    theta: float = 0.0
    count: bool = False


@dataclass(frozen=True)
class Asked:
    """A comparison of spikes with a number: its result where there is none and where there is one."""

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
            elif s.op != "Equal" and real_operands(tape, s):
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
    return found, asked


def _asks(tape: Tape, s: Step, spikes: set[int]) -> Asked | None:
    """Read a comparison of spikes with a number, such as ``s > 0`` or ``s == 0``."""
    for k, (v, other) in enumerate(((s.ins[0], s.ins[1]), (s.ins[1], s.ins[0]))):
        if v not in spikes or other is None or tape.data[other] or v is None:
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
        for i in s.ins:
            if i is not None:
                users.setdefault(i, []).append(s)
    done: set[int] = set()
    for s in rounding:
        if s.outs[0] in done or s.outs[0] in found:
            continue
        first = s.ins[0]
        assert first is not None
        below = _downwards(tape, s.outs[0], users, found)
        best: Jump | None = None
        for root in _upwards(tape, first, found):
            for end in below:
                shape = _staircase(tape, root, end)
                if shape and (best is None or not shape[1] or best.count):
                    best = Jump(tape.maker[end], [root], 1.0, *shape)
            if best is not None:
                break
        if best is not None:
            found[best.step.outs[0]] = best
            done.update(below)


def single(tape: Tape, s: Step) -> int | None:
    """Return the one operand of an element-wise step that depends on data, or None."""
    held = {i for i in s.ins if i is not None and tape.data[i]}
    return held.pop() if len(held) == 1 and s.op in LOCAL else None


def _upwards(tape: Tape, v: int, stop: dict[int, Jump]) -> Iterator[int]:
    yield v
    for _ in range(UP):
        if v not in tape.maker or v in stop:
            return
        above = single(tape, tape.maker[v])
        if above is None:
            return
        v = above
        yield v


def _downwards(
    tape: Tape, v: int, users: dict[int, list[Step]], stop: dict[int, Jump]
) -> list[int]:
    out, todo = [v], [(v, DOWN)]
    while todo:
        v, left = todo.pop()
        for s in users.get(v, ()):
            end = s.outs[0]
            if left and end not in out and end not in stop and single(tape, s) is not None:
                out.append(end)
                todo.append((end, left - 1))
    return out


def _staircase(tape: Tape, root: int, end: int) -> tuple[float, bool] | None:
    """Return (first threshold, more than one step) when ``end`` goes up from 0 by ones."""
    y = _on_grid(tape, root, end)
    if y is None or y.shape != GRID.shape:
        return None
    y = y.astype(np.float64)
    rises = np.diff(y)
    places = np.flatnonzero(rises)
    if not places.size or y[0] != 0 or not np.all(rises[places] == 1.0):
        return None
    middle = (GRID[places[0]] + GRID[places[0] + 1]) / 2
    return _exact_threshold(tape, root, end, float(middle)), places.size > 1


def _exact_threshold(tape: Tape, root: int, end: int, near: float) -> float:
    """Halve the interval around a step until it is found."""
    low, high = near - 0.006, near + 0.006
    for _ in range(60):
        middle = (low + high) / 2
        y = _on_grid(tape, root, end, np.array([middle]))
        if y is None or float(y[0]) > 0:
            high = middle
        else:
            low = middle
    found = (low + high) / 2
    return round(found, 9)


def _on_grid(tape: Tape, root: int, end: int, grid: Array = GRID) -> Array | None:
    """Evaluate ``end`` as a function of the one number ``root``; None if it is none."""
    known: dict[int, Array] = {root: grid}
    stack, steps = [end], 0
    while stack:
        v = stack[-1]
        if v in known:
            stack.pop()
            continue
        if not tape.data[v]:
            c = tape.value[v].reshape(-1)
            if c.size == 0 or bool(np.any(c != c[0])):
                return None
            known[v] = c[:1]
            continue
        s = tape.maker.get(v)
        if s is None or s.op not in LOCAL or steps > 40:
            return None
        missing = [i for i in s.ins if i is not None and i not in known]
        if missing:
            stack.extend(missing)
            steps += 1
            continue
        ins = [None if i is None else known[i] for i in s.ins]
        if s.op in VIEWS:
            first = ins[0]
            assert first is not None
            known[v] = first
        else:
            call = Call(s.attributes, Hard(), 1, s.opset)
            known[v] = np.asarray(operator_named(s.op)(call, *ins))
    return known[end]
