"""Regions of memory that an instruction touches, and checks of single operands."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isa.spec import ELEMENT, INIT, REDUCTION
from snncc.isasim.engines.base import Resolved
from snncc.isasim.faults import Trap

KEEP, ZERO, BIAS = map(INIT.words.index, ("keep", "zero", "bias"))
F16, F32, BIT = map(ELEMENT.words.index, ("f16", "f32", "bit"))
SUM, MAX, SUM32 = map(REDUCTION.words.index, ("sum", "max", "sum32"))


class Region(NamedTuple):
    """``n0 x n1`` rows of ``size`` bytes at ``start + i * s0 + j * s1``; never empty."""

    operand: str
    space: str
    start: int
    size: int
    align: int
    n0: int
    s0: int
    n1: int = 1
    s1: int = 0

    def extent(self) -> tuple[int, int]:
        """Return the lowest byte and one past the highest."""
        d0, d1 = (self.n0 - 1) * self.s0, (self.n1 - 1) * self.s1
        low = self.start + (d0 if d0 < 0 else 0) + (d1 if d1 < 0 else 0)
        high = self.start + (d0 if d0 > 0 else 0) + (d1 if d1 > 0 else 0) + self.size
        return low, high

    def starts(self) -> npt.NDArray[np.int64]:
        """Return the first byte of every row, n1 innermost."""
        i = np.arange(self.n0, dtype=np.int64) * self.s0
        j = np.arange(self.n1, dtype=np.int64) * self.s1
        return np.asarray(self.start + (i[:, None] + j).reshape(-1))

    def intervals(self) -> npt.NDArray[np.int64]:
        """Return the covered bytes as sorted disjoint [low, high) pairs, shape [m, 2]."""
        low = np.sort(self.starts())
        joined = np.empty(low.shape, np.bool_)
        joined[0] = False
        joined[1:] = low[1:] <= low[:-1] + self.size
        first = np.flatnonzero(~joined)
        last = np.append(first[1:], low.shape[0]) - 1
        return np.stack([low[first], low[last] + self.size], axis=1)

    def self_overlapping(self) -> bool:
        """Whether two rows share a byte."""
        s0, s1 = abs(self.s0) if self.n0 > 1 else 0, abs(self.s1) if self.n1 > 1 else 0
        if s0 > s1:
            inner, outer, count = s1, s0, self.n1
        else:
            inner, outer, count = s0, s1, self.n0
        if inner >= self.size and outer >= (count - 1) * inner + self.size:
            return False
        if self.n0 == 1 or self.n1 == 1:
            return self.n0 * self.n1 > 1 and outer < self.size
        return _self_overlapping(self._replace(start=0, operand=""))


Footprint: TypeAlias = tuple[list[Region], list[Region]]


def overlapping(a: Region, b: Region) -> bool:
    """Whether two regions share a byte."""
    if a.space != b.space:
        return False
    (alow, ahigh), (blow, bhigh) = a.extent(), b.extent()
    if ahigh <= blow or bhigh <= alow:
        return False
    if a.n0 * a.n1 == 1 and b.n0 * b.n1 == 1:
        return True
    shape_a, shape_b = a._replace(start=0, operand=""), b._replace(start=0, operand="")
    return _overlapping(shape_a, shape_b, b.start - a.start)


@lru_cache(maxsize=1024)
def _self_overlapping(region: Region) -> bool:
    low = np.sort(region.starts())
    return bool((low[1:] < low[:-1] + region.size).any())


@lru_cache(maxsize=1024)
def _overlapping(a: Region, b: Region, distance: int) -> bool:
    x, y = a.intervals(), b.intervals() + distance
    after = np.searchsorted(y[:, 1], x[:, 0], side="right")  # first y that ends after x begins
    inside = after < y.shape[0]
    return bool((y[after[inside], 0] < x[inside, 1]).any())


MAX_ROWS = 1 << 24
MAX_SIZE = 1 << 32
"""Bounds of one dimension (of one run of memory, ``bytes`` or ``count``: MAX_SIZE) and of the
product of all dimensions.  Memory bounds nothing where a stride is 0."""


def need_dims(op: Resolved, /, **dims: int) -> bool:
    """Trap on a negative or absurd dimension; return whether all are positive."""
    product = 1
    for name, value in dims.items():
        if value < 0:
            raise Trap("operand", f"{op.mnemonic}: {name} is {value}")
        most = MAX_SIZE if name in ("bytes", "count") else MAX_ROWS
        if value > most:
            raise Trap("operand", f"{op.mnemonic}: {name} is {value}, at most {most} is allowed")
        product *= value if name != "k" else 1
    if product > MAX_SIZE:
        raise Trap("operand", f"{op.mnemonic}: {product} elements, at most {MAX_SIZE} are allowed")
    return product > 0 and all(dims.values())


def need_flags(op: Resolved, /, **flags: int) -> None:
    """Trap unless all are 0 or 1."""
    for name, value in flags.items():
        if value not in (0, 1):
            raise Trap("operand", f"{op.mnemonic}: {name} is {value}, not 0 or 1")


def bad_init(op: Resolved, init: int) -> NoReturn:
    """Trap on an init that the instruction does not have."""
    raise Trap("operand", f"{op.mnemonic}: init {init} is illegal")


def bad_choice(op: Resolved, /, **choices: int) -> NoReturn:
    """Trap on choices that are illegal together or alone."""
    words = ", ".join(f"{name} {value}" for name, value in choices.items())
    raise Trap("operand", f"{op.mnemonic}: {words} is illegal")


def need_multiple(op: Resolved, of: int, /, **sizes: int) -> None:
    """Trap unless sizes are multiples of a number."""
    for name, value in sizes.items():
        if value % of:
            raise Trap("operand", f"{op.mnemonic}: {name} is {value}, not a multiple of {of}")


def need_apart(op: Resolved, source: Region, target: Region) -> None:
    """Trap when what is read overlaps what is written."""
    if overlapping(source, target):
        raise Trap("overlap", f"{op.mnemonic}: source and destination overlap")


def row_bytes(kind: int, n: int) -> tuple[int, int]:
    """Return the bytes of a row of n elements and their alignment."""
    if kind == F16:
        return 2 * n, 2
    return (4 * n, 4) if kind == F32 else (packed_bytes(n), 2)
