"""The readout on the host, for evaluation: from the outputs of an inference step to logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.ir.core import Module

Array: TypeAlias = npt.NDArray[Any]


def host_readout(module: Module) -> Callable[[Mapping[str, Array]], Array]:
    """Return the function that makes logits of a configured module's outputs."""
    training = module.attrs.get("training")
    readout = training.get("readout") if isinstance(training, Mapping) else None
    if not isinstance(readout, Mapping):
        raise ValueError("the module has no readout")
    name, reduce = f"out/{readout['output']}", str(readout["reduce"])
    said = readout.get("axis")
    axis = said if isinstance(said, int) else 0

    def logits(outputs: Mapping[str, Array]) -> Array:
        value = outputs[name]
        match reduce:
            case "none":
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
