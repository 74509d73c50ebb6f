"""Optimizers: one decorated function each; all that is known of it is in the decorator.

A function emits, for one parameter, what is subtracted from the weight, in f32, and keeps its new
states.  With w the weight or its FP32 master, d = g + weight_decay*w for the gradient g.  The
formulas are PyTorch's.  Configuration, checks, states and the manual follow from the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from snncc.compiler.ir.build import Builder, flag, number
from snncc.compiler.ir.core import Attribute, Value


class Wide:
    """f32 arithmetic in a region."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def c(self, value: float) -> Value:
        """Emit a constant."""
        return self.b.one("ew.const", value=float(value), dtype="f32")

    def f(self, name: str, *operands: Value) -> Value:
        """Emit an op of the dialect ``ew``, rounded to f32."""
        return self.b.op(f"ew.{name}", *operands, wide=True).result

    def mix(self, rate: float, old: Value, new: Value) -> Value:
        """Emit rate*old + (1-rate)*new."""
        return self.f("add", self.f("mul", self.c(rate), old), self.f("mul", self.c(1 - rate), new))


class Update(Wide):
    """What an update is written with: ``d``, ``lr``, old states by slot, settings, powers.

    ``powers``: of the setting that the row names, the powers of its numbers before this step.
    """

    def __init__(
        self, b: Builder, d: Value, lr: float, settings: Mapping[str, Attribute],
        old: Mapping[str, Value], powers: tuple[Value, ...],
    ) -> None:  # fmt: skip
        super().__init__(b)
        self.d, self.lr, self.settings, self.old, self.powers = d, lr, settings, old, powers
        self.new: dict[str, Value] = {}

    def number(self, name: str) -> float:
        """Return a setting that is a number."""
        return number(self.settings, name)

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a setting that is several numbers."""
        return numbers(self.settings, name)

    def flag(self, name: str) -> bool:
        """Return a setting that is true or false."""
        return flag(self.settings, name)

    def keep(self, **states: Value) -> None:
        """Say what the slots hold after this step."""
        self.new |= states


Emit: TypeAlias = Callable[[Update], Value]


@dataclass(frozen=True, slots=True)
class OptimizerRule:
    """An optimizer.

    ``lr``: the default learning rate.  ``settings``: keys of the configuration's ``[optimizer]``
    with their defaults.  ``slots``: states per parameter, which start at 0.  ``powers``: a setting
    of several numbers whose powers (1 before the first step) are states of the whole training.
    """

    name: str
    lr: float
    settings: Mapping[str, Attribute]
    slots: tuple[str, ...]
    powers: str
    emit: Emit


OPTIMIZERS: dict[str, OptimizerRule] = {}
"""All optimizers by name."""


def optimizer(
    lr: float,
    settings: Mapping[str, Attribute] | None = None,
    slots: tuple[str, ...] = (),
    powers: str = "",
) -> Callable[[Emit], Emit]:
    """Make an optimizer of a function that emits its update; the function's name is its name.

    Raises ValueError where the row is not whole.
    """

    def register(emit: Emit) -> Emit:
        name, known = emit.__name__, dict(settings or {})
        problem = ""
        if name in OPTIMIZERS or name == "none":
            problem = "there is one of this name already"
        elif not emit.__doc__:
            problem = "it needs a docstring with its formula"
        elif lr <= 0:
            problem = f"the default learning rate is {lr:g}; it must be above 0"
        elif powers and not isinstance(known.get(powers), tuple):
            problem = f"powers names {powers!r}, which is no setting of several numbers"
        elif len(set(slots)) < len(slots):
            problem = f"two slots have one name: {', '.join(slots)}"
        if problem:
            raise ValueError(f"optimizer {name}: {problem}")
        OPTIMIZERS[name] = OptimizerRule(name, lr, known, slots, powers, emit)
        return emit

    return register


def numbers(settings: Mapping[str, Attribute], name: str) -> tuple[float, ...]:
    """Return a setting that is several numbers; raise ValueError where it is not."""
    value = settings.get(name)
    found = value if isinstance(value, tuple) else ()
    made = tuple(float(v) for v in found if isinstance(v, (int, float)))
    if not made or len(made) < len(found):
        raise ValueError(f"optimizer.{name} is {value!r}, not a list of numbers")
    return made


# ---------------------------------------------------------------------------------- the rows
@optimizer(lr=0.1)
def sgd(x: Update) -> Value:
    """lr*d."""
    return x.f("mul", x.c(x.lr), x.d)


@optimizer(lr=0.1, settings={"momentum": 0.9, "nesterov": False}, slots=("momentum",))
def momentum(x: Update) -> Value:
    """``m = momentum*m + d``; lr*m, with ``nesterov`` lr*(d + momentum*m)."""
    rate = x.number("momentum")
    m = x.f("add", x.f("mul", x.c(rate), x.old["momentum"]), x.d)
    x.keep(momentum=m)
    step = x.f("add", x.d, x.f("mul", x.c(rate), m)) if x.flag("nesterov") else m
    return x.f("mul", x.c(x.lr), step)


@optimizer(
    lr=0.001, settings={"betas": (0.9, 0.999), "eps": 1e-4}, slots=("m", "v"), powers="betas"
)  # 1e-8, PyTorch's eps, is 0 in binary16
def adam(x: Update) -> Value:
    """``m = b1*m + (1-b1)*d``, ``v = b2*v + (1-b2)*d*d``, p1, p2 the powers of b1, b2.

    lr*(m/(1-p1)) / (sqrt(v/(1-p2)) + eps).
    """
    (b1, b2), (p1, p2) = x.numbers("betas"), x.powers
    m, v = x.mix(b1, x.old["m"], x.d), x.mix(b2, x.old["v"], x.f("mul", x.d, x.d))
    x.keep(m=m, v=v)
    one1 = x.f("sub", x.c(1.0), x.f("mul", p1, x.c(b1)))
    one2 = x.f("sub", x.c(1.0), x.f("mul", p2, x.c(b2)))
    size = x.f("add", x.f("sqrt", x.f("div", v, one2)), x.c(x.number("eps")))
    return x.f("mul", x.c(x.lr), x.f("div", x.f("div", m, one1), size))
