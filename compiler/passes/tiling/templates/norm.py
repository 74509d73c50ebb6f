"""Templates for the statistics of batch norm and their gradients."""

from __future__ import annotations

from collections.abc import Callable

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import ProgramWriter
from snncc.compiler.passes.tiling.kit.sizes import candidates, share
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream
from snncc.compiler.passes.tiling.kit.views import row_bytes
from snncc.compiler.passes.tiling.templates.dense import GRANULE
from snncc.compiler.passes.tiling.templates.dispatch import Handler
from snncc.compiler.passes.tiling.templates.sums import Chunk, RowChunks, finish_program
from snncc.isa.microprograms.table import MicroProgram


def _square_program(dtype: str) -> MicroProgram:
    """Streams: x, mean (one per column); out: (x - mean)**2 in f32."""
    w = ProgramWriter()
    x = _number(w, dtype, 0)
    d = w.add("sub.f", (x, w.add("ld.f", imm=1)))
    w.add("st.f", (w.add("mul.f", (d, d)),), imm=2)
    return w.program("square")


def _number(w: ProgramWriter, dtype: str, stream: int) -> int:
    if dtype != "bit":
        return w.add("ld.f" if dtype == "f32" else "ld.h", imm=stream)
    mask = w.add("ld.m", imm=stream)
    one, zero = w.add("const.h", imm=0x3C00), w.add("const.h", imm=0)
    return w.add("sel.h", (mask, one, zero))


def _normal_program(dtype: str) -> MicroProgram:
    """Streams: g, x, mean, inv; out: g * ((x - mean) * inv) in f32."""
    w = ProgramWriter()
    d = w.add("sub.f", (_number(w, dtype, 1), w.add("ld.f", imm=2)))
    normal = w.add("mul.f", (d, w.add("ld.f", imm=3)))
    w.add("st.f", (w.add("mul.f", (w.add("ld.h", imm=0), normal)),), imm=4)
    return w.program("normal")


def _each_step(op: Op) -> int:
    """Return how many statistics there are: one per step with ``per_step``, else one."""
    made = op.results[0].type
    return made.shape[0] if made.kind == "seq" else 1


