# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Packed spikes to 64-bit words, transposed words, and lists of the active columns.

Memory is reached by address: the callers have checked every byte.  The untyped signatures are
numba's intrinsic protocol; kernels are typed by their numba signatures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.emit import I16, I64, V16, VectorBuilder, const
from snncc.isasim.engines.kernels.kernel_cache import kernel


@intrinsic
def load_word(tyctx, address):
    """Return the 64 bits at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return VectorBuilder(builder).load(args[0], I64, 1)

    return types.uint64(types.int64), codegen


@intrinsic
def load_bits16(tyctx, address):
    """Return the 16 bits at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(VectorBuilder(builder).load(args[0], I16, 2), I64)

    return types.uint64(types.int64), codegen


@intrinsic
def nonzero16(tyctx, address):
    """Return a bit for each of the 16 binary16 numbers at an address: whether it is not zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = VectorBuilder(builder)
        mag = builder.and_(e.load(args[0], V16, 2), const(0x7FFF, True, 16))
        mask = builder.icmp_unsigned("!=", mag, const(0, True, 16))
        return builder.zext(builder.bitcast(mask, I16), I64)

    return types.uint64(types.int64), codegen


@intrinsic
def lowest_bit(tyctx, word):
    """Return the number of trailing zeros of a word (64 for zero)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], const(0, bits=1))

    return types.int64(types.uint64), codegen


@intrinsic
def count_bits(tyctx, word):
    """Return the number of set bits of a word."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@kernel("int64(int64, int64, int64, int64, uint64[:, ::1])")
def read_bits(a, stride, rows, k, words):
    """Copy packed rows into words, clear the padding; return the number of spikes."""
    total = 0
    full, rest = k // 64, k % 64
    for r in range(rows):
        base = a + r * stride
        for q in range(full):
            word = load_word(base + 8 * q)
            words[r, q] = word
            total += count_bits(word)
        if rest:
            word = np.uint64(0)
            for h in range((rest + 15) // 16):
                word |= load_bits16(base + 8 * full + 2 * h) << np.uint64(16 * h)
            word &= (np.uint64(1) << np.uint64(rest)) - np.uint64(1)
            words[r, full] = word
            total += count_bits(word)
    return total


@kernel("int64(int64, int64, int64, int64, uint64[:, ::1], int64[::1])")
def read_nonzero(a, stride, rows, k, words, counts):
    """Set a bit for every binary16 number that is not zero; return how many, and how many a row."""
    total = 0
    for r in range(rows):
        base = a + r * stride
        row_total = 0
        for q in range((k + 63) // 64):
            word = np.uint64(0)
            for h in range(4):
                column = 64 * q + 16 * h
                if column + 16 <= k:
                    word |= nonzero16(base + 2 * column) << np.uint64(16 * h)
                else:
                    for c in range(column, k):
                        if load_bits16(base + 2 * c) & np.uint64(0x7FFF):
                            word |= np.uint64(1) << np.uint64(c - 64 * q)
            words[r, q] = word
            row_total += count_bits(word)
        counts[r] = row_total
        total += row_total
    return total


@kernel("void(int64, int64, int64, int64, int64[::1])")
def popcount_rows(a, stride, rows, k, counts):
    """Count the set bits of each packed row, padding ignored."""
    for r in range(rows):
        base = a + r * stride
        total = 0
        for h in range(k // 16):
            total += count_bits(load_bits16(base + 2 * h))
        if k % 16:
            keep = (np.uint64(1) << np.uint64(k % 16)) - np.uint64(1)
            total += count_bits(load_bits16(base + 2 * (k // 16)) & keep)
        counts[r] = total


@kernel("int64(uint64[:, ::1], int64, int64, int64, int64)")
def count_blocks(words, rows, full, rest, lines):
    """Count the groups with a set bit: ``full`` of 16 bits in a row, then ``lines`` of ``rest``."""
    total = 0
    low8, low4 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x000F000F000F000F)
    low2, low1 = np.uint64(0x0003000300030003), np.uint64(0x0001000100010001)
    keep_rest = (np.uint64(1) << np.uint64(rest)) - np.uint64(1)
    for r in range(rows):
        for q in range((full + 3) // 4):
            word = words[r, q]
            if not word:
                continue
            word |= (word >> np.uint64(8)) & low8
            word |= (word >> np.uint64(4)) & low4
            word |= (word >> np.uint64(2)) & low2
            word = (word | (word >> np.uint64(1))) & low1
            if full - 4 * q < 4:
                word &= (np.uint64(1) << np.uint64(16 * (full - 4 * q))) - np.uint64(1)
            total += count_bits(word)
        if rest:
            for i in range(lines):
                place = 16 * full + i * rest
                shift = place % 64
                word = words[r, place // 64] >> np.uint64(shift)
                if shift + rest > 64:
                    word |= words[r, place // 64 + 1] << np.uint64(64 - shift)
                if word & keep_rest:
                    total += 1
    return total


@kernel("void(uint64[:, ::1], int64, int64, uint64[:, ::1])")
def transpose_bits(words, rows, k, out):
    """Write the transpose of a bit matrix [rows, k] as words [k, ceil(rows/64)]."""
    block = np.empty(64, np.uint64)
    for q in range((k + 63) // 64):
        for p in range((rows + 63) // 64):
            height = min(64, rows - 64 * p)
            for i in range(height):
                block[i] = words[64 * p + i, q]
            for i in range(height, 64):
                block[i] = np.uint64(0)
            j = 32
            mask = np.uint64(0x00000000FFFFFFFF)
            while j:
                shift = np.uint64(j)
                for base in range(0, 64, 2 * j):
                    for i in range(base, base + j):
                        swap = ((block[i] >> shift) ^ block[i + j]) & mask
                        block[i + j] ^= swap
                        block[i] ^= swap << shift
                j //= 2
                mask ^= mask << np.uint64(j)
            for i in range(min(64, k - 64 * q)):
                out[64 * q + i, p] = block[i]


@kernel("int64(uint64[:, ::1], int64, int64, int64, int64, int32[::1], int64[::1])")
def list_bits(words, row0, row1, word0, word1, index, start):
    """List the set columns of words[row0:row1, word0:word1] row by row, ascending.

    ``index`` needs room for all of them plus 4.  ``start[i]`` is where row ``row0 + i`` begins.
    Columns count from the beginning of the row.  Returns the length.
    """
    place = 0
    for r in range(row0, row1):
        start[r - row0] = place
        for q in range(word0, word1):
            word = words[r, q]
            if not word:
                continue
            end = place + count_bits(word)
            column = 64 * q
            while True:
                # Four at a time: fewer mispredicted branches; what is too much is overwritten.
                for u in range(4):
                    index[place + u] = column + lowest_bit(word)
                    word &= word - np.uint64(1)
                place += 4
                if place >= end:
                    break
            place = end
    start[row1 - row0] = place
    return place
