# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""The register block of dense accumulation: some rows of some vectors of 16 columns.

Becomes part of the numba kernel that calls it.  Inputs and weights are binary32 panels, so a term
is one fused multiply-add per vector with an input that is broadcast from memory.  Enough
accumulators are in flight to hide the latency of the addition, however few columns there are.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from snncc.isasim.engines.kernels.emit import F32, I64, VF, VectorBuilder, i64


@intrinsic(prefer_literal=True)
def block(
    tyctx,
    rows,
    vectors,
    row_step,
    term_step,
    valid,
    init,
    init_stride,
    out,
    out_stride,
    a,
    count,
    w,
    places,
    gate,
    gate_stride,
    tail,
):
    """``out[r] = init[r]; for t < count: out[r] += a[r, t] * w[t]`` for the first ``valid`` rows.

    Input [r, t] is binary32 at ``a + r*row_step + t*term_step`` (steps in bytes), the weights of a
    term are binary32 at ``w`` plus the 64-bit number ``places[t]``.  ``tail`` columns of the last
    vector exist.  With a ``gate`` (else 0) accumulators whose bit is 0 keep their initial value.
    """
    height, width = rows.literal_value, vectors.literal_value
    a_row, a_term = row_step.literal_value, term_step.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        valid, init, init_stride, out, out_stride, a, count, w, places, gate, gate_stride, tail = (
            args[4:]
        )
        e, b = VectorBuilder(builder), builder
        blocks = [(r, v) for r in range(height) for v in range(width)]
        existing = [e.splat(b.icmp_signed(">", valid, i64(r))) for r in range(height)]
        last = e.first_lanes(tail)

        def mask(r: int, v: int) -> Any:
            return b.and_(existing[r], last) if v == width - 1 else existing[r]

        def at(base: Any, distance: Any, r: int, v: int) -> Any:
            return e.at(b.add(base, b.mul(distance, i64(r))), 64 * v)

        def start(r: int, v: int) -> Any:
            loaded = e.masked_load(at(init, init_stride, r, v), mask(r, v))
            return b.fadd(loaded, e.floats(0.0))

        def body(t: Any, carried: list[Any]) -> list[Any]:
            inputs, acc = carried[0], carried[1:]
            weights = b.add(w, e.load(b.add(places, b.shl(t, i64(3))), I64, 8))
            columns = [e.load(e.at(weights, 64 * v), VF, 4) for v in range(width)]
            new = []
            for r in range(height):
                x = e.splat(e.load(e.at(inputs, r * a_row), F32, 4))
                # The product of two binary16 numbers is exact, so contraction changes no bit.
                new += [
                    b.fadd(
                        acc[r * width + v],
                        b.fmul(x, columns[v], flags=("contract",)),
                        flags=("contract",),
                    )
                    for v in range(width)
                ]
            return [e.at(inputs, a_term), *new]

        values = e.loop(count, [a, *[start(r, v) for r, v in blocks]], body)[1:]
        plain, gated, done = (b.append_basic_block(name) for name in ("plain", "gated", "done"))
        b.cbranch(b.icmp_unsigned("==", gate, i64(0)), plain, gated)
        b.position_at_end(gated)
        chosen = []
        for (r, v), value in zip(blocks, values, strict=True):
            row = b.select(b.icmp_signed(">", valid, i64(r)), i64(r), b.sub(valid, i64(1)))
            bits = e.load_mask(e.at(b.add(gate, b.mul(gate_stride, row)), 2 * v))
            chosen.append(b.select(bits, value, start(r, v)))
        gated_end = b.block
        b.branch(done)
        b.position_at_end(plain)
        b.branch(done)
        b.position_at_end(done)
        results = [b.phi(VF) for _ in blocks]
        for phi, value, other in zip(results, values, chosen, strict=True):
            phi.add_incoming(value, plain)
            phi.add_incoming(other, gated_end)
        for (r, v), phi in zip(blocks, results, strict=True):
            e.masked_store(e.canonical(phi), at(out, out_stride, r, v), mask(r, v))
        return context.get_dummy_value()

    signature = types.void(rows, vectors, row_step, term_step, *[types.int64] * 12)
    return signature, codegen
