"""Training data: a data set by name, or an npz file with x, y and perhaps x_test, y_test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.cli.files import read_npz
from snncc.compiler.cli.input_values import refuse_unfit
from snncc.compiler.cli.interface import Interface
from snncc.compiler.cli.trainer import Data
from snncc.compiler.diag import fail

Array: TypeAlias = npt.NDArray[Any]


def find_data(source: str | Mapping[str, npt.ArrayLike], interface: Interface) -> Data:
    """Return the data, its samples shaped for the model."""
    if not isinstance(source, str):
        arrays = {k: np.asarray(v) for k, v in source.items()}
        return _shaped(arrays, interface, "data")
    if source.endswith(".npz"):
        return _shaped(read_npz(source, ("x", "y", "x_test", "y_test")), interface, source)
    from snncc.models.datasets import LOADERS

    if source not in LOADERS:
        known = ", ".join(LOADERS)
        fail("E0025", f"no data set {source!r}; there are {known}", help="or name a FILE.npz")
    try:
        found = LOADERS[source]()
    except ImportError as error:
        fail("E0026", f"data set {source} needs a package: {error}",
             help="pip install 'snncc[data]'")  # fmt: skip
    arrays = {"x": found.x, "y": found.y, "x_test": found.x_test, "y_test": found.y_test}
    return _shaped(arrays, interface, source)


def _shaped(arrays: Mapping[str, Array], interface: Interface, where: str) -> Data:
    for name in ("x", "y"):
        if name not in arrays:
            fail("E0021", f"array {name} is missing", where, help="training data needs x and y")
    axis = 1 if interface.x.time_axis == 0 and not interface.x.batch_in_time else 0
    sample = list(interface.x.user_shape)
    del sample[axis]
    x, y = arrays["x"], arrays["y"]
    x_test = arrays.get("x_test", x[:0])
    y_test = arrays.get("y_test", y[:0])
    done: list[Array] = []
    for name, value, labels in (("x", x, y), ("x_test", x_test, y_test)):
        if value.ndim < 1 or labels.shape != (value.shape[0],):
            text = f"{name} has shape {list(value.shape)}, its labels {list(labels.shape)}"
            fail("E0022", f"{text}; both begin with the samples", where)
        if int(np.prod(value.shape[1:])) != int(np.prod(sample)):
            text = f"a sample of {name} has shape {list(value.shape[1:])}"
            fail("E0022", f"{text}, the model takes {sample}", where)
        refuse_unfit(value, name, where, lambda index: index[0])
        done += [value.reshape(value.shape[0], *sample), labels]
    return Data(*done)
