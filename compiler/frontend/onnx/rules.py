"""Operators that the flat graph writes in another way than ONNX does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.axes import norm_axis
from snncc.compiler.frontend.flat.elementwise import evaluate
from snncc.compiler.frontend.flat.flat import F32, I64, Arr, AttrValue, Val, attr_int
from snncc.compiler.frontend.onnx.build import Bound, Call, GraphBuilder, rule
from snncc.compiler.frontend.onnx.file import np_dtype


@rule("Identity")
def identity(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Identity is its operand; exporters write it where they merge equal numbers.

    The name that it gives may be that of a framework's setting, which is no parameter.
    """
    x = c.bound(0)
    name = c.proto.output[0]
    if isinstance(x, Val) and x.const is not None and x.size == 1 and b.names.setting(name):
        return [b.const(x.const)]
    return [x]


@rule("Dropout")
def dropout(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Dropout is the identity unless the file was exported for training: in training mode, or by
    ``snncc export``, whose files are for both."""
    x, rate, mode = c.val(0), c.optional(1), c.optional(2)
    trains = mode is not None and mode.const is not None and bool(mode.const.any())
    if not trains and b.flat.producer != "snncc":
        return [x, x]
    ratio = 0.5
    if rate is not None and rate.const is not None:
        ratio = float(str(np.float32(rate.const.item())))  # 0.1 as it was written
    return c.add("Dropout", [x], {"rate": ratio})


@rule("Constant")
def constant(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Constant nodes become constants."""
    for v in c.attrs.values():
        if isinstance(v, np.ndarray):
            return [b.const(cast("Arr", v))]
        if isinstance(v, (int, float)):
            return [b.const(np.asarray(v, F32 if isinstance(v, float) else I64))]
        if isinstance(v, tuple):
            numbers = cast("tuple[int | float, ...]", v)
            floats = bool(numbers) and isinstance(numbers[0], float)
            return [b.const(np.asarray(numbers, F32 if floats else I64))]
    fail("E0104", "Constant without a number", b.where(c.name))


@rule("Cast")
def conversion(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Casts between float types vanish; to an integer and back is a truncation."""
    to = np_dtype(attr_int(c.attrs, "to", 1), b.where(c.name))
    return [b.cast(c.val(0), to, c)]


@rule("CastLike")
def conversion_like(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """As Cast."""
    return [b.cast(c.val(0), c.val(1).dtype, c)]


@rule("Clip")
def clip(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Clip with constant bounds; without effect on a constant, it is that constant.

    A parameter of several elements keeps it: its values are others after the first update.
    """
    bounds: dict[str, AttrValue] = {k: c.attrs[k] for k in ("min", "max") if k in c.attrs}
    for i, key in ((1, "min"), (2, "max")):
        v = c.optional(i)
        if v is None:
            continue
        if v.const is None or v.size != 1:
            fail("E0104", "Clip with bounds that are no constants", b.where(c.name))
        bounds[key] = float(v.const.item())
    x = c.val(0)
    if (
        x.const is not None
        and not x.trained
        and np.array_equal(x.const, evaluate("Clip", [x.const], bounds))
    ):
        return [x]
    return c.add("Clip", [x], bounds)


@rule("Less")
def less(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """a < b is b > a."""
    return c.add("Greater", [c.val(1), c.val(0)])


@rule("LessOrEqual")
def less_or_equal(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """a <= b is b >= a."""
    return c.add("GreaterOrEqual", [c.val(1), c.val(0)])


def _chain(c: Call, op: str) -> Val:
    out = c.val(0)
    for i in range(1, len(c.ins)):
        out = c.add(op, [out, c.val(i)])[0]
    return out


@rule("Sum")
def total(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A sum of many is a chain."""
    return [_chain(c, "Add")]


@rule("Mean")
def mean(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A mean of many is a chain and a division."""
    return c.add("Div", [_chain(c, "Add"), b.scalar(len(c.ins))])


@rule("Max")
def maximum(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A maximum of many is a chain."""
    return [_chain(c, "Max")]


@rule("Min")
def minimum(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A minimum of many is a chain."""
    return [_chain(c, "Min")]


@rule("LayerNormalization")
def layer_normalization(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Only the first output is used."""
    return c.add("LayerNormalization", [c.val(0), c.val(1), c.optional(2)], c.attrs)


@rule("LogSoftmax")
def log_softmax(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """d - log(sum(exp(d))) with d = x - max(x)."""
    x = c.val(0)
    axes = b.const(np.array([attr_int(c.attrs, "axis", -1) % len(x.shape)], I64))
    top = c.add("ReduceMax", [x, axes], {"keepdims": 1})[0]
    d = c.add("Sub", [x, top])[0]
    total_ = c.add("ReduceSum", [c.add("Exp", [d])[0], axes], {"keepdims": 1})[0]
    return c.add("Sub", [d, c.add("Log", [total_])[0]])


@rule("CumSum")
def running_sum(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A running sum along an axis is a product with a triangle of ones."""
    x, along = c.val(0), c.val(1)
    if along.const is None or along.size != 1:
        fail("E0104", "CumSum along an axis that is no constant", b.where(c.name))
    rank = len(x.shape)
    axis = norm_axis(int(along.const.item()), rank)
    n = x.shape[axis]
    after = int(bool(attr_int(c.attrs, "exclusive", 0)))
    ones = np.triu(np.ones((n, n), F32), after)  # [term, sum]
    triangle = b.const(ones.T if attr_int(c.attrs, "reverse", 0) else ones, made_up=True)
    if rank == 1:
        row = c.add("Reshape", [x, b.const(np.array([1, n], I64))])[0]
        total = c.add("MatMul", [row, triangle])[0]
        return c.add("Reshape", [total, b.const(np.array([n], I64))])
    perm = (*(i for i in range(rank) if i != axis), axis)
    turned = c.add("Transpose", [x], {"perm": perm})[0] if axis != rank - 1 else x
    total = c.add("MatMul", [turned, triangle])[0]
    back = tuple(perm.index(i) for i in range(rank))
    return c.add("Transpose", [total], {"perm": back}) if axis != rank - 1 else [total]
