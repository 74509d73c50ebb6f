"""Templates for the losses: cross-entropy row by row, and the sum over all rows on one core."""

from __future__ import annotations

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import ProgramWriter, f32_bits
from snncc.compiler.passes.tiling.kit.sizes import candidates, share
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.templates.dispatch import Handler
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.tables import UNARY

SUM_CHUNK = 1024


def _wanted(w: ProgramWriter, hot: int, smoothing: float, classes: int) -> int:
    """Return the register with the probability that a class should have."""
    share = smoothing / classes
    high, low = (w.add("const.f", imm=f32_bits(p)) for p in (1 - smoothing + share, share))
    return w.add("sel.f", (hot, high, low))


def _spread(smoothing: float, classes: int) -> MicroProgram:
    """Streams: logits, row maximum, label, index; out: d, exp(d), d of the label.

    With ``smoothing`` the last is every d times the probability that its class should have.
    """
    w = ProgramWriter()
    z, m = w.add("ld.h", imm=0), w.add("ld.row.h", imm=1)
    hot = w.add("eq", (w.add("ld.row.i", imm=2), w.add("iota", imm=3)))
    d = w.add("sub.h", (z, m))
    if smoothing:
        weight = _wanted(w, hot, smoothing, classes)
        own = w.add("f2h", (w.add("mul.f", (d, weight)),))
    else:
        own = w.add("sel.h", (hot, d, w.add("const.h", imm=0)))
    w.add("st.h", (w.add("tab.h", (d,), UNARY["exp"]),), imm=4)
    w.add("st.h", (own,), imm=5)
    return w.program("softmax_spread")


def _factor(w: ProgramWriter, k: float, stream: int | None) -> int:
    """Return the register with what a gradient is multiplied by: k, times a scale in memory."""
    if stream is None:
        return w.add("const.f", imm=f32_bits(k))
    scale = w.add("ld.row.f", imm=stream)
    return w.add("mul.f", (w.add("const.f", imm=f32_bits(k)), scale))


def _gradient(k: float, scaled: bool, smoothing: float, classes: int) -> MicroProgram:
    """Streams: exp(d), row sum, label, index, ``scaled``: scale; out: the scaled gradient."""
    w = ProgramWriter()
    e, total = w.add("ld.h", imm=0), w.add("ld.row.f", imm=1)
    hot = w.add("eq", (w.add("ld.row.i", imm=2), w.add("iota", imm=3)))
    p = w.add("div.f", (e, total))
    if smoothing:
        q = w.add("sub.f", (p, _wanted(w, hot, smoothing, classes)))
    else:
        less = w.add("sub.f", (p, w.add("const.f", imm=f32_bits(1.0))))
        q = w.add("sel.f", (hot, less, p))
    product = w.add("mul.f", (q, _factor(w, k, 4 if scaled else None)))
    w.add("st.h", (w.add("f2h", (product,)),), imm=5 if scaled else 4)
    return w.program("softmax_gradient")


def _row_loss() -> MicroProgram:
    """Streams: sum, d of the label; out: log(f16(sum)) - d."""
    w = ProgramWriter()
    total, own = w.add("ld.f", imm=0), w.add("ld.f", imm=1)
    log = w.add("tab.h", (w.add("f2h", (total,)),), UNARY["log"])
    w.add("st.f", (w.add("sub.f", (log, own)),), imm=2)
    return w.program("softmax_row_loss")


def _scale(k: float) -> MicroProgram:
    """Streams: binary32 sum; out: f16(sum * k)."""
    w = ProgramWriter()
    product = w.add("mul.f", (w.add("ld.f", imm=0), w.add("const.f", imm=f32_bits(k))))
    w.add("st.h", (w.add("f2h", (product,)),), imm=1)
    return w.program("loss_scale")


def _counter() -> Stream:
    return Stream(None, ZERO, 0, 0)


