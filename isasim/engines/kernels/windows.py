# pyright: basic
# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def,misc"
"""Patches of image stacks: the rows that a convolution reduces, in the canonical order.

``pixels`` [position, tap] holds the byte offset in an image of every tap, ``OUTSIDE`` for none.  A
patch is a row of packed bits or of binary16 numbers, the reduced index along the row; taps outside
the image are zeros.  Rows ``row0`` to ``row1`` go to the beginning of ``words`` or ``out``.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.bits import load_bits16, load_word
from snncc.isasim.engines.kernels.emit import V16, VectorBuilder, const
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.panel import OUTSIDE
from snncc.isasim.engines.kernels.turn import load_short, store_short


@intrinsic
def copy16(tyctx, source, target):
    """Copy 16 numbers of 16 bits."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        e.store(e.load(args[0], V16, 2), args[1], 2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def clear16(tyctx, target):
    """Write 16 zeros of 16 bits."""

    def codegen(context, builder, signature, args):
        VectorBuilder(builder).store(const(0, vector=True, bits=16), args[0], 2)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel("void(int64, int64, int64[:, ::1], int64, int64, int64, uint64[:, ::1])")
def window_bits(a, image, pixels, channels, row0, row1, words):
    """Write patches of packed spikes; with a = 0 all bits of taps inside."""
    positions, taps = pixels.shape
    table = pixels.ctypes.data
    for r in range(row0, row1):
        base = a + r // positions * image
        offsets = table + 8 * taps * (r % positions)
        word, shift, place = np.uint64(0), 0, 0
        for low in range(0, channels, 16):
            width = min(16, channels - low)
            keep = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
            for tap in range(taps):
                offset = np.int64(load_word(offsets + 8 * tap))
                value = np.uint64(0)
                if offset != OUTSIDE:
                    value = keep if a == 0 else load_bits16(base + offset + low // 8) & keep
                word |= value << np.uint64(shift)
                shift += width
                if shift >= 64:
                    words[r - row0, place] = word
                    place += 1
                    shift -= 64
                    word = value >> np.uint64(width - shift)
        if shift:
            words[r - row0, place] = word


@kernel("void(int64, int64, int64[:, ::1], int64, int64, int64, uint16[:, ::1])")
def window_halves(a, image, pixels, channels, row0, row1, out):
    """Write patches of binary16 numbers."""
    positions, taps = pixels.shape
    table = pixels.ctypes.data
    for r in range(row0, row1):
        base = a + r // positions * image
        offsets = table + 8 * taps * (r % positions)
        target = out.ctypes.data + (r - row0) * 2 * out.shape[1]
        for low in range(0, channels, 16):
            width = min(16, channels - low)
            for tap in range(taps):
                offset = np.int64(load_word(offsets + 8 * tap))
                source = base + offset + 2 * low
                inside = offset != OUTSIDE
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
