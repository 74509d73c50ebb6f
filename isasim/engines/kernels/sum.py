# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def,misc"
# pyright: basic
"""Sums over rows and columns, strictly one term after the other.

``colsum`` keeps up to 64 columns in registers and walks down the rows.  ``rowred`` has a chain for
each row; maxima compare integers that have the order of the numbers, as in :mod:`kernels_pool`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.bits import count_bits, load_bits16
from snncc.isasim.engines.kernels.emit import F32, I32, VF, VectorBuilder
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.lane_ops import load_pattern, store_bits16
from snncc.isasim.engines.kernels.panel import half_at
from snncc.isasim.engines.kernels.pool import finish_strip
from snncc.isasim.engines.kernels.strip import finish_values, start_values

F16_KIND, F32_KIND, BIT_KIND = 0, 1, 2
SUM, MAX, SUM32 = 0, 1, 2
NAN_KEY = 0x7FFFFFFF


@intrinsic(prefer_literal=True)
def sum_strip(tyctx, vectors, kind, init, out, x, stride, rows, tail):
    """``out = init; for r < rows: out += x[r]`` for 16 * vectors columns."""
    width, element = vectors.literal_value, kind.literal_value
    size = {F16_KIND: 32, F32_KIND: 64, BIT_KIND: 2}[element]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        init, out, x, stride, rows, tail = args[2:]
        e = VectorBuilder(builder)
        mask = e.first_lanes(tail)

        def term(base: Any, v: int) -> Any:
            place = e.at(base, size * v)
            if element == F16_KIND:
                return e.load_half(place)
            if element == F32_KIND:
                return e.load(place, VF, 4)
            return builder.select(e.load_mask(place), e.floats(1.0), e.floats(0.0))

        def body(r: Any, acc: list[Any]) -> list[Any]:
            base = builder.add(x, builder.mul(r, stride))
            return [builder.fadd(old, term(base, v)) for v, old in enumerate(acc)]

        first = [start_values(e, init, v, width, mask) for v in range(width)]
        for v, value in enumerate(e.loop(rows, first, body)):
            finish_values(e, value, out, v, width, mask)
        return context.get_dummy_value()

    return types.void(vectors, kind, *[types.int64] * 6), codegen


@kernel("void(int64, int64, int64, int64, int64, int64, int64)")
def sum_pass(kind, init, out, x, stride, rows, width):
    """Sum one group of up to 64 columns."""
    vectors = (width + 15) // 16
    tail = width - 16 * (vectors - 1)
    if kind == F16_KIND:
        if vectors == 4:
            sum_strip(4, 0, init, out, x, stride, rows, tail)
        elif vectors == 3:
            sum_strip(3, 0, init, out, x, stride, rows, tail)
        elif vectors == 2:
            sum_strip(2, 0, init, out, x, stride, rows, tail)
        else:
            sum_strip(1, 0, init, out, x, stride, rows, tail)
        return
    for v in range(vectors):
        lanes = tail if v == vectors - 1 else 16
        i, o = init + 64 * v, out + 64 * v
        if kind == F32_KIND:
            sum_strip(1, 1, i, o, x + 64 * v, stride, rows, lanes)
        else:
            sum_strip(1, 2, i, o, x + 2 * v, stride, rows, lanes)


@kernel("int64(int64, int64, int64, int64)")
def ones_of(x, stride, rows, n):
    """Count the set bits of packed rows, padding ignored."""
    total = 0
    keep = (np.uint64(1) << np.uint64(n % 16)) - np.uint64(1)
    for r in range(rows):
        base = x + r * stride
        for h in range(n // 16):
            total += count_bits(load_bits16(base + 2 * h))
        if n % 16:
            total += count_bits(load_bits16(base + 2 * (n // 16)) & keep)
    return total


@kernel("int64(int64, int64, int64, int64, int64, int64, int64)")
def sum_columns(kind, init, out, x, stride, rows, n):
    """Add rows of ``x``, ascending, to accumulators; return the set bits of spikes."""
    zeros = np.zeros(64, np.float32)
    size = 2 if kind == F16_KIND else 4
    for j in range(0, n, 64):
        place = x + (j // 8 if kind == BIT_KIND else size * j)
        start = zeros.ctypes.data if init == 0 else init + 4 * j
        sum_pass(kind, start, out + 4 * j, place, stride, rows, min(64, n - j))
    return ones_of(x, stride, rows, n) if kind == BIT_KIND else 0


@intrinsic
def key_of(tyctx, value):
    """Return an integer that orders numbers; NaN is the largest."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, bits = builder, builder.bitcast(args[0], I32)
        sign = b.ashr(bits, I32(31))
        flipped = b.xor(bits, b.and_(sign, I32(NAN_KEY)))
        nan = b.fcmp_unordered("uno", args[0], args[0])
        return b.select(nan, I32(NAN_KEY), flipped)

    return types.int32(types.float32), codegen


@intrinsic
def number_of(tyctx, key):
    """Return the number of a key; the canonical NaN for the largest."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, key = builder, args[0]
        flipped = b.xor(key, b.and_(b.ashr(key, I32(31)), I32(NAN_KEY)))
        bits = b.select(b.icmp_signed("==", key, I32(NAN_KEY)), I32(0x7FC00000), flipped)
        return b.bitcast(bits, F32)

    return types.float32(types.int32), codegen


@intrinsic
def float_of(tyctx, pattern):
    """Return the binary32 number of a pattern."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.trunc(args[0], I32), F32)

    return types.float32(types.int64), codegen


@intrinsic
def store_float(tyctx, value, address):
    """Write a binary32 number; NaN becomes the canonical one."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = VectorBuilder(builder)
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        bits = builder.select(nan, I32(0x7FC00000), builder.bitcast(args[0], I32))
        e.store(bits, args[1], 4)
        return context.get_dummy_value()

    return types.void(types.float32, types.int64), codegen


@kernel("float32(int64, int64, int64)")
def element(kind, x, j):
    """Return element ``j`` of a row."""
    if kind == F16_KIND:
        return half_at(x + 2 * j)
    if kind == F32_KIND:
        return float_of(load_pattern(x + 4 * j))
    return np.float32((load_bits16(x + j // 16 * 2) >> np.uint64(j % 16)) & np.uint64(1))


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def reduce_rows(kind, red, dst, dst_stride, x, stride, rows, n, saturate):
    """Reduce every row; return the set bits of spikes."""
    totals, result = np.zeros(16, np.float32), np.zeros(16, np.uint16)
    for row0 in range(0, rows, 16):
        high = min(16, rows - row0)
        for r in range(high):
            base = x + (row0 + r) * stride
            if red == MAX:
                key = key_of(element(kind, base, 0))
                for j in range(1, n):
                    key = max(key, key_of(element(kind, base, j)))
                totals[r] = number_of(key)
            else:
                total = np.float32(0.0)
                for j in range(n):
                    total += element(kind, base, j)
                totals[r] = total
        for r in range(high):
            if red == SUM32:
                store_float(totals[r], dst + (row0 + r) * dst_stride)
        if red != SUM32:
            finish_strip(totals.ctypes.data, result.ctypes.data, saturate)
            for r in range(high):
                store_bits16(np.uint64(result[r]), dst + (row0 + r) * dst_stride)
    return ones_of(x, stride, rows, n) if kind == BIT_KIND else 0