def _total(context: TilingContext, op: Op) -> None:
    """Sum the terms in order on one core and scale them."""
    if op.result not in context.tensors:
        return
    (source,), count = op.operands, op.operands[0].type.size
    terms = context.tensors[source]
    b = context.task(op, "total")
    chunk = min(SUM_CHUNK, count, context.limit // 16)
    x, acc, out = b.sram("terms", chunk * 4), b.sram("acc", 4), b.sram("out", 2)

    def body(at: At, n: int, first: bool) -> None:
        b.load(x, ZERO, terms, at * 4, 1, n * 4, 0, 0)
        b.emit(
            "colsum",
            [("acc", acc, ZERO), ("x", x, ZERO)],
            x_stride=4,
            rows=n,
            n=1,
            type="f32",
            init="zero" if first else "keep",
        )

    with b.loop(1, parallel=True):
        b.tiles(count, chunk, body, peel=True)
        b.lanes(
            "ew",
            context.program("loss_scale", _scale(op.float_attr("factor"))),
            [Stream(acc, ZERO, 0, 0), Stream(out, ZERO, 0, 0)],
            1,
            1,
            1,
        )
        target = context.view(op.result)
        b.store(target.dram, target.at(), out, ZERO, 1, 2, 0, 0)
    context.add(b)


def _row_tiles(
    context: TilingContext, op: Op, rows: int, per_row: int, name: str
) -> tuple[TaskBuilder, int]:
    """Start a task over rows; return it and the rows of a tile."""
    sizes = [
        r
        for r in candidates(share(rows, 1, context.cores), 1)
        if r * per_row + 1024 <= context.limit
    ]
    if not sizes:
        context.too_small(op, "the loss", per_row + 1024)
    return context.task(op, name), sizes[0] if sizes else 1


def _steps(value: Value) -> tuple[int, int, int]:
    """Return (steps, rows, classes) of logits."""
    shape = value.type.shape
    classes = shape[-1]
    steps = shape[0] if value.type.kind == "seq" else 1
    return steps, value.type.size // (steps * classes), classes


def _softmax_ce(context: TilingContext, op: Op) -> None:
    z, y = op.operands[:2]
    steps, rows, classes = _steps(z)
    batch, scale = op.int_attr("batch"), op.float_attr("scale")
    smoothing = op.float_attr("smoothing", 0.0)
    b, r_max = _row_tiles(context, op, rows, classes * 8 + 32, "softmax")
    width = classes * 2
    zs, es, own, gs = (b.sram(n, r_max * width) for n in ("z", "exp", "own", "g"))
    ms, ys = b.sram("max", r_max * 2), b.sram("y", r_max * 4)
    sums, owns, losses = (b.sram(n, r_max * 4) for n in ("sum", "own_sum", "loss"))
    logits, labels = context.tensors[z], context.tensors[y]
    own_labels = y.type.kind == "seq"
    terms, gradient = (context.tensors.get(r) for r in op.results)
    spread = context.program("softmax_spread", _spread(smoothing, classes))
    factor, factors = _scale_buffer(context, b, op)
    slope = context.program(
        "softmax_gradient", _gradient(scale / batch, factor is not None, smoothing, classes)
    )
    row_loss = context.program("softmax_row_loss", _row_loss())

    def tile(r_at: At, r: int, first: bool) -> None:
        if not own_labels:
            b.load(ys, ZERO, labels, r_at * 4, 1, r * 4, 0, 0)
        if factor is not None:
            b.load(factor, ZERO, context.tensors[op.operands[2]], ZERO, 1, 4, 0, 0)

        def step(t_at: At, _: int, __: bool) -> None:
            row_at = t_at * rows + r_at
            if own_labels:
                b.load(ys, ZERO, labels, row_at * 4, 1, r * 4, 0, 0)
            b.load(zs, ZERO, logits, row_at * width, 1, r * width, 0, 0)
            _reduce(b, ms, 2, zs, width, r, classes, "max")
            b.lanes(
                "ew",
                spread,
                [
                    Stream(zs, ZERO, 0, width),
                    Stream(ms, ZERO, 0, 2),
                    Stream(ys, ZERO, 0, 4),
                    _counter(),
                    Stream(es, ZERO, 0, width),
                    Stream(own, ZERO, 0, width),
                ],
                1,
                r,
                classes,
            )
            _reduce(b, sums, 4, es, width, r, classes, "sum32")
            _reduce(b, owns, 4, own, width, r, classes, "sum32")
            if gradient is not None:
                b.lanes(
                    "ew",
                    slope,
                    [
                        Stream(es, ZERO, 0, width),
                        Stream(sums, ZERO, 0, 4),
                        Stream(ys, ZERO, 0, 4),
                        _counter(),
                        *factors,
                        Stream(gs, ZERO, 0, width),
                    ],
                    1,
                    r,
                    classes,
                )
                b.store(gradient, row_at * width, gs, ZERO, 1, r * width, 0, 0)
            if terms is not None:
                b.lanes(
                    "ew",
                    row_loss,
                    [Stream(s, ZERO, 0, 0) for s in (sums, owns, losses)],
                    1,
                    1,
                    r,
                )
                b.store(terms, row_at * 4, losses, ZERO, 1, r * 4, 0, 0)

        b.tiles(steps, 1, step)

    b.tiles(rows, r_max, tile, parallel=True)
    context.add(b)


def _scale_buffer(
    context: TilingContext, b: TaskBuilder, op: Op
) -> tuple[Value | None, list[Stream]]:
    """Return the buffer of a loss scale that is an operand, and its stream; nothing without."""
    if len(op.operands) < 3 or op.results[1] not in context.tensors:
        return None, []
    buffer = b.sram("scale", 4)
    return buffer, [Stream(buffer, ZERO, 0, 0)]


def _reduce(
    b: TaskBuilder, dst: Value, stride: int, x: Value, x_stride: int, rows: int, n: int, kind: str
) -> None:
    b.emit(
        "rowred",
        [("dst", dst, ZERO), ("x", x, ZERO)],
        dst_stride=stride,
        x_stride=x_stride,
        rows=rows,
        n=n,
        type="f16",
        op=kind,
    )


HANDLERS: dict[str, Handler] = {
    "phase.softmax_ce": _softmax_ce,
    "phase.total": _total,
}
