"""Derivatives of structural ops, at the top level and inside scan bodies.

* linear: ``linear_dx(g, w)``, ``linear_dw(x, g)``, ``sum_rows(g)``; convolutions likewise
* conv_transpose: ``conv(g, w)``, ``conv_dw(g, x)``
* matmul: products with the transposed other operand
* pool: ``pool_dx``; reduce: the gradient repeated (mean: divided; max: ``equal_maxima``)
* reduce_time: sum g at every step, mean g/T, last at the last step, max: ``equal_maxima``
* time_to_axis, axis_to_time: each is the other's inverse
* reshape, transpose, expand, concat, slice, pad: the inverse movement
* batchnorm: with sums S0 = sum g, S1 = sum g*n over n = (x - mean)*inv, N terms per channel (of
  all steps, or of each where the statistics are those of each step):
  ``dx = k*(g - (S0 + n*S1)/N)`` (batch) or ``k*g`` (running), dscale = S1, dshift = S0; f32 inside,
  one rounding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TypeAlias

from snncc.compiler.ir.build import Builder, flag, integer, ints, text
from snncc.compiler.ir.core import Attribute, Op, Value
from snncc.compiler.passes.phases.adjoint.equal_maxima import max_gradient, max_gradient_over_time
from snncc.compiler.passes.phases.adjoint.tape import PhaseTape
from snncc.compiler.passes.phases.kit.emit import cast_map, map_one, region_const

PhaseRule: TypeAlias = Callable[[PhaseTape, Op, Sequence[Value | None]], None]
_WINDOW = ("stride", "padding", "dilation", "groups", "rank")


def _some(x: Value | None) -> Value:
    if x is None:
        raise ValueError("a weight gradient needs the layer's input")
    return x


def _linear(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, x, w = _some(gs[0]), op.operands[0], op.operands[1]
    if t.wants(x):
        t.give(x, t.b.one("phase.linear_dx", g, t.fwd(w)))
    if t.wants(w):
        t.outer(w, x, g, lambda b, x, g: b.one("phase.linear_dw", _some(x), g))
    _bias(t, op, g, -1)


def _bias(t: PhaseTape, op: Op, g: Value, axis: int) -> None:
    if len(op.operands) > 2 and t.wants(op.operands[2]):
        rank = len(g.type.step_shape)
        t.outer(op.operands[2], None, g,
                lambda b, _, g: b.one("phase.sum_rows", g, axis=axis % rank))  # fmt: skip


def _window(op: Op) -> dict[str, Attribute]:
    return {k: op.attrs[k] for k in _WINDOW if k in op.attrs}


def _conv(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, x, w = _some(gs[0]), op.operands[0], op.operands[1]
    window = _window(op)
    if t.wants(x):
        shape = x.type.step_shape
        made = t.b.op("phase.conv_dx", g, t.fwd(w), attrs={**window, "shape": shape})
        t.give(x, made.result)
    if t.wants(w):
        attrs = {**window, "shape": w.type.shape}
        t.outer(w, x, g, lambda b, x, g: b.op("phase.conv_dw", _some(x), g, attrs=attrs).result)
    _bias(t, op, g, 1)


def _conv_transpose(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, x, w = _some(gs[0]), op.operands[0], op.operands[1]
    window = _window(op)
    if t.wants(x):
        t.give(x, t.b.op("phase.conv", g, t.fwd(w), attrs=window).result)
    if t.wants(w):
        attrs = {**window, "shape": w.type.shape}
        t.outer(w, x, g, lambda b, x, g: b.op("phase.conv_dw", g, _some(x), attrs=attrs).result)
    _bias(t, op, g, 1)


def _matmul(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, a, b = _some(gs[0]), op.operands[0], op.operands[1]
    ta, tb = flag(op.attrs, "transpose_a"), flag(op.attrs, "transpose_b")

    def product(x: Value, y: Value, tx: bool, ty: bool) -> Value:
        return t.b.one("phase.matmul", x, y, transpose_a=tx, transpose_b=ty)

    if t.wants(a):
        other = t.fwd(b)
        t.give(a, t.fit(a, product(other, g, tb, True) if ta else product(g, other, False, not tb)))
    if t.wants(b):
        other = t.fwd(a)
        t.give(b, t.fit(b, product(g, other, True, ta) if tb else product(other, g, not ta, False)))


def _pool(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, x = _some(gs[0]), op.operands[0]
    attrs = {k: v for k, v in op.attrs.items() if k not in ("phase", "layer")}
    more = [t.fwd(x), t.fwd(op.result)] if text(op.attrs, "kind") == "max" else []
    attrs["shape"] = x.type.step_shape
    t.give(x, t.b.op("phase.pool_dx", g, *more, attrs=attrs).result)


def _divided(b: Builder, g: Value, count: int) -> Value:
    return map_one(b, [g], lambda inner, a: inner.one("ew.div", a[0], region_const(inner, count)))


def _reduce(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, x, kind = _some(gs[0]), op.operands[0], text(op.attrs, "kind")
    shape, axes = x.type.step_shape, ints(op.attrs, "axes")
    kept = tuple(1 if i in axes else d for i, d in enumerate(shape))
    if kind == "mean":
        count = 1
        for i in axes:
            count *= shape[i]
        g = _divided(t.b, g, count)
    if g.type.step_shape != kept:
        g = t.b.one("phase.reshape", g, shape=kept)
    if kind == "max":
        t.give(x, max_gradient(t, op, g, kept))
    else:
        t.give(x, t.b.one("phase.expand", g, shape=shape))


def _reduce_time(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, x, kind = _some(gs[0]), op.operands[0], text(op.attrs, "kind")
    steps = x.type.shape[0]
    match kind:
        case "sum":
            t.give(x, g)
        case "mean":
            t.give(x, _divided(t.b, g, steps))
        case "last":
            t.give(x, t.b.one("phase.select_time", g, steps=steps, at=steps - 1))
        case _:
            t.give(x, max_gradient_over_time(t, op, g))


def _time_to_axis(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    t.give(op.operands[0], t.b.one("phase.axis_to_time", _some(gs[0])))


def _axis_to_time(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    t.give(op.operands[0], t.b.one("phase.time_to_axis", _some(gs[0])))


def _reshape(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    x = op.operands[0]
    t.give(x, t.b.one("phase.reshape", _some(gs[0]), shape=x.type.step_shape))


def _transpose(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    perm = ints(op.attrs, "perm")
    inverse = tuple(perm.index(i) for i in range(len(perm)))
    t.give(op.operands[0], t.b.one("phase.transpose", _some(gs[0]), perm=inverse))


def _expand(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    t.give(op.operands[0], t.fit(op.operands[0], _some(gs[0])))


def _concat(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g, axis, at = _some(gs[0]), integer(op.attrs, "axis"), 0
    shape = g.type.step_shape
    for v in op.operands:
        width = v.type.step_shape[axis]
        if t.wants(v):
            starts = tuple(at if i == axis else 0 for i in range(len(shape)))
            ends = tuple(at + width if i == axis else d for i, d in enumerate(shape))
            t.give(v, t.fit(v, t.b.one("phase.slice", g, starts=starts, ends=ends)))
        at += width


def _slice(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    x, g = op.operands[0], _some(gs[0])
    starts, shape = ints(op.attrs, "starts"), x.type.step_shape
    strides = ints(op.attrs, "strides", (1,) * len(shape))
    if any(s != 1 for s in strides):
        made = t.b.op("phase.slice_dx", g, starts=starts, strides=strides, shape=shape)
        t.give(x, made.result)
        return
    high = tuple(d - a - n for d, a, n in zip(shape, starts, g.type.step_shape, strict=True))
    t.give(x, t.b.one("phase.pad", g, low=starts, high=high))


def _pad(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    x, low = op.operands[0], ints(op.attrs, "low")
    ends = tuple(a + d for a, d in zip(low, x.type.step_shape, strict=True))
    t.give(x, t.b.one("phase.slice", _some(gs[0]), starts=low, ends=ends))


def _batchnorm(t: PhaseTape, op: Op, gs: Sequence[Value | None]) -> None:
    g = _some(gs[0])
    x, mean, inv, scale, shift = op.operands
    axis = integer(op.attrs, "axis", 1)
    batch = op.attrs.get("statistics") == "batch"
    rank = len(x.type.step_shape)
    column = tuple(x.type.step_shape[axis] if i == axis else 1 for i in range(axis, rank))
    each = mean.type.kind == "seq"  # statistics of every step
    count = (prod(x.type.step_shape) if each else x.type.size) // x.type.step_shape[axis]
    sums: list[Value] = []
    if batch or t.wants(scale) or t.wants(shift):
        more: dict[str, Attribute] = {"axis": axis}
        if each:
            more["per_step"] = True
        made = t.b.op("phase.bn_sums", g, t.fwd(x), t.fwd(mean), t.fwd(inv), attrs=more)
        sums = made.results
        for value, total in ((shift, sums[0]), (scale, sums[1])):
            if t.wants(value):
                t.give(value, t.fit(value, total) if each else cast_map(t.b, total, "f16"))
    if not t.wants(x):
        return

    def per_channel(v: Value) -> Value:
        return t.b.one("phase.reshape", v, shape=column)

    k = map_one(t.b, [t.fwd(scale), t.fwd(inv)], lambda inner, a: inner.one("ew.mul", a[0], a[1]))
    if not batch:

        def simple(inner: Builder, a: list[Value]) -> Value:
            return inner.one("ew.cast", inner.one("ew.mul", a[0], a[1]), to="f16")

        t.give(x, map_one(t.b, [g, per_channel(k)], simple))
        return

    def centred(inner: Builder, a: list[Value]) -> Value:
        g_, x_, k_, mean_, inv_, s0, s1 = a
        if x_.type.dtype == "bit":
            x_ = inner.one("ew.cast", x_, to="f16")
        n = inner.one("ew.mul", inner.one("ew.sub", x_, mean_), inv_)
        both = inner.one("ew.add", s0, inner.one("ew.mul", n, s1))
        part = inner.one("ew.div", both, region_const(inner, float(count), "f32"))
        dx = inner.one("ew.mul", k_, inner.one("ew.sub", g_, part))
        return inner.one("ew.cast", dx, to="f16")

    rows = [per_channel(v) for v in (k, t.fwd(mean), t.fwd(inv), *sums)]
    t.give(x, map_one(t.b, [g, t.fwd(x), *rows], centred))


PHASE_RULES: Mapping[str, PhaseRule] = {
    "phase.linear": _linear,
    "phase.conv": _conv,
    "phase.conv_transpose": _conv_transpose,
    "phase.matmul": _matmul,
    "phase.pool": _pool,
    "phase.reduce": _reduce,
    "phase.reduce_time": _reduce_time,
    "phase.time_to_axis": _time_to_axis,
    "phase.axis_to_time": _axis_to_time,
    "phase.reshape": _reshape,
    "phase.transpose": _transpose,
    "phase.expand": _expand,
    "phase.concat": _concat,
    "phase.slice": _slice,
    "phase.pad": _pad,
    "phase.batchnorm": _batchnorm,
}
