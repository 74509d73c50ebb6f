"""The two arithmetics of the interpreter behind one interface.

``Fp16`` is the bit-exact contract (ADR 0001): f16 values are float32 arrays that hold binary16
numbers exactly, every op rounds once, reductions add one term at a time in the given order.
``Native`` computes f16 and f32 values in float32 or float64 with BLAS: it answers "is it my model
or FP16?".  Bits are bool arrays, i32 are int64 arrays in both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.microprograms.code import meaning_of
from snncc.isa.numbers import accumulators, fp16, tables

Array: TypeAlias = npt.NDArray[Any]


class Numerics(ABC):
    """What ops need from an arithmetic."""

    real: type[np.floating[Any]]

    def value(self, array: npt.ArrayLike, dtype: str) -> Array:
        """Convert outside data to a value of an IR dtype (f16: rounded once)."""
        a = np.asarray(array)
        if dtype == "bit":
            return a.astype(np.bool_)
        if dtype == "i32":
            return a.astype(np.int64)
        return self.round(a, dtype)

    @abstractmethod
    def round(self, a: Array, dtype: str) -> Array:
        """Round numbers to f16 or f32."""

    def number(self, a: Array) -> Array:
        """Return bits as numbers 0 and 1, numbers as they are."""
        return a.astype(self.real) if a.dtype.kind in "bi" else a

    @abstractmethod
    def binary(self, name: str, a: Array, b: Array, dtype: str) -> Array:
        """Compute add, sub, mul, div, min or max."""

    @abstractmethod
    def unary(self, name: str, a: Array, dtype: str) -> Array:
        """Compute neg, abs, sqrt, trunc or floor."""

    @abstractmethod
    def table(self, fn: str, a: Array) -> Array:
        """Compute a table function."""

    @abstractmethod
    def mac(self, a: Array, w: Array, init: Array | None = None) -> Array:
        """[R,K] x [K,N]: ``init + sum_k a[r,k]*w[k,n]``, k ascending, rounded to f16.

        A zero (or a 0 bit) of ``a`` selects nothing.  ``init`` broadcasts to [R,N].
        """

    @abstractmethod
    def total(self, x: Array) -> Array:
        """Sum over the first axis, ascending, in f32."""


_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "min": np.minimum,
    "max": np.maximum,
}
_UNARY: Mapping[str, Callable[[Any], Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "trunc": np.trunc,
    "floor": np.floor,
}


def _sigmoid(x: Any) -> Any:
    t = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, t) / (1 + t)


_TABLES: Mapping[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log2": np.log2,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "recip": lambda x: 1 / x,
    "atan": np.arctan,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "sin": np.sin,
    "cos": np.cos,
    "softplus": lambda x: np.logaddexp(x, 0),
}


class Native(Numerics):
    """float32 or float64 throughout."""

    def __init__(self, real: type[np.floating[Any]]) -> None:
        """``real`` is numpy.float32 or numpy.float64."""
        self.real = real

    def round(self, a: Array, dtype: str) -> Array:
        """Convert to the one floating type."""
        return np.asarray(a, self.real)

    def binary(self, name: str, a: Array, b: Array, dtype: str) -> Array:
        """Compute with numpy."""
        return np.asarray(_BINARY[name](a, b))

    def unary(self, name: str, a: Array, dtype: str) -> Array:
        """Compute with numpy."""
        return np.asarray(_UNARY[name](a))

    def table(self, fn: str, a: Array) -> Array:
        """Compute with numpy."""
        return np.asarray(_TABLES[fn](a), self.real)

    def mac(self, a: Array, w: Array, init: Array | None = None) -> Array:
        """One BLAS call."""
        out: Array = self.number(a) @ self.number(w)
        return out if init is None else out + init

    def total(self, x: Array) -> Array:
        """Sum with numpy."""
        return np.asarray(np.sum(self.number(x), axis=0))


def _contract(name: str, dtype: str) -> Callable[..., Array]:
    """Return what the micro-operation of an element-wise op computes (f16: ``.h``, f32: ``.f``)."""
    return meaning_of(f"{name}.{'h' if dtype == 'f16' else 'f'}")


class Fp16(Numerics):
    """The numeric contract."""

    real = np.float32

    def round(self, a: Array, dtype: str) -> Array:
        """Round once; float64 goes to binary16 directly."""
        if dtype == "f32":
            return fp16.canonical_f32(np.asarray(a, np.float32))
        if a.dtype == np.float16:
            return fp16.from_bits(fp16.to_bits(a))
        if a.dtype == np.float32:
            return fp16.round_f16(a)
        return fp16.from_bits(fp16.f64_to_bits(np.asarray(a, np.float64)))

    def binary(self, name: str, a: Array, b: Array, dtype: str) -> Array:
        """Round once to the result type."""
        return np.asarray(_contract(name, dtype)(a, b))

    def unary(self, name: str, a: Array, dtype: str) -> Array:
        """Round once to the result type."""
        return np.asarray(_contract(name, dtype)(a))

    def table(self, fn: str, a: Array) -> Array:
        """Look up the correctly rounded function."""
        return tables.apply(fn, a)

    def mac(self, a: Array, w: Array, init: Array | None = None) -> Array:
        """One term at a time, one rounding at the end."""
        a, w = np.ascontiguousarray(a), np.ascontiguousarray(self.number(w))
        acc: Array | None = None
        if init is not None:
            acc = np.ascontiguousarray(np.broadcast_to(init, (a.shape[0], w.shape[1])))
        if a.dtype == np.bool_:
            return accumulators.writeback(accumulators.gated_mac_ordered(a, w, acc))
        skip = not bool(np.isfinite(w).all())
        return accumulators.writeback(accumulators.mac_ordered(a, w, acc, skip_zero=skip))

    def total(self, x: Array) -> Array:
        """One term at a time."""
        return accumulators.ordered_sum(np.ascontiguousarray(self.number(x)))


def numerics_of(name: str) -> Numerics:
    """Return the arithmetic of a name."""
    match name:
        case "fp16":
            return Fp16()
        case "float32":
            return Native(np.float32)
        case "float64":
            return Native(np.float64)
        case _:
            raise ValueError(f"numerics must be fp16, float32 or float64, got {name!r}")
