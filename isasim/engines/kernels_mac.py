# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Drivers of the strips: which rows, which columns, which part of the reduction, in which order.

All three compute ``out[r, j] = init[r, j] + sum over k ascending`` with one rounding per term; they
differ in what selects the terms.  The reduction is cut into blocks so that a strip of weights stays
in the cache; a later block starts from what the earlier one wrote, which changes no bit.
``init`` with row distance ``init_stride`` is where accumulators start (the accumulator itself, or a
row of zeros or a bias row with distance 0).  ``w`` may be read up to a multiple of 16 columns.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.emit import I16, WIDE, Emit, const
from snncc.isasim.engines.kernel_cache import kernel
from snncc.isasim.engines.kernels_bits import list_bits
from snncc.isasim.engines.kernels_strip import dense_strip, gated_strip, valued_strip

ROWS = 1024  # accumulator rows per list
WORDS = 32  # 64-bit words of the reduction per block: 2048 terms
GATED = 128 if WIDE else 64  # columns of a strip
VALUED = 64 if WIDE else 32
DENSE = 64 if WIDE else 16
DENSE_ROWS, DENSE_TERMS = 128, 512  # inputs converted at a time: 256 KiB


@intrinsic
def half_at(tyctx, address):
    """Return the binary16 number at an address."""

    def codegen(context, builder, signature, args):
        # One lane of a vector conversion: works with and without half instructions.
        e = Emit(builder)
        lane = builder.insert_element(const(0, True, 16), e.load(args[0], I16, 2), const(0))
        return builder.extract_element(e.widen(lane), const(0))

    return types.float32(types.int64), codegen


@intrinsic
def half_row(tyctx, source, target):
    """Convert 16 binary16 numbers to binary32."""

    def codegen(context, builder, signature, args):
        e = Emit(builder)
        e.store(e.load_half(args[0]), args[1], 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@kernel("void(int64, float32[::1])")
def read_halves(source, target):
    """Convert a vector of binary16 numbers."""
    n = target.shape[0]
    for j in range(0, n - 15, 16):
        half_row(source + 2 * j, target.ctypes.data + 4 * j)
    for j in range(n - n % 16, n):
        target[j] = half_at(source + 2 * j)


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


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def dense_pass(
    height, width, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride
):
    """One strip of ``width`` columns for 1 or 4 rows; ``a`` is [terms][height] in binary32."""
    vectors = (width + 15) // 16
    tail = width - 16 * (vectors - 1)
    if height == 4 and vectors == 4:
        dense_strip(
            4, 4, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )
    elif height == 4 and vectors == 3:
        dense_strip(
            4, 3, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )
    elif height == 4 and vectors == 2:
        dense_strip(
            4, 2, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )
    elif height == 4 and vectors == 1:
        dense_strip(
            4, 1, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )
    elif height == 1 and vectors == 4:
        dense_strip(
            1, 4, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )
    elif height == 1 and vectors == 3:
        dense_strip(
            1, 3, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )
    elif height == 1 and vectors == 2:
        dense_strip(
            1, 2, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )
    elif height == 1 and vectors == 1:
        dense_strip(
            1, 1, init, init_stride, out, out_stride, a, terms, w, stride, gate, gate_stride, tail
        )


@kernel(
    "void(uint64[:, ::1], int64, int64, int64, int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64, int64)"
)
def dense_rows(
    words, rows, depth, n, init, init_stride, out, out_stride, w, stride, gate, gate_stride, a,
    a_row, a_term,
):  # fmt: skip
    """Add ``a[r, k] * w[k]`` for all k; with a = 0 the inputs are the bits of ``words``."""
    packed = np.empty(min(rows, DENSE_ROWS) * min(depth, DENSE_TERMS), np.float32)
    base = packed.ctypes.data
    for row0 in range(0, rows, DENSE_ROWS):
        row1 = min(rows, row0 + DENSE_ROWS)
        groups = row0 + (row1 - row0) // 4 * 4  # rows from here on go one by one
        o, g = out + row0 * out_stride, gate + row0 * gate_stride
        i, i_stride = init + row0 * init_stride, init_stride
        for k0 in range(0, max(depth, 1), DENSE_TERMS):
            terms = min(DENSE_TERMS, depth - k0)
            for r in range(row0, row1):
                height = 4 if r < groups else 1
                place = (r - row0) // height * height * terms + (r - row0) % height
                if a == 0:
                    for k in range(terms):
                        bit = words[r, (k0 + k) // 64] >> np.uint64((k0 + k) % 64)
                        packed[place + k * height] = np.float32(bit & np.uint64(1))
                else:
                    for k in range(terms):
                        address = a + r * a_row + (k0 + k) * a_term
                        packed[place + k * height] = half_at(address)
            for j in range(0, n, DENSE):
                r = 0
                while r < row1 - row0:
                    height = 4 if r + row0 < groups else 1
                    dense_pass(
                        height, min(DENSE, n - j), i + r * i_stride + 4 * j, i_stride,
                        o + r * out_stride + 4 * j, out_stride, base + 4 * r * terms, terms,
                        w + k0 * stride + 2 * j, stride, g + r * gate_stride + j // 8, gate_stride,
                    )  # fmt: skip
                    r += height
            i, i_stride = o, out_stride
