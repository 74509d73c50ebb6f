"""Surrogate derivatives: one decorated function each; all that is known of it is in the decorator.

A function emits the derivative dS/du of the spike at u = h - theta as element-wise ops; products
and sums are rounded once each, in the order of its docstring.  The configuration, the DSL,
attributes of ONNX functions, the manual (docs/config.md) and the checks of values follow from it.
The constants follow the frameworks: atan, sigmoid, rectangular and super_spike agree with
SpikingJelly, atan, fast_sigmoid and straight_through with snnTorch, super_spike and triangular
with norse, exponential, periodic_exponential and gaussian with sinabs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from snncc.compiler.ir.build import Builder, number, text
from snncc.compiler.ir.core import Attribute, Value


class Formula:
    """What a formula is written with: ``h``, ``theta``, ``u``, parameters by name, and ops."""

    def __init__(
        self, b: Builder, h: Value, theta: Value, u: Value, params: Mapping[str, float]
    ) -> None:
        self.b, self.h, self.theta, self.u, self.params = b, h, theta, u, params

    def __getitem__(self, name: str) -> float:
        return self.params[name]

    def c(self, value: float) -> Value:
        """Emit a constant."""
        return constant(self.b, value)

    def f(self, name: str, *operands: Value) -> Value:
        """Emit an op of the dialect ``ew``."""
        return self.b.one(f"ew.{name}", *operands)

    def exp_neg(self, x: Value) -> Value:
        """Emit exp(-x)."""
        return self.b.one("ew.table", self.f("neg", x), fn="exp")

    @property
    def size(self) -> Value:
        """Emit |u|."""
        return self.f("abs", self.u)


Emit: TypeAlias = Callable[[Formula], Value]


@dataclass(frozen=True, slots=True)
class SurrogateRule:
    """A surrogate derivative.

    ``name`` is that of the IR; configurations may write ``-`` for ``_``.  Parameters have their
    defaults, in the order in which they are given without a name; a value must be above 0 unless
    its parameter is ``signed``.  ``formula`` is dS/du for people.  A ``flat`` one is the same at
    every u, which is not computed for it.
    """

    name: str
    params: Mapping[str, float]
    formula: str
    emit: Emit
    synonyms: Mapping[str, str]
    signed: frozenset[str]
    flat: bool

    @property
    def config_name(self) -> str:
        """The name with ``-``."""
        return self.name.replace("_", "-")


SURROGATES: dict[str, SurrogateRule] = {}
"""All surrogates by the name of the IR."""


def surrogate(
    formula: str,
    params: Mapping[str, float],
    synonyms: Mapping[str, str] | None = None,
    signed: tuple[str, ...] = (),
    flat: bool = False,
) -> Callable[[Emit], Emit]:
    """Make a surrogate of a function that emits its derivative; the function's name is its name.

    Raises ValueError where the row is not whole.
    """

    def register(emit: Emit) -> Emit:
        name, others = emit.__name__, dict(synonyms or {})
        problem = ""
        if name in SURROGATES:
            problem = "there is one of this name already"
        elif not formula or not emit.__doc__:
            problem = "it needs a formula and a docstring with the order of its operations"
        elif missing := {*others.values(), *signed} - params.keys():
            problem = f"there is no parameter {', '.join(sorted(missing))}"
        elif taken := others.keys() & params.keys():
            problem = f"{', '.join(sorted(taken))} is a parameter, not a synonym"
        elif low := [k for k, v in params.items() if v <= 0 and k not in signed]:
            problem = f"the default of {', '.join(low)} must be above 0, or the parameter is signed"
        if problem:
            raise ValueError(f"surrogate {name}: {problem}")
        rule = SurrogateRule(name, dict(params), formula, emit, others, frozenset(signed), flat)
        SURROGATES[name] = rule
        return emit

    return register


def rule_of(name: str) -> SurrogateRule | None:
    """Return the surrogate of a name, written with ``-`` or ``_``."""
    return SURROGATES.get(name.replace("-", "_"))


def normal(spec: Attribute) -> dict[str, Attribute]:
    """Return a surrogate specification with underscores and all its parameters."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        spec = DEFAULT
    rule = rule_of(text(spec, "name"))
    if rule is None:
        raise ValueError(
            f"unknown surrogate {text(spec, 'name')!r}; known: {', '.join(SURROGATES)}"
        )
    given = {rule.synonyms.get(k, k): v for k, v in spec.items()}
    return {"name": rule.name, **{k: number(given, k, d) for k, d in rule.params.items()}}


def constant(b: Builder, value: float, dtype: str = "f16") -> Value:
    """Emit a scalar constant."""
    return b.one("ew.const", value=float(value), dtype=dtype)


def derivative(b: Builder, h: Value, theta: Value, spec: Attribute) -> Value:
    """Emit the surrogate derivative of a spike at membrane ``h`` and threshold ``theta``."""
    full = normal(spec)
    params = {k: float(v) for k, v in full.items() if isinstance(v, (int, float))}
    rule = SURROGATES[str(full["name"])]
    u = h if rule.flat else b.one("ew.sub", h, theta)
    return rule.emit(Formula(b, h, theta, u, params))


# ---------------------------------------------------------------------------------- the rows
SLOPE = {"slope": "alpha"}


