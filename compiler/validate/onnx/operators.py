"""ONNX operators in numpy, written from the operators' definitions: what a file's nodes compute.

An operator gets a :class:`Call` and its operands (None where an optional one is absent) and returns
one array or a list.  Numbers are float64 or carry derivatives (:mod:`arithmetic`), integers are
int64, truth values bool; the file's float types are not told apart.  ``operator_named`` finds one.

Over 400 lines: a table, one short function for each operator.
"""

from __future__ import annotations

import math
import operator as arithmetic_operators
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np

from snncc.compiler.validate.arithmetic import Arithmetic, Array

Attributes: TypeAlias = Mapping[str, Any]
"""int, float, str, lists of these, arrays or graphs, as the file has them."""


class UnknownOperator(Exception):
    """No operator of this name, or not with these attributes."""


@dataclass
class Call:
    """One evaluation of a node: its attributes, number of outputs, and the arithmetic."""

    attributes: Attributes
    arithmetic: Arithmetic
    outputs: int = 1
    opset: int = 18
    batch_statistics: bool = False
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)


Operator: TypeAlias = Callable[..., Any]
OPERATORS: dict[str, Operator] = {}
LOCAL: set[str] = {"Cast", "CastLike", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"}
"""Operators that work element by element, and views."""
VIEWS = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"))


def operator(*names: str, local: bool = False) -> Callable[[Operator], Operator]:
    """Register an operator; ``local``: it works element by element."""

    def add(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        if local:
            LOCAL.update(names)
        return function

    return add


def operator_named(name: str) -> Operator:
    """Return an operator, or raise UnknownOperator."""
    if name not in OPERATORS:
        raise UnknownOperator(f"operator {name}")
    return OPERATORS[name]


def results(found: Any) -> list[Array]:
    """Return what an operator returned as a list of arrays."""
    several = isinstance(found, (list, tuple))
    return list(cast("Sequence[Array]", found)) if several else [cast("Array", found)]


def integers(x: Array | Sequence[int] | None) -> list[int]:
    """Return the elements of an integer tensor or attribute."""
    if x is None:
        return []
    return [int(i) for i in np.real(np.asarray(x)).reshape(-1)]


def number(x: Array) -> Array:
    """Return truth values as 0.0 and 1.0, numbers as they are."""
    return x.astype(np.float64) if x.dtype.kind == "b" else x


def is_real(x: Array) -> bool:
    """Whether an array holds real numbers, with or without derivatives."""
    return x.dtype.kind in "fc"


def total(x: Array, axes: Sequence[int], keep: bool) -> Array:
    """Sum over axes."""
    return np.asarray(np.sum(x, axis=tuple(axes), keepdims=keep))


def mean(x: Array, axes: Sequence[int], keep: bool) -> Array:
    """Mean over axes."""
    return np.asarray(total(x, axes, keep) / math.prod(x.shape[a] for a in axes))


def largest(c: Call, x: Array, axes: Sequence[int], keep: bool) -> Array:
    """Maximum over axes; equals share the derivative evenly."""
    axes = [a % x.ndim for a in axes]
    if not np.iscomplexobj(x):
        return np.asarray(np.max(x, axis=tuple(axes), keepdims=keep))
    re = np.asarray(np.real(x))
    top = np.max(re, axis=tuple(axes), keepdims=True)
    hit = re == top
    rate = np.sum(np.where(hit, np.imag(x), 0.0), axis=tuple(axes), keepdims=True) / np.sum(
        hit, axis=tuple(axes), keepdims=True
    )
    out = np.asarray(top + 1j * rate)
    return out if keep else out.reshape([d for i, d in enumerate(x.shape) if i not in axes])


# ------------------------------------------------------------------------------- element by element
def _plain(name: str, fn: Callable[..., Any]) -> None:
    """Register a function of arrays that needs nothing but them."""

    def run(c: Call, *ins: Array) -> Array:
        return np.asarray(fn(*ins))

    operator(name, local=True)(run)


def _same(x: Array) -> Array:
    return x


def _sum(*xs: Array) -> Array:
    total_of_all = xs[0]
    for x in xs[1:]:
        total_of_all = total_of_all + x
    return total_of_all


def _mean(*xs: Array) -> Array:
    return np.asarray(_sum(*xs) / len(xs))


_plain("Add", arithmetic_operators.add)
_plain("Sub", arithmetic_operators.sub)
_plain("Mul", arithmetic_operators.mul)
_plain("Neg", arithmetic_operators.neg)
_plain("Identity", _same)
_plain("Sum", _sum)
_plain("Mean", _mean)


def _function(name: str, fn: str) -> None:
    """Register a function that the arithmetic knows by name."""

    def run(c: Call, x: Array) -> Array:
        return c.arithmetic.function(fn, x)

    operator(name, local=True)(run)


def _rounding(name: str, fn: str) -> None:
    """Register a rounding that the arithmetic knows by name."""

    def run(c: Call, x: Array) -> Array:
        return c.arithmetic.rounding(fn, x)

    operator(name, local=True)(run)


for _name, _fn in {
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "recip",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Atan": "atan",
    "Sin": "sin",
    "Cos": "cos",
    "Erf": "erf",
    "Softplus": "softplus",
}.items():
    _function(_name, _fn)
for _name, _fn in {
    "Floor": "floor",
    "Ceil": "ceil",
    "Trunc": "trunc",
    "Round": "round",
    "Sign": "sign",
}.items():
    _rounding(_name, _fn)


@operator("Div", local=True)
def _div(c: Call, x: Array, y: Array) -> Array:
    if is_real(x):
        with np.errstate(all="ignore"):
            return np.asarray(x / y)
    return np.asarray(np.trunc(x / y).astype(np.int64))


@operator("Mod", local=True)
def _mod(c: Call, x: Array, y: Array) -> Array:
    if is_real(x):
        whole = np.trunc if c.get("fmod", 0) else np.floor
        return np.asarray(x - y * whole(np.real(x) / np.real(y)))
    return np.asarray(np.fmod(x, y) if c.get("fmod", 0) else np.mod(x, y))


@operator("Pow", local=True)
def _pow(c: Call, x: Array, y: Array) -> Array:
    if not is_real(x):
        return np.asarray(np.power(x, np.real(y)).astype(x.dtype))
    a, b = c.arithmetic.real(x), c.arithmetic.real(y.astype(np.float64) if not is_real(y) else y)
    with np.errstate(all="ignore"):
        value = np.power(a, b)
        if not (np.iscomplexobj(x) or np.iscomplexobj(y)):
            return np.asarray(value)
        dx, dy = c.arithmetic.derivative(x), c.arithmetic.derivative(y)
        rate = np.where(dx == 0, 0.0, b * np.power(a, b - 1) * dx)
        rate = rate + np.where(dy == 0, 0.0, value * np.log(a) * dy)
    return np.asarray(value + 1j * rate)


@operator("Abs", local=True)
def _abs(c: Call, x: Array) -> Array:
    return c.arithmetic.absolute(x) if is_real(x) else np.asarray(np.abs(x))


@operator("Relu", local=True)
def _relu(c: Call, x: Array) -> Array:
    return c.arithmetic.relu(x)


@operator("LeakyRelu", local=True)
def _leaky(c: Call, x: Array) -> Array:
    return _slopes(c, x, np.asarray(c.get("alpha", 0.01)))


@operator("PRelu", local=True)
def _prelu(c: Call, x: Array, slope: Array) -> Array:
    return _slopes(c, x, slope)


def _slopes(c: Call, x: Array, slope: Array) -> Array:
    return np.asarray(c.arithmetic.relu(x) + _low(c, x) * slope)


def _bent(c: Call, x: Array, below: Array) -> Array:
    """``x`` from 0 on, another function below."""
    return np.asarray(np.where(c.arithmetic.real(x) > 0, x, below))


def _low(c: Call, x: Array) -> Array:
    """``x`` where it is not positive, else 0: derivative 1 at 0, where the lower piece begins."""
    return np.asarray(np.where(c.arithmetic.real(x) > 0, 0.0, x))


@operator("Elu", local=True)
def _elu(c: Call, x: Array) -> Array:
    low = _low(c, x)
    return _bent(c, x, c.get("alpha", 1.0) * (c.arithmetic.function("exp", low) - 1))


@operator("Selu", local=True)
def _selu(c: Call, x: Array) -> Array:
    alpha, gamma = c.get("alpha", 1.6732632423543772), c.get("gamma", 1.0507009873554805)
    low = _low(c, x)
    return _bent(c, gamma * x, gamma * alpha * (c.arithmetic.function("exp", low) - 1))


@operator("Celu", local=True)
def _celu(c: Call, x: Array) -> Array:
    alpha = c.get("alpha", 1.0)
    low = _low(c, x)
    return _bent(c, x, alpha * (c.arithmetic.function("exp", low / alpha) - 1))


@operator("Gelu", local=True)
def _gelu(c: Call, x: Array) -> Array:
    if c.get("approximate", "none") == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return np.asarray(0.5 * x * (1 + c.arithmetic.function("tanh", inner)))
    return c.arithmetic.function("gelu", x)


@operator("Softsign", local=True)
def _softsign(c: Call, x: Array) -> Array:
    return np.asarray(x / (1 + c.arithmetic.absolute(x)))


@operator("HardSigmoid", local=True)
def _hard_sigmoid(c: Call, x: Array) -> Array:
    line = c.get("alpha", 0.2) * x + c.get("beta", 0.5)
    return c.arithmetic.clip(line, np.zeros(()), np.ones(()))


@operator("HardSwish", local=True)
def _hard_swish(c: Call, x: Array) -> Array:
    return x * c.arithmetic.clip(x / 6 + 0.5, np.zeros(()), np.ones(()))


@operator("Swish", local=True)
def _swish(c: Call, x: Array) -> Array:
    return x * c.arithmetic.function("sigmoid", c.get("alpha", 1.0) * x)


@operator("Mish", local=True)
def _mish(c: Call, x: Array) -> Array:
    return x * c.arithmetic.function("tanh", c.arithmetic.function("softplus", x))


@operator("ThresholdedRelu", local=True)
def _thresholded(c: Call, x: Array) -> Array:
    return np.asarray(np.where(c.arithmetic.real(x) > c.get("alpha", 1.0), x, 0 * x))


@operator("Clip", local=True)
def _clip(c: Call, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    low = np.asarray(c.get("min")) if low is None and "min" in c.attributes else low
    high = np.asarray(c.get("max")) if high is None and "max" in c.attributes else high
    if is_real(x):
        return c.arithmetic.clip(x, low, high)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.asarray(np.minimum(x, high))


def _chain(c: Call, fn: Callable[[Array, Array], Array], xs: Sequence[Array]) -> Array:
    y = xs[0]
    for x in xs[1:]:
        y = fn(y, x)
    return y


@operator("Max", local=True)
def _max(c: Call, *xs: Array) -> Array:
    return _chain(c, c.arithmetic.maximum if is_real(xs[0]) else np.maximum, xs)


@operator("Min", local=True)
def _min(c: Call, *xs: Array) -> Array:
    return _chain(c, c.arithmetic.minimum if is_real(xs[0]) else np.minimum, xs)


def _comparison(name: str, compare: Callable[[Array, Array], Any]) -> None:
    """Register a comparison of values, whatever their derivatives."""

    def run(c: Call, x: Array, y: Array) -> Array:
        return np.asarray(compare(np.asarray(np.real(x)), np.asarray(np.real(y))))

    operator(name, local=True)(run)


for _name, _compare in {
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Equal": np.equal,
}.items():
    _comparison(_name, _compare)


def _truth(x: Array) -> Array:
    return x if x.dtype.kind == "b" else np.asarray(np.real(x) != 0)


def _logic(name: str, fn: Callable[..., Any]) -> None:
    """Register a function of truth values."""

    def run(c: Call, *ins: Array) -> Array:
        return np.asarray(fn(*map(_truth, ins)))

    operator(name, local=True)(run)


def _test(name: str, fn: Callable[[Array], Any]) -> None:
    """Register a test of values, whatever their derivatives."""

    def run(c: Call, x: Array) -> Array:
        return np.asarray(fn(np.asarray(np.real(x))))

    operator(name, local=True)(run)


_logic("Not", np.logical_not)
_logic("And", np.logical_and)
_logic("Or", np.logical_or)
_logic("Xor", np.logical_xor)
_test("IsNaN", np.isnan)
_test("IsInf", np.isinf)


@operator("Where", local=True)
def _where(c: Call, mask: Array, x: Array, y: Array) -> Array:
    return np.asarray(np.where(_truth(mask), x, y))


@operator("Cast")
def _cast(c: Call, x: Array) -> Array:
    """``to`` is a numpy type here; float types are not told apart."""
    return converted(x, np.dtype(c.get("to")))


@operator("CastLike")
def _cast_like(c: Call, x: Array, like: Array) -> Array:
    return converted(x, like.dtype)


def converted(x: Array, to: np.dtype[Any]) -> Array:
    """Convert to a kind of number."""
    if to.kind in "fc":
        return x if is_real(x) else x.astype(np.float64)
    if to.kind == "b":
        return _truth(x)
    if is_real(x):
        with np.errstate(all="ignore"):
            return np.asarray(np.trunc(np.real(x)).astype(to))
    return np.asarray(x.astype(to))
