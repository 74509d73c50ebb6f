"""What each micro-operation computes, in plain numpy: the functions that its row names.

Numbers are float32 arrays; those of kind ``h`` hold binary16 numbers exactly.  Masks are bool,
random words uint32.  Results of ``.f`` operations have the canonical NaN.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.numbers import fp16, rng, tables

Lane: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]

WRAP: Final = (1 << 64) - 1
"""Counters and seeds are 64-bit numbers."""


def _single(x: Any) -> Floats:
    return fp16.canonical_f32(np.asarray(x, np.float32))


def as_it_is(x: Lane) -> Lane:
    """Loads without a conversion, and h2f."""
    return x


def int_to_float(x: Floats) -> Floats:
    """Binary32 of a row's int32."""
    return x.view(np.int32).astype(np.float32)


def counter_to_float(counter: npt.NDArray[np.uint64], seed: int) -> Floats:
    """Binary32 of a counter."""
    return counter.view(np.int64).astype(np.float32)


def random_words(counter: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint32]:
    """Random words of counters."""
    return rng.random_u32(seed, 0, counter)


def half_constant(bits: int) -> Floats:
    """A binary16 pattern's number."""
    return fp16.from_bits(np.array([[bits]], np.uint16))


def float_constant(bits: int) -> Floats:
    """A binary32 pattern's number."""
    return np.array([[bits]], np.uint32).view(np.float32)


def stochastic_round(x: Floats, words: npt.NDArray[np.uint32]) -> Floats:
    """Round by the top 13 random bits."""
    return fp16.stochastic_round(x, words >> np.uint32(19))


def uniform(words: npt.NDArray[np.uint32]) -> Floats:
    """Top 11 bits / 2048."""
    return np.asarray((words >> np.uint32(21)).astype(np.float32) / np.float32(2048))


def trunc(a: Floats) -> Floats:
    """Toward zero."""
    return _single(np.trunc(a))


def floor(a: Floats) -> Floats:
    """Toward minus infinity."""
    return _single(np.floor(a))


def add_f32(a: Floats, b: Floats) -> Floats:
    """Sum."""
    return _single(np.add(a, b))


def sub_f32(a: Floats, b: Floats) -> Floats:
    """Difference."""
    return _single(np.subtract(a, b))


def mul_f32(a: Floats, b: Floats) -> Floats:
    """Product."""
    return _single(np.multiply(a, b))


def div_f32(a: Floats, b: Floats) -> Floats:
    """Quotient."""
    return _single(np.divide(a, b))


def sqrt_f32(a: Floats) -> Floats:
    """Square root."""
    return _single(np.sqrt(a))


def neg_f32(a: Floats) -> Floats:
    """Negation."""
    return _single(np.negative(a))


def lookup(table: int, a: Floats) -> Floats:
    """A table function."""
    return tables.apply(table, a)


def select(mask: npt.NDArray[np.bool_], a: Floats, b: Floats) -> Floats:
    """Choose by a mask."""
    return np.where(mask, a, b)
