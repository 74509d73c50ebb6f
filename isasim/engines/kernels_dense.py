# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Dense accumulation: every term of every row, whether its input is zero or not.

``out[r, j] = init[r, j] + sum of a[r, t] * w[t, j] over t ascending`` with one rounding per term.
The reduction is cut into chunks whose inputs are packed as binary32; a later chunk starts from what
the earlier one wrote, which changes no bit.  Weights are a binary32 panel.
"""

from __future__ import annotations

import numpy as np

from snncc.isasim.engines.emit import WIDE
from snncc.isasim.engines.kernel_cache import kernel
from snncc.isasim.engines.kernels_block import block
from snncc.isasim.engines.kernels_panel import RUNS, WIDTH, pack_inputs

ROWS = 128  # positions that are packed at a time
STEP = 4 * WIDTH
TALL = 16 if WIDE else 6  # rows of a block of one vector
BROAD = 8  # rows of a block of two vectors; used where there are 32 registers


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def inner_chunk(
    rows, n, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride
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
                    BROAD, 2, STEP, 4, False, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    stride, g, gate_stride, min(16, n - j - 16),
                )  # fmt: skip
            else:
                block(
                    TALL, 1, STEP, 4, False, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    stride, g, gate_stride, min(16, n - j),
                )  # fmt: skip
        j += 32 if WIDE and n - j > 16 else 16


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def outer_chunk(rows, n, init, init_stride, out, out_stride, a, terms, w, stride):
    """Accumulate packed inputs [term, row]."""
    j = 0
    while j < n:
        height = BROAD if WIDE and n - j > 16 else TALL
        for r in range(0, rows, height):
            i, o = init + r * init_stride + 4 * j, out + r * out_stride + 4 * j
            p, c = a + 4 * r, w + 4 * j
            if WIDE and n - j > 16:
                block(
                    BROAD, 2, 4, STEP, False, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    stride, 0, 0, min(16, n - j - 16),
                )  # fmt: skip
            else:
                block(
                    TALL, 1, 4, STEP, False, rows - r, i, init_stride, o, out_stride, p, terms, c,
                    stride, 0, 0, min(16, n - j),
                )  # fmt: skip
        j += 32 if WIDE and n - j > 16 else 16


@kernel("int64(int64, int64, int64)")
def run_start(run, taps, channels):
    """Return the reduced index at which a run begins."""
    low = min(channels, 16 * (run // taps))
    return low * taps + run % taps * min(16, channels - low)


@kernel(
    "void(int64, int64, int64, int64[:, ::1], int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64, int64, int64)"
)
def dense_inner(
    bits, a, image, pixels, channels, limit, rows, n, init, init_stride, out, out_stride, w,
    stride, gate, gate_stride,
):  # fmt: skip
    """Reduce the patches of ``rows`` positions: accumulators are [position, n]."""
    taps = pixels.shape[1]
    runs = (channels + 15) // 16 * taps
    packed = np.empty(min(rows, ROWS) * WIDTH + 16 * WIDTH, np.float32)
    for run0 in range(0, max(1, runs), RUNS):
        run1 = min(runs, run0 + RUNS)
        term0 = run_start(run0, taps, channels)
        terms = run_start(run1, taps, channels) - term0
        for row0 in range(0, rows, ROWS):
            row1 = min(rows, row0 + ROWS)
            pack_inputs(
                bits, a, image, pixels, channels, row0, row1, run0, run1, limit,
                packed.ctypes.data,
            )  # fmt: skip
            g = gate
            if gate:
                g += row0 * gate_stride
            inner_chunk(
                row1 - row0, n, init + row0 * init_stride, init_stride, out + row0 * out_stride,
                out_stride, packed.ctypes.data, terms, w + term0 * stride, stride, g, gate_stride,
            )  # fmt: skip
        init, init_stride = out, out_stride


@kernel(
    "void(int64, int64, int64, int64[:, ::1], int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64)"
)
def dense_outer(
    bits, a, image, pixels, channels, limit, rows, n, init, init_stride, out, out_stride, w, stride
):
    """Reduce over ``rows`` positions: accumulators are [reduced index, n]."""
    taps = pixels.shape[1]
    runs = (channels + 15) // 16 * taps
    packed = np.empty(min(rows, ROWS) * WIDTH + 16 * WIDTH, np.float32)
    for row0 in range(0, max(1, rows), ROWS):
        row1 = min(rows, row0 + ROWS)
        for run0 in range(0, runs, RUNS):
            run1 = min(runs, run0 + RUNS)
            k0 = run_start(run0, taps, channels)
            pack_inputs(
                bits, a, image, pixels, channels, row0, row1, run0, run1, limit,
                packed.ctypes.data,
            )  # fmt: skip
            outer_chunk(
                run_start(run1, taps, channels) - k0, n, init + k0 * init_stride, init_stride,
                out + k0 * out_stride, out_stride, packed.ctypes.data, row1 - row0,
                w + row0 * stride, stride,
            )  # fmt: skip
        init, init_stride = out, out_stride
