"""Template for products between activations: one small matrix product per sample, head and step."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import write_back_program
from snncc.compiler.passes.tiling.kit.sizes import candidates
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, row_bytes
from snncc.compiler.passes.tiling.templates.copies import unpack_program
from snncc.compiler.passes.tiling.templates.dispatch import Handler


@dataclass(frozen=True)
class _Side:
    """One operand: matrices of rows x cols, ``lead`` strides per leading axis (0: repeated)."""

    view: View
    rows: int
    cols: int
    lead: tuple[int, ...]
    width: int


def _side(context: TilingContext, value: Value, lead: tuple[int, ...], steps: int) -> _Side:
    """Return an operand's matrices; leading axes align on the right, time comes first."""
    shape = value.type.step_shape
    view = context.view(value)
    order = context.order(value)
    rows, cols = (shape[-1], shape[-2]) if _swapped(order, len(shape)) else shape[-2:]
    width = row_bytes(view.dtype, cols)
    mine = (1,) * (len(lead) - (len(shape) - 2)) + tuple(shape[:-2])
    strides: list[int] = []
    size = rows * width
    for d, full in zip(reversed(mine), reversed(lead), strict=True):
        strides.append(size if d == full and d > 1 else 0)
        size *= d
    step = view.step if value.type.kind == "seq" and steps > 1 else 0
    return _Side(view, rows, cols, (step, *reversed(strides)), width)


def _swapped(order: tuple[int, ...], rank: int) -> bool:
    """Whether the last two axes lie in memory the other way round."""
    return bool(order) and order == (*range(rank - 2), rank - 1, rank - 2)


def _matmul(context: TilingContext, op: Op) -> None:
    a_value, b_value = op.operands
    steps = op.result.type.shape[0] if op.result.type.kind == "seq" else 1
    lead = op.result.type.step_shape[:-2]
    a = _side(context, a_value, lead, steps)
    w = _side(context, b_value, lead, steps)
    y = _side(context, op.result, lead, steps)
    m, n = op.result.type.step_shape[-2:]
    k = a.cols
    trans = op.bool_attr("transpose_b", False) != _swapped(
        context.order(b_value), len(b_value.type.step_shape)
    )
    unpack = w.view.dtype == "bit"

    def memory(r: int) -> int:
        weights = w.rows * (w.cols * 2 + (w.width if unpack else 0))
        wide = k * 2 if a.view.dtype == "bit" else 0
        return weights + r * (a.width + n * 6 + wide) + 512

    r = next((r for r in candidates(m, 1) if memory(r) <= context.limit), 0)
    if not r:
        context.too_small(op, f"a product of {m}x{k} and {k}x{n} activations", memory(1))
        return
    b = context.task(op, "matmul")
    task = _Batched(context, b, a, w, y, r, trans, op.str_attr("phase", "fp"))
    sizes = (steps, *lead)
    first = next((i for i, d in enumerate(sizes) if d > 1), 0)

    def walk(axis: int, at: tuple[At, At, At]) -> None:
        if axis == len(sizes):
            task.matrix(*at)
            return

        def each(index: At, _: int, __: bool) -> None:
            walk(
                axis + 1,
                (
                    at[0] + index * a.lead[axis],
                    at[1] + index * w.lead[axis],
                    at[2] + index * y.lead[axis],
                ),
            )

        b.tiles(sizes[axis], 1, each, parallel=axis == first)

    walk(0, (a.view.start, w.view.start, y.view.start))
    context.add(b)


class _Batched:
    """Emits one matrix product."""

    def __init__(
        self,
        context: TilingContext,
        b: TaskBuilder,
        a: _Side,
        w: _Side,
        y: _Side,
        rows: int,
        trans: bool,
        phase: str,
    ) -> None:
        self.b, self.a, self.w, self.y, self.rows, self.trans = b, a, w, y, rows, trans
        self.context = context
        self.bp = phase == "bp"
        self.program = context.program("write_back", write_back_program())
        self.wide: Value | None = None
        self.packed = b.sram("packed", w.rows * w.width) if w.view.dtype == "bit" else None
        self.weights = b.sram("w", w.rows * w.cols * 2)
        self.x = b.sram("a", rows * a.width)
        self.acc = b.sram("acc", rows * y.cols * 4)
        self.out = b.sram("y", rows * y.cols * 2)

    def matrix(self, a_at: At, w_at: At, y_at: At) -> None:
        """Multiply one pair."""
        b, a, w, y = self.b, self.a, self.w, self.y
        b.load(self.packed or self.weights, ZERO, w.view.dram, w_at, 1, w.rows * w.width, 0, 0)
        if self.packed is not None:
            b.lanes(
                "ew",
                self.context.program("unpack", unpack_program()),
                [Stream(self.packed, ZERO, 0, w.width), Stream(self.weights, ZERO, 0, w.cols * 2)],
                1,
                w.rows,
                w.cols,
            )

        def rows(at: At, r: int, _: bool) -> None:
            b.load(self.x, ZERO, a.view.dram, a_at + at * a.width, 1, r * a.width, 0, 0)
            n = y.cols
            values: dict[str, int | str] = {
                "acc_stride": n * 4,
                "a_stride": a.width,
                "w_stride": w.cols * 2,
                "rows": r,
                "k": a.cols,
                "n": n,
                "init": "zero",
            }
            gated = a.view.dtype == "bit" and not self.trans and not self.bp
            mnemonic = "gacc" if gated else "bmac" if self.bp else "mac"
            source = self.x
            if not gated:
                values |= {"skip": 1, "trans": int(self.trans)}
                if self.bp:
                    values |= {"masked": 0, "mask_stride": 0}
                if a.view.dtype == "bit":
                    source, values["a_stride"] = self._unpacked(r), a.cols * 2
            b.emit(
                mnemonic,
                [("acc", self.acc, ZERO), ("a", source, ZERO), ("w", self.weights, ZERO)],
                **values,
            )
            b.lanes(
                "ngrad" if self.bp else "neuron",
                self.program,
                [Stream(self.acc, ZERO, 0, n * 4), Stream(self.out, ZERO, 0, n * 2)],
                1,
                r,
                n,
            )
            b.store(y.view.dram, y_at + at * (n * 2), self.out, ZERO, 1, r * n * 2, 0, 0)

        b.tiles(a.rows, self.rows, rows)

    def _unpacked(self, rows: int) -> Value:
        """Widen packed spikes of ``a`` (its product with transposed weights is not gated)."""
        if self.wide is None:
            self.wide = self.b.sram("wide", self.rows * self.a.cols * 2)
        self.b.lanes(
            "ew",
            self.context.program("unpack", unpack_program()),
            [Stream(self.x, ZERO, 0, self.a.width), Stream(self.wide, ZERO, 0, self.a.cols * 2)],
            1,
            rows,
            self.a.cols,
        )
        return self.wide


HANDLERS: dict[str, Handler] = {"phase.matmul": _matmul}
