"""Which template serves which phased op."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.views import View
from snncc.compiler.passes.tiling.templates.counted import counted_map, is_counted
from snncc.compiler.passes.tiling.templates.dense import Outer, Product, product, weight_gradient
from snncc.compiler.passes.tiling.templates.regions import RegionTiler

Handler = Callable[[TilingContext, Op], None]


def unsupported(op: Op) -> NoReturn:
    """Refuse an op that no template serves."""
    fail(
        "E0402",
        f"{op.name} of layer '{op.attrs.get('layer', '')}' cannot be compiled for a chip yet",
        where=str(op.loc),
        help="run the model with --numerics float32 to evaluate it without a chip",
    )


def flat_rows(context: TilingContext, value: Value) -> View:
    """Return a tensor as rows x last axis in memory, steps and leading axes merged."""
    if value.type.dtype not in {"f16", "bit"}:
        fail(
            "E0402",
            f"%{value.name} of type {value.type} enters a product, which takes f16 or bit",
            where=str(value.owner.loc) if isinstance(value.owner, Op) else "",
            help="convert it to f16 first",
        )
    return context.view(value).flat()


def _linear(context: TilingContext, op: Op) -> None:
    x, w = op.operands[0], op.operands[1]
    bias = context.view(op.operands[2]) if len(op.operands) > 2 else None
    k, n = w.type.shape
    spikes = x.type.dtype == "bit"
    product(
        context,
        op,
        Product(
            flat_rows(context, x),
            context.view(w),
            bias,
            flat_rows(context, op.result),
            k,
            n,
            "gacc" if spikes else "mac",
            trans=False,
            skip=True,
        ),
    )


def _linear_dx(context: TilingContext, op: Op) -> None:
    g, w = op.operands
    k, n = w.type.shape
    product(
        context,
        op,
        Product(
            flat_rows(context, g),
            context.view(w),
            None,
            flat_rows(context, op.result),
            n,
            k,
            "bmac",
            trans=True,
            skip=True,
        ),
    )


def step_rows(context: TilingContext, value: Value, steps: int) -> View:
    """Return a tensor as steps x rows x last axis; a tensor in place of a seq repeats."""
    flat = flat_rows(context, value)
    t = value.type.shape[0] if value.type.kind == "seq" else 1
    rows = flat.rows // t
    return View(
        flat.dram, flat.dtype, steps, rows, flat.cols, rows * flat.row if t > 1 else 0, flat.row
    )


def _steps(*values: Value) -> int:
    return max([v.type.shape[0] for v in values if v.type.kind == "seq"], default=1)


def rows_per_microbatch(op: Op, value: Value) -> int:
    """Return the rows of one micro-batch (rows may be samples times positions)."""
    shape = value.type.step_shape
    if len(shape) == 1:
        return 1  # features alone: a model without a batch axis
    batch = shape[0]
    rows = 1
    for d in shape[:-1]:
        rows *= d
    return op.int_attr("microbatch", batch) * (rows // batch)


def _linear_dw(context: TilingContext, op: Op) -> None:
    x, g = op.operands
    steps = _steps(x, g)
    k, n = op.result.type.shape
    weight_gradient(
        context,
        op,
        Outer(
            step_rows(context, x, steps),
            step_rows(context, g, steps),
            k,
            n,
            rows_per_microbatch(op, g),
        ),
    )


def _map(context: TilingContext, op: Op) -> None:
    if is_counted(context, op):
        counted_map(context, op)
    else:
        RegionTiler(context, op).map()


HANDLERS: dict[str, Handler] = {
    "phase.linear": _linear,
    "phase.linear_dx": _linear_dx,
    "phase.linear_dw": _linear_dw,
    "phase.map": _map,
}
