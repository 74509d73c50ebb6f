"""Data sets by name: arrays split into training and test set, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples first; ``x`` holds what a model takes for one sample, ``y`` class numbers."""

    x: FloatArray
    y: IntArray
    x_test: FloatArray
    y_test: IntArray
    classes: int


def digits() -> Dataset:
    """Return scikit-learn's 1,797 digits of 8x8 pixels in 0..1, every fifth one for testing."""
    from sklearn.datasets import load_digits

    loaded = cast("Any", load_digits())
    x = np.asarray(loaded.data, np.float32) / np.float32(16)
    y = np.asarray(loaded.target, np.int64)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(x))
    x, y = x[order], y[order]
    test = np.arange(len(x)) % 5 == 0
    return Dataset(x[~test], y[~test], x[test], y[test], 10)


LOADERS: dict[str, Callable[[], Dataset]] = {"digits": digits}
"""By the name that ``snncc train --data`` takes.  A loader may raise ImportError."""
