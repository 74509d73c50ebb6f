"""First weights of .snn files by the rule of docs/dsl.md, a sample of them for large arrays."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from snncc.compiler.validate.arithmetic import Array

SAMPLED = 256
"""So many numbers are compared at either end of an array."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a parameter begins: the same number everywhere, or uniform in ``-bound..bound``."""

    shape: tuple[int, ...]
    fill: float | None = None
    bound: float = 0.0


def drawn(name: str, seed: int, count: int, first: int, bound: float) -> Array:
    """Return ``count`` of a parameter's numbers from number ``first`` on, as float32."""
    key = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16]
    generator = np.random.PCG64(int.from_bytes(key, "little"))
    generator.advance(first)
    words = np.asarray(generator.random_raw(count), np.uint64) >> np.uint64(11)
    unit = words.astype(np.float64) / 2.0**53
    return ((2 * unit - 1) * bound).astype(np.float32)


def starts_as(name: str, held: Array, start: Start, seed: int, gain: float) -> bool:
    """Whether an array in the file's layout holds the numbers that it should begin with."""
    flat = held.reshape(-1)
    if start.fill is not None:
        return bool(np.all(flat == np.float32(start.fill)))
    size = math.prod(start.shape)
    count = min(SAMPLED, size)
    for first in (0, size - count):
        expected = drawn(name, seed, count, first, gain * start.bound)
        found = np.asarray(flat[first : first + count], np.float64)
        if not np.all(np.abs(found - expected) <= 1e-6 * abs(gain * start.bound)):
            return False
    return True
