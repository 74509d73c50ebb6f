"""Templates for sums and statistics: gradients of broadcast values, reductions, batch norm.

Kept axes are columns, summed ones rows; ``assign-layouts`` arranged memory so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import natural
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import (
    ProgramWriter,
    f32_bits,
    write_back_program,
)
from snncc.compiler.passes.tiling.kit.sizes import candidates, share
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, row_bytes
from snncc.compiler.passes.tiling.templates.dense import GRANULE
from snncc.compiler.passes.tiling.templates.dispatch import Handler, unsupported
from snncc.compiler.passes.tiling.templates.readout import copy_views
from snncc.isa.microprograms.table import MicroProgram


def finish_program(count: int, wide: bool) -> MicroProgram:
    """Return the program that divides sums by a count and stores f16 or f32."""
    w = ProgramWriter()
    total = w.add("ld.f", imm=0)
    if count > 1:
        total = w.add("div.f", (total, w.add("const.f", imm=f32_bits(float(count)))))
    if wide:
        w.add("st.f", (total,), imm=1)
    else:
        w.add("st.h", (w.add("f2h", (total,)),), imm=1)
    return w.program("finish")


def kept_axes(op: Op) -> tuple[list[int], list[int]]:
    """Return the step axes that ``phase.sum_to`` keeps and those it sums."""
    step = op.operands[0].type.step_shape
    shape = op.ints_attr("shape")
    target = (1,) * (len(step) - len(shape)) + shape
    keep = [i for i, d in enumerate(target) if d == step[i] and d != 1]
    return keep, [i for i in range(len(step)) if i not in keep]


def _prod(values: list[int]) -> int:
    n = 1
    for v in values:
        n *= v
    return n


class RowChunks:
    """Visits rows in gradient order (micro-batch, step from last to first, row) in chunks.

    A chunk of ``size`` rows at most is part of one step, or several whole steps of one micro-batch.
    """

    def __init__(self, b: TaskBuilder, steps: int, rows: int, micro: int, limit: int) -> None:
        self.b, self.steps, self.rows, self.micro = b, steps, rows, micro
        self.part = max(1, min(micro, limit))
        self.together = max(1, min(steps, limit // micro)) if micro == rows else 1
        self.size = self.part * self.together

    def visit(self, body: Callable[[Chunk], None]) -> None:
        """Call ``body`` with every chunk."""
        b = self.b

        def micro(m_at: At, m: int, _: bool) -> None:
            def steps(t_at: At, count: int, __: bool) -> None:
                last = At(self.steps - 1) + t_at * -1
                b.tiles(m, self.part, lambda at, n, _: body(Chunk(last, count, m_at + at, n)))

            b.tiles(self.steps, self.together, steps)

        b.tiles(self.rows, self.micro, micro)


@dataclass(frozen=True)
class Chunk:
    """Rows ``first`` to ``first + rows`` of ``steps`` steps from ``last`` backward."""

    last: At
    steps: int
    first: At
    rows: int

    @property
    def count(self) -> int:
        """Rows of all steps."""
        return self.steps * self.rows

    def load(
        self, b: TaskBuilder, buffer: Value, x: View, c_at: At, n: int, step: At = ZERO
    ) -> int:
        """Load columns of the chunk in processing order, ``step`` later; return a row's bytes."""
        width = row_bytes(x.dtype, n)
        at = x.at(t=step + self.last if x.step else 0, r=self.first, c=c_at)
        outer = (self.steps, self.rows * width, -x.step)
        b.load(buffer, ZERO, x.dram, at, self.rows, width, width, x.row, outer)
        return width


