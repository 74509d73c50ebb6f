"""Checks of single configuration values; every complaint has a place and, if possible, a hint."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import frexp, isfinite
from typing import Literal, TypeAlias, cast

from snncc.compiler.config.schema import Key, Value
from snncc.compiler.diag import DiagnosticSink
from snncc.compiler.ir.surrogate import SURROGATES, rule_of

Origin: TypeAlias = Literal["flag", "config", "metadata", "pattern", "data", "default"]
Place: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A surrogate derivative with all of its parameters."""

    name: str
    params: Mapping[str, float]
    origin: Origin = "config"

    def __str__(self) -> str:
        """Return ``atan(alpha=2)``."""
        inner = ", ".join(f"{k}={v:g}" for k, v in self.params.items())
        return f"{self.name}({inner})" if inner else self.name


def read_surrogate(
    table: Mapping[str, object], place: Place, sink: DiagnosticSink, origin: Origin
) -> Surrogate | None:
    """Read a table with a surrogate's name and parameters; None when it makes no sense."""
    name = table.get("name")
    if name is None:
        sink.error("E0355", "[surrogate] has no name", place(""), help='add name = "atan"')
        return None
    rule = rule_of(str(name))
    if rule is None:
        known = [each.config_name for each in SURROGATES.values()]
        sink.error(
            "E0353",
            f"unknown surrogate {name!r}",
            place("name"),
            help=suggest(name, known) or f"one of {', '.join(known)}",
        )
        return None
    params = dict(rule.params)
    for key, value in table.items():
        target = rule.synonyms.get(key, key)
        if key == "name":
            continue
        if target not in params:
            sink.error(
                "E0351",
                f"surrogate {rule.config_name} has no parameter {key!r}",
                place(key),
                help=suggest(key, params) or f"its parameters: {', '.join(params) or 'none'}",
            )
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            sink.error("E0352", f"{key} is {value!r}, not a number", place(key))
        elif value <= 0 and target not in rule.signed:
            sink.error("E0352", f"{key} is {value:g}; it must be above 0", place(key))
        else:
            params[target] = float(value)
    return Surrogate(rule.config_name, params, origin)


def check_value(key: Key, value: object, where: str, sink: DiagnosticSink) -> Value:
    """Return the value in its right type; report and return the default when it does not fit."""
    problem = ""
    result: Value = key.default
    match key.kind:
        case _ if isinstance(value, str) and value in key.words:
            return value
        case "bool" if isinstance(value, bool):
            result = value
        case "int" | "float" if isinstance(value, int) and abs(value) >= 1 << 63:
            problem = "is an integer of more than 64 bits"
        case "int" if isinstance(value, int) and not isinstance(value, bool):
            result = value
        case "float" if isinstance(value, (int, float)) and not isinstance(value, bool):
            result = float(value)
        case "str" if isinstance(value, str):
            result = key.synonyms.get(value, value)
        case "strs" if _is_list(value):
            items = _items(value)
            result = tuple(str(v) for v in items)
            if not all(isinstance(v, str) for v in items):
                problem = "holds something else than texts"
        case "floats" if _is_list(value):
            items = _items(value)
            numbers = [v for v in items if isinstance(v, (int, float)) and not isinstance(v, bool)]
            result = tuple(float(v) for v in numbers)
            if len(numbers) != len(items):
                problem = "holds something else than numbers"
        case "ints" if _is_list(value):
            items = _items(value)
            numbers = [v for v in items if isinstance(v, (int, float)) and not isinstance(v, bool)]
            whole = [v for v in numbers if v == v // 1]
            result = tuple(int(v) for v in whole)
            if len(whole) != len(items):
                problem = "holds something else than integers"
            elif any(abs(v) >= 1 << 63 for v in whole):
                problem = "holds an integer of more than 64 bits"
        case _:
            words = {"int": "an integer", "float": "a number", "bool": "true or false"}
            words |= {"str": "a text", "strs": "a list of texts", "floats": "a list of numbers"}
            words |= {"ints": "a list of integers"}
            expected = " or ".join((words[key.kind], *map(repr, key.words)))
            problem = f"is {value!r}, not {expected}"
    problem = problem or _range_problem(key, result)
    if problem:
        hint = suggest(value, key.choices or key.words)
        sink.error("E0352", f"{key.path} {problem}", where, help=hint)
        return key.default
    return result


def _range_problem(key: Key, value: Value) -> str:
    if key.choices and value not in key.choices:
        return f"is {value!r}, not one of {', '.join(key.choices)}"
    if key.length is not None and isinstance(value, tuple) and len(value) != key.length:
        return f"has {len(value)} entries, not {key.length}"
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            continue
        if not isfinite(item):
            return f"is {item}, not a finite number"
        if key.low is not None and item < key.low:
            return f"is {item:g}, below {key.low:g}"
        if key.above is not None and item <= key.above:
            return f"is {item:g}; it must be above {key.above:g}"
        if key.below is not None and item >= key.below:
            return f"is {item:g}; it must be below {key.below:g}"
        if key.high is not None and item > key.high:
            return f"is {item:g}, above {key.high:g}"
        if key.power_of_two and frexp(item)[0] != 0.5:
            return f"is {item:g}, no power of two"
    return ""


def suggest(word: object, known: Iterable[str]) -> str:
    """Return a hint with the closest known word, or an empty text."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _items(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value)
