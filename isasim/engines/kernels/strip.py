# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Register-blocked strips: an accumulator row of 16 to 128 columns stays in registers.

Each function becomes part of the numba kernel that calls it.  The first arguments are literals that
choose the variant.  ``tail`` is the number of columns of the last vector (1..16).  The untyped
signatures are numba's intrinsic protocol.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.emit import F32, I32, I64, VF, VectorBuilder, i64


def start_values(e: VectorBuilder, init: Any, v: int, vectors: int, mask: Any) -> Any:
    """Load accumulators into registers: +0 plus what memory holds."""
    address = e.at(init, 64 * v)
    loaded = e.masked_load(address, mask) if v == vectors - 1 else e.load(address, VF, 4)
    return e.b.fadd(loaded, e.floats(0.0))


def finish_values(e: VectorBuilder, value: Any, out: Any, v: int, vectors: int, mask: Any) -> None:
    """Store accumulators, NaN canonical."""
    address = e.at(out, 64 * v)
    if v == vectors - 1:
        e.masked_store(e.canonical(value), address, mask)
    else:
        e.store(e.canonical(value), address, 4)


@intrinsic(prefer_literal=True)
def gated_strip(tyctx, vectors, half, init, out, index, count, w, stride, tail):
    """``out = init; for k in index[:count]: out += w[k]``; half rounds each sum to binary16."""
    width, rounding = vectors.literal_value, half.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        init, out, index, count, w, stride, tail = args[2:]
        e = VectorBuilder(builder)
        mask = e.first_lanes(tail)

        def body(i: Any, acc: list[Any]) -> list[Any]:
            place = builder.add(index, builder.shl(i, i64(2)))
            row = builder.mul(builder.sext(e.load(place, I32, 4), I64), stride)
            base = builder.add(w, row)
            acc = [builder.fadd(x, e.load_half(e.at(base, 32 * v))) for v, x in enumerate(acc)]
            return [e.round16(x) for x in acc] if rounding else acc

        first = [start_values(e, init, v, width, mask) for v in range(width)]
        for v, value in enumerate(e.loop(count, first, body)):
            finish_values(e, value, out, v, width, mask)
        return context.get_dummy_value()

    return types.void(vectors, half, *[types.int64] * 7), codegen


@intrinsic(prefer_literal=True)
def valued_strip(tyctx, vectors, half, init, out, index, values, count, w, stride, gate, tail):
    """``out = init; for i < count: out += values[i] * w[index[i]]`` where ``gate`` bits are set."""
    width, rounding = vectors.literal_value, half.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        init, out, index, values, count, w, stride, gate, tail = args[2:]
        e = VectorBuilder(builder)
        mask = e.first_lanes(tail)

        def body(i: Any, acc: list[Any]) -> list[Any]:
            offset = builder.shl(i, i64(2))
            row = builder.sext(e.load(builder.add(index, offset), I32, 4), I64)
            base = builder.add(w, builder.mul(row, stride))
            a = e.splat(e.load(builder.add(values, offset), F32, 4))
            return [
                multiply_add(e, x, a, e.load_half(e.at(base, 32 * v)), rounding)
                for v, x in enumerate(acc)
            ]

        first = [start_values(e, init, v, width, mask) for v in range(width)]
        for v, value in enumerate(e.loop(count, first, body)):
            chosen = builder.select(e.load_mask(e.at(gate, 2 * v)), value, first[v])
            finish_values(e, chosen, out, v, width, mask)
        return context.get_dummy_value()

    return types.void(vectors, half, *[types.int64] * 9), codegen


def multiply_add(e: VectorBuilder, acc: Any, a: Any, w: Any, rounding: bool) -> Any:
    """Add a product to an accumulator.

    The product of two binary16 numbers is exact in binary32, so contracting the two operations to
    a fused one cannot change a bit.
    """
    if rounding:
        return e.round16(e.b.fadd(acc, e.round16(e.b.fmul(a, w))))
    return e.b.fadd(acc, e.b.fmul(a, w, flags=("contract",)), flags=("contract",))
