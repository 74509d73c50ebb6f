"""Unary functions as complete binary16 tables.

A table is the function at all 65,536 bit patterns: computed by numpy in float64, rounded *once*
to binary16, and pinned by the SHA-256 of its little-endian bytes.  It is the correctly rounded
function on every machine: a result that is not exact stays at least 2**-37.6 (sigmoid; 2**-27.4 for
the others) of its size away from a rounding boundary, and float64 libraries are good to about
2**-50.  Float16 and float32 library functions are not good enough, and differ between CPUs.

Special values: NaN gives NaN (``0x7E00``); ``log`` and ``log2`` of +-0 are -inf and of negative
numbers NaN; ``recip`` and ``rsqrt`` of +-0 are +-inf; ``rsqrt`` of negative numbers is NaN;
``tanh`` and ``atan`` keep the sign of zero; ``sigmoid`` of -inf is +0.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.numbers import fp16

__all__ = ["UNARY", "UNARY_NAMES", "TableError", "apply", "lookup", "table"]

F32: TypeAlias = npt.NDArray[np.float32]
F64: TypeAlias = npt.NDArray[np.float64]
U16: TypeAlias = npt.NDArray[np.uint16]


class TableError(RuntimeError):
    """A table does not have the bits it must have on every machine."""


def _sigmoid(x: F64) -> F64:
    t: F64 = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0 / (1.0 + t), t / (1.0 + t)))


def _rsqrt(x: F64) -> F64:
    return np.asarray(1.0 / np.sqrt(x))


def _recip(x: F64) -> F64:
    return np.asarray(1.0 / x)


def _erf(x: F64) -> F64:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _softplus(x: F64) -> F64:
    """log(1 + exp(x)), without overflow."""
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


# name, float64 function, SHA-256 of the table's 131,072 little-endian bytes.  The position is the
# function's number in an instruction word: append only.
_FUNCTIONS: Final[tuple[tuple[str, Callable[[F64], F64], str], ...]] = (
    ("exp", np.exp, "608c213c696b69ed1068ffad77c072bb7b6077f54f58ae277d4e54278020f342"),
    ("exp2", np.exp2, "6c319b8ad56f1601204b80c99bb4d7bba57cc9ea183fedb7a1382099bb2c5acb"),
    ("log", np.log, "322c994520bd9cc2f82db2af6dd2a93063983c1b8f6603b19b207ad75f17f99a"),
    ("log2", np.log2, "25c28eb051f4f6fb8f47410c123002e43303cbd6306f24f19c6cf7b6612d3b00"),
    ("tanh", np.tanh, "fe29dbdff0de41fbffd617d5648cdcab89d76b8291b9e2e9ac08a6fc97f0089c"),
    ("sigmoid", _sigmoid, "a1c114a164cf529daac76bff9657e9d4828d3617bf5eb7398732bf78730c252b"),
    ("rsqrt", _rsqrt, "87d0a874cbf78a0e82326401468f258c0f7e28d56f2f65182ca1f9a4499187fb"),
    ("recip", _recip, "5fd7378a5f83896053b9073ac4f22597d153cfc2dc1e0ac03b77b310830b80a1"),
    ("atan", np.arctan, "12289ac89a0598a8efe9071e3088276e03f8ee3800976f5c40d57b5b198a189c"),
    ("erf", _erf, "9bdc79d64641a2d79a6876a3d58abf82a3492032d27f119ffe75797dd0a7dba5"),
    ("softplus", _softplus, "21d17512052c1514ab9cb6aed8809cd4a06a1bf94cf2f6ef91a003323a1f0f7e"),
    ("sin", np.sin, "64be3022e5c203f44ed9e22270da52971b3022d0efb0f2a86e77a9a90756c2e3"),
    ("cos", np.cos, "04631c5d39cd6ac2e07922ac9783f7bb135613652daaddbb9a95c73519e75c1f"),
)

UNARY_NAMES: Final[tuple[str, ...]] = tuple(name for name, _, _ in _FUNCTIONS)
"""The functions' names in the order of their numbers."""

UNARY: Final[Mapping[str, int]] = MappingProxyType({n: i for i, n in enumerate(UNARY_NAMES)})
"""Name to number.  The numbers are part of the instruction encoding and never change."""

_cache: Final[dict[int, U16]] = {}


def _build(index: int) -> U16:
    x: F64 = fp16.from_bits(np.arange(1 << 16, dtype=np.uint16)).astype(np.float64)
    with np.errstate(all="ignore"):
        return fp16.f64_to_bits(_FUNCTIONS[index][1](x))


def _digest(values: U16) -> str:
    return hashlib.sha256(values.astype("<u2").tobytes()).hexdigest()


def _index(function: str | int) -> int:
    if isinstance(function, str):
        if function not in UNARY:
            raise KeyError(f"unknown unary function {function!r}; known: {', '.join(UNARY_NAMES)}")
        return UNARY[function]
    if not 0 <= function < len(_FUNCTIONS):
        raise KeyError(f"unknown unary function number {function}; known: 0..{len(UNARY) - 1}")
    return function


def table(function: str | int) -> U16:
    """Return the table of a function, given by name or number: read-only uint16 [65536].

    Built on first use.  Raises :class:`TableError` when the host's float64 library gives other bits
    than the pinned ones: results would not be reproducible, so there is no fallback.
    """
    index = _index(function)
    found = _cache.get(index)
    if found is None:
        name, _, expected = _FUNCTIONS[index]
        found = _build(index)
        digest = _digest(found)
        if digest != expected:
            raise TableError(
                f"the binary16 table of {name!r} built on this machine is wrong: SHA-256 {digest}, "
                f"expected {expected}; numpy {np.__version__}'s float64 {name} is not accurate here"
            )
        found.setflags(write=False)
        _cache[index] = found
    return found


def lookup(function: str | int, bits: U16) -> U16:
    """Apply a function to binary16 bits (uint16, any shape); returns bits of the same shape."""
    if bits.dtype != np.uint16:
        raise TypeError(f"lookup: expected uint16 bits, got {bits.dtype}")
    return np.asarray(np.take(table(function), bits))


def apply(function: str | int, x: F32) -> F32:
    """Apply a function to carriers (float32, any shape); returns carriers of the same shape."""
    return fp16.from_bits(lookup(function, fp16.to_bits(x)))
