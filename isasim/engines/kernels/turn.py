# pyright: basic
# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def,misc"
"""Transposition of matrices of 16-bit elements, 16 by 16 in registers."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.emit import I16, I32, LANES, V16, VectorBuilder
from snncc.isasim.engines.kernels.kernel_cache import kernel

_INDICES = ir.VectorType(I32, LANES)
_LOW = ir.Constant(_INDICES, [i // 2 + i % 2 * LANES for i in range(LANES)])
_HIGH = ir.Constant(_INDICES, [LANES // 2 + i // 2 + i % 2 * LANES for i in range(LANES)])


@intrinsic
def load_short(tyctx, address):
    """Return the uint16 at an address."""

    def codegen(context, builder, signature, args):
        return VectorBuilder(builder).load(args[0], I16, 2)

    return types.uint16(types.int64), codegen


@intrinsic
def store_short(tyctx, value, target):
    """Write a uint16 to an address."""

    def codegen(context, builder, signature, args):
        VectorBuilder(builder).store(builder.trunc(args[0], I16), args[1], 2)
        return context.get_dummy_value()

    return types.void(types.uint16, types.int64), codegen


def interleave(b, rows):
    """Transpose 16 vectors of 16 elements: four rounds that interleave row i with row i + 8."""
    for _ in range(4):
        pairs = [(rows[i], rows[i + 8]) for i in range(8)]
        rows = [b.shuffle_vector(*pair, part) for pair in pairs for part in (_LOW, _HIGH)]
    return rows


@intrinsic
def turn_block(tyctx, dst, dst_stride, src, src_stride):
    """Transpose a block of 16 by 16."""

    def codegen(context, builder, signature, args):
        e, b = VectorBuilder(builder), builder
        dst, dst_stride, src, src_stride = args
        rows = []
        for _ in range(LANES):
            rows.append(e.load(src, V16, 2))
            src = b.add(src, src_stride)
        for row in interleave(b, rows):
            e.store(row, dst, 2)
            dst = b.add(dst, dst_stride)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@kernel("void(int64, int64, int64, int64, int64, int64)")
def transpose_shorts(dst, dst_stride, src, src_stride, rows, cols):
    """Write the transpose of a matrix of 16-bit elements [rows, cols]."""
    high, wide = rows // 16 * 16, cols // 16 * 16
    for j in range(0, wide, 16):
        for i in range(0, high, 16):
            turn_block(
                dst + j * dst_stride + 2 * i, dst_stride, src + i * src_stride + 2 * j, src_stride
            )
    for j in range(cols):
        for i in range(high if j < wide else 0, rows):
            store_short(load_short(src + i * src_stride + 2 * j), dst + j * dst_stride + 2 * i)


@kernel("void(int64, int64, int64, int64, int64, int64)")
def copy_shorts(dst, dst_stride, src, src_stride, rows, cols):
    """Copy a matrix of 16-bit elements."""
    for i in range(rows):
        for j in range(cols):
            store_short(load_short(src + i * src_stride + 2 * j), dst + i * dst_stride + 2 * j)
