"""Views of the scratchpad for the reference engine."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.numbers import accumulators, fp16
from snncc.isasim.engines.base import BLOCK, Sram
from snncc.isasim.engines.footprint.regions import BIAS, KEEP

Floats: TypeAlias = npt.NDArray[np.float32]
Bits: TypeAlias = npt.NDArray[np.bool_]


def view(
    sram: Sram, dtype: type[np.generic], base: int, stride: int, rows: int, n: int
) -> npt.NDArray[Any]:
    """Return ``rows`` rows of ``n`` little-endian elements of the scratchpad, without copying."""
    size = np.dtype(dtype).itemsize
    if not rows * n:
        return np.zeros((rows, n), dtype)
    return np.ndarray((rows, n), np.dtype(dtype).newbyteorder("<"), sram, base, (stride, size))


def halves(sram: Sram, base: int, stride: int, rows: int, n: int) -> Floats:
    """Return binary16 rows as carriers."""
    return fp16.from_bits(view(sram, np.uint16, base, stride, rows, n).astype(np.uint16))


def floats(sram: Sram, base: int, stride: int, rows: int, n: int) -> Floats:
    """Return a copy of binary32 rows."""
    return view(sram, np.float32, base, stride, rows, n).astype(np.float32)


def active_blocks(active: Bits, taps: int = 1) -> int:
    """Return the groups of ``BLOCK`` inputs of one row and tap with an active one.

    With taps, the whole blocks of channels of all taps come first, then what is left of each tap.
    """
    rows, k = active.shape
    line = k // taps
    full = taps * (line // BLOCK) * BLOCK
    found = 0
    if rows and full:
        found += int(active[:, :full].reshape(rows, -1, BLOCK).any(axis=2).sum())
    if rows and k > full:
        found += int(active[:, full:].reshape(rows, taps, -1).any(axis=2).sum())
    return found


def spikes(sram: Sram, base: int, stride: int, rows: int, n: int) -> Bits:
    """Return packed spike rows as booleans."""
    packed = view(sram, np.uint8, base, stride, rows, fp16.packed_bytes(n))
    return fp16.unpack_bits(np.ascontiguousarray(packed), n)


def store(target: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
    """Write rows in ascending order (they may overlap)."""
    for row, value in zip(target, values, strict=True):
        row[...] = value


def initial(sram: Sram, target: npt.NDArray[Any], init: int, bias: int) -> Floats:
    """Return the accumulators that ``init`` asks for; ``target`` is where they lie."""
    if init == KEEP:
        return accumulators.load_acc(target.astype(np.float32))
    if init == BIAS:
        row = accumulators.load_acc(halves(sram, bias, 0, 1, target.shape[1]))
        return np.repeat(row, target.shape[0], axis=0)
    return np.zeros(target.shape, np.float32)
