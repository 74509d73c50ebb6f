"""Losses: one row each; all that is known of a loss is in its row.

A loss of errors is a decorated function: it emits what one element adds to the loss and its slope,
from ``d = z - t``, as element-wise ops that round once each, in the order of its docstring; the
loss is the mean over all elements.  Cross-entropy is an op of its own (docs/design/ir.md).  The
configuration, its checks and docs/config.md, the shape of targets, interpreter and chip follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Type, Value
from snncc.compiler.ir.surrogate import constant

CLASSES, PIXELS, VALUES = "classes", "pixels", "values"
TARGETS: Mapping[str, str] = {
    CLASSES: "one class number per sample",
    PIXELS: "one class number per place; the classes are axis 1 of the output",
    VALUES: "a number for every element of the output",
}
"""What a target may be."""


class Errors:
    """What a loss of errors is written with: ``d``, settings by name, and ops."""

    def __init__(self, b: Builder, d: Value, settings: Mapping[str, float]) -> None:
        self.b, self.d, self.settings = b, d, settings

    def __getitem__(self, name: str) -> float:
        return self.settings[name]

    def c(self, value: float, dtype: str = "f16") -> Value:
        """Emit a constant."""
        return constant(self.b, value, dtype)

    def f(self, name: str, *operands: Value) -> Value:
        """Emit an op of the dialect ``ew``."""
        return self.b.one(f"ew.{name}", *operands)

    def wide(self, name: str, *operands: Value) -> Value:
        """Emit an op that rounds to binary32."""
        return self.b.one(f"ew.{name}", *operands, wide=True)

    @property
    def size(self) -> Value:
        """Emit |d|."""
        return self.f("abs", self.d)

    def within(self, limit: float) -> Value:
        """Emit min(max(d, -limit), limit)."""
        return self.f("min", self.f("max", self.d, self.c(-limit)), self.c(limit))


@dataclass(frozen=True, slots=True)
class ErrorTerm:
    """What an element adds to the loss (binary32), and ``factor`` times ``slope`` (binary16) its
    derivative."""

    value: Value
    slope: Value
    factor: float = 1.0


Emit: TypeAlias = Callable[[Errors], ErrorTerm]


@dataclass(frozen=True, slots=True)
class LossRule:
    """A loss.

    ``targets``: what it is compared with (``TARGETS``); class numbers stand for rows of 0 and 1
    where the loss is one of errors.  ``settings``: keys of the configuration's ``[loss]`` with
    their defaults.  ``emit`` is None for the one that is an op.
    """

    name: str
    formula: str
    targets: tuple[str, ...]
    settings: Mapping[str, float] = field(default_factory=dict[str, float])
    synonyms: tuple[str, ...] = ()
    emit: Emit | None = None


CROSS_ENTROPY = "cross-entropy"
LOSSES: dict[str, LossRule] = {
    CROSS_ENTROPY: LossRule(
        CROSS_ENTROPY,
        "log(sum exp z) - z[label]",
        (CLASSES, PIXELS),
        {"label_smoothing": 0.0},
        ("ce",),
    )
}
"""All losses by the name of the configuration."""


def loss(
    formula: str, settings: Mapping[str, float] | None = None, synonyms: tuple[str, ...] = ()
) -> Callable[[Emit], Emit]:
    """Make a loss of a function of the error; the function's name, with ``-``, is its name.

    Raises ValueError where the row is not whole.
    """

    def register(emit: Emit) -> Emit:
        name = emit.__name__.replace("_", "-")
        taken = {word for rule in LOSSES.values() for word in (rule.name, *rule.synonyms)}
        problem = ""
        if twice := taken & {name, *synonyms}:
            problem = f"there is {', '.join(sorted(twice))} already"
        elif not formula or not emit.__doc__:
            problem = "it needs a formula and a docstring with the order of its operations"
        elif low := [key for key, value in (settings or {}).items() if value <= 0]:
            problem = f"the default of {', '.join(low)} must be above 0"
        if problem:
            raise ValueError(f"loss {name}: {problem}")
        known = dict(settings or {})
        LOSSES[name] = LossRule(name, formula, (VALUES, CLASSES), known, synonyms, emit)
        return emit

    return register


def usual_targets(rule: LossRule) -> str:
    """Return what a loss is compared with where nobody says it."""
    return CLASSES if CLASSES in rule.targets else rule.targets[0]


def synonyms() -> dict[str, str]:
    """Return the other words for losses, with the names that they stand for."""
    others = {word: rule.name for rule in LOSSES.values() for word in rule.synonyms}
    others |= {name.replace("-", "_"): name for name in LOSSES if "-" in name}
    return others


@dataclass(frozen=True, slots=True)
class Target:
    """The argument ``y`` of a training step: shape and type in the program's layout (time first).

    ``classes``: 0 where the target holds values; ``timed``: it has a time axis of its own.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    classes: int
    timed: bool


