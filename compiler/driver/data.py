"""Training data: a data set by name, or an npz file with x, y and perhaps x_test, y_test."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import Diagnostic, fail
from snncc.compiler.driver.files import read_npz
from snncc.compiler.driver.input_values import refuse_unfit
from snncc.compiler.driver.interface import Interface
from snncc.compiler.driver.target_layout import TargetLayout, check_labels
from snncc.compiler.driver.trainer import Data

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
    if ("x_test" in arrays) != ("y_test" in arrays):
        missing = "y_test" if "x_test" in arrays else "x_test"
        fail("E0021", f"array {missing} is missing", where, help="x_test goes with y_test")
    done: list[Array] = []
    for name, label_name in (("x", "y"), ("x_test", "y_test")):
        if name not in arrays:
            done += [done[0][:0], done[1][:0]]
            continue
        value, labels = arrays[name], arrays[label_name]
        if value.ndim < 1 or labels.shape[:1] != (value.shape[0],):
            text = f"{name} has shape {list(value.shape)}, its labels {list(labels.shape)}"
            fail("E0022", f"{text}; both begin with the samples", where)
        if math.prod(value.shape[1:]) != math.prod(sample):
            text = f"a sample of {name} has shape {list(value.shape[1:])}"
            fail("E0022", f"{text}, the model takes {sample}", where)
        _check_kind(value, name, where, interface.x.spikes)
        refuse_unfit(value, name, where, lambda index: index[0])
        done += [value.reshape(value.shape[0], *sample), labels]
    return Data(*done)


def check_targets(data: Data, layout: TargetLayout, where: str) -> Data:
    """Return the data with targets shaped for the model; complain before the first epoch."""
    return replace(
        data,
        y=_targets(data.y, layout, "y", where),
        y_test=_targets(data.y_test, layout, "y_test", where),
    )


def _targets(y: Array, layout: TargetLayout, name: str, where: str) -> Array:
    if not len(y):
        return y
    if not layout.takes_samples(y.shape):
        shown, wanted = list(y.shape[1:]), list(layout.sample_shape)
        fail("E0022", f"a sample of {name} has shape {shown}, expected {wanted}", where)
    y = y.reshape(len(y), *layout.sample_shape)
    if layout.classes:
        check_labels(y, layout.classes, name, where)
    elif y.dtype.kind not in "biuf":
        fail("E0023", f"{name} holds {y.dtype}, not numbers", where)
    else:
        refuse_unfit(y, name, where, lambda index: index[0])
    return y


def doubtful_scale(data: Data, where: str) -> list[Diagnostic]:
    """Return a warning about samples that look like bytes that nobody scaled."""
    x = data.x
    if not x.size or x.dtype.kind == "b":
        return []
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and BYTES[0] <= high <= BYTES[1]):
        return []
    if x.dtype.kind == "f" and any(np.any(part != np.floor(part)) for _, part in _parts(x)):
        return []
    sample = next(start + int(np.argmax(_peaks(part) == high)) for start, part in _parts(x)
                  if part.max() == high)  # fmt: skip
    return [
        Diagnostic(
            "E0376",
            f"x holds whole numbers up to {high:g} (sample {sample}): bytes that were not scaled?",
            where,
            help="networks are usually trained on 0..1: divide x by 255; ignore this if it is "
            "meant",
            severity="warning",
        )
    ]


BYTES = (128, 255)
"""The largest element of images as bytes lies here."""
_SAMPLES = 1024  # looked at together, to bound memory


def _parts(x: Array) -> Iterator[tuple[int, Array]]:
    for start in range(0, len(x), _SAMPLES):
        yield start, x[start : start + _SAMPLES]


def _peaks(x: Array) -> Array:
    return np.asarray(x.reshape(len(x), -1).max(1))


def _check_kind(x: Array, name: str, where: str, spikes: bool) -> None:
    """Complain about samples that are no numbers, or no spikes where the model takes spikes."""
    if x.dtype.kind not in "biuf":
        fail("E0023", f"{name} holds {x.dtype}, not numbers", where)
    for start, part in _parts(x) if spikes else ():
        wrong = ~np.isin(part, (0, 1)).reshape(len(part), -1).all(1)
        if wrong.any():
            text = (
                f"{name} holds other values than 0 and 1 (sample {start + int(np.argmax(wrong))})"
            )
            fail("E0023", f"{text}, but [input] spikes = true", where)