def column_sums(
    context: TilingContext, op: Op, x: View, out: View, micro: int, wide: bool, name: str
) -> None:
    """Sum all rows of all steps per column, in gradient order."""
    cols = x.cols
    target = max(share(cols, GRANULE, context.cores), 1)
    n_max = next(
        (n for n in candidates(target, GRANULE) if n * 16 + 1024 <= context.limit),
        min(GRANULE, cols),
    )
    r_max = max(1, (context.limit - n_max * 8 - 512) // max(2, row_bytes(x.dtype, n_max)))
    b = context.task(op, name)
    chunks = RowChunks(b, x.steps, x.rows, micro, r_max)
    acc, y = b.sram("acc", n_max * 4), b.sram("sum", n_max * 4)
    rows = b.sram("x", chunks.size * row_bytes(x.dtype, n_max))

    def tile(c_at: At, n: int, first: bool) -> None:
        b.emit("fill", [("dst", acc, ZERO)], dst0=0, n0=1, bytes=n * 4, pattern=0)

        def add(chunk: Chunk) -> None:
            width = chunk.load(b, rows, x, c_at, n)
            b.emit(
                "colsum",
                [("acc", acc, ZERO), ("x", rows, ZERO)],
                x_stride=width,
                rows=chunk.count,
                n=n,
                type=x.dtype,
                init="keep",
            )

        chunks.visit(add)
        _store_sums(context, b, acc, y, out, c_at, n, 1, wide)

    b.tiles(cols, n_max, tile, parallel=True)
    context.add(b)


def _store_sums(
    context: TilingContext,
    b: TaskBuilder,
    acc: Value,
    y: Value,
    out: View,
    c_at: At,
    n: int,
    count: int,
    wide: bool,
) -> None:
    width = n * (4 if wide else 2)
    if wide or count > 1:
        program = context.program("finish", finish_program(count, wide))
    else:
        program = context.program("write_back", write_back_program())
    b.lanes("ew", program, [Stream(acc, ZERO, 0, 0), Stream(y, ZERO, 0, 0)], 1, 1, n)
    b.store(out.dram, c_at * (4 if wide else 2) + out.start, y, ZERO, 1, width, 0, 0)


def _as_columns(context: TilingContext, value: Value, kept: int) -> View:
    """Return a tensor as steps x rows x its last ``kept`` elements in memory."""
    x = context.view(value)
    if x.dtype == "bit":
        return x
    total = x.rows * x.cols
    size = 4 if x.dtype == "f32" else 2
    return View(x.dram, x.dtype, x.steps, total // kept, kept, x.step, kept * size, x.start)


def _sum_to(context: TilingContext, op: Op) -> None:
    keep, gone = kept_axes(op)
    value = op.operands[0]
    step = value.type.step_shape
    order = context.order(value) or natural(len(step))
    moving = [a for a in order if step[a] > 1]
    wanted = [a for a in gone if step[a] > 1] + [a for a in keep if step[a] > 1]
    if moving != wanted:
        unsupported(op)
    kept = _prod([step[a] for a in keep])
    x = _as_columns(context, value, kept)
    micro = x.rows
    if 0 in gone and step and step[0] > 1:
        batch = step[0]
        micro = op.int_attr("microbatch", batch) * (x.rows // batch)
    wide = op.bool_attr("wide", False)
    column_sums(context, op, x, context.view(op.result), micro, wide, "sum_to")


def _sum_rows(context: TilingContext, op: Op) -> None:
    value = op.operands[0]
    step = value.type.step_shape
    x = _as_columns(context, value, step[op.int_attr("axis", -1) % len(step)])
    batch = step[0] if len(step) > 1 else 1
    micro = op.int_attr("microbatch", batch) * max(1, x.rows // batch)
    column_sums(context, op, x, context.view(op.result), micro, False, "sum_rows")


# ---------------------------------------------------------------------------- reductions


def reduce_split(op: Op, order: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return (outer, summed, inner) sizes when the summed axes are neighbours in memory."""
    shape = op.operands[0].type.step_shape
    axes = sorted(op.ints_attr("axes"))
    real = [a for a in order if shape[a] > 1]
    summed = [a for a in axes if shape[a] > 1]
    if not summed:
        return _prod([shape[a] for a in real]), 1, 1
    if any(a not in real for a in summed):
        return None
    first = real.index(summed[0])
    if real[first : first + len(summed)] != summed:
        return None
    outer, inner = real[:first], real[first + len(summed) :]
    return (
        _prod([shape[a] for a in outer]),
        _prod([shape[a] for a in summed]),
        _prod([shape[a] for a in inner]),
    )


def _like(x: View, out: View) -> View:
    """Return a result's memory cut into rows and columns as its operand's is."""
    row = row_bytes(out.dtype, x.cols)
    step = x.rows * row if x.steps > 1 else 0
    return View(out.dram, out.dtype, x.steps, x.rows, x.cols, step, row, out.start)


def _reduce(context: TilingContext, op: Op) -> None:
    value, kind = op.operands[0], op.str_attr("kind")
    shape = value.type.step_shape
    split = reduce_split(op, context.order(value) or natural(len(shape)))
    x = context.view(value)
    if split is None:
        unsupported(op)
    outer, summed, inner = split
    if summed == 1:
        copy_views(context, op, x, _like(x, context.view(op.result)))
        return
    if op.result.type.dtype == "bit":
        unsupported(op)
    images = outer * x.steps
    wide = op.bool_attr("wide", False)
    if inner == 1:
        _reduce_rows(context, op, x, images, summed, kind, wide)
    elif kind == "max":
        unsupported(op)
    elif x.dtype == "bit" and x.cols != inner:
        unsupported(op)
    else:
        _reduce_columns(context, op, x, (images, summed, inner), kind, wide)


def _reduce_rows(
    context: TilingContext, op: Op, x: View, rows: int, n: int, kind: str, wide: bool
) -> None:
    """Reduce what is fastest in memory."""
    if x.dtype == "bit" and x.cols != n:
        unsupported(op)
    width = row_bytes(x.dtype, n)
    out = context.view(op.result)
    size = 4 if wide else 2
    r_max = min(share(rows, 1, context.cores), max(1, (context.limit - 512) // (width + 8)))
    if width + 520 > context.limit:
        context.too_small(op, "a reduction", width + 520)
    b = context.task(op, "reduce")
    source, sums, y = b.sram("x", r_max * width), b.sram("sum", r_max * 4), b.sram("y", r_max * 4)

    def tile(at: At, r: int, _: bool) -> None:
        b.load(source, ZERO, x.dram, at * width + x.start, 1, r * width, 0, 0)
        stride = 2 if kind == "max" else 4
        b.emit(
            "rowred",
            [("dst", y if kind == "max" else sums, ZERO), ("x", source, ZERO)],
            dst_stride=stride,
            x_stride=width,
            rows=r,
            n=n,
            type=x.dtype,
            op="max" if kind == "max" else "sum32",
        )
        if kind != "max":
            program = finish_program(n if kind == "mean" else 1, wide)
            b.lanes(
                "ew",
                context.program("finish", program),
                [Stream(sums, ZERO, 0, 0), Stream(y, ZERO, 0, 0)],
                1,
                1,
                r,
            )
        b.store(out.dram, at * size + out.start, y, ZERO, 1, r * size, 0, 0)

    b.tiles(rows, r_max, tile, parallel=True)
    context.add(b)


def _reduce_columns(
    context: TilingContext, op: Op, x: View, split: tuple[int, int, int], kind: str, wide: bool
) -> None:
    """Reduce axes in the middle: rows of every image."""
    images, rows, cols = split
    out = context.view(op.result)
    width = row_bytes(x.dtype, cols)
    size = 4 if wide else 2
    n_max = next(
        (n for n in candidates(cols, GRANULE) if n * 12 + 1024 <= context.limit),
        min(cols, GRANULE),
    )
    r_max = max(1, min(rows, (context.limit - n_max * 8 - 512) // row_bytes(x.dtype, n_max)))
    b = context.task(op, "reduce")
    acc, y = b.sram("acc", n_max * 4), b.sram("y", n_max * 4)
    source = b.sram("x", r_max * row_bytes(x.dtype, n_max))

    def image(i_at: At, _: int, __: bool) -> None:
        def tile(c_at: At, n: int, _: bool) -> None:
            piece = row_bytes(x.dtype, n)
            b.emit("fill", [("dst", acc, ZERO)], dst0=0, n0=1, bytes=n * 4, pattern=0)
            c_bytes = c_at.exact_div(8) if x.dtype == "bit" else c_at * (width // cols)

            def add(r_at: At, r: int, _: bool) -> None:
                at = i_at * (rows * width) + r_at * width + c_bytes + x.start
                b.load(source, ZERO, x.dram, at, r, piece, piece, width)
                b.emit(
                    "colsum",
                    [("acc", acc, ZERO), ("x", source, ZERO)],
                    x_stride=piece,
                    rows=r,
                    n=n,
                    type=x.dtype,
                    init="keep",
                )

            b.tiles(rows, r_max, add)
            program = finish_program(rows if kind == "mean" else 1, wide)
            b.lanes(
                "ew",
                context.program("finish", program),
                [Stream(acc, ZERO, 0, 0), Stream(y, ZERO, 0, 0)],
                1,
                1,
                n,
            )
            at = i_at * (cols * size) + c_at * size + out.start
            b.store(out.dram, at, y, ZERO, 1, n * size, 0, 0)

        b.tiles(cols, n_max, tile)

    b.tiles(images, 1, image, parallel=True)
    context.add(b)


HANDLERS: dict[str, Handler] = {
    "phase.sum_to": _sum_to,
    "phase.sum_rows": _sum_rows,
    "phase.reduce": _reduce,
}
