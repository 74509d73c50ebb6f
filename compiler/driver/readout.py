"""The readout on the host, for evaluation: from the outputs of an inference step to logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.ir.core import Module

Array: TypeAlias = npt.NDArray[Any]


def host_readout(module: Module) -> Callable[[Mapping[str, Array]], Array]:
    """Return the function that makes logits of a configured module's outputs.

    A loss of every step has logits of every step; those of steps that are not read are 0.
    """
    training = module.attrs.get("training")
    readout = training.get("readout") if isinstance(training, Mapping) else None
    if not isinstance(readout, Mapping):
        raise ValueError("the module has no readout")
    name, reduce = f"out/{readout['output']}", str(readout["reduce"])
    said, steps = readout.get("axis"), readout.get("steps")
    axis = said if isinstance(said, int) else 0

    def logits(outputs: Mapping[str, Array]) -> Array:
        value = outputs[name]
        if isinstance(steps, tuple):
            chosen = sorted({int(str(step)) % value.shape[axis] for step in steps})
            if reduce in ("none", "per-step"):
                read = np.zeros_like(value)
                place = (slice(None),) * axis + (chosen,)
                read[place] = value[place]
                return read
            value = np.take(value, chosen, axis)
        match reduce:
            case "none" | "per-step":
                return value
            case "mean":
                return np.asarray(value.mean(axis))
            case "max":
                return np.asarray(value.max(axis))
            case "last":
                return np.asarray(np.take(value, -1, axis))
            case _:
                return np.asarray(value.sum(axis))

    return logits


def logits_time(module: Module) -> int | None:
    """Return the time axis that the logits of a configured module keep, None without one."""
    training = module.attrs.get("training")
    readout = training.get("readout") if isinstance(training, Mapping) else None
    if not isinstance(readout, Mapping) or readout["reduce"] not in ("none", "per-step"):
        return None
    for op in module.walk():
        if op.name == "graph.output" and op.attrs.get("name") == readout["output"]:
            axis = readout.get("axis")
            timed = op.operands[0].type.kind == "seq"
            return axis if timed and isinstance(axis, int) else None
    return None
