"""Values that a user gives: are they still finite once rounded to binary16?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import Diagnostic, fail

Array: TypeAlias = npt.NDArray[Any]
ROUNDS_TO_INFINITY = np.float32(65520.0)
"""The smallest magnitude that rounds to infinity: half a step above 65504, and ties go to even."""
_CACHED = 1 << 16  # elements that stay in the host's cache from one look to the next
_CHUNK = 1 << 22  # elements looked at in one go: bounded memory for data sets of any size


def only_spikes(values: Array) -> bool:
    """Return whether all values are 0 or 1."""
    flat = values.reshape(-1)
    parts = (flat[start : start + _CACHED] for start in range(0, flat.size, _CACHED))
    return all(((part == 0) | (part == 1)).all() for part in parts)


def first_unfit(values: Array, binary16: bool = True) -> tuple[tuple[int, ...], int] | None:
    """Return the index of the first value that is not finite and how many there are, or None.

    ``binary16``: after rounding to it, otherwise to float32.
    """
    if values.dtype.kind not in "fiu" or values.dtype.itemsize == 1 or not values.size:
        return None
    flat = values.reshape(-1)
    first, count = -1, 0
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        good = np.abs(part) < ROUNDS_TO_INFINITY if binary16 else _in_float32(part)
        bad = part.size - int(np.count_nonzero(good))
        if bad and first < 0:
            first = start + int(np.argmin(good))
        count += bad
    if not count:
        return None
    return tuple(int(i) for i in np.unravel_index(first, values.shape)), count


def _in_float32(part: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.isfinite(part.astype(np.float32)))


def refuse_unfit(
    values: Array,
    name: str,
    where: str,
    sample: Callable[[tuple[int, ...]], int],
    binary16: bool = True,
) -> None:
    """Refuse an array with a value that is not finite (in binary16); ``sample`` of an index."""
    found = first_unfit(values, binary16)
    if found is None:
        return
    index, count = found
    value = float(values[index])
    place = f"{name}[{', '.join(map(str, index))}]"
    others = f", the first of {count} such values" if count > 1 else ""
    if np.isfinite(value):
        largest = "65504" if binary16 else f"{np.finfo(np.float32).max:g}"
        what = f"is {value:.8g}, and the largest number is {largest}"
        help_ = "scale the inputs down"
    else:
        what, help_ = f"is {value}, which is no finite number", ""
    fail("E0023", f"{place} (sample {sample(index)}) {what}{others}", where, help=help_)


def rounding_warnings(values: Array, name: str, where: str) -> list[Diagnostic]:
    """Return a warning about finite values that become infinite in binary16.

    For tensors of a program whose meaning is unknown: infinities may be meant, these are not.
    """
    found = first_unfit(np.where(np.isfinite(values), values, 0))
    if found is None:
        return []
    index, count = found
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    others = f", the first of {count} such values" if count > 1 else ""
    text = f"{place} is {float(values[index]):.8g}, which becomes infinite in binary16{others}"
    return [Diagnostic("E0023", text, where, help="65504 is the largest number",
                       severity="warning")]  # fmt: skip
