"""A training step in the interpreter: float32 and float64 answer "is it my model or FP16?"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.compiler.driver.interface import (
    Interface,
    OutputLayout,
    interface_of,
    public_name,
)
from snncc.compiler.driver.overflow import Lost, lost_values
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.layers import parameter_layers

Array: TypeAlias = npt.NDArray[Any]
STEP = "step"


def interpret(
    module: Module,
    interface: Interface,
    inputs: Mapping[str, Array],
    y: Array | None,
    numerics: str,
    where: str,
    seed: int = 0,
    lost: list[Lost] | None = None,
) -> dict[str, Array]:
    """Evaluate the step of a phased module; return arrays in the file's layout.

    ``lost`` gets the arrays that are not finite.
    """
    values: dict[str, npt.ArrayLike] = dict(inputs)
    shapes = {arg.name: arg.type.shape for arg in module.func(STEP).body.args}
    if "y" in shapes:
        if y is None:
            fail("E0021", "a training step needs targets y", where)
        values["y"] = interface.check_y(y, where).reshape(shapes["y"])
    found = evaluate(module, STEP, values, numerics, seed=seed)
    if lost is not None:
        arrays = {name: np.asarray(value) for name, value in found.items()}
        lost += lost_values(arrays, parameter_layers(module))
    layouts = interface_of(module, interface.mode).outputs
    transposed = {
        op.str_attr("name"): op.bool_attr("transpose", False)
        for op in module.walk()
        if op.name == "phase.param"
    }
    results: dict[str, Array] = {}
    for name, value in found.items():
        name = public_name(name)
        kind, _, rest = name.partition("/")
        if kind == "state":
            continue
        plain = OutputLayout(-1, (), False, kind == "param" and transposed.get(rest, False))
        results[name] = layouts.get(name, plain).outward(np.asarray(value))
    return results
