"""The targets ``y`` of a training step: how the user's array lies, and what it may hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.compiler.driver.input_values import refuse_unfit

Array: TypeAlias = npt.NDArray[Any]
Dims: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TargetLayout:
    """How ``y`` lies in the user's array.

    ``shape`` is the program's, time first where targets have a time axis; ``time_axis`` is its
    place in the user's array, -1 without one.  ``classes`` is 0 where targets are numbers.
    """

    shape: Dims
    classes: int
    time_axis: int = -1

    @property
    def sample_axis(self) -> int:
        """The axis of the samples in the user's array."""
        return 1 if self.time_axis == 0 else 0

    @property
    def user_shape(self) -> Dims:
        """The shape that the user gives."""
        if self.time_axis < 0:
            return self.shape
        rest = list(self.shape[1:])
        rest.insert(self.time_axis, self.shape[0])
        return tuple(rest)

    @property
    def sample_shape(self) -> Dims:
        """The shape of one sample's target."""
        shape = list(self.user_shape)
        del shape[self.sample_axis]
        return tuple(shape)

    @property
    def words(self) -> str:
        """What the target is, for messages."""
        shape = f"[{', '.join(map(str, self.user_shape))}]"
        return f"{shape} ({'class numbers' if self.classes else 'numbers'})"

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape fits; axes of size 1 do not count."""
        return self._fits(tuple(shape), self.user_shape)

    def takes_samples(self, shape: Sequence[int]) -> bool:
        """Whether targets of any number of samples, which come first, fit."""
        return len(shape) > 0 and self._fits(tuple(shape[1:]), self.sample_shape)

    def _fits(self, shape: Dims, wanted: Dims) -> bool:
        if shape == wanted:
            return True
        bare = [[n for n in dims if n != 1] for dims in (shape, wanted)]
        return math.prod(shape) > 0 and bare[0] == bare[1]

    def inward(self, y: Array, where: str, name: str = "y") -> Array:
        """Return checked targets in the program's layout: int32, or float32 for numbers."""
        if not self.takes(y.shape):
            shown = f"[{', '.join(map(str, y.shape))}]"
            fail("E0022", f"{name} has shape {shown}, expected {self.words}", where)
        y = y.reshape(self.user_shape)
        if self.classes:
            check_labels(y, self.classes, name, where, self.sample_axis)
        else:
            if y.dtype.kind not in "biuf":
                fail("E0023", f"{name} holds {y.dtype}, not numbers", where)
            refuse_unfit(y, name, where, lambda index: index[self.sample_axis] if index else 0)
        if self.time_axis > 0:
            y = np.moveaxis(y, self.time_axis, 0)
        return np.ascontiguousarray(y, np.int32 if self.classes else np.float32)


def check_labels(y: Array, classes: int, name: str, where: str, sample_axis: int = 0) -> None:
    """Complain about labels that are no class numbers, with the first sample that is wrong."""
    if y.dtype.kind == "f":
        wrong = ~(np.isfinite(y) & (y == np.floor(y)))
    elif y.dtype.kind in "iu":
        wrong = np.zeros(y.shape, bool)
    else:
        fail("E0023", f"{name} holds {y.dtype}, not class numbers", where)
    if wrong.any():
        at = _first(wrong)
        sample = at[sample_axis] if at else 0
        fail("E0023", f"{name} holds {y[at]:g} (sample {sample}), no class number", where)
    outside = (y < 0) | (y >= classes)
    if outside.any():
        at = _first(outside)
        fail(
            "E0023",
            f"{name} holds class {int(y[at])}; the model has classes 0..{classes - 1} "
            f"(sample {at[sample_axis] if at else 0})",
            where,
        )


def _first(found: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(found)), found.shape))