def target_of(read: Type, kind: str, timed: bool, batch: int) -> Target:
    """Return the target for what is read of an output: logits of every sample, or of every step.

    Logits of one axis that is not that of the ``batch`` belong to a model without a batch axis.

    Raises ValueError where no such target fits.
    """
    step = read.step_shape
    if kind == CLASSES and len(step) == 1 and step[0] != batch == 1:
        step = (1, *step)
    front = (read.shape[0],) if timed and read.kind == "seq" else ()
    if kind == VALUES:
        return Target(kind, (*front, *step), "f16", 0, bool(front))
    if kind == PIXELS:
        if len(step) < 3:
            shape = "x".join(map(str, step[1:])) or "nothing"
            raise ValueError(f"a sample of {shape} has no places beside its classes")
        return Target(kind, (*front, step[0], *step[2:]), "i32", step[1], bool(front))
    count = 1
    for size in step[1:]:
        count *= size
    return Target(CLASSES, (*front, step[0]), "i32", count, bool(front))


# ---------------------------------------------------------------------------------- the rows
@loss("(z - t)^2", synonyms=("l2",))
def mse(x: Errors) -> ErrorTerm:
    """``d*d`` in binary32; the slope is 2*d."""
    return ErrorTerm(x.wide("mul", x.d, x.d), x.d, 2.0)


@loss("|z - t|", synonyms=("l1",))
def mae(x: Errors) -> ErrorTerm:
    """``|d|``; the slope is the sign of d, 0 at 0."""
    zero = x.c(0.0)
    up = x.f("select", x.f("gt", x.d, zero), x.c(1.0), zero)
    return ErrorTerm(x.b.one("ew.cast", x.size, to="f32"),
                x.f("select", x.f("lt", x.d, zero), x.c(-1.0), up))  # fmt: skip


def _bent(x: Errors, limit: float, weight: float) -> Value:
    """Emit ``weight * (d*d)/2`` within the limit, ``(weight*limit) * (|d| - limit/2)`` outside."""
    near = x.wide("mul", x.c(weight / 2, "f32"), x.wide("mul", x.d, x.d))
    far = x.wide("sub", x.size, x.c(limit / 2, "f32"))
    if weight * limit != 1.0:
        far = x.wide("mul", x.c(weight * limit, "f32"), far)
    return x.f("select", x.f("lt", x.size, x.c(limit)), near, far)


@loss(
    "(z - t)^2 / (2*beta) where |z - t| < beta, else |z - t| - beta/2",
    {"beta": 1.0},
)
def smooth_l1(x: Errors) -> ErrorTerm:
    """As the formula, in binary32; the slope is d within -beta..beta, times 1/beta."""
    beta = x["beta"]
    return ErrorTerm(_bent(x, beta, 1 / beta), x.within(beta), 1 / beta)


@loss(
    "(z - t)^2 / 2 where |z - t| < delta, else delta * (|z - t| - delta/2)",
    {"delta": 1.0},
)
def huber(x: Errors) -> ErrorTerm:
    """As the formula, in binary32; the slope is d within -delta..delta."""
    return ErrorTerm(_bent(x, x["delta"], 1.0), x.within(x["delta"]))
