"""Surrogate derivatives, emitted as element-wise ops.

With u = h - theta (``|.|``, ``e^``, all products and sums each rounded once, in this order):

* atan(alpha): ``(alpha/2) / (1 + y*y)``, ``y = (pi/2*alpha) * u``
* fast_sigmoid(slope), super_spike(alpha): ``1 / (d*d)``, ``d = 1 + k*|u|``
* sigmoid(alpha): ``alpha * (y * (1 - y))``, ``y = sigmoid(-alpha*|u|)``: symmetric, no overflow
* exponential(width, scale): ``(scale/w) * e^(-(|u|/w))``, ``w = theta*width``
* periodic_exponential(width, scale): ``scale * e^(-(|p|/width))``; ``p = u`` below the threshold,
  ``theta * (2*(n - floor(n)) - 1)``, ``n = h/theta - 1/2``, from it on
* gaussian(mu, sigma, scale): ``(scale/(sigma*sqrt(2*pi))) * e^(-(z*z*(1/(2*sigma^2))))`` with
  z = u - mu
* rectangular(width): ``1/width where |u| < width/2 else 0``
* triangular(width, scale): ``(scale/width) * max(0, 1 - |u|*(1/width))``
* straight_through: 1

The names and constants follow the frameworks: atan, sigmoid, rectangular and super_spike agree with
SpikingJelly, atan, fast_sigmoid and straight_through with snnTorch, super_spike and triangular
with norse, exponential, periodic_exponential and gaussian with sinabs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from snncc.compiler.ir.build import Builder, number, text
from snncc.compiler.ir.core import Attribute, Value

DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "atan": {"alpha": 2.0},
    "fast_sigmoid": {"slope": 25.0},
    "super_spike": {"alpha": 1.0},
    "sigmoid": {"alpha": 4.0},
    "exponential": {"width": 0.5, "scale": 1.0},
    "periodic_exponential": {"width": 0.5, "scale": 1.0},
    "gaussian": {"mu": 0.0, "sigma": 0.5, "scale": 1.0},
    "rectangular": {"width": 1.0},
    "triangular": {"width": 1.0, "scale": 1.0},
    "straight_through": {},
}
"""Parameters and their defaults."""
DEFAULT: Mapping[str, Attribute] = {"name": "atan", "alpha": 2.0}


def normal(spec: Attribute) -> dict[str, Attribute]:
    """Return a surrogate specification with underscores and all its parameters."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        spec = DEFAULT
    name = text(spec, "name").replace("-", "_")
    if name not in DEFAULTS:
        raise ValueError(f"unknown surrogate {name!r}; known: {', '.join(DEFAULTS)}")
    synonyms = {"slope": "alpha"} if name in ("sigmoid", "super_spike", "atan") else {}
    given = {synonyms.get(k, k): v for k, v in spec.items()}
    return {"name": name, **{k: number(given, k, d) for k, d in DEFAULTS[name].items()}}


def constant(b: Builder, value: float, dtype: str = "f16") -> Value:
    """Emit a scalar constant."""
    return b.one("ew.const", value=float(value), dtype=dtype)


def derivative(b: Builder, h: Value, theta: Value, spec: Attribute) -> Value:
    """Emit the surrogate derivative of a spike at membrane ``h`` and threshold ``theta``."""
    full = normal(spec)
    params = {k: float(v) for k, v in full.items() if isinstance(v, (int, float))}
    name = full["name"]
    if name == "straight_through":
        return constant(b, 1.0)
    u = b.one("ew.sub", h, theta)
    return _FORMULAS[str(name)](_Context(b, h, theta, u, params))


class _Context:
    """Shorthands to write a formula."""

    def __init__(
        self, b: Builder, h: Value, theta: Value, u: Value, params: Mapping[str, float]
    ) -> None:
        self.b, self.h, self.theta, self.u, self.params = b, h, theta, u, params

    def __getitem__(self, name: str) -> float:
        return self.params[name]

    def c(self, value: float) -> Value:
        return constant(self.b, value)

    def f(self, name: str, *operands: Value) -> Value:
        return self.b.one(f"ew.{name}", *operands)

    def exp_neg(self, x: Value) -> Value:
        return self.b.one("ew.table", self.f("neg", x), fn="exp")

    @property
    def size(self) -> Value:
        return self.f("abs", self.u)


def _atan(x: _Context) -> Value:
    y = x.f("mul", x.c(math.pi / 2 * x["alpha"]), x.u)
    return x.f("div", x.c(x["alpha"] / 2), x.f("add", x.c(1.0), x.f("mul", y, y)))


def _inverse_square(key: str) -> Callable[[_Context], Value]:
    def build(x: _Context) -> Value:
        size = x.size if x[key] == 1.0 else x.f("mul", x.c(x[key]), x.size)
        d = x.f("add", x.c(1.0), size)
        return x.f("div", x.c(1.0), x.f("mul", d, d))

    return build


def _sigmoid(x: _Context) -> Value:
    t = x.f("neg", x.f("mul", x.c(x["alpha"]), x.size))
    y = x.b.one("ew.table", t, fn="sigmoid")
    return x.f("mul", x.c(x["alpha"]), x.f("mul", y, x.f("sub", x.c(1.0), y)))


def _exponential(x: _Context) -> Value:
    width = x.f("mul", x.theta, x.c(x["width"]))
    return x.f("mul", x.f("div", x.c(x["scale"]), width), x.exp_neg(x.f("div", x.size, width)))


def _periodic_exponential(x: _Context) -> Value:
    n = x.f("sub", x.f("div", x.h, x.theta), x.c(0.5))
    part = x.f("sub", n, x.f("floor", n))
    above = x.f("mul", x.theta, x.f("sub", x.f("mul", x.c(2.0), part), x.c(1.0)))
    p = x.f("select", x.f("ge", x.h, x.theta), above, x.u)
    return x.f("mul", x.c(x["scale"]), x.exp_neg(x.f("div", x.f("abs", p), x.c(x["width"]))))


def _gaussian(x: _Context) -> Value:
    sigma = x["sigma"]
    z = x.f("sub", x.u, x.c(x["mu"])) if x["mu"] else x.u
    e = x.exp_neg(x.f("mul", x.f("mul", z, z), x.c(1 / (2 * sigma * sigma))))
    return x.f("mul", x.c(x["scale"] / (sigma * math.sqrt(2 * math.pi))), e)


def _rectangular(x: _Context) -> Value:
    inside = x.f("lt", x.size, x.c(x["width"] / 2))
    return x.f("select", inside, x.c(1 / x["width"]), x.c(0.0))


def _triangular(x: _Context) -> Value:
    width = x["width"]
    size = x.size if width == 1.0 else x.f("mul", x.size, x.c(1 / width))
    roof = x.f("max", x.c(0.0), x.f("sub", x.c(1.0), size))
    return roof if x["scale"] == width else x.f("mul", x.c(x["scale"] / width), roof)


_FORMULAS: Mapping[str, Callable[[_Context], Value]] = {
    "atan": _atan,
    "fast_sigmoid": _inverse_square("slope"),
    "super_spike": _inverse_square("alpha"),
    "sigmoid": _sigmoid,
    "exponential": _exponential,
    "periodic_exponential": _periodic_exponential,
    "gaussian": _gaussian,
    "rectangular": _rectangular,
    "triangular": _triangular,
}
