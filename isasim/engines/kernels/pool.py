# pyright: basic
# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def,misc"
"""Pooling: 16 channels of an output position at a time, over the list of its taps.

Maxima compare integers that have the order of the numbers: the bits of a number that is not
negative, all but the sign inverted of a negative one, and the largest integer for a NaN.  A last
group of fewer channels goes through small buffers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.bits import count_bits, load_bits16
from snncc.isasim.engines.kernels.emit import I1, I64, NAN32, VF, VectorBuilder, const, i64
from snncc.isasim.engines.kernels.fused import copy_units
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.lane_ops import store_bits16

F16, F32, BIT = 0, 1, 2
SUM, MAX, SUM32 = 0, 1, 2
_LARGEST = 0x7FFFFFFF


def _write_halves(e: VectorBuilder, value: Any, address: Any, saturate: Any) -> None:
    """Round to binary16 and store; infinities are clamped on request."""
    b, half = e.b, e.narrow(value)
    magnitude = b.and_(half, const(0x7FFF, True, 16))
    infinite = b.icmp_unsigned("==", magnitude, const(0x7C00, True, 16))
    clamp = b.and_(infinite, e.splat(b.trunc(saturate, I1)))
    e.store(b.select(clamp, b.sub(half, const(1, True, 16)), half), address, 2)


def _flip(e: VectorBuilder, bits: Any) -> Any:
    """Turn bits of numbers into integers of the same order, and back."""
    b = e.b
    return b.xor(bits, b.and_(b.ashr(bits, const(31, True)), const(_LARGEST, True)))


@intrinsic(prefer_literal=True)
def pool_strip(tyctx, kind, red, taps, count, offset, out, saturate):
    """Reduce the 16 elements at ``offset`` behind each of the addresses ``taps[:count]``."""
    element, op = kind.literal_value, red.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        taps, count, offset, out, saturate = args[2:]
        e = VectorBuilder(builder)

        def value(i: Any) -> Any:
            place = e.load(builder.add(taps, builder.shl(i, i64(3))), I64, 8)
            at = builder.add(place, offset)
            if element == F16:
                return e.load_half(at)
            if element == F32:
                return e.load(at, VF, 4)
            return builder.select(e.load_mask(at), e.floats(1.0), e.floats(0.0))

        def add(i: Any, acc: list[Any]) -> list[Any]:
            return [builder.fadd(acc[0], value(i))]

        def larger(i: Any, acc: list[Any]) -> list[Any]:
            x = value(i)
            key = builder.select(e.is_nan(x), const(_LARGEST, True), _flip(e, e.bits(x)))
            return [builder.select(builder.icmp_signed(">", key, acc[0]), key, acc[0])]

        if op == MAX:
            (key,) = e.loop(count, [const(0xFF800000 ^ _LARGEST, True)], larger)
            nan = builder.icmp_unsigned("==", key, const(_LARGEST, True))
            total = e.float_of(builder.select(nan, const(NAN32, True), _flip(e, key)))
        else:
            (total,) = e.loop(count, [e.floats(0.0)], add)
        if op == SUM32:
            e.store(e.canonical(total), out, 4)
        else:
            _write_halves(e, total, out, saturate)
        return context.get_dummy_value()

    return types.void(kind, red, *[types.int64] * 5), codegen


@kernel("void(int64, int64, int64, int64, int64, int64, int64)")
def pool_group(kind, red, taps, count, offset, out, saturate):
    """Reduce one group of 16 channels; not for maxima of spikes."""
    if kind == F16:
        if red == SUM:
            pool_strip(0, 0, taps, count, offset, out, saturate)
        elif red == MAX:
            pool_strip(0, 1, taps, count, offset, out, saturate)
        else:
            pool_strip(0, 2, taps, count, offset, out, saturate)
    elif kind == F32:
        if red == SUM:
            pool_strip(1, 0, taps, count, offset, out, saturate)
        elif red == MAX:
            pool_strip(1, 1, taps, count, offset, out, saturate)
        else:
            pool_strip(1, 2, taps, count, offset, out, saturate)
    elif red == SUM:
        pool_strip(2, 0, taps, count, offset, out, saturate)
    else:
        pool_strip(2, 2, taps, count, offset, out, saturate)


@kernel(
    "int64(int64, int64, int64, int64, int64, int64[:, ::1], int64[:, ::1], int64, int64, int64,"
    " int64, int64, int64)"
)
def pool_rows(kind, red, x, stride, image, ys, xs, in_w, channels, rows, dst, dst_stride, saturate):
    """Reduce all windows; return the set bits among the spikes of all taps."""
    out_w, k_h, k_w = xs.shape[0], ys.shape[1], xs.shape[1]
    positions = ys.shape[0] * out_w
    units = 2 if kind == F32 else 1  # of 16 bits, per channel
    result_units = 2 if red == SUM32 else 1
    taps = np.empty(k_h * k_w, np.int64)
    staged = np.empty(k_h * k_w, np.int64)
    rest = channels % 16
    stage = np.zeros(k_h * k_w * 32 if rest and kind != BIT else 1, np.uint16)
    result = np.zeros(32, np.uint16)
    ones = 0
    for r in range(rows):
        p = r % positions
        base = x + r // positions * image
        count = 0
        for ky in range(k_h):
            for kx in range(k_w):
                sy, sx = ys[p // out_w, ky], xs[p % out_w, kx]
                if sy >= 0 and sx >= 0:
                    taps[count] = base + (sy * in_w + sx) * stride
                    count += 1
        for low in range(0, channels, 16):
            width = min(16, channels - low)
            if kind == BIT:
                keep = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
                offset = low // 8
                some = np.uint64(0)
                for t in range(count):
                    value = load_bits16(taps[t] + offset) & keep
                    some |= value
                    ones += count_bits(value)
                if red == MAX:
                    store_bits16(some, dst + r * dst_stride + offset)
                    continue
            else:
                offset = 2 * units * low
            out = dst + r * dst_stride + 2 * result_units * low
            if width == 16:
                pool_group(kind, red, taps.ctypes.data, count, offset, out, saturate)
                continue
            source = taps.ctypes.data
            if kind != BIT:
                for t in range(count):
                    staged[t] = stage.ctypes.data + 64 * t
                    copy_units(taps[t] + offset, staged[t], width * units)
                source, offset = staged.ctypes.data, 0
            pool_group(kind, red, source, count, offset, result.ctypes.data, saturate)
            copy_units(result.ctypes.data, out, width * result_units)
    return ones


@intrinsic(prefer_literal=True)
def grad_strip(tyctx, kind, x, y, g, total, taken, keep):
    """Add ``g`` to ``total`` where x equals y and no earlier tap took it; ``keep`` masks lanes."""
    element = kind.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, y, g, total, taken, keep = args[1:]
        e = VectorBuilder(builder)
        if element == F16:
            equal = builder.fcmp_ordered("==", e.load_half(x), e.load_half(y))
        else:
            equal = builder.not_(builder.xor(e.load_mask(x), e.load_mask(y)))
        before = e.load_mask(taken)
        hit = builder.and_(builder.and_(equal, e.load_mask(keep)), builder.not_(before))
        e.store_mask(builder.or_(before, hit), taken)
        old = e.load(total, VF, 4)
        new = builder.fadd(old, e.load_half(g))
        e.store(builder.select(hit, new, old), total, 4)
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 6), codegen


@intrinsic
def finish_strip(tyctx, total, out, saturate):
    """Round 16 sums to binary16."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = VectorBuilder(builder)
        _write_halves(e, e.load(args[0], VF, 4), args[1], args[2])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@kernel(
    "int64(int64, int64, int64, int64, int64, int64, int64, int64, int64[:, ::1], int64[:, ::1],"
    " int64, int64, float32[::1], uint16[::1])"
)
def grad_group(
    kind, x, x_stride, y, y_stride, g, g_stride, width, ys, xs, in_w, inputs, total, taken
):
    """Sum the gradients of 16 channels of one image into ``total``; return how many there are."""
    out_h, out_w, k_h, k_w = ys.shape[0], xs.shape[0], ys.shape[1], xs.shape[1]
    keep = np.full(1, (1 << width) - 1, np.uint16)
    mask = keep.ctypes.data
    total[: 16 * inputs] = np.float32(0.0)
    taken[: out_h * out_w] = np.uint16(0)
    for ky in range(k_h):
        for kx in range(k_w):
            for oy in range(out_h):
                sy = ys[oy, ky]
                if sy < 0:
                    continue
                for ox in range(out_w):
                    sx = xs[ox, kx]
                    if sx < 0:
                        continue
                    p, s = oy * out_w + ox, sy * in_w + sx
                    a, b, c = x + s * x_stride, y + p * y_stride, g + p * g_stride
                    d, e = total.ctypes.data + 64 * s, taken.ctypes.data + 2 * p
                    if kind == F16:
                        grad_strip(0, a, b, c, d, e, mask)
                    else:
                        grad_strip(2, a, b, c, d, e, mask)
    count = 0
    for p in range(out_h * out_w):
        count += count_bits(np.uint64(taken[p]))
    return count


