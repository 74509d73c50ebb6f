# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def,misc"
# pyright: basic
"""Memory moves of a plan: a table of strided copies, fills and additions, executed row by row."""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snncc.isasim.engines.emit import I16, VF, Emit
from snncc.isasim.engines.kernel_cache import kernel
from snncc.isasim.engines.kernels_sum import float_of, store_float
from snncc.isasim.engines.lane_ops import load_pattern

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
        e, b = Emit(builder), builder
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
        Emit(builder).store(builder.trunc(args[0], I16), args[1], 2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def add_group(tyctx, target, source):
    """Add 16 binary32 numbers to +0 plus 16 others, NaN canonical."""

    def codegen(context, builder, signature, args):
        e = Emit(builder)
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
        call = Emit(builder).intrinsic("llvm.prefetch.p0", ir.VoidType(), kinds)
        builder.call(call, (builder.inttoptr(args[0], pointer), word(0), word(3), word(1)))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel("void(int64, int64, int64, int64, int64, int64)")
def copy_rows(dst, dst_stride, src, src_stride, rows, size):
    """Copy rows; those that come soon are fetched early, strides are too wide for the host."""
    ahead = max(1, 1024 // size)
    for j in range(rows):
        if size <= 2048:
            soon = src + (j + ahead) * src_stride
            for line in range(0, size, 64):
                prefetch(soon + line)
            prefetch(soon + size - 1)
        if 16 <= size <= 64:
            copy_short_row(dst + j * dst_stride, src + j * src_stride, size)
        else:
            copy_bytes(dst + j * dst_stride, src + j * src_stride, size)


@kernel("void(int64[:, ::1], int64, int64)")
def move_rows(table, low, high):
    """Execute rows ``low`` to ``high`` of the table."""
    for row in range(low, high):
        what, dst, src, size = table[row, WHAT], table[row, DST], table[row, SRC], table[row, SIZE]
        if what == ADD:
            add_floats(dst, src, size // 4)
            continue
        for i in range(table[row, N0]):
            to, source = dst + i * table[row, DST0], src + i * table[row, SRC0]
            if what == FILL:
                for u in range(0, size, 2):
                    store_pattern(src, to + u)
                continue
            copy_rows(to, table[row, DST1], source, table[row, SRC1], table[row, N1], size)
