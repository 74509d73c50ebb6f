# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Dense accumulation: every term of every row, whether its input is zero or not.

``out[r, j] = init[r, j] + sum of a[r, t] * w[t, j] over t ascending`` with one rounding per term.
The reduction is cut into chunks whose inputs are packed as binary32; a later chunk starts from what
the earlier one wrote, which changes no bit.  Weights are a binary32 panel.
"""

from __future__ import annotations

import numpy as np

from snncc.isasim.engines.kernels.block import block
from snncc.isasim.engines.kernels.emit import WIDE
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.panel import OUTSIDE, RUNS, WIDTH, pack_inputs

ROWS = 128  # positions that are packed at a time
STEP = 4 * WIDTH
TALL = 16 if WIDE else 6  # rows of a block of one vector
BROAD = 8  # rows of a block of two vectors; used where there are 32 registers


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def inner_chunk(
    rows, n, init, init_stride, out, out_stride, a, terms, w, places, gate, gate_stride
):
    """Accumulate packed inputs [row, term]."""
    j = 0
    while j < n:
        height = BROAD if WIDE and n - j > 16 else TALL
        for r in range(0, rows, height):
            i, o = init + r * init_stride + 4 * j, out + r * out_stride + 4 * j
            p, c, g = a + r * STEP, w + 4 * j, gate
            if gate:
                g += r * gate_stride + j // 8
            if WIDE and n - j > 16:
                block(
                    BROAD, 2, STEP, 4, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    places, g, gate_stride, min(16, n - j - 16),
                )  # fmt: skip
            else:
                block(
                    TALL, 1, STEP, 4, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    places, g, gate_stride, min(16, n - j),
                )  # fmt: skip
        j += 32 if WIDE and n - j > 16 else 16


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def outer_chunk(rows, n, init, init_stride, out, out_stride, a, terms, w, places):
    """Accumulate packed inputs [term, row]."""
    j = 0
    while j < n:
        height = BROAD if WIDE and n - j > 16 else TALL
        for r in range(0, rows, height):
            i, o = init + r * init_stride + 4 * j, out + r * out_stride + 4 * j
            p, c = a + 4 * r, w + 4 * j
            if WIDE and n - j > 16:
                block(
                    BROAD, 2, 4, STEP, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    places, 0, 0, min(16, n - j - 16),
                )  # fmt: skip
            else:
                block(
                    TALL, 1, 4, STEP, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    places, 0, 0, min(16, n - j),
                )  # fmt: skip
        j += 32 if WIDE and n - j > 16 else 16


@kernel("int64(int64, int64, int64)")
def run_start(run, taps, channels):
    """Return the reduced index at which a run begins."""
    low = min(channels, 16 * (run // taps))
    return low * taps + run % taps * min(16, channels - low)


@kernel("int64(int64[:, ::1], int64, int64, int64[::1])")
def taps_of(pixels, position, every, chosen):
    """List the taps of a position that are inside the image, or all; return their number."""
    count = 0
    for tap in range(pixels.shape[1]):
        if every or pixels[position, tap] != OUTSIDE:
            chosen[count] = tap
            count += 1
    return count


@kernel(
    "void(int64, int64, int64, int64[:, ::1], int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64, int64, int64, int64)"
)
def dense_inner(
    bits, a, image, pixels, channels, limit, apart, rows, n, init, init_stride, out, out_stride, w,
    stride, gate, gate_stride,
):  # fmt: skip
    """Reduce the patches of ``rows`` positions: accumulators are [position, n].

    With ``apart`` every position of an image is computed for all images at once, which leaves out
    the taps outside (there is no gate then).
    """
    positions, taps = pixels.shape
    packed = np.empty(min(rows, ROWS) * WIDTH + 16 * WIDTH, np.float32)
    chosen, which = np.empty(taps, np.int64), np.empty(ROWS, np.int64)
    places = np.empty(WIDTH, np.int64)
    step = positions if apart else 1
    count = rows // step
    for first in range(step):
        inside = taps_of(pixels, first, not apart, chosen)
        runs = (channels + 15) // 16 * inside
        i, i_stride = init + first * init_stride, init_stride * step
        o, o_stride = out + first * out_stride, out_stride * step
        for run0 in range(0, max(1, runs), RUNS):
            run1 = min(runs, run0 + RUNS)
            terms = 0
            for run in range(run0, run1):
                low = 16 * (run // inside)
                width = min(16, channels - low)
                k = low * taps + chosen[run % inside] * width
                for c in range(width):
                    places[terms + c] = (k + c) * stride
                terms += width
            for row0 in range(0, count, ROWS):
                height = min(ROWS, count - row0)
                for r in range(height):
                    which[r] = first + (row0 + r) * step
                pack_inputs(
                    bits, a, image, pixels, channels, which[:height], chosen[:inside], run0, run1,
                    limit, packed.ctypes.data,
                )  # fmt: skip
                g = gate
                if gate:
                    g += row0 * gate_stride
                inner_chunk(
                    height, n, i + row0 * i_stride, i_stride, o + row0 * o_stride, o_stride,
                    packed.ctypes.data, terms, w, places.ctypes.data, g, gate_stride,
                )  # fmt: skip
            i, i_stride = o, o_stride


@kernel(
    "void(int64, int64, int64, int64[:, ::1], int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64, int64)"
)
def dense_outer(
    bits, a, image, pixels, channels, limit, apart, rows, n, init, init_stride, out, out_stride, w,
    stride,
):  # fmt: skip
    """Reduce over ``rows`` positions: accumulators are [reduced index, n].

    With ``apart`` every tap is computed on its own, from the positions at which it is inside.
    """
    positions, taps = pixels.shape
    blocks = (channels + 15) // 16
    packed = np.empty(min(rows, ROWS) * WIDTH + 16 * WIDTH, np.float32)
    chosen, which = np.arange(taps), np.empty(rows, np.int64)
    places = np.empty(ROWS, np.int64)
    for tap in range(taps if apart else 1):
        if apart:
            chosen[0] = tap
        used, terms = 1 if apart else taps, 0
        for r in range(rows):
            which[terms] = r
            terms += not apart or pixels[r % positions, tap] != OUTSIDE
        i, i_stride = init, init_stride
        for term0 in range(0, max(1, terms), ROWS):
            term1 = min(terms, term0 + ROWS)
            for t in range(term0, term1):
                places[t - term0] = which[t] * stride
            for run0 in range(0, blocks * used, RUNS):
                run1 = min(blocks * used, run0 + RUNS)
                pack_inputs(
                    bits, a, image, pixels, channels, which[term0:term1], chosen[:used], run0,
                    run1, limit, packed.ctypes.data,
                )  # fmt: skip
                together = 1 if apart else run1 - run0
                for run in range(run0, run1, together):
                    k0 = run_start(run * taps + tap if apart else run, taps, channels)
                    k1 = run_start(run * taps + tap + 1 if apart else run1, taps, channels)
                    outer_chunk(
                        k1 - k0, n, i + k0 * i_stride, i_stride, out + k0 * out_stride, out_stride,
                        packed.ctypes.data + 64 * (run - run0), term1 - term0, w,
                        places.ctypes.data,
                    )  # fmt: skip
            i, i_stride = out, out_stride
