"""Reading some time steps of an output: a mask over the steps, all of which are computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Module, Value, seq
from snncc.compiler.passes.phases.kit.emit import map_one, number_value, region_const

RESOURCE = "readout.steps"


def chosen_steps(said: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the steps that are read, ascending; negative ones count from the end; none said: ().

    Raises ValueError for a step that is not there.
    """
    for step in said:
        if not -count <= step < count:
            raise ValueError(f"there is no step {step} among {count}")
    found = tuple(sorted({step % count for step in said}))
    return () if len(found) == count else found


def mask_of(b: Builder, module: Module, steps: Sequence[int], count: int, rank: int) -> Value:
    """Return 1 at the chosen steps and 0 elsewhere, broadcast over a step of ``rank`` axes."""
    name, n = RESOURCE, 1
    array = np.zeros((count, *(1,) * rank), np.float32)
    array[list(steps)] = 1
    while name in module.resources and not np.array_equal(module.resources[name], array):
        n += 1
        name = f"{RESOURCE}#{n}"
    module.resources[name] = array
    return b.op("phase.const", types=[seq(array.shape)], resource=name).result


def masked(b: Builder, x: Value, mask: Value, other: float) -> Value:
    """Return a value at the chosen steps and ``other`` elsewhere."""

    def body(inner: Builder, a: list[Value]) -> Value:
        chosen = inner.one("ew.gt", a[1], region_const(inner, 0.0))
        elsewhere = region_const(inner, other, a[0].type.dtype)
        return inner.one("ew.select", chosen, a[0], elsewhere)

    return map_one(b, [x, mask], body)


def reduced(b: Builder, module: Module, x: Value, kind: str, steps: Sequence[int]) -> Value:
    """Reduce a sequence over time (sum, mean, max, last), over the chosen steps where some are.

    A mean over some steps rounds twice: the sum, and its division by their number.
    """
    more: dict[str, Attribute] = {"ties": "first"} if kind == "max" else {}
    if not steps:
        return _number(b, b.op("phase.reduce_time", x, attrs={"kind": kind, **more}).result)
    if kind == "last":
        steps = steps[-1:]
    x = _number(b, x)
    mask = mask_of(b, module, steps, x.type.shape[0], len(x.type.step_shape))
    part = masked(b, x, mask, -np.inf if kind == "max" else 0.0)
    how = "max" if kind == "max" else "sum"
    made = b.op("phase.reduce_time", part, attrs={"kind": how, **more}).result
    if kind != "mean":
        return made
    count = len(steps)
    return map_one(
        b, [made], lambda inner, a: inner.one("ew.div", a[0], region_const(inner, count))
    )


def _number(b: Builder, x: Value) -> Value:
    if x.type.dtype != "bit":
        return x
    return map_one(b, [x], lambda inner, a: number_value(inner, a[0]))
