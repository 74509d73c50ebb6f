"""Element-wise ONNX operators: their numpy meaning, for folding and for probing recurrences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from snncc.compiler.frontend.flat.flat import Arr, Attrs, attr_dtype

Fn: TypeAlias = Callable[[Sequence[Arr], Attrs], Arr]


def _erf(x: Arr) -> Arr:
    import math

    return np.asarray(np.vectorize(math.erf)(x))


def _cast(ins: Sequence[Arr], attrs: Attrs) -> Arr:
    target = attr_dtype(attrs, "to")
    x = ins[0]
    if target.kind in "iu" and x.dtype.kind == "f":
        x = np.nan_to_num(x)
    return x.astype(target)


def _div(ins: Sequence[Arr], attrs: Attrs) -> Arr:
    a, b = ins
    if a.dtype.kind in "iu":
        if not b.all():
            raise ValueError("division by zero")
        return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)
    return np.asarray(a / b)


def _clip(ins: Sequence[Arr], attrs: Attrs) -> Arr:
    x = ins[0]
    low = attrs.get("min")
    high = attrs.get("max")
    if isinstance(low, float):
        x = np.maximum(x, low)
    if isinstance(high, float):
        x = np.minimum(x, high)
    return x


def _mod(ins: Sequence[Arr], attrs: Attrs) -> Arr:
    if attrs.get("fmod"):
        return np.fmod(ins[0], ins[1])
    return np.mod(ins[0], ins[1])


def _un(fn: Callable[[Arr], Arr]) -> Fn:
    return lambda ins, attrs: fn(ins[0])


def _bin(fn: Callable[[Arr, Arr], Arr]) -> Fn:
    return lambda ins, attrs: np.asarray(fn(ins[0], ins[1]))


ELEMENTWISE: dict[str, Fn] = {
    "Add": _bin(lambda a, b: a + b),
    "Sub": _bin(lambda a, b: a - b),
    "Mul": _bin(lambda a, b: a * b),
    "Div": _div,
    "Pow": _bin(lambda a, b: np.asarray(np.power(a, b.astype(a.dtype)))),
    "Max": _bin(np.maximum),
    "Min": _bin(np.minimum),
    "Mod": _mod,
    "Greater": _bin(lambda a, b: np.asarray(a > b)),
    "GreaterOrEqual": _bin(lambda a, b: np.asarray(a >= b)),
    "Equal": _bin(lambda a, b: np.asarray(a == b)),
    "And": _bin(np.logical_and),
    "Or": _bin(np.logical_or),
    "Xor": _bin(np.logical_xor),
    "Not": _un(np.logical_not),
    "Neg": _un(np.negative),
    "Abs": _un(np.abs),
    "Sign": _un(np.sign),
    "Floor": _un(np.floor),
    "Ceil": _un(np.ceil),
    "Round": _un(np.rint),
    "Trunc": _un(np.trunc),
    "Exp": _un(np.exp),
    "Log": _un(np.log),
    "Sqrt": _un(np.sqrt),
    "Norm": _un(np.sqrt),
    "Reciprocal": _un(lambda x: np.asarray(1 / x)),
    "Relu": _un(lambda x: np.maximum(x, 0)),
    "Sigmoid": _un(lambda x: np.asarray(1 / (1 + np.exp(-x)))),
    "Tanh": _un(np.tanh),
    "Atan": _un(np.arctan),
    "Sin": _un(np.sin),
    "Cos": _un(np.cos),
    "Erf": _un(_erf),
    "Softplus": _un(lambda x: np.logaddexp(0, x)),
    "Clip": _clip,
    "Cast": _cast,
    "Where": lambda ins, attrs: np.where(ins[0], ins[1], ins[2]),
}
"""op -> meaning on arrays that broadcast.  ``Clip`` holds its bounds as attributes; ``Norm`` is the
root of a sum of squares, which passes no gradient at 0."""

COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "Equal", "And", "Or", "Xor"})
COMPARE = frozenset({"Greater", "GreaterOrEqual"})
LOGICAL = frozenset({"Greater", "GreaterOrEqual", "Equal", "And", "Or", "Xor", "Not"})


def evaluate(op: str, ins: Sequence[Arr], attrs: Attrs) -> Arr:
    """Evaluate an element-wise operator."""
    with np.errstate(all="ignore"):
        return np.asarray(ELEMENTWISE[op](ins, attrs))