def _bn_tile(context: TilingContext, op: Op, channels: int, per_element: int) -> tuple[int, int]:
    n_max = next(
        (
            n
            for n in candidates(share(channels, GRANULE, context.cores), GRANULE)
            if n * (per_element + 24) + 1024 <= context.limit
        ),
        min(channels, GRANULE),
    )
    if n_max * (per_element + 24) + 1024 > context.limit:
        context.too_small(op, "batch norm", n_max * (per_element + 24) + 1024)
    r_max = max(1, (context.limit - n_max * 24 - 1024) // (n_max * per_element))
    return n_max, r_max


def _bn_stats(context: TilingContext, op: Op) -> None:
    x, times = context.view(op.operands[0]), _each_step(op)  # channels are fastest in memory
    x = x if times > 1 else x.flat()
    count = x.rows
    n_max, r_max = _bn_tile(context, op, x.cols, 6)
    r_max = min(r_max, count)
    b = context.task(op, "bn_stats")
    acc = b.sram("acc", n_max * 4)
    mean, var = b.sram("mean", n_max * 4), b.sram("var", n_max * 4)
    source = b.sram("x", r_max * row_bytes(x.dtype, n_max))
    squares = b.sram("square", r_max * n_max * 4)
    outs = [context.tensors.get(r) for r in op.results]

    def tile(c_at: At, n: int, _: bool) -> None:
        b.tiles(times, 1, lambda t_at, _, __: step(c_at, n, t_at))

    def step(c_at: At, n: int, t_at: At) -> None:
        width = row_bytes(x.dtype, n)

        def load(r_at: At, r: int) -> None:
            b.load(source, ZERO, x.dram, x.at(t=t_at, r=r_at, c=c_at), r, width, width, x.row)

        def total(y: Value, body: Callable[[At, int], None]) -> None:
            b.emit("fill", [("dst", acc, ZERO)], dst0=0, n0=1, bytes=n * 4, pattern=0)
            b.tiles(count, r_max, lambda r_at, r, _: body(r_at, r))
            b.lanes(
                "ew",
                context.program("finish", finish_program(count, True)),
                [Stream(acc, ZERO, 0, 0), Stream(y, ZERO, 0, 0)],
                1,
                1,
                n,
            )

        def plain(r_at: At, r: int) -> None:
            load(r_at, r)
            b.emit(
                "colsum",
                [("acc", acc, ZERO), ("x", source, ZERO)],
                x_stride=width,
                rows=r,
                n=n,
                type=x.dtype,
                init="keep",
            )

        def square(r_at: At, r: int) -> None:
            load(r_at, r)
            b.lanes(
                "ew",
                context.program("square", _square_program(x.dtype)),
                [
                    Stream(source, ZERO, 0, width),
                    Stream(mean, ZERO, 0, 0),
                    Stream(squares, ZERO, 0, n * 4),
                ],
                1,
                r,
                n,
            )
            b.emit(
                "colsum",
                [("acc", acc, ZERO), ("x", squares, ZERO)],
                x_stride=n * 4,
                rows=r,
                n=n,
                type="f32",
                init="keep",
            )

        total(mean, plain)
        total(var, square)
        for buffer, dram in zip((mean, var), outs, strict=True):
            if dram is not None:
                b.store(dram, c_at * 4 + t_at * (x.cols * 4), buffer, ZERO, 1, n * 4, 0, 0)

    b.tiles(x.cols, n_max, tile, parallel=True)
    context.add(b)


def _bn_sums(context: TilingContext, op: Op) -> None:
    g, x = (context.view(v) for v in op.operands[:2])
    stats = [context.view(v) for v in op.operands[2:]]
    times = _each_step(op)
    steps = 1 if times > 1 else max(g.steps, x.steps)
    batch = op.operands[0].type.step_shape[0]
    micro = g.rows if times > 1 else op.int_attr("microbatch", batch) * (g.rows // batch)
    n_max, r_max = _bn_tile(context, op, g.cols, 8)
    b = context.task(op, "bn_sums")
    chunks = RowChunks(b, steps, g.rows, micro, r_max)
    accs = [b.sram("acc_g", n_max * 4), b.sram("acc_gx", n_max * 4)]
    mean, inv = b.sram("mean", n_max * 4), b.sram("inv", n_max * 4)
    gs = b.sram("g", chunks.size * n_max * 2)
    xs = b.sram("x", chunks.size * row_bytes(x.dtype, n_max))
    terms = b.sram("terms", chunks.size * n_max * 4)
    outs = [context.tensors.get(r) for r in op.results]

    def tile(c_at: At, n: int, _: bool) -> None:
        b.tiles(times, 1, lambda t_at, _, __: some(c_at, n, t_at))

    def some(c_at: At, n: int, first: At) -> None:
        """Sum up the steps that share statistics."""
        for acc in accs:
            b.emit("fill", [("dst", acc, ZERO)], dst0=0, n0=1, bytes=n * 4, pattern=0)
        for buffer, each in zip((mean, inv), stats, strict=True):
            at = each.at(t=first if each.step else 0, c=c_at)
            b.load(buffer, ZERO, each.dram, at, 1, n * 4, 0, 0)

        def add(chunk: Chunk) -> None:
            chunk.load(b, gs, g, c_at, n, first)
            width = chunk.load(b, xs, x, c_at, n, first)
            b.emit(
                "colsum",
                [("acc", accs[0], ZERO), ("x", gs, ZERO)],
                x_stride=n * 2,
                rows=chunk.count,
                n=n,
                type="f16",
                init="keep",
            )
            b.lanes(
                "ew",
                context.program("normal", _normal_program(x.dtype)),
                [
                    Stream(gs, ZERO, 0, n * 2),
                    Stream(xs, ZERO, 0, width),
                    Stream(mean, ZERO, 0, 0),
                    Stream(inv, ZERO, 0, 0),
                    Stream(terms, ZERO, 0, n * 4),
                ],
                1,
                chunk.count,
                n,
            )
            b.emit(
                "colsum",
                [("acc", accs[1], ZERO), ("x", terms, ZERO)],
                x_stride=n * 4,
                rows=chunk.count,
                n=n,
                type="f32",
                init="keep",
            )

        chunks.visit(add)
        for acc, target in zip(accs, outs, strict=True):
            if target is not None:
                b.store(target, c_at * 4 + first * (g.cols * 4), acc, ZERO, 1, n * 4, 0, 0)

    b.tiles(g.cols, n_max, tile, parallel=True)
    context.add(b)


HANDLERS: dict[str, Handler] = {"phase.bn_stats": _bn_stats, "phase.bn_sums": _bn_sums}
