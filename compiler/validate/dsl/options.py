"""What a call in a .snn file says, by the tables of docs/dsl.md: options, defaults, abbreviations.

Read from the document, not from the importer's tables, with which the outcome is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from snncc.compiler.frontend.dsl.parse import Call, Dims, Item, Number, Text, Value
from snncc.compiler.ir.surrogate import rule_of
from snncc.compiler.validate.compare import NotValidated

Said: TypeAlias = "int | float | bool | str | tuple[int, ...] | Surrogate | None"


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A surrogate by name with its numbers in the order of its table."""

    name: str
    numbers: tuple[tuple[str, float], ...]


_WINDOW = {"kernel": 3, "stride": 1, "padding": 0}
_POOL: Mapping[str, Said] = {"kernel": 2, "stride": None, "padding": 0}
_LEAK: Mapping[str, Said] = {
    "beta": 0.9, "tau": None, "norm_input": False, "v_rest": 0.0, "learn": False,
}  # fmt: skip
_FIRE: Mapping[str, Said] = {
    "threshold": 1.0, "reset": "subtract", "reset_value": 0.0, "delay": False,
    "compare": "strict", "surrogate": None, "detach": True, "v_min": None, "recurrent": False,
}  # fmt: skip
OPTIONS: Mapping[str, Mapping[str, Said]] = {
    "dense": {"out": None, "bias": True},
    "conv": {"out": None, **_WINDOW, "dilation": 1, "groups": 1, "bias": True},
    "deconv": {
        "out": None, **_WINDOW, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True,
    },
    "maxpool": _POOL, "avgpool": _POOL, "sumpool": _POOL,
    "globalpool": {"kind": "mean"},
    "bn": {"eps": 1e-5, "momentum": 0.1},
    "flatten": {}, "tokens": {}, "reshape": {"shape": None},
    "dropout": {"rate": 0.5}, "relu": {}, "scale": {"factor": None},
    "position": {"std": 0.02}, "vote": {"group": 10},
    "lif": {**_LEAK, **_FIRE}, "if": _FIRE, "synaptic": {"alpha": 0.8, **_LEAK, **_FIRE},
    "li": _LEAK,
    "repeat": {"times": None}, "residual": {"mode": "add"},
    "attention": {"heads": 1, "scale": 0.125}, "output": {"name": "out"},
    "concat": {"axis": 1}, "add": {},
    "input": {"shape": None, "steps": None, "batch": None, "static": False, "spikes": False,
              "name": "x"},
    "init": {"seed": 0, "gain": 1.0}, "weights": {"file": None},
}  # fmt: skip
"""Options in the order in which arguments without a name mean them, and their defaults."""
NEURONS = ("lif", "if", "synaptic", "li")


@dataclass(frozen=True, slots=True)
class Meant:
    """A call with everything that it leaves out filled in."""

    kind: str
    options: Mapping[str, Said]
    given: frozenset[str]
    """Options that the text says itself."""
    names: tuple[str, ...] = ()
    """Names of values, of ``add`` and ``concat``."""
    blocks: tuple[tuple[Item, ...], ...] = ()

    def number(self, name: str) -> float:
        """Return an option as a number."""
        value = self.options[name]
        if isinstance(value, (int, float)):
            return float(value)
        raise NotValidated(f"{self.kind} without a number for {name}")

    def whole(self, name: str) -> int:
        """Return an option as a whole number."""
        return int(self.number(name))

    def axes(self, name: str, rank: int) -> tuple[int, ...]:
        """Return an option as one whole number for each spatial axis."""
        value = self.options[name]
        return value if isinstance(value, tuple) else (self.whole(name),) * rank


@dataclass(frozen=True, slots=True)
class Short:
    """What ``let NAME = ...`` stands for."""

    kind: str
    said: Mapping[str, Said]
    blocks: tuple[tuple[Item, ...], ...]


def understand(call: Call, shorts: Mapping[str, Short]) -> Meant:
    """Return what a call means; arguments at the use of an abbreviation win over its own."""
    short = shorts.get(call.name)
    kind = call.name if short is None else short.kind
    if kind not in OPTIONS:
        raise NotValidated(f"a layer {kind!r}")
    names: tuple[str, ...] = ()
    args: Sequence[tuple[str, Value]] = call.args
    if kind == "add" or (kind == "concat" and not call.blocks):
        names = tuple(value.name for key, value in args if not key and isinstance(value, Call))
        args = [(key, value) for key, value in args if key]
    said = dict(short.said) if short is not None else {}
    said.update(_bound(kind, args))
    blocks = call.blocks or (() if short is None else short.blocks)
    return Meant(kind, {**OPTIONS[kind], **said}, frozenset(said), names, blocks)


def shorten(call: Call, shorts: Mapping[str, Short]) -> Short:
    """Return what ``let NAME = call`` makes NAME stand for."""
    meant = understand(call, shorts)
    return Short(meant.kind, {k: meant.options[k] for k in meant.given}, meant.blocks)


def _bound(kind: str, args: Sequence[tuple[str, Value]]) -> Iterator[tuple[str, Said]]:
    """Yield options and values; without a name the first option that is not given yet is meant."""
    free = list(OPTIONS[kind])
    for key, value in args:
        if not key and not free:
            raise NotValidated(f"{kind} with so many arguments")
        name = key or free[0]
        if name not in free:
            raise NotValidated(f"{kind} with {name!r}")
        free.remove(name)
        yield name, _plain(name, value)


def _plain(name: str, value: Value) -> Said:
    if isinstance(value, (Number, Text)):
        return (int(value.value),) if name == "shape" and isinstance(value, Number) else value.value
    if isinstance(value, Dims):
        return value.value
    if not isinstance(value, Call):
        raise NotValidated(f"a list for {name}")
    if name == "surrogate":
        return surrogate(value)
    return {"true": True, "false": False}.get(value.name, value.name)


def surrogate(call: Call) -> Surrogate:
    """Return a surrogate with its defaults."""
    rule = rule_of(call.name)
    if rule is None:
        raise NotValidated(f"a surrogate {call.name!r}")
    name, numbers = rule.name, dict(rule.params)
    for (key, value), place in zip(call.args, [*numbers, *[""] * len(call.args)], strict=False):
        if (key or place) not in numbers or not isinstance(value, Number):
            raise NotValidated(f"{name} with {key or place!r}")
        numbers[key or place] = float(value.value)
    return Surrogate(name, tuple(numbers.items()))
