# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def,misc"
# pyright: basic
"""Memory moves of a plan: a table of strided copies, fills and additions, executed row by row."""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.emit import I16, VF, VectorBuilder
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.lane_ops import load_pattern
from snncc.isasim.engines.kernels.sum import float_of, store_float

COPY, FILL, ADD = 0, 1, 2
# Columns of the table; FILL has its pattern in SRC, ADD takes contiguous binary32 numbers.
WHAT, DST, SRC, N0, N1, SIZE, DST0, DST1, SRC0, SRC1 = range(10)
COLUMNS = 10


@intrinsic
def copy_bytes(tyctx, target, source, size):
    """Copy bytes that do not overlap."""

    def codegen(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(a, pointer) for a in args[:2])
        cgutils.raw_memcpy(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def copy_short_row(tyctx, target, source, size):
    """Copy 16 to 64 bytes with moves that may overlap each other."""

    def codegen(context, builder, signature, args):
        e, b = VectorBuilder(builder), builder
        target, source, size = args
        part = ir.VectorType(ir.IntType(8), 16)
        last = b.sub(size, ir.Constant(size.type, 16))
        found = [e.load(b.add(source, last), part, 1)]
        for offset in (0, 16, 32):
            at = b.select(
                b.icmp_signed("<", ir.Constant(size.type, offset), last),
                ir.Constant(size.type, offset),
                last,
            )
            found.append(e.load(b.add(source, at), part, 1))
        for offset, value in zip((0, 16, 32), found[1:], strict=True):
            at = b.select(
                b.icmp_signed("<", ir.Constant(size.type, offset), last),
                ir.Constant(size.type, offset),
                last,
            )
            e.store(value, b.add(target, at), 1)
        e.store(found[0], b.add(target, last), 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def store_pattern(tyctx, value, address):
    """Write 16 bits."""

    def codegen(context, builder, signature, args):
        VectorBuilder(builder).store(builder.trunc(args[0], I16), args[1], 2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def store_group(tyctx, value, address):
    """Write 16 bits 16 times."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        e.store(e.splat(builder.trunc(args[0], I16)), args[1], 2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def add_group(tyctx, target, source):
    """Add 16 binary32 numbers to +0 plus 16 others, NaN canonical."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        old = builder.fadd(e.load(args[0], VF, 4), e.floats(0.0))
        new = builder.fadd(old, e.load(args[1], VF, 1))
        e.store(e.canonical(new), args[0], 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@kernel("void(int64, int64, int64)")
def add_floats(dst, src, count):
    """Add binary32 numbers."""
    for j in range(0, count - 15, 16):
        add_group(dst + 4 * j, src + 4 * j)
    for j in range(count - count % 16, count):
        old = float_of(load_pattern(dst + 4 * j)) + np.float32(0.0)
        store_float(old + float_of(load_pattern(src + 4 * j)), dst + 4 * j)


@intrinsic
def prefetch(tyctx, address):
    """Ask for a cache line that will be read."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(32)
        pointer = ir.IntType(8).as_pointer()
        kinds = (pointer, word, word, word)
        call = VectorBuilder(builder).intrinsic("llvm.prefetch.p0", ir.VoidType(), kinds)
        builder.call(call, (builder.inttoptr(args[0], pointer), word(0), word(3), word(1)))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel("void(int64[::1])")
def copy_rows(row):
    """Copy rows; those that come soon are fetched early, strides are too wide for the host."""
    dst, src, n0, n1, size = row[DST], row[SRC], row[N0], row[N1], row[SIZE]
    dst0, dst1, src0, src1 = row[DST0], row[DST1], row[SRC0], row[SRC1]
    ahead = max(1, 1024 // size)
    across, along = (0, ahead) if n1 > 2 * ahead else ((ahead + n1 - 1) // n1, 0)
    early = size <= 2048 and n0 * n1 > 1
    for i in range(n0):
        to, source = dst + i * dst0, src + i * src0
        for j in range(n1):
            if early:
                soon = source + across * src0 + (j + along) * src1
                for line in range(0, size, 64):
                    prefetch(soon + line)
                prefetch(soon + size - 1)
            if 16 <= size <= 64:
                copy_short_row(to + j * dst1, source + j * src1, size)
            else:
                copy_bytes(to + j * dst1, source + j * src1, size)


@kernel("void(int64[::1])")
def fill_rows(row):
    """Fill rows with a pattern of 16 bits."""
    size, pattern = row[SIZE], row[SRC]
    for i in range(row[N0]):
        to = row[DST] + i * row[DST0]
        for u in range(0, size - 31, 32):
            store_group(pattern, to + u)
        for u in range(size - size % 32, size, 2):
            store_pattern(pattern, to + u)


@kernel("void(int64[:, ::1], int64, int64)")
def move_rows(table, low, high):
    """Execute rows ``low`` to ``high`` of the table."""
    for place in range(low, high):
        row = table[place]
        if row[WHAT] == COPY:
            copy_rows(row)
        elif row[WHAT] == FILL:
            fill_rows(row)
        else:
            add_floats(row[DST], row[SRC], row[SIZE] // 4)
