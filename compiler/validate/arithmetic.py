"""The two arithmetics in which a file and its import are compared.

``Hard`` is plain float64: spikes are 0 and 1.  ``Smooth`` finds out whether both sides have the
same gradients without computing one.  A number is a complex one: its real part a value, its
imaginary part (times ``STEP``) the derivative along one random direction in the space of inputs and
parameters.  Sums, products, data movement and linear layers are numpy's own on such numbers, for
``STEP`` is so small that its square vanishes beside one: (a + ib)(c + id) = ac + i(ad + bc).

A spike is in ``Smooth`` the number ``rise(u)``, strictly between 0 and 1, with derivative
``slope(u) * u'``.  So a whole network is a smooth function in which every difference leaks into
every output, whatever the inputs are, and ties cannot occur.  ``detach`` keeps a value and drops
its derivative, which is what a detached reset is.  Two programs that agree here apply the same
spike functions to the same arguments and cut the same paths: they have the same gradient under any
surrogate.

Write an evaluator against these methods and ordinary numpy for + - * @ and data movement; never
compare values, take maxima or call numpy's functions on them directly (complex numbers have no
order).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[[Any], Any]

STEP = 2.0**-300
"""What a derivative of 1 is in an imaginary part."""
ROUNDED = 1e-12
"""A derivative below this is what rounding leaves of none."""
TIE = 1e-9
"""A spike whose |left - right| is at most this times |left| + |right| may fall either way."""


def _sigmoid(x: Any) -> Any:
    t = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, t) / (1 + t)


def _erf(x: Any) -> Any:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(x)


def _normal(x: Any) -> Any:
    return (1 + _erf(x / np.sqrt(2))) / 2


def _density(x: Any) -> Any:
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


FUNCTIONS: Mapping[str, tuple[Function, Function]] = {
    "exp": (np.exp, np.exp),
    "exp2": (np.exp2, lambda x: np.log(2) * np.exp2(x)),
    "log": (np.log, lambda x: 1 / x),
    "log2": (np.log2, lambda x: 1 / (x * np.log(2))),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x: -0.5 / (x * np.sqrt(x))),
    "recip": (lambda x: 1 / x, lambda x: -1 / (x * x)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "softplus": (lambda x: np.logaddexp(0, x), _sigmoid),
    "atan": (np.arctan, lambda x: 1 / (1 + x * x)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "erf": (_erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "gelu": (lambda x: x * _normal(x), lambda x: _normal(x) + x * _density(x)),
}
"""Smooth functions of one number, each with its derivative."""
ROUNDINGS: Mapping[str, Function] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "sign": np.sign,
}
"""Piecewise constant functions: no derivative passes unless they make up a spike function."""


def rise(u: Any) -> Any:
    """The spike in ``Smooth``: from 0 to 1, one half where the two sides are equal."""
    return 0.5 + u / (2 * (1 + np.abs(u)))


def slope(u: Any) -> Any:
    """Derivative of a spike in ``Smooth``; its tails are long, so nothing is out of its reach."""
    return 0.5 / (1 + np.abs(u)) ** 2


def growth(u: Any) -> Any:
    """The count of spikes in ``Smooth``, the first of which comes at ``u = 0``."""
    return (u + np.sqrt(u * u + 4)) / 2


class Arithmetic:
    """What both arithmetics share; ``margin`` is the nearest that a spike came to a tie so far."""

    smooth = False

    def __init__(self, *, detached: bool = True) -> None:
        """``detached``: resets pass no derivative; an evaluator must cut them with ``detach``."""
        self.detached = detached
        self.margin = np.inf

    # ---------------------------------------------------------------- numbers
    def constant(self, x: npt.ArrayLike) -> Array:
        """Return float64 numbers without a derivative (bools become 0 and 1)."""
        return np.asarray(x, np.float64)

    def real(self, x: Array) -> Array:
        """Return the values without their derivatives."""
        return np.asarray(np.real(x)) if np.iscomplexobj(x) else x

    def detach(self, x: Array) -> Array:
        """Return the same values; no derivative passes."""
        return self.real(x)

    def derivative(self, x: Array) -> Array:
        """Return the derivatives, times STEP."""
        return np.asarray(np.imag(x)) if np.iscomplexobj(x) else np.zeros(x.shape)

    def _with(self, value: Array, rate: Array, x: Array) -> Array:
        """A function's value at ``x`` and its slope there."""
        if not np.iscomplexobj(x):
            return np.asarray(value)
        out = np.empty(np.broadcast_shapes(np.shape(value), x.shape), np.complex128)
        out.real = value
        with np.errstate(invalid="ignore"):
            out.imag = np.where(np.imag(x) == 0, 0.0, rate * np.imag(x))
        return out

    # ---------------------------------------------------------------- spikes
    def jump(self, u: Array, value: Array, count: bool = False) -> Array:
        """A spike function of ``u`` = left - right whose exact values are ``value``.

        ``count``: stairs, whose first step is at ``u = 0``, in place of a single step.
        """
        return self.constant(value)

    def spike(
        self, left: Array, right: Array, strict: bool = True, data: Sequence[Array] = ()
    ) -> Array:
        """0 or 1: ``left > right``, or ``left >= right``.

        ``data``: what of the two is no parameter, by default the left one.
        """
        a, b = self.real(left), self.real(right)
        self.approach(a, b)
        value = a > b if strict else a >= b
        return self.fired(data or [left], left - right, value)

    def spikes(self, h: Array, theta: Array) -> Array:
        """A count: ``trunc(h / theta)`` where ``h > 0``, else 0."""
        a, b = self.real(h), self.real(theta)
        n = np.trunc(a / b)
        self.approach(a, np.rint(a / b) * b)
        value = np.where(a > 0, n, 0.0)
        return self.fired([h], h - theta, value, count=True)

    def fired(self, data: Sequence[Array], u: Array, value: Array, count: bool = False) -> Array:
        """A spike function of ``u`` where what is compared has a derivative, else plain spikes.

        A membrane without one is a state that no input has reached yet, in both arithmetics.  What
        is left when two equal derivatives are subtracted is none.
        """
        if not self.smooth:
            return self.jump(u, value, count)
        moving = np.zeros((), np.bool_)
        for x in data:
            moving = moving | (np.abs(self.derivative(x)) > ROUNDED * STEP)
        if not moving.any():
            return self.constant(value)
        soft = self.jump(u, value, count)
        return soft if moving.all() else np.asarray(np.where(moving, soft, value))

    def approach(self, left: Array, right: Array) -> None:
        """Take note of how near to a tie two sides come."""
        size = np.abs(left) + np.abs(right)
        near = np.abs(left - right)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(size > 0, near / size, np.inf)
        least = float(np.min(ratio, initial=np.inf))
        # both sides equal to the last bit is a tie too: another order of additions may decide it
        self.margin = min(self.margin, least)

    # ---------------------------------------------------------------- choices
    def where(self, mask: Array, a: Array, b: Array) -> Array:
        """``a`` where the mask is 1, ``b`` where it is 0; between them what lies between."""
        if mask.dtype.kind in "bi" or not self.smooth:
            return np.asarray(np.where(self.real(mask) != 0, a, b))
        return np.asarray(b + mask * (a - b))

    def maximum(self, a: Array, b: Array) -> Array:
        """The larger; among equals the derivative is the mean."""
        return self._larger(a, b, 1.0)

    def minimum(self, a: Array, b: Array) -> Array:
        """The smaller; among equals the derivative is the mean."""
        return self._larger(a, b, -1.0)

    def _larger(self, a: Array, b: Array, sign: float) -> Array:
        if not (np.iscomplexobj(a) or np.iscomplexobj(b)):
            return np.asarray((np.maximum if sign > 0 else np.minimum)(a, b))
        x, y = sign * self.real(a), sign * self.real(b)
        out = np.asarray(np.where(x > y, a, b), np.complex128)
        tie = x == y
        if tie.any():
            middle = (self.derivative(a) + self.derivative(b)) / 2
            out = out.copy()
            out.imag[tie] = np.broadcast_to(middle, out.shape)[tie]
        return out

    def absolute(self, x: Array) -> Array:
        """|x|."""
        return np.asarray(x * np.sign(self.real(x)))

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""
        return self.maximum(x, np.zeros(()))

    def clip(self, x: Array, low: Array | None, high: Array | None) -> Array:
        """min(max(x, low), high)."""
        x = x if low is None else self.maximum(x, low)
        return x if high is None else self.minimum(x, high)

    # ---------------------------------------------------------------- functions
    def function(self, name: str, x: Array) -> Array:
        """A smooth function of ``FUNCTIONS``."""
        value, rate = FUNCTIONS[name]
        re = self.real(x)
        with np.errstate(all="ignore"):
            if not np.iscomplexobj(x):
                return np.asarray(value(re))
            return self._with(value(re), rate(re), x)

    def rounding(self, name: str, x: Array) -> Array:
        """A piecewise constant function of ``ROUNDINGS``; no derivative passes."""
        return np.asarray(ROUNDINGS[name](self.real(x)))


class Hard(Arithmetic):
    """Plain float64."""


class Smooth(Arithmetic):
    """Values with a derivative, spikes between 0 and 1."""

    smooth = True

    def jump(self, u: Array, value: Array, count: bool = False) -> Array:
        """``rise`` (or ``growth``) of ``u``, with ``slope`` for a derivative."""
        re = self.real(u)
        return self._with(growth(re) if count else rise(re), slope(re), u)