@surrogate("alpha/2 / (1 + (pi/2*alpha*u)^2)", {"alpha": 2.0}, SLOPE)
def atan(x: Formula) -> Value:
    """``(alpha/2) / (1 + y*y)``, ``y = (pi/2*alpha) * u``."""
    y = x.f("mul", x.c(math.pi / 2 * x["alpha"]), x.u)
    return x.f("div", x.c(x["alpha"] / 2), x.f("add", x.c(1.0), x.f("mul", y, y)))


def _inverse_square(x: Formula, slope: float) -> Value:
    size = x.size if slope == 1.0 else x.f("mul", x.c(slope), x.size)
    d = x.f("add", x.c(1.0), size)
    return x.f("div", x.c(1.0), x.f("mul", d, d))


@surrogate("1 / (1 + slope*|u|)^2", {"slope": 25.0})
def fast_sigmoid(x: Formula) -> Value:
    """``1 / (d*d)``, ``d = 1 + slope*|u|``."""
    return _inverse_square(x, x["slope"])


@surrogate(
    "alpha * sg * (1 - sg), sg = 1/(1+exp(-alpha*u)), in its overflow-free form",
    {"alpha": 4.0},
    SLOPE,
)
def sigmoid(x: Formula) -> Value:
    """``alpha * (y * (1 - y))``, ``y = sigmoid(-alpha*|u|)``: symmetric, no overflow."""
    t = x.f("neg", x.f("mul", x.c(x["alpha"]), x.size))
    y = x.b.one("ew.table", t, fn="sigmoid")
    return x.f("mul", x.c(x["alpha"]), x.f("mul", y, x.f("sub", x.c(1.0), y)))


@surrogate("1 / (1 + alpha*|u|)^2", {"alpha": 1.0}, SLOPE)
def super_spike(x: Formula) -> Value:
    """``1 / (d*d)``, ``d = 1 + alpha*|u|``."""
    return _inverse_square(x, x["alpha"])


@surrogate("scale / (theta*width) * exp(-|u| / (theta*width))", {"width": 0.5, "scale": 1.0})
def exponential(x: Formula) -> Value:
    """``(scale/w) * e^(-(|u|/w))``, ``w = theta*width``."""
    width = x.f("mul", x.theta, x.c(x["width"]))
    return x.f("mul", x.f("div", x.c(x["scale"]), width), x.exp_neg(x.f("div", x.size, width)))


@surrogate(
    "the exponential around every multiple of theta (multi-spike neurons)",
    {"width": 0.5, "scale": 1.0},
)
def periodic_exponential(x: Formula) -> Value:
    """``scale * e^(-(|p|/width))``.

    ``p = u`` below the threshold, ``theta * (2*(n - floor(n)) - 1)``, ``n = h/theta - 1/2``, from
    it on.
    """
    n = x.f("sub", x.f("div", x.h, x.theta), x.c(0.5))
    part = x.f("sub", n, x.f("floor", n))
    above = x.f("mul", x.theta, x.f("sub", x.f("mul", x.c(2.0), part), x.c(1.0)))
    p = x.f("select", x.f("ge", x.h, x.theta), above, x.u)
    return x.f("mul", x.c(x["scale"]), x.exp_neg(x.f("div", x.f("abs", p), x.c(x["width"]))))


@surrogate(
    "scale / (sigma*sqrt(2*pi)) * exp(-(u-mu)^2 / (2*sigma^2))",
    {"mu": 0.0, "sigma": 0.5, "scale": 1.0},
    signed=("mu",),
)
def gaussian(x: Formula) -> Value:
    """``(scale/(sigma*sqrt(2*pi))) * e^(-(z*z*(1/(2*sigma^2))))`` with z = u - mu."""
    sigma = x["sigma"]
    z = x.f("sub", x.u, x.c(x["mu"])) if x["mu"] else x.u
    e = x.exp_neg(x.f("mul", x.f("mul", z, z), x.c(1 / (2 * sigma * sigma))))
    return x.f("mul", x.c(x["scale"] / (sigma * math.sqrt(2 * math.pi))), e)


@surrogate("1/width where |u| < width/2", {"width": 1.0})
def rectangular(x: Formula) -> Value:
    """``1/width where |u| < width/2 else 0``."""
    inside = x.f("lt", x.size, x.c(x["width"] / 2))
    return x.f("select", inside, x.c(1 / x["width"]), x.c(0.0))


@surrogate("scale/width * max(0, 1 - |u|/width)", {"width": 1.0, "scale": 1.0})
def triangular(x: Formula) -> Value:
    """``(scale/width) * max(0, 1 - |u|*(1/width))``."""
    width = x["width"]
    size = x.size if width == 1.0 else x.f("mul", x.size, x.c(1 / width))
    roof = x.f("max", x.c(0.0), x.f("sub", x.c(1.0), size))
    return roof if x["scale"] == width else x.f("mul", x.c(x["scale"] / width), roof)


@surrogate(
    "scale where low <= u <= high (the gradient of clip: integer spikes)",
    {"low": -0.5, "high": 0.5, "scale": 1.0},
    signed=("low", "high", "scale"),
)
def window(x: Formula) -> Value:
    """``scale where u >= low and u <= high else 0``."""
    inside = x.f("and", x.f("ge", x.u, x.c(x["low"])), x.f("le", x.u, x.c(x["high"])))
    return x.f("select", inside, x.c(x["scale"]), x.c(0.0))


@surrogate("1", {}, flat=True)
def straight_through(x: Formula) -> Value:
    """1."""
    return x.c(1.0)


DEFAULT: Mapping[str, Attribute] = {"name": "atan", **SURROGATES["atan"].params}
"""What is assumed where nothing is said."""
