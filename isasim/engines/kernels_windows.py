# pyright: basic
# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def,misc"
"""Patches of image stacks: the rows that a convolution reduces, in the canonical order.

``ys`` [out_h, k_h] and ``xs`` [out_w, k_w] hold the input row and column of every tap, -1 for none.
A patch is a row of packed bits or of binary16 numbers, the reduced index along the row; taps
outside the image are zeros.  Rows ``row0`` to ``row1`` of the output are written to the beginning
of ``words`` or ``out``.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.emit import V16, Emit, const
from snncc.isasim.engines.kernel_cache import kernel
from snncc.isasim.engines.kernels_bits import count_bits, load_bits16
from snncc.isasim.engines.kernels_turn import load_short, store_short


@intrinsic
def copy16(tyctx, source, target):
    """Copy 16 numbers of 16 bits."""

    def codegen(context, builder, signature, args):
        e = Emit(builder)
        e.store(e.load(args[0], V16, 2), args[1], 2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def clear16(tyctx, target):
    """Write 16 zeros of 16 bits."""

    def codegen(context, builder, signature, args):
        Emit(builder).store(const(0, vector=True, bits=16), args[0], 2)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel(
    "int64(int64, int64, int64, int64[:, ::1], int64[:, ::1], int64, int64, int64, int64,"
    " uint64[:, ::1])"
)
def window_bits(a, stride, image, ys, xs, in_w, channels, row0, row1, words):
    """Write patches of packed spikes; with a = 0 all bits of taps inside.  Return the set bits."""
    out_w, k_h, k_w = xs.shape[0], ys.shape[1], xs.shape[1]
    positions = ys.shape[0] * out_w
    total = 0
    for r in range(row0, row1):
        p = r % positions
        base = a + r // positions * image
        oy, ox = p // out_w, p % out_w
        word, shift, place = np.uint64(0), 0, 0
        for low in range(0, channels, 16):
            width = min(16, channels - low)
            keep = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
            for ky in range(k_h):
                sy = ys[oy, ky]
                line = base + sy * in_w * stride + low // 8
                for kx in range(k_w):
                    sx = xs[ox, kx]
                    value = np.uint64(0)
                    if sy >= 0 and sx >= 0:
                        value = keep if a == 0 else load_bits16(line + sx * stride) & keep
                    word |= value << np.uint64(shift)
                    shift += width
                    if shift >= 64:
                        words[r - row0, place] = word
                        total += count_bits(word)
                        place += 1
                        shift -= 64
                        word = value >> np.uint64(width - shift)
        if shift:
            words[r - row0, place] = word
            total += count_bits(word)
    return total


@kernel(
    "void(int64, int64, int64, int64[:, ::1], int64[:, ::1], int64, int64, int64, int64,"
    " uint16[:, ::1])"
)
def window_halves(a, stride, image, ys, xs, in_w, channels, row0, row1, out):
    """Write patches of binary16 numbers."""
    out_w, k_h, k_w = xs.shape[0], ys.shape[1], xs.shape[1]
    positions = ys.shape[0] * out_w
    for r in range(row0, row1):
        p = r % positions
        base = a + r // positions * image
        oy, ox = p // out_w, p % out_w
        target = out.ctypes.data + (r - row0) * 2 * out.shape[1]
        for low in range(0, channels, 16):
            width = min(16, channels - low)
            for ky in range(k_h):
                sy = ys[oy, ky]
                line = base + sy * in_w * stride + 2 * low
                for kx in range(k_w):
                    sx = xs[ox, kx]
                    source = line + sx * stride
                    inside = sy >= 0 and sx >= 0
                    if width == 16:
                        if inside:
                            copy16(source, target)
                        else:
                            clear16(target)
                    else:
                        for c in range(width):
                            value = load_short(source + 2 * c) if inside else np.uint16(0)
                            store_short(value, target + 2 * c)
                    target += 2 * width
