"""Dialect ``phase``: what a training step computes, split into FP, BP, WG and update.

Structural ops are those of the graph stage under the same names; everything element-wise is a
``phase.map``, everything with memory a ``phase.scan``.  docs/design/ir.md is the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from snncc.compiler.ir import dialect_graph as graph
from snncc.compiler.ir import infer
from snncc.compiler.ir.build import (
    INFER,
    Attrs,
    Infer,
    broadcast,
    check_types,
    integer,
    lift,
    stacked,
    step_type,
)
from snncc.compiler.ir.core import Op, Type
from snncc.compiler.ir.opdef import AttrDef, OpDef, dialect, register

PHASES = ("fp", "bp", "wg", "update")

dialect(
    "phase",
    "The ops of a training step.",
    ("phased",),
    {
        "phase": AttrDef("str", choices=PHASES, doc="engine and part of the step"),
        "layer": AttrDef("str", doc="layer name"),
        "layouts": AttrDef("tuple", doc="storage order of each result (assign-layouts)"),
    },
)


def _row(
    name: str,
    doc: str,
    infer_: Infer | None,
    operands: tuple[int, int | None],
    attrs: dict[str, AttrDef] | None = None,
    results: tuple[int, int | None] = (1, 1),
    pure: bool = True,
) -> None:
    if infer_ is not None:
        INFER[f"phase.{name}"] = infer_
    register(
        OpDef(f"phase.{name}", doc, operands, results, attrs or {}, pure=pure, verify=check_types)
    )


_NAME = AttrDef("str", True)
_MICRO = {"microbatch": AttrDef("int", doc="samples per micro-batch; absent: the batch")}
_PARAM = {
    "name": _NAME,
    "resource": AttrDef("str"),
    "role": AttrDef("str"),
    "train": AttrDef("bool"),
    "transpose": AttrDef("bool"),
}

_row("param", "A parameter; the object file holds its value.", None, (0, 0), _PARAM)
_row("const", "A constant.", None, (0, 0), {"value": AttrDef("number"), "resource": AttrDef("str")})
_row(
    "state",
    "A value kept from step to step: optimizer states, running statistics.",
    None,
    (0, 0),
    {"name": _NAME, "init": AttrDef("number"), "resource": AttrDef("str")},
)
_row(
    "store",
    "The new value of the state (or of the parameter, kind = param).",
    infer.nothing,
    (1, 1),
    {
        "name": _NAME,
        "kind": AttrDef("str", choices=("state", "param")),
        "transpose": AttrDef("bool"),
    },
    (0, 0),
    pure=False,
)
_row("output", "A result of the step.", infer.nothing, (1, 1), graph.OUTPUT, (0, 0), pure=False)

# Structural ops as in the graph stage.
_row("linear", "y = b + x @ w, terms ascending, bias first", infer.linear, (2, 3))
_row("linear_dx", "dx = g @ w^T, out ascending, zero g selects nothing", infer.linear_dx, (2, 2))
_row(
    "linear_dw",
    "dw = sum over micro-batch, t descending, sample of x (outer) g",
    infer.linear_dw,
    (2, 2),
    _MICRO,
)
_row("conv", "convolution", infer.conv, (2, 3), graph.WINDOW)
_row(
    "conv_dx",
    "gradient of a convolution's input",
    infer.to_shape,
    (2, 2),
    {**graph.WINDOW, **graph.SHAPE},
)
_row(
    "conv_dw",
    "gradient of a convolution's weight: order of linear_dw, then position",
    infer.to_tensor,
    (2, 2),
    {**graph.WINDOW, **graph.SHAPE, **_MICRO},
)
_row(
    "conv_transpose",
    "transposed convolution",
    infer.conv_transpose,
    (2, 3),
    {**graph.WINDOW, "output_padding": AttrDef("ints")},
)
_row(
    "sum_rows",
    "sum over all but one step axis (bias gradients), order of linear_dw",
    infer.sum_rows,
    (1, 1),
    {"axis": AttrDef("int"), **_MICRO},
)
_row(
    "sum_to",
    "sum over steps and broadcast axes to a shape, order of linear_dw",
    infer.to_tensor,
    (1, 1),
    {**graph.SHAPE, "wide": AttrDef("bool"), **_MICRO},
)
_row("matmul", "a @ b", infer.matmul, (2, 2), graph.MATMUL)
_row("pool", "pooling", infer.pool, (1, 1), graph.POOL)
_row(
    "pool_dx",
    "gradient of pooling: operands g; for max also x, y: to the first maximum",
    infer.to_shape,
    (1, 3),
    {**graph.POOL, **graph.SHAPE},
)
_row("reduce", "over step axes, ascending", infer.reduce, (1, 1), graph.REDUCE)
_row("reduce_time", "over steps, ascending", infer.reduce_time, (1, 1), graph.TIME)
_row(
    "argmax_time",
    "maximum over time and the first step that has it",
    infer.argmax_time,
    (1, 1),
    results=(2, 2),
)
_row(
    "select_time",
    "g at one step, 0 elsewhere: step `at`, or per element the i32 operand",
    infer.select_time,
    (1, 2),
    {"steps": AttrDef("int", True), "at": AttrDef("int")},
)
_row("time_to_axis", "the steps as the first axis of one tensor", infer.time_to_axis, (1, 1))
_row("axis_to_time", "the first axis of a tensor as the steps", infer.axis_to_time, (1, 1))
_row("reshape", "other step shape", infer.reshape, (1, 1), graph.SHAPE)
_row("expand", "repeat along axes of size 1", infer.expand, (1, 1), graph.SHAPE)
_row("transpose", "permute step axes", infer.transpose, (1, 1), graph.PERM)
_row("concat", "join along a step axis", infer.concat, (1, None), graph.AXIS)
_row("slice", "part of every step", infer.slice_, (1, 1), graph.SLICE)
_row(
    "slice_dx",
    "the transpose of slice: g at starts, starts + strides, ..., 0 elsewhere",
    infer.to_shape,
    (1, 1),
    {"starts": AttrDef("ints", True), "strides": AttrDef("ints", True), **graph.SHAPE},
)
_row("pad", "a frame of value", infer.pad, (1, 1), graph.PAD)
_row("relayout", "the same values in another storage order", infer.identity, (1, 1))
_row(
    "bn_stats",
    "mean, variance per channel over t ascending, sample, position (f32); per_step: of every step",
    infer.channels,
    (1, 1),
    {"axis": AttrDef("int"), "per_step": AttrDef("bool")},
    (2, 2),
)
_row(
    "bn_sums",
    "operands g, x, mean, inv: sum g, sum g*(x-mean)*inv per channel (f32); per_step: every step's",
    infer.channels,
    (4, 4),
    {"axis": AttrDef("int"), "per_step": AttrDef("bool"), **_MICRO},
    (2, 2),
)
_row(
    "batchnorm",
    "y = f16(x*k + m), k = scale*inv, m = shift - mean*k in f32; operands x, mean, inv, scale, "
    "shift (mean, inv f32 per channel, seqs for statistics of every step)",
    infer.same,
    (5, 5),
    {"axis": AttrDef("int"), "statistics": AttrDef("str", choices=("batch", "running"))},
)
_row(
    "softmax_ce",
    "cross-entropy of logits and labels, row by row (f32), and its gradient times scale/batch; the "
    "labels share smoothing/classes of their weight with every class; operand 3: a further factor "
    "of the gradient (f32 scalar)",
    infer.row_losses,
    (2, 3),
    {
        "scale": AttrDef("number", True),
        "batch": AttrDef("int", True, "rows that the mean is over"),
        "smoothing": AttrDef("number"),
    },
    (2, 2),
)
_row(
    "total",
    "factor times the sum of all elements (f32, ascending), rounded once to f16",
    infer.total,
    (1, 1),
    {"factor": AttrDef("number", True)},
)
_row(
    "seed",
    "operand 2 is the gradient of the loss by operand 1: where back-propagation begins",
    infer.nothing,
    (2, 2),
    results=(0, 0),
    pure=False,
)


# Regions.


def _yield_types(op_: Op) -> list[Type] | None:
    if not op_.regions or not op_.regions[0].ops:
        return None
    return [v.type for v in op_.regions[0].terminator.operands]


def map_types(operands: Sequence[Type], yielded: Sequence[Type]) -> list[Type]:
    """Return the results of a map: what it yields, stacked when any operand is a seq."""
    whole = broadcast([t.step_shape for t in operands]) if operands else ()
    del whole
    return [lift(operands, t.shape, t.dtype) for t in yielded]


def _map_rule(op_: Op) -> Iterable[str]:
    block = op_.regions[0]
    if [a.type for a in block.args] != [step_type(v.type) for v in op_.operands]:
        yield "block arguments do not match the step types of the operands"
    yielded = _yield_types(op_)
    if yielded is None:
        return
    steps = op_.attrs.get("steps")
    results = (
        [stacked(t, steps) for t in yielded]
        if isinstance(steps, int)
        else map_types([v.type for v in op_.operands], yielded)
    )
    if results != [r.type for r in op_.results]:
        yield "results do not match what the region yields"


def scan_counts(op_: Op) -> tuple[int, int, int]:
    """Return how many operands are carried, seqs and captured."""
    return op_.int_attr("carried"), op_.int_attr("seqs"), op_.int_attr("captured")


def _scan_rule(op_: Op) -> Iterable[str]:
    block, (carried, seqs, captured) = op_.regions[0], scan_counts(op_)
    steps = integer(op_.attrs, "steps")
    if carried + seqs + captured != len(op_.operands):
        yield f"has {len(op_.operands)} operands, not {carried}+{seqs}+{captured}"
        return
    expected = [step_type(v.type) for v in op_.operands]
    if [a.type for a in block.args] != expected:
        yield "block arguments do not match the operands"
    for v in op_.operands[:carried] + op_.operands[carried + seqs :]:
        if v.type.kind == "seq":
            yield f"%{v.name} is carried or captured but has a time axis"
    for v in op_.operands[carried : carried + seqs]:
        if v.type.kind != "seq" or v.type.shape[0] != steps:
            yield f"%{v.name} is no seq of {steps} steps"
    yielded = _yield_types(op_)
    if yielded is None:
        return
    if yielded[:carried] != expected[:carried]:
        yield "the next carried values differ in type from the carried ones"
    results = [*yielded[:carried], *(stacked(t, steps) for t in yielded[carried:])]
    if results != [r.type for r in op_.results]:
        yield "results do not match what the region yields"


def _nothing(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    return []


register(
    OpDef(
        "phase.map",
        "Element-wise ops over one shape.",
        (0, None),
        (1, None),
        {"steps": AttrDef("int", doc="makes the results seqs when no operand is one")},
        regions=1,
        region_terminator="phase.yield",
        verify=_map_rule,
    ),
    OpDef(
        "phase.scan",
        "A loop over time with carried values.",
        (0, None),
        (0, None),
        {
            "carried": AttrDef("int", True),
            "seqs": AttrDef("int", True),
            "captured": AttrDef("int", True),
            "steps": AttrDef("int", True),
            "reverse": AttrDef("bool", doc="from the last step to the first"),
        },
        regions=1,
        region_terminator="phase.yield",
        verify=_scan_rule,
    ),
    OpDef("phase.yield", "Ends a region.", (0, None), (0, 0), terminator=True, pure=False),
)
INFER["phase.yield"] = _nothing
