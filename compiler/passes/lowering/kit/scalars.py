"""Numbers that a core computes in its registers: constants, its own number, the time step.

All cores run one program; what differs between them, which iterations they have and where these lie
in DRAM, is a function of the core's number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from snncc.compiler.ir.portions import Portion
from snncc.isa.instructions.arithmetic import ARITHMETIC


class Known(NamedTuple):
    """A number that the machine knows."""

    name: str


class Computed(NamedTuple):
    """The result of a sequencer instruction with this mnemonic."""

    mnemonic: str
    left: Scalar
    right: Scalar


Scalar: TypeAlias = "int | Known | Computed"
CORE, TIME = Known("core"), Known("time")


def compute(mnemonic: str, left: Scalar, right: Scalar) -> Scalar:
    """Return a result; what is known is computed, and a constant that is added stands last."""
    if isinstance(left, int) and isinstance(right, int):
        return ARITHMETIC[mnemonic](left, right)
    if mnemonic == "sub" and isinstance(right, int):
        return compute("add", left, -right)
    if mnemonic == "mul":
        if isinstance(left, int):
            left, right = right, left
        if right == 0:
            return 0
        return left if right == 1 else Computed("mul", left, right)
    if mnemonic == "add":
        one, left = split(left)
        other, right = split(right)
        if right == 0:
            rest = left
        else:
            rest = right if left == 0 else Computed("add", left, right)
        return Computed("add", rest, one + other) if one + other else rest
    return Computed(mnemonic, left, right)


def split(value: Scalar) -> tuple[int, Scalar]:
    """Return the constant that is added, and the rest (0 when there is none)."""
    if isinstance(value, int):
        return value, 0
    if isinstance(value, Computed) and value.mnemonic == "add" and isinstance(value.right, int):
        return value.right, value.left
    return 0, value


def value_of(value: Scalar, core: int, time: int = 0) -> int:
    """Return what a core computes."""
    if isinstance(value, Known):
        return core if value is CORE else time
    if isinstance(value, int):
        return value
    left, right = value_of(value.left, core, time), value_of(value.right, core, time)
    return ARITHMETIC[value.mnemonic](left, right)


def between(value: Scalar, low: int, high: int) -> Scalar:
    """Return the number of ``low`` to ``high`` that is nearest."""
    if isinstance(value, Computed) and value.mnemonic == "min" and value.right == high:
        inner = value.left
        if isinstance(inner, Computed) and inner.mnemonic == "max" and inner.right == low:
            return value
    return compute("min", compute("max", value, low), high)


def _low(portion: Portion) -> Scalar:
    return compute("add", compute("mul", CORE, portion.each), compute("min", CORE, portion.longer))


def _high(portion: Portion) -> Scalar:
    more = between(compute("sub", portion.longer, CORE), 0, 1)
    return compute("add", compute("add", _low(portion), portion.each), more)


def first(portion: Portion) -> Scalar:
    """Return the first iteration of a loop that a core has."""
    if portion.cores == 1:
        return 0
    if not portion.longer:
        low = compute("mul", CORE, portion.each)
    else:
        low = _low(portion)
    if portion.trips == portion.total:
        return low
    return between(compute("sub", low, portion.start), 0, portion.trips)


def count(portion: Portion) -> Scalar:
    """Return how many iterations of a loop a core has."""
    if portion.cores == 1:
        return portion.trips
    if portion.trips == portion.total:
        more = between(compute("sub", portion.longer, CORE), 0, 1) if portion.longer else 0
        return compute("add", more, portion.each)
    high = between(compute("sub", _high(portion), portion.start), 0, portion.trips)
    return compute("sub", high, first(portion))


def has(portion: Portion, iteration: int) -> Scalar:
    """Return 1 for cores that have more than ``iteration`` iterations of a loop, else 0."""
    return between(compute("sub", count(portion), iteration), 0, 1)


def blend(values: Sequence[int], reached: Sequence[Scalar]) -> Scalar:
    """Return the value of the part that an iteration lies in.

    ``reached``: for every part but the first 1 where the iteration lies in it or behind it, else 0.
    """
    steps = [b - a for a, b in pairwise(values)]
    unit = math.gcd(*steps)
    if not unit:
        return values[0]
    unit = unit if next(s for s in steps if s) > 0 else -unit
    total: Scalar = 0
    for step, flag in zip(steps, reached, strict=True):
        total = compute("add", total, compute("mul", flag, step // unit))
    return compute("add", compute("mul", total, unit), values[0])
