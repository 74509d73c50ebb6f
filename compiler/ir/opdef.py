"""Op definitions: one row per op, from which verifier, manual and passes read what an op is.

A dialect is a module ``compiler/ir/dialect_NAME.py`` that calls :func:`dialect` once and
:func:`register` with its rows.  There is no list of dialects to edit: :func:`load_dialects` imports
every such module.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from snncc.compiler.ir.core import Attribute, Op

STAGES = ("graph", "phased", "tiled", "mapped", "core")
AttrKind: TypeAlias = Literal[
    "int", "float", "bool", "str", "ints", "floats", "strs", "tuple", "dict", "number", "any"
]
Count: TypeAlias = "tuple[int, int | None]"
"""At least, at most (None: any number)."""
Rule: TypeAlias = Callable[[Op], Iterable[str]]


@dataclass(frozen=True, slots=True)
class AttrDef:
    """An attribute: its type, whether it must be there, the texts it may hold."""

    type: AttrKind
    required: bool = False
    doc: str = ""
    choices: tuple[str, ...] = ()

    def problem(self, value: Attribute) -> str:
        """Return what is wrong with a value, or '' when it fits (an int fits a float)."""
        if not _FITS[self.type](value):
            return f"is {value!r}, not {_KIND_WORDS[self.type]}"
        if self.choices and value not in self.choices:
            return f"is {value!r}, not one of {', '.join(self.choices)}"
        return ""


def _no_rule(op: Op) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class OpDef:
    """The definition of an op.

    ``doc`` says what it computes, with the equation.  ``stages`` empty means those of its dialect.
    ``verify`` yields one message per broken rule; operand, result, region counts and attributes
    were checked before it is called.
    """

    name: str
    doc: str
    operands: Count = (0, None)
    results: Count = (0, None)
    attrs: Mapping[str, AttrDef] = field(default_factory=dict[str, AttrDef])
    regions: int = 0
    terminator: bool = False  # this op ends a block
    region_terminator: str = ""  # the op that must end each region of this op
    isolated: bool = True  # its regions see their arguments and own values only
    pure: bool = True  # without users it may be removed
    open_attrs: bool = False  # attributes beyond ``attrs`` are allowed
    stages: tuple[str, ...] = ()
    verify: Rule = _no_rule

    @property
    def dialect(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A family of ops: the stages that may hold them and attributes that all of them have."""

    name: str
    doc: str
    stages: tuple[str, ...]
    attrs: Mapping[str, AttrDef] = field(default_factory=dict[str, AttrDef])


_dialects: dict[str, Dialect] = {}
_ops: dict[str, OpDef] = {}
_loaded: list[bool] = []
REGISTRY: Mapping[str, OpDef] = MappingProxyType(_ops)
DIALECTS: Mapping[str, Dialect] = MappingProxyType(_dialects)


def dialect(
    name: str, doc: str, stages: Iterable[str], attrs: Mapping[str, AttrDef] | None = None
) -> Dialect:
    """Declare a dialect; ``attrs`` are common to all its ops (layer, phase)."""
    made = Dialect(name, doc, tuple(stages), dict(attrs or {}))
    unknown = [s for s in made.stages if s not in STAGES]
    if name in _dialects or unknown:
        raise ValueError(f"dialect {name}: declared twice, or unknown stages {unknown}")
    _dialects[name] = made
    return made


def register(*definitions: OpDef) -> None:
    """Add op definitions; their dialect was declared before, each name is new."""
    for each in definitions:
        if each.dialect not in _dialects:
            raise ValueError(f"{each.name}: dialect {each.dialect} is not declared")
        if each.name in _ops:
            raise ValueError(f"{each.name} is defined twice")
        _ops[each.name] = each


def load_dialects() -> None:
    """Import every ``dialect_*`` module of this package, once."""
    if _loaded:
        return
    _loaded.append(True)
    package = __name__.rpartition(".")[0]
    for found in sorted(
        m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)
    ):
        if found.startswith("dialect_"):
            importlib.import_module(f"{package}.{found}")


def lookup(name: str) -> OpDef | None:
    """Return an op's definition, or None."""
    load_dialects()
    return _ops.get(name)


def stages_of(definition: OpDef) -> tuple[str, ...]:
    """Return the stages that may hold an op."""
    return definition.stages or _dialects[definition.dialect].stages


def attrs_of(definition: OpDef) -> dict[str, AttrDef]:
    """Return an op's attributes, those common to its dialect included."""
    return {**_dialects[definition.dialect].attrs, **definition.attrs}


def _is_int(value: Attribute) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Attribute) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _all(check: Callable[[Attribute], bool]) -> Callable[[Attribute], bool]:
    return lambda value: isinstance(value, tuple) and all(map(check, value))


def _is_str(value: Attribute) -> bool:
    return isinstance(value, str)


_FITS: dict[AttrKind, Callable[[Attribute], bool]] = {
    "int": _is_int,
    "float": _is_number,
    "number": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "str": _is_str,
    "ints": _all(_is_int),
    "floats": _all(_is_number),
    "strs": _all(_is_str),
    "tuple": lambda value: isinstance(value, tuple),
    "dict": lambda value: isinstance(value, Mapping),
    "any": lambda value: True,
}
_KIND_WORDS: dict[AttrKind, str] = {
    "int": "an int",
    "float": "a number",
    "number": "a number",
    "bool": "a bool",
    "str": "a string",
    "ints": "a list of ints",
    "floats": "a list of numbers",
    "strs": "a list of strings",
    "tuple": "a list",
    "dict": "a dict",
    "any": "anything",
}