@kernel("void(float32[::1], int64, int64, int64, int64, int64)")
def finish_group(total, rows, width, dst, dst_stride, saturate):
    """Round the sums of 16 channels and write ``width`` of them."""
    result = np.zeros(16, np.uint16)
    for r in range(rows):
        out = dst + r * dst_stride
        if width == 16:
            finish_strip(total.ctypes.data + 64 * r, out, saturate)
        else:
            finish_strip(total.ctypes.data + 64 * r, result.ctypes.data, saturate)
            copy_units(result.ctypes.data, out, width)


@kernel(
    "int64(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64[:, ::1], int64[:, ::1], int64, int64)"
)
def grad_images(
    kind, images, channels, x, x_stride, x_image, y, y_stride, g, g_stride, dst, dst_stride,
    dst_image, inputs, ys, xs, in_w, saturate,
):  # fmt: skip
    """Route and round the gradients of whole groups of 16 channels; return how many there are."""
    positions = ys.shape[0] * xs.shape[0]
    total = np.empty(16 * inputs, np.float32)
    taken = np.empty(positions, np.uint16)
    routed = 0
    for i in range(images):
        for low in range(0, channels, 16):
            offset = 2 * low if kind == F16 else low // 8
            routed += grad_group(
                kind, x + i * x_image + offset, x_stride, y + i * positions * y_stride + offset,
                y_stride, g + i * positions * g_stride + 2 * low, g_stride, 16, ys, xs, in_w,
                inputs, total, taken,
            )  # fmt: skip
            finish_group(total, inputs, 16, dst + i * dst_image + 2 * low, dst_stride, saturate)
    return routed


@kernel("void(int64, int64, int64, int64, uint16[:, ::1], int64, int64)")
def gather_group(source, stride, rows, width, out, low, high):
    """Copy ``width`` numbers of 16 bits per row to rows of 16; only addresses in low..high.

    Positions that no tap reaches may lie outside of the memory.
    """
    for r in range(rows):
        place = source + r * stride
        if place >= low and place + 2 * width <= high:
            copy_units(place, out.ctypes.data + 32 * r, width)
