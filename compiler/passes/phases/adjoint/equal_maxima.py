"""The gradient of a maximum of which several entries are the largest: ``ties`` of a reduction.

``even`` shares it equally among them, as ``torch.amax`` does; ``first`` gives it to the first one
along the axis, as ``torch.max(x, dim)`` does.  Over several axes at once it is always shared.
"""

from __future__ import annotations

from snncc.compiler.ir.build import Builder, ints, text
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.phases.adjoint.tape import PhaseTape
from snncc.compiler.passes.phases.kit.emit import map_one, number_value, region_const


def is_shared(op: Op) -> bool:
    """Whether equal maxima of a reduction share its gradient."""
    several = op.name.endswith(".reduce") and len(ints(op.attrs, "axes")) > 1
    return several or text(op.attrs, "ties", "even") == "even"


def max_gradient(t: PhaseTape, op: Op, g: Value, kept: tuple[int, ...]) -> Value:
    """Return the adjoint of what ``phase.reduce`` takes the maximum of.

    ``g``: adjoint of the maximum in the step shape ``kept``, in which reduced axes have size 1.
    """
    x, y = t.fwd(op.operands[0]), t.fwd(op.result)
    if y.type.step_shape != kept:
        y = t.b.one("phase.reshape", y, shape=kept)
    hit = map_one(t.b, [x, y], _hits)
    if is_shared(op):
        axes = ints(op.attrs, "axes")
        count = t.b.one("phase.reduce", hit, kind="sum", axes=axes, keepdims=True)
        return map_one(t.b, [hit, g, count], _share)
    return map_one(t.b, [hit, g, _earlier(t.b, hit, ints(op.attrs, "axes")[0])], _first)


def max_gradient_over_time(t: PhaseTape, op: Op, g: Value) -> Value:
    """Return the adjoint of what ``phase.reduce_time`` takes the maximum of."""
    x = t.fwd(op.operands[0])
    if is_shared(op):
        hit = map_one(t.b, [x, t.fwd(op.result)], _hits)
        return map_one(t.b, [hit, g, t.b.one("phase.reduce_time", hit, kind="sum")], _share)
    found = t.b.op("phase.argmax_time", x)
    return t.b.one("phase.select_time", g, found.results[1], steps=x.type.shape[0])


def _earlier(b: Builder, hit: Value, axis: int) -> Value:
    """Return for each entry whether one before it along the axis is a maximum, as a number."""
    shape = hit.type.step_shape
    size = shape[axis]

    def moved(v: Value, by: int) -> Value:
        low = tuple(by if i == axis else 0 for i in range(len(shape)))
        longer = b.one("phase.pad", v, low=low, high=(0,) * len(shape), value=0.0)
        return b.one("phase.slice", longer, starts=(0,) * len(shape), ends=shape)

    if size == 1:
        return map_one(b, [hit], lambda inner, a: inner.one("ew.sub", a[0], a[0]))
    found, covered = moved(hit, 1), 1
    while covered < size - 1:
        found = map_one(
            b, [found, moved(found, covered)], lambda inner, a: inner.one("ew.max", a[0], a[1])
        )
        covered *= 2
    return found


def _hits(b: Builder, a: list[Value]) -> Value:
    """1 where x equals the maximum, else 0."""
    same = b.one("ew.eq", number_value(b, a[0]), number_value(b, a[1]))
    return b.one("ew.select", same, region_const(b, 1.0), region_const(b, 0.0))


def _share(b: Builder, a: list[Value]) -> Value:
    """g/count where x equals the maximum."""
    mask = b.one("ew.gt", a[0], region_const(b, 0.0))
    return b.one("ew.select", mask, b.one("ew.div", a[1], a[2]), region_const(b, 0.0))


def _first(b: Builder, a: list[Value]) -> Value:
    """g where x equals the maximum and nothing before it does."""
    mask = b.one("ew.gt", a[0], a[2])
    return b.one("ew.select", mask, a[1], region_const(b, 0.0))
