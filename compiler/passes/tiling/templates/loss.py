"""Templates for the losses: per-row arithmetic, then the sum over rows on one core."""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.core import Op, Type, Value
from snncc.compiler.ir.core import op as make_op
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import ProgramWriter, f32_bits
from snncc.compiler.passes.tiling.kit.sizes import candidates, share
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, view
from snncc.compiler.passes.tiling.templates.dispatch import Handler
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.tables import UNARY

SUM_CHUNK = 1024


def _spread() -> MicroProgram:
    """Streams: logits, row maximum, label, index; out: d, exp(d), d of the label."""
    w = ProgramWriter()
    z, m = w.add("ld.h", imm=0), w.add("ld.row.h", imm=1)
    hot = w.add("eq", (w.add("ld.row.i", imm=2), w.add("iota", imm=3)))
    d = w.add("sub.h", (z, m))
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


def _gradient(k: float, scaled: bool) -> MicroProgram:
    """Streams: exp(d), row sum, label, index, ``scaled``: scale; out: the scaled gradient."""
    w = ProgramWriter()
    e, total = w.add("ld.h", imm=0), w.add("ld.row.f", imm=1)
    hot = w.add("eq", (w.add("ld.row.i", imm=2), w.add("iota", imm=3)))
    p = w.add("div.f", (e, total))
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


def _error(k: float, one_hot: bool, scaled: bool) -> MicroProgram:
    """Streams: logits, label or target, index, ``scaled``: scale; out: gradient, squared error."""
    w = ProgramWriter()
    z = w.add("ld.h", imm=0)
    if one_hot:
        hot = w.add("eq", (w.add("ld.row.i", imm=1), w.add("iota", imm=2)))
        one, zero = w.add("const.h", imm=0x3C00), w.add("const.h", imm=0)
        target = w.add("sel.h", (hot, one, zero))
    else:
        target = w.add("ld.h", imm=1)
    d = w.add("sub.h", (z, target))
    product = w.add("mul.f", (d, _factor(w, k, 3 if scaled else None)))
    w.add("st.h", (w.add("f2h", (product,)),), imm=4 if scaled else 3)
    w.add("st.f", (w.add("mul.f", (d, d)),), imm=5 if scaled else 4)
    return w.program("squared_error")


def _counter() -> Stream:
    return Stream(None, ZERO, 0, 0)


def _temporary(context: TilingContext, op: Op, count: int) -> View:
    """Declare a vector of binary32 terms."""
    type_ = Type("tensor", (count,), "f32")
    made = make_op(
        "tile.dram",
        types=[Type("dram", (count,), "f32")],
        attrs={
            "name": f"{op.results[0].name or 'loss'}.terms{len(context.tasks)}",
            "role": "temp",
            "seq": False,
            "row_bytes": 4 * count,
            "bytes": 4 * count,
        },
        loc=op.loc,
        names=["terms"],
    )
    context.extra.append(made)
    return view(type_, made.result)


