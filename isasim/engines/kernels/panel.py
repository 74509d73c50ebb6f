# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def,misc"
# pyright: basic
"""Operands of dense accumulation as binary32 panels: weights, and inputs seen through a window.

An image stack is described by the address of its first pixel, the distance of two images, the byte
offsets ``pixels`` [position, tap] in an image (``OUTSIDE``: none) and its channels; a plain matrix
is one of one position and one tap.  A reduced index is a sequence of runs: 16 channels (fewer in
the last block) of one tap.  Nothing at ``limit`` and beyond is read.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.bits import load_bits16, load_word
from snncc.isasim.engines.kernels.emit import I16, I64, LANES, V16, VectorBuilder, const, i64
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.turn import interleave, load_short

OUTSIDE = -(1 << 62)
"""The offset of a tap outside the image."""

RUNS = 16  # of the reduced index that are packed at a time
WIDTH = 16 * RUNS + 16  # numbers per packed row: the last run may write too much


@intrinsic
def half_at(tyctx, address):
    """Return the binary16 number at an address."""

    def codegen(context, builder, signature, args):
        # One lane of a vector conversion: works with and without half instructions.
        e = VectorBuilder(builder)
        lane = builder.insert_element(const(0, True, 16), e.load(args[0], I16, 2), const(0))
        return builder.extract_element(e.widen(lane), const(0))

    return types.float32(types.int64), codegen


@intrinsic
def half_row(tyctx, source, target):
    """Convert 16 binary16 numbers to binary32."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        e.store(e.load_half(args[0]), args[1], 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def float_at(tyctx, value, target):
    """Write a binary32 number to an address."""

    def codegen(context, builder, signature, args):
        VectorBuilder(builder).store(args[0], args[1], 4)
        return context.get_dummy_value()

    return types.void(types.float32, types.int64), codegen


@intrinsic
def clear_row(tyctx, target):
    """Write 16 binary32 zeros."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        e.store(e.floats(0.0), args[0], 4)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def spike_row(tyctx, source, target):
    """Write 16 packed spikes as binary32 zeros and ones."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        ones = builder.select(e.load_mask(args[0]), e.floats(1.0), e.floats(0.0))
        e.store(ones, args[1], 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _special(e, h):
    """Return a bit for each of 16 binary16 patterns: infinite or NaN."""
    b = e.b
    mask = b.icmp_unsigned(">=", b.and_(h, const(0x7FFF, True, 16)), const(0x7C00, True, 16))
    return b.zext(b.bitcast(mask, I16), I64)


@intrinsic
def weight_row(tyctx, source, target):
    """Convert 16 binary16 numbers; return a bit for each that is infinite or NaN."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        h = e.load(args[0], V16, 2)
        e.store(e.widen(h), args[1], 4)
        return _special(e, h)

    return types.uint64(types.int64, types.int64), codegen


@intrinsic
def weight_block(tyctx, dst, dst_stride, src, src_stride, rows, cols):
    """Convert and transpose a block of 16 by 16 of which ``rows`` by ``cols`` are wanted.

    All 16 columns are read.  Return whether a number is infinite or NaN.
    """

    def codegen(context, builder, signature, args):
        e, b = VectorBuilder(builder), builder
        dst, dst_stride, src, src_stride, rows, cols = args

        def least(i, count):
            return b.select(b.icmp_signed("<", i64(i), count), i64(i), b.sub(count, i64(1)))

        halves = [
            e.load(b.add(src, b.mul(src_stride, least(i, rows))), V16, 2) for i in range(LANES)
        ]
        top = ir.Constant(V16, [0] * LANES)
        for h in halves:
            mag = b.and_(h, const(0x7FFF, True, 16))
            top = b.select(b.icmp_unsigned(">", mag, top), mag, top)
        # Downwards: what is written for absent columns is overwritten by the last one.
        for i, h in reversed(list(enumerate(interleave(b, halves)))):
            e.store(e.widen(h), b.add(dst, b.mul(dst_stride, least(i, cols))), 4)
        return _special(e, top)

    return types.uint64(*[types.int64] * 6), codegen


@kernel("void(int64, float32[::1])")
def read_halves(source, target):
    """Convert a vector of binary16 numbers."""
    n = target.shape[0]
    for j in range(0, n - 15, 16):
        half_row(source + 2 * j, target.ctypes.data + 4 * j)
    for j in range(n - n % 16, n):
        target[j] = half_at(source + 2 * j)


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64)")
def read_weights(w, stride, depth, n, transposed, limit, panel, panel_stride):
    """Convert weights to a panel [depth, n up to a multiple of 16]; return whether all are finite.

    The answer may be 0 because of what lies behind a row.
    """
    seen = np.uint64(0)
    if not transposed:
        for k in range(depth):
            source, target = w + k * stride, panel + k * panel_stride
            for j in range(0, n, 16):
                if j + 16 <= n or source + 2 * j + 32 <= limit:
                    seen |= weight_row(source + 2 * j, target + 4 * j)
                    continue
                for i in range(j, n):
                    if (load_bits16(source + 2 * i) & np.uint64(0x7FFF)) >= np.uint64(0x7C00):
                        seen = np.uint64(1)
                    float_at(half_at(source + 2 * i), target + 4 * i)
        return np.int64(seen == np.uint64(0))
    spare = np.empty(256, np.uint16)
    for k in range(0, depth, 16):
        cols = min(16, depth - k)
        for j in range(0, n, 16):
            rows = min(16, n - j)
            source, distance = w + j * stride + 2 * k, stride
            if cols < 16 and source + max(0, (rows - 1) * stride) + 32 > limit:
                for i in range(rows):
                    for c in range(16):
                        spare[16 * i + c] = 0
                        if c < cols:
                            spare[16 * i + c] = load_short(source + i * stride + 2 * c)
                source, distance = spare.ctypes.data, 32
            seen |= weight_block(
                panel + k * panel_stride + 4 * j, panel_stride, source, distance, rows, cols
            )
    return np.int64(seen == np.uint64(0))


@kernel(
    "void(int64, int64, int64, int64[:, ::1], int64, int64[::1], int64[::1], int64, int64, int64,"
    " int64)"
)
def pack_inputs(bits, a, image, pixels, channels, rows, chosen, run0, run1, limit, packed):
    """Write runs of the patches of some rows as binary32, ``WIDTH`` numbers apart.

    Runs are counted over the ``chosen`` taps alone.
    """
    positions, taps = pixels.shape
    used = chosen.shape[0]
    table, selected = pixels.ctypes.data, chosen.ctypes.data
    for i in range(rows.shape[0] if used else 0):
        r = rows[i]
        base = a + r // positions * image
        place = table + 8 * taps * (r % positions)
        target = packed + 4 * WIDTH * i
        tap, low = run0 % used, 16 * (run0 // used)
        for _ in range(run0, run1):
            width = min(16, channels - low)
            offset = np.int64(load_word(place + 8 * np.int64(load_word(selected + 8 * tap))))
            if offset == OUTSIDE:
                clear_row(target)
            elif bits:
                spike_row(base + offset + low // 8, target)
            else:
                source = base + offset + 2 * low
                if width == 16 or source + 32 <= limit:
                    half_row(source, target)
                else:
                    for c in range(width):
                        float_at(half_at(source + 2 * c), target + 4 * c)
            target += 4 * width
            tap += 1
            if tap == used:
                tap, low = 0, low + 16
