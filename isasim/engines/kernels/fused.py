# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Drives a fused microprogram over steps and rows; partial groups go through a small buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.bits import count_bits, load_bits16
from snncc.isasim.engines.kernels.emit import I64
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.lane_ops import store_bits16

PIECE = 32768
"""Elements that go through all steps before the next piece: their state stays in the cache."""

# Columns of the table of accesses.
SLOT, SHIFT, PER_ROW, STATE, READS, WRITES = range(6)
MASK_SHIFT = 1


@intrinsic
def call_fused(tyctx, function, rows, groups, addresses, strides):
    """Call ``int64 run(rows, groups, addresses, strides)`` at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(I64, (I64, I64, I64, I64))
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return types.int64(*[types.int64] * 5), codegen


@kernel("void(int64, int64, int64)")
def copy_units(source, target, units):
    """Copy 16-bit units."""
    for u in range(units):
        store_bits16(load_bits16(source + 2 * u), target + 2 * u)


@kernel("int64(int64, int64)")
def units_of(shift, rest):
    """Return how many 16-bit units ``rest`` elements of a group take."""
    return 1 if shift == MASK_SHIFT else rest << shift >> 5


@kernel("int64(int64, int64[:, ::1], int64[::1], int64, int64)")
def run_tail(function, uses, places, rest, spare):
    """Run the last ``rest`` columns of a row through the spare buffer; return the spikes stored."""
    through = np.empty(places.shape[0], np.int64)
    for u in range(places.shape[0]):
        through[u] = places[u]
        if not uses[u, PER_ROW]:
            through[u] = spare + 64 * u
            if uses[u, READS]:
                copy_units(places[u], through[u], units_of(uses[u, SHIFT], rest))
    call_fused(function, 1, 1, through.ctypes.data, through.ctypes.data)
    spikes = 0
    for u in range(places.shape[0]):
        if uses[u, WRITES]:
            if uses[u, SHIFT] == MASK_SHIFT:
                keep = (np.uint64(1) << np.uint64(rest)) - np.uint64(1)
                word = load_bits16(through[u]) & keep
                store_bits16(word, places[u])
                if not uses[u, STATE]:
                    spikes += count_bits(word)
            else:
                copy_units(through[u], places[u], units_of(uses[u, SHIFT], rest))
    return spikes


@kernel("int64(int64, int64[:, ::1], int64[:, ::1], int64, int64, int64, int64, int64)")
def run_fused(function, uses, streams, steps, rows, cols, memory, spare):
    """Run a fused program; return the number of spikes stored."""
    spikes = 0
    width = min(cols, PIECE)
    height = max(1, PIECE // width)
    places = np.empty(uses.shape[0], np.int64)
    strides = np.empty(uses.shape[0], np.int64)
    for u in range(uses.shape[0]):
        strides[u] = streams[uses[u, SLOT], 2]
    for row0 in range(0, rows, height):
        for col0 in range(0, cols, width):
            columns = min(width, cols - col0)
            groups, rest = columns // 16, columns % 16
            together = 1 if rest else min(rows - row0, height)  # a tail goes row by row
            for t in range(steps):
                for r in range(row0, min(rows, row0 + height), together):
                    for u in range(uses.shape[0]):
                        slot = uses[u, SLOT]
                        place = memory + streams[slot, 0] + r * streams[slot, 2]
                        if not uses[u, STATE]:
                            place += t * streams[slot, 1]
                        if not uses[u, PER_ROW]:
                            place += (col0 << uses[u, SHIFT]) // 16
                        places[u] = place
                    if groups:
                        spikes += call_fused(
                            function, together, groups, places.ctypes.data, strides.ctypes.data
                        )
                    if rest:
                        for u in range(uses.shape[0]):
                            if not uses[u, PER_ROW]:
                                places[u] += groups << uses[u, SHIFT]
                        spikes += run_tail(function, uses, places, rest, spare)
    return spikes
