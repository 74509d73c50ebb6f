"""Reductions and normalisations as sums, means, maxima and arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.frontend.flat.axes import norm_axis
from snncc.compiler.frontend.flat.flat import Val, attr_float, attr_int, attr_ints, prod
from snncc.compiler.frontend.onnx.build import Bound, Call, GraphBuilder, rule


def _reduced(c: Call, op: str, x: Val) -> Val:
    """Reduce ``x`` over the axes of the node that is read, an input or an attribute."""
    return c.add(op, [x, *(v for v in [c.optional(1)] if v is not None)], c.attrs)[0]


def _over(c: Call, op: str, x: Val, *axes: int) -> Val:
    """Reduce over axes and keep them."""
    return c.add(op, [x, c.ints(*axes)], {"keepdims": 1})[0]


@rule("ReduceL1")
def absolute_sum(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """sum(|x|)."""
    return [_reduced(c, "ReduceSum", c.one("Abs", c.val(0)))]


@rule("ReduceSumSquare")
def square_sum(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """sum(x*x)."""
    return [_reduced(c, "ReduceSum", c.one("Mul", c.val(0), c.val(0)))]


@rule("ReduceL2")
def norm(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """The root of sum(x*x); no gradient passes at 0, where there is none."""
    return [c.one("Norm", _reduced(c, "ReduceSum", c.one("Mul", c.val(0), c.val(0))))]


@rule("ReduceLogSum")
def log_sum(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """log(sum(x))."""
    return [c.one("Log", _reduced(c, "ReduceSum", c.val(0)))]


@rule("ReduceLogSumExp")
def log_sum_exp(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """m + log(sum(exp(x - m))) with m = max(x): nothing overflows."""
    top = _reduced(c, "ReduceMax", c.val(0))
    kept = c.add("ReduceMax", [c.val(0), *_axes(c)], {**c.attrs, "keepdims": 1})[0]
    sums = _reduced(c, "ReduceSum", c.one("Exp", c.one("Sub", c.val(0), kept)))
    return [c.one("Add", top, c.one("Log", sums))]


def _axes(c: Call) -> list[Val]:
    found = c.optional(1)
    return [] if found is None else [found]


@rule("ReduceMin")
def smallest(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """-max(-x); of constants, such as shapes, it is computed at once."""
    x = c.val(0)
    if x.const is not None and not x.trained:
        return [_reduced(c, "ReduceMin", x)]
    return [c.one("Neg", _reduced(c, "ReduceMax", c.one("Neg", x)))]


@rule("LpNormalization")
def lp_normalization(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """x divided by its norm along an axis."""
    x = c.val(0)
    axis = norm_axis(attr_int(c.attrs, "axis", -1), len(x.shape))
    if attr_int(c.attrs, "p", 2) == 1:
        return [c.one("Div", x, _over(c, "ReduceSum", c.one("Abs", x), axis))]
    return [c.one("Div", x, c.one("Norm", _over(c, "ReduceSum", c.one("Mul", x, x), axis)))]


def _standard(c: Call, x: Val, axes: Sequence[int], eps: float) -> Val:
    """(x - mean) / sqrt(variance + eps) over axes."""
    d = c.one("Sub", x, _over(c, "ReduceMean", x, *axes))
    var = _over(c, "ReduceMean", c.one("Mul", d, d), *axes)
    return c.one("Div", d, c.one("Sqrt", c.one("Add", var, eps)))


@rule("MeanVarianceNormalization")
def mean_variance_normalization(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """(x - mean) / sqrt(variance + 1e-9), by default over all axes but the channels."""
    axes = attr_ints(c.attrs, "axes", (0, 2, 3))
    x = c.val(0)
    return [_standard(c, x, [norm_axis(a, len(x.shape)) for a in axes], 1e-9)]


@rule("RMSNormalization")
def rms_normalization(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """x / sqrt(mean(x*x) + eps) * scale over the last axes."""
    x = c.val(0)
    first = norm_axis(attr_int(c.attrs, "axis", -1), len(x.shape))
    square = _over(c, "ReduceMean", c.one("Mul", x, x), *range(first, len(x.shape)))
    root = c.one("Sqrt", c.one("Add", square, attr_float(c.attrs, "epsilon", 1e-5)))
    return [c.one("Mul", c.one("Div", x, root), c.val(1))]


@rule("GroupNormalization")
def group_normalization(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Each group of channels of a sample normalised; scale and shift per channel.

    Before opset 21 they are per group: one value for all its channels.
    """
    x, groups = c.val(0), attr_int(c.attrs, "num_groups", 1)
    batch, channels, *rest = x.shape
    if channels % groups:
        raise ValueError(f"{channels} channels in {groups} groups")
    parted = c.one("Reshape", x, c.ints(batch, groups, channels // groups * prod(tuple(rest))))
    y = _standard(c, parted, (2,), attr_float(c.attrs, "epsilon", 1e-5))
    each = x.shape
    if c.val(1).size != channels:
        each = (batch, groups, channels // groups, *rest)
    y = c.one("Reshape", y, c.ints(*each))
    for op, k in (("Mul", c.val(1)), ("Add", c.val(2))):
        y = c.one(op, y, c.one("Reshape", k, c.ints(*k.shape, *(1,) * (len(each) - 2))))
    return [y if y.shape == x.shape else c.one("Reshape", y, c.ints(*x.shape))]
