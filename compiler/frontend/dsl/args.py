"""Arguments of layers: which there are, of which kind, and their defaults."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from snncc.compiler.diag import DiagnosticSink, Span
from snncc.compiler.frontend.dsl.parse import Call, Dims, Number, Text, Value
from snncc.compiler.ir.core import Attribute
from snncc.compiler.ir.surrogate import SURROGATES, rule_of

Argument: TypeAlias = "int | float | bool | str | tuple[int, ...] | Mapping[str, Attribute] | None"


@dataclass(frozen=True, slots=True)
class Par:
    """A parameter.  Kinds: int, ints, float, bool, word, shape, surrogate, padding."""

    name: str
    kind: str
    default: Argument = None
    needed: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Args:
    """The checked arguments of one call."""

    call: Call
    values: Mapping[str, Argument]
    spans: Mapping[str, Span] = field(default_factory=dict[str, Span])

    def said(self, name: str) -> bool:
        """Whether the file gives this argument."""
        return name in self.spans

    def span(self, name: str = "") -> Span:
        """Return the place of an argument, or of the call."""
        return self.spans.get(name, self.call.span)

    def whole(self, name: str) -> int:
        """Return a whole number."""
        value = self.values[name]
        return value if isinstance(value, int) else 0

    def ints(self, name: str, count: int) -> tuple[int, ...]:
        """Return whole numbers, one per axis."""
        value = self.values[name]
        if isinstance(value, tuple):
            return value
        return (value if isinstance(value, int) else 0,) * count

    def float(self, name: str) -> float:
        """Return a number."""
        value = self.values[name]
        return float(value) if isinstance(value, (int, float)) else 0.0

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        return self.values[name] is True

    def word(self, name: str) -> str:
        """Return a word."""
        value = self.values[name]
        return value if isinstance(value, str) else ""

    def get(self, name: str) -> Argument:
        """Return a value of any kind."""
        return self.values[name]


def similar(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelt name."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"


def check(call: Call, pars: tuple[Par, ...], sink: DiagnosticSink) -> Args | None:
    """Check a call's arguments; None when there are faults (all are reported)."""
    table = {p.name: p for p in pars}
    values: dict[str, Argument] = {p.name: p.default for p in pars}
    spans: dict[str, Span] = {}
    before = len(sink.errors)
    free = list(table)
    for keyword, value in call.args:
        name = keyword or (free[0] if free else "")
        if not name:
            text = f"{call.name} takes {len(table) or 'no'} argument{'s' * (len(table) != 1)}"
            sink.error("E0121", text, value.span)
            continue
        if name not in table:
            sink.error("E0121", f"{call.name} has no option {name!r}", value.span,
                       help=similar(name, table) if table else "it has none")  # fmt: skip
            continue
        if name in spans:
            sink.error("E0121", f"{name} is given twice", value.span)
            continue
        if name in free:
            free.remove(name)
        spans[name] = value.span
        fault = _convert(table[name], value, values)
        if fault:
            sink.error("E0122", f"{name} {fault}", value.span)
    for p in pars:
        if p.needed and p.name not in spans:
            sink.error("E0121", f"{call.name} needs {p.name}", call.span, help=p.doc)
    return Args(call, values, spans) if len(sink.errors) == before else None


def _convert(par: Par, value: Value, out: dict[str, Argument]) -> str:
    """Convert a value into ``out``; return what is wrong with it."""
    made, expected = _kind(par.kind, value)
    if made is None:
        return f"must be {expected}"
    if par.choices and made not in par.choices:
        return f"must be one of {', '.join(par.choices)}"
    if par.low is not None:
        parts = made if isinstance(made, tuple) else (made,)
        if any(isinstance(x, (int, float)) and x < par.low for x in parts):
            return f"must be at least {par.low:g}"
    out[par.name] = made
    return ""


def _kind(kind: str, value: Value) -> tuple[Argument, str]:
    if kind == "padding" and isinstance(value, Call) and value.name == "same":
        return "same", ""
    if kind in ("int", "ints", "shape", "padding"):
        if isinstance(value, Number) and isinstance(value.value, int):
            if abs(value.value) < 1 << 40:
                return (value.value,) if kind == "shape" else value.value, ""
        if kind != "int" and isinstance(value, Dims):
            return value.value, ""
        what = {"int": "a whole number", "shape": "a shape such as 3x32x32 or 64"}
        return None, what.get(kind, "a whole number or a pair such as 3x3")
    if kind == "float":
        if isinstance(value, Number) and math.isfinite(value.value):
            return float(value.value), ""
        return None, "a number"
    if kind == "surrogate":
        return _surrogate(value)
    if isinstance(value, Text):
        return (value.value, "") if kind == "word" else (None, "true or false")
    word = value.name if isinstance(value, Call) and value.bare and not value.blocks else ""
    if kind == "bool":
        return {"true": True, "false": False}.get(word), "true or false"
    return (word or None), "a word"


def _surrogate(value: Value) -> tuple[Argument, str]:
    rule = rule_of(value.name) if isinstance(value, Call) else None
    if not isinstance(value, Call) or rule is None:
        return None, f"a surrogate such as atan(alpha=2); there are {', '.join(SURROGATES)}"
    found: dict[str, Attribute] = {"name": rule.name, **rule.params}
    keys = list(rule.params)
    for i, (keyword, number) in enumerate(value.args):
        key = keyword or (keys[i] if i < len(keys) else "")
        if key not in keys or not isinstance(number, Number):
            return None, f"{rule.name} with numbers for {', '.join(keys) or 'nothing'}"
        found[key] = float(number.value)
    return found, ""