def _total(context: TilingContext, op: Op, terms: View, k: float, loss: Value) -> None:
    """Sum the terms in order on one core and scale them."""
    if loss not in context.tensors:
        return
    b = context.task(op, "total")
    chunk = min(SUM_CHUNK, terms.cols, context.limit // 16)
    x, acc, out = b.sram("terms", chunk * 4), b.sram("acc", 4), b.sram("out", 2)

    def body(at: At, n: int, first: bool) -> None:
        b.load(x, ZERO, terms.dram, terms.at(c=at), 1, n * 4, 0, 0)
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
        b.tiles(terms.cols, chunk, body, peel=True)
        b.lanes(
            "ew",
            context.program("loss_scale", _scale(k)),
            [Stream(acc, ZERO, 0, 0), Stream(out, ZERO, 0, 0)],
            1,
            1,
            1,
        )
        target = context.view(loss)
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
    terms = _temporary(context, op, steps * rows)
    b, r_max = _row_tiles(context, op, rows, classes * 8 + 32, "softmax")
    width = classes * 2
    zs, es, own, gs = (b.sram(n, r_max * width) for n in ("z", "exp", "own", "g"))
    ms, ys = b.sram("max", r_max * 2), b.sram("y", r_max * 4)
    sums, owns, losses = (b.sram(n, r_max * 4) for n in ("sum", "own_sum", "loss"))
    logits, labels = context.tensors[z], context.tensors[y]
    gradient = context.tensors.get(op.results[1])
    spread = context.program("softmax_spread", _spread())
    factor, factors = _scale_buffer(context, b, op)
    slope = context.program("softmax_gradient", _gradient(scale / batch, factor is not None))
    row_loss = context.program("softmax_row_loss", _row_loss())

    def tile(r_at: At, r: int, first: bool) -> None:
        b.load(ys, ZERO, labels, r_at * 4, 1, r * 4, 0, 0)
        if factor is not None:
            b.load(factor, ZERO, context.tensors[op.operands[2]], ZERO, 1, 4, 0, 0)

        def step(t_at: At, _: int, __: bool) -> None:
            row_at = t_at * rows + r_at
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
            b.lanes(
                "ew",
                row_loss,
                [Stream(sums, ZERO, 0, 0), Stream(owns, ZERO, 0, 0), Stream(losses, ZERO, 0, 0)],
                1,
                1,
                r,
            )
            b.store(terms.dram, row_at * 4, losses, ZERO, 1, r * 4, 0, 0)

        b.tiles(steps, 1, step)

    b.tiles(rows, r_max, tile, parallel=True)
    context.add(b)
    _total(context, op, terms, 1 / batch, op.results[0])


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


def _mse(context: TilingContext, op: Op) -> None:
    z, y = op.operands[:2]
    steps, rows, classes = _steps(z)
    count = op.int_attr("batch") * classes
    one_hot = y.type.dtype == "i32"
    terms = _temporary(context, op, steps * rows * classes)
    b, r_max = _row_tiles(context, op, rows, classes * 10 + 16, "mse")
    width = classes * 2
    zs, ts, gs = (b.sram(n, r_max * width) for n in ("z", "target", "g"))
    squares = b.sram("squares", r_max * classes * 4)
    label = b.sram("y", r_max * 4)
    logits, target = context.tensors[z], context.tensors[y]
    target_steps = y.type.kind == "seq"
    gradient = context.tensors.get(op.results[1])
    factor, factors = _scale_buffer(context, b, op)
    k = 2 * op.float_attr("scale") / count
    program = context.program("squared_error", _error(k, one_hot, factor is not None))

    def tile(r_at: At, r: int, first: bool) -> None:
        if factor is not None:
            b.load(factor, ZERO, context.tensors[op.operands[2]], ZERO, 1, 4, 0, 0)

        def step(t_at: At, _: int, __: bool) -> None:
            row_at = t_at * rows + r_at
            b.load(zs, ZERO, logits, row_at * width, 1, r * width, 0, 0)
            if one_hot:
                b.load(label, ZERO, target, r_at * 4, 1, r * 4, 0, 0)
            else:
                b.load(
                    ts, ZERO, target, (row_at if target_steps else r_at) * width, 1, r * width, 0, 0
                )
            want = Stream(label, ZERO, 0, 4) if one_hot else Stream(ts, ZERO, 0, width)
            streams: Sequence[Stream] = [
                Stream(zs, ZERO, 0, width),
                want,
                _counter(),
                *factors,
                Stream(gs, ZERO, 0, width),
                Stream(squares, ZERO, 0, classes * 4),
            ]
            b.lanes("ew", program, streams, 1, r, classes)
            if gradient is not None:
                b.store(gradient, row_at * width, gs, ZERO, 1, r * width, 0, 0)
            b.store(terms.dram, row_at * (classes * 4), squares, ZERO, 1, r * classes * 4, 0, 0)

        b.tiles(steps, 1, step)

    b.tiles(rows, r_max, tile, parallel=True)
    context.add(b)
    _total(context, op, terms, 1 / count, op.results[0])


HANDLERS: dict[str, Handler] = {"phase.softmax_ce": _softmax_ce, "phase.mse": _mse}
