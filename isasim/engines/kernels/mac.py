# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Drivers of the strips: which rows, which columns, which part of the reduction, in which order.

Both compute ``out[r, j] = init[r, j] + sum over k ascending`` with one rounding per term; they
differ in what selects the terms.  The reduction is cut into blocks so that a strip of weights stays
in the cache; a later block starts from what the earlier one wrote, which changes no bit.
``init`` with row distance ``init_stride`` is where accumulators start (the accumulator itself, or a
row of zeros or a bias row with distance 0).  ``w`` may be read up to a multiple of 16 columns.
"""

from __future__ import annotations

import numpy as np

from snncc.isasim.engines.kernels.bits import list_bits
from snncc.isasim.engines.kernels.emit import WIDE
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.panel import half_at
from snncc.isasim.engines.kernels.strip import gated_strip, valued_strip

ROWS = 1024  # accumulator rows per list
WORDS = 32  # 64-bit words of the reduction per block: 2048 terms
GATED = 128 if WIDE else 64  # columns of a strip
VALUED = 64 if WIDE else 32


@kernel("void(int64, int64, int64, int64, int64, int64, int64[::1], int64, int64, int64)")
def gated_pass(width, init, init_stride, out, out_stride, index, start, w, stride, half):
    """One strip of ``width`` columns for the rows listed in ``start``."""
    vectors = (width + 15) // 16
    tail = width - 16 * (vectors - 1)
    for r in range(start.shape[0] - 1):
        i, o, p, c = (
            init + r * init_stride,
            out + r * out_stride,
            index + 4 * start[r],
            start[r + 1] - start[r],
        )
        if half:
            for v in range(vectors):
                lanes = tail if v == vectors - 1 else 16
                gated_strip(1, True, i + 64 * v, o + 64 * v, p, c, w + 32 * v, stride, lanes)
        elif vectors == 8:
            gated_strip(8, False, i, o, p, c, w, stride, tail)
        elif vectors == 7:
            gated_strip(7, False, i, o, p, c, w, stride, tail)
        elif vectors == 6:
            gated_strip(6, False, i, o, p, c, w, stride, tail)
        elif vectors == 5:
            gated_strip(5, False, i, o, p, c, w, stride, tail)
        elif vectors == 4:
            gated_strip(4, False, i, o, p, c, w, stride, tail)
        elif vectors == 3:
            gated_strip(3, False, i, o, p, c, w, stride, tail)
        elif vectors == 2:
            gated_strip(2, False, i, o, p, c, w, stride, tail)
        elif vectors == 1:
            gated_strip(1, False, i, o, p, c, w, stride, tail)


@kernel("void(uint64[:, ::1], int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def gated_rows(words, rows, n, init, init_stride, out, out_stride, w, stride, half):
    """Add the rows of ``w`` whose bit is set in ``words``."""
    depth = words.shape[1]
    index = np.empty(min(ROWS, rows) * min(WORDS, depth) * 64 + 4, np.int32)
    start = np.empty(ROWS + 1, np.int64)
    for row0 in range(0, rows, ROWS):
        row1 = min(rows, row0 + ROWS)
        o = out + row0 * out_stride
        i, i_stride = init + row0 * init_stride, init_stride
        for word0 in range(0, max(depth, 1), WORDS):
            list_bits(words, row0, row1, word0, min(depth, word0 + WORDS), index, start)
            for j in range(0, n, GATED):
                gated_pass(
                    min(GATED, n - j), i + 4 * j, i_stride, o + 4 * j, out_stride,
                    index.ctypes.data, start[: row1 - row0 + 1], w + 2 * j, stride, half,
                )  # fmt: skip
            i, i_stride = o, out_stride


@kernel("void(int32[::1], int64[::1], int64, int64, int64, int64, int64, int64, int64, int64)")
def gated_lists(index, start, n, init, init_stride, out, out_stride, w, stride, half):
    """Add the rows of ``w`` that are listed: row r's are ``index[start[r] : start[r + 1]]``."""
    for j in range(0, n, GATED):
        gated_pass(
            min(GATED, n - j), init + 4 * j, init_stride, out + 4 * j, out_stride,
            index.ctypes.data, start, w + 2 * j, stride, half,
        )  # fmt: skip


@kernel(
    "void(int64, int64, int64, int64, int64, int64, int64, int64[::1], int64, int64, int64, int64,"
    " int64)"
)
def valued_pass(
    width, init, init_stride, out, out_stride, index, values, start, w, stride, gate, gate_stride,
    half,
):  # fmt: skip
    """One strip of ``width`` columns for the rows listed in ``start``."""
    vectors = (width + 15) // 16
    tail = width - 16 * (vectors - 1)
    for r in range(start.shape[0] - 1):
        i, o, p, a, c, g = (
            init + r * init_stride,
            out + r * out_stride,
            index + 4 * start[r],
            values + 4 * start[r],
            start[r + 1] - start[r],
            gate + r * gate_stride,
        )
        if half:
            for v in range(vectors):
                lanes = tail if v == vectors - 1 else 16
                valued_strip(
                    1, True, i + 64 * v, o + 64 * v, p, a, c, w + 32 * v, stride, g + 2 * v, lanes
                )
        elif vectors == 4:
            valued_strip(4, False, i, o, p, a, c, w, stride, g, tail)
        elif vectors == 3:
            valued_strip(3, False, i, o, p, a, c, w, stride, g, tail)
        elif vectors == 2:
            valued_strip(2, False, i, o, p, a, c, w, stride, g, tail)
        elif vectors == 1:
            valued_strip(1, False, i, o, p, a, c, w, stride, g, tail)


@kernel(
    "void(uint64[:, ::1], int64, int64, int64, int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64, int64)"
)
def valued_rows(
    words, rows, n, init, init_stride, out, out_stride, w, stride, gate, gate_stride, a, a_row,
    a_term, half,
):  # fmt: skip
    """Add ``a[r, k] * w[k]`` for the set bits; element [r, k] is at a + r*a_row + k*a_term."""
    depth = words.shape[1]
    size = min(ROWS, rows) * min(WORDS, depth) * 64 + 4
    index = np.empty(size, np.int32)
    values = np.empty(size, np.float32)
    start = np.empty(ROWS + 1, np.int64)
    for row0 in range(0, rows, ROWS):
        row1 = min(rows, row0 + ROWS)
        o, g = out + row0 * out_stride, gate + row0 * gate_stride
        i, i_stride = init + row0 * init_stride, init_stride
        for word0 in range(0, max(depth, 1), WORDS):
            list_bits(words, row0, row1, word0, min(depth, word0 + WORDS), index, start)
            for r in range(row0, row1):
                for p in range(start[r - row0], start[r - row0 + 1]):
                    values[p] = half_at(a + r * a_row + index[p] * a_term)
            for j in range(0, n, VALUED):
                valued_pass(
                    min(VALUED, n - j), i + 4 * j, i_stride, o + 4 * j, out_stride,
                    index.ctypes.data, values.ctypes.data, start[: row1 - row0 + 1], w + 2 * j,
                    stride, g + j // 8, gate_stride, half,
                )  # fmt: skip
            i, i_stride = o, out_stride
