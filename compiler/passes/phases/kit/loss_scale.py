"""The dynamic loss scale inside a training step: a state that gradients are divided by."""

from __future__ import annotations

from snncc.compiler.config.loss_scale import SCALE_STATE
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Func, Value, tensor
from snncc.compiler.passes.phases.kit.emit import map_one, region_const


def add_scale_state(b: Builder, initial: float) -> Value:
    """Add the state; whoever runs the step may change it between steps."""
    attrs: dict[str, Attribute] = {"name": SCALE_STATE, "init": initial}
    return b.op("phase.state", types=[tensor((), "f32")], names=["scale"], attrs=attrs).result


def scale_state(func: Func) -> Value | None:
    """Return the state, or None where the scale is a number of the configuration."""
    for op in func.body.ops:
        if op.name == "phase.state" and op.attrs.get("name") == SCALE_STATE:
            return op.result
    return None


def unscaled(b: Builder, gradient: Value, scale: float, state: Value | None) -> Value:
    """Add the division of a reported gradient by the loss scale; operand 0 is the gradient."""
    if state is not None:

        def divide(inner: Builder, a: list[Value]) -> Value:
            quotient = inner.op("ew.div", *a, wide=True).result
            return inner.one("ew.cast", quotient, to="f16")

        return map_one(b, [gradient, state], divide)
    if scale == 1.0:
        return gradient
    return map_one(
        b, [gradient], lambda inner, a: inner.one("ew.div", a[0], region_const(inner, scale))
    )
