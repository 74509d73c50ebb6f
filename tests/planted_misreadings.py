"""Faults planted into imported modules: what a front end that misreads a file would hand on.

:func:`plants` lists the faults that a module has room for; each is a name and a function that
changes a module in place.  All of them change values or gradients of the network, so all must be
found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snncc.compiler.ir.build import Builder, flag
from snncc.compiler.ir.core import Module, Op, Value

Change = Callable[[Module], None]


@dataclass(frozen=True)
class Plant:
    """A fault: its kind, the op it sits at, and what it does to a copy of the module."""

    kind: str
    place: int
    change: Change

    def __str__(self) -> str:
        """Return the kind and the number of the op."""
        return f"{self.kind}@{self.place}"


def ops(module: Module) -> list[Op]:
    """Return the ops of the network in order."""
    return list(module.func("main").body.ops)


def plants(module: Module) -> Iterator[Plant]:
    """Yield every fault that fits somewhere, one place after the other."""
    for place, each in enumerate(ops(module)):
        for name, make in KINDS.items():
            if make(each, module, False):
                yield Plant(name, place, _at(name, place))


def _at(name: str, place: int) -> Change:
    def change(module: Module) -> None:
        assert KINDS[name](ops(module)[place], module, True), name

    return change


Make = Callable[[Op, Module, bool], bool]
"""Whether a fault fits an op; with True it is made."""
KINDS: dict[str, Make] = {}


def kind(name: str) -> Callable[[Make], Make]:
    """Register a kind of fault."""

    def add(make: Make) -> Make:
        KINDS[name] = make
        return make

    return add


def used(value: Value) -> bool:
    """Whether anything reads a value."""
    return bool(value.uses)


def after(each: Op) -> Op | None:
    """Return the op that follows in the text."""
    assert each.parent is not None
    listed = each.parent.ops
    at = listed.index(each)
    return listed[at + 1] if at + 1 < len(listed) else None


def put_behind(each: Op, make: Callable[[Builder, Value], Value], result: int = 0) -> None:
    """Let every user of a result read something made from it instead."""
    assert each.parent is not None
    value = each.results[result]
    users = list(value.uses)
    made = make(Builder(each.parent, each.loc, after(each)), value)
    for user, index in users:
        user.set_operand(index, made)


def attribute(name: str, key: str, change: Callable[[float], float]) -> None:
    """Register a fault that changes a number among an op's attributes."""

    @kind(f"{key} of a {name} is another")
    def make(each: Op, module: Module, do: bool) -> bool:
        value = each.attrs.get(key)
        if each.name != f"graph.{name}" or isinstance(value, bool):
            return False
        if not isinstance(value, (int, float)):
            return False
        if do:
            each.attrs[key] = change(float(value))
        return True


def word(name: str, key: str, said: str, instead: str) -> None:
    """Register a fault that says another word of an op."""

    @kind(f"{key} of a {name} is {instead}, not {said}")
    def make(each: Op, module: Module, do: bool) -> bool:
        if each.name != f"graph.{name}" or each.attrs.get(key) != said:
            return False
        if name == "neuron" and key == "reset" and instead == "hard" and flag(each.attrs, "delay"):
            return False
        if do:
            each.attrs[key] = instead
        return True
