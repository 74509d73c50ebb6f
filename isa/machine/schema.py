"""Checking parsed TOML tables against dataclasses whose fields carry ranges, units and words."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeAlias

from snncc.isa.machine.parts import Range, Words

Table: TypeAlias = Mapping[str, object]

_NAME_LENGTH = 64


@dataclass(frozen=True)
class Entry:
    """One key of a table: a value of ``kind`` under ``rule``, or a table when ``part`` is set."""

    name: str
    kind: type[Any]
    rule: Range | Words | None
    part: bool


def entries(schema: type[Any]) -> list[Entry]:
    """Return the keys of a schema in order; fields that are no scalar and no table do not count."""
    out: list[Entry] = []
    for name, hint in typing.get_type_hints(schema, include_extras=True).items():
        rule: Range | Words | None = None
        kind: Any = hint
        if typing.get_origin(hint) is typing.Annotated:
            kind, rule = typing.get_args(hint)
        if kind in (bool, int, float, str) or is_dataclass(kind):
            out.append(Entry(name, typing.cast(type[Any], kind), rule, is_dataclass(kind)))
    return out


def keys(schema: type[Any], prefix: str = "") -> set[str]:
    """Return the dotted keys of a schema, those of tables and those of values."""
    out: set[str] = set()
    for entry in entries(schema):
        out.add(prefix + entry.name)
        if entry.part:
            out |= keys(entry.kind, f"{prefix}{entry.name}.")
    return out


def rows(schema: type[Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return ``(dotted key, what it may hold)`` of every value."""
    out: list[tuple[str, str]] = []
    for entry in entries(schema):
        if entry.part:
            out += rows(entry.kind, f"{prefix}{entry.name}.")
        else:
            out.append((prefix + entry.name, expected(entry)))
    return out


def values(schema: type[Any], table: Table, prefix: str, problems: list[str]) -> dict[str, Any]:
    """Return a table's values as arguments of the schema's dataclass; report what is wrong."""
    wanted = entries(schema)
    names = [entry.name for entry in wanted]
    for key in table:
        if key not in names:
            where = f"table [{prefix[:-1]}]" if prefix else "the top level"
            allowed = close(key, names) or f"; allowed: {', '.join(names)}"
            problems.append(f"{prefix}{key}: unknown key in {where}{allowed}")
    out: dict[str, Any] = {}
    for entry in wanted:
        key = prefix + entry.name
        if entry.name not in table:
            problems.append(f"{key}: missing; expected {expected(entry)}")
        elif entry.part:
            out[entry.name] = _part(entry, table[entry.name], key, problems)
        else:
            out[entry.name] = _scalar(entry, table[entry.name], key, problems)
    return out


def _part(entry: Entry, value: object, key: str, problems: list[str]) -> object:
    if not isinstance(value, Mapping):
        problems.append(f"{key}: expected a table [{key}], got {shown(value)}")
        return None
    before = len(problems)
    arguments = values(entry.kind, typing.cast(Table, value), f"{key}.", problems)
    return entry.kind(**arguments) if len(problems) == before else None


def _scalar(entry: Entry, value: object, key: str, problems: list[str]) -> object:
    kinds = (int, float) if entry.kind is float else (entry.kind,)
    sound = type(value) in kinds
    if sound and isinstance(entry.rule, Range) and isinstance(value, int | float):
        sound = entry.rule.low <= value <= entry.rule.high
    if sound and isinstance(entry.rule, Words) and entry.rule.words:
        sound = value in entry.rule.words
    if sound and entry.name == "name":
        sound = _is_name(str(value))
    if not sound:
        problems.append(f"{key}: expected {expected(entry)}, got {shown(value)}")
        return value
    return float(value) if entry.kind is float and isinstance(value, int) else value


def _is_name(text: str) -> bool:
    known = all(c.isascii() and (c.isalnum() or c in "._+-") for c in text)
    return 0 < len(text) <= _NAME_LENGTH and known


def shown(value: object) -> str:
    """Return a value for an error message, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def close(word: str, words: Iterable[str]) -> str:
    """Return ``'; did you mean ...?'`` when a known word is close, else nothing."""
    found = difflib.get_close_matches(word[:64], list(words), n=1)
    return f"; did you mean '{found[0]}'?" if found else ""


def expected(entry: Entry) -> str:
    """Say in words what a key may hold."""
    if entry.kind is bool:
        return "true or false"
    if entry.name == "name":
        return f"a name of at most {_NAME_LENGTH} letters, digits and . _ + -"
    if isinstance(entry.rule, Words):
        return "one of " + ", ".join(entry.rule.words) if entry.rule.words else "a text"
    if isinstance(entry.rule, Range):
        what = "a whole number" if entry.kind is int else "a number"
        unit = f" ({entry.rule.unit})" if entry.rule.unit else ""
        return f"{what}{unit} from {entry.rule.low:,} to {entry.rule.high:,}"
    return f"a table [{entry.name}]"
