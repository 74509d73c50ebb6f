"""Pass options: a frozen dataclass whose fields are read from the text of a pipeline.

A field is an int, float, bool, str, a tuple of one of these, or one of these or None.  The field
``tile_size`` is written ``tile-size``; it has a default, so that every pass runs without options.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from snncc.compiler.diag import Span, fail

Scalar: TypeAlias = "int | float | bool | str"
OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, slots=True)
class NoOptions:
    """For passes without options."""


@dataclass(frozen=True, slots=True)
class OptionText:
    """An option as written: the pieces of its value, and where."""

    name: str
    pieces: tuple[str, ...]
    span: Span


def read_options(kind: type[OptionsT], given: Mapping[str, OptionText], pass_name: str) -> OptionsT:
    """Return the options dataclass filled from text; faults are diagnostics."""
    hints = _hints(kind)
    values: dict[str, object] = {}
    for name, text in given.items():
        field = name.replace("-", "_")
        if field not in hints:
            known = [_kebab(h) for h in hints]
            close = difflib.get_close_matches(name, known, 1)
            help_ = f"did you mean {close[0]}?" if close else _known(known)
            fail("E0003", f"{pass_name} has no option {name}", text.span, help=help_)
        try:
            values[field] = _convert(hints[field], text.pieces)
        except ValueError as error:
            shown = ",".join(text.pieces)
            fail("E0003", f"{pass_name}: {name}={shown}: {error}", text.span)
    try:
        return kind(**values)
    except ValueError as error:  # from the dataclass's own check
        span = next(iter(given.values())).span
        fail("E0003", f"{pass_name}: {error}", span)


def show_options(options: object) -> str:
    """Return ``{a=1,b=2}`` with the options that differ from their defaults, or ''."""
    shown: list[str] = []
    for each in _fields(options):
        value: object = getattr(options, each.name)
        if value != each.default:
            shown.append(f"{_kebab(each.name)}={_show(value)}")
    return f"{{{','.join(shown)}}}" if shown else ""


def options_table(kind: type) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and explanation of every option."""
    hints = _hints(kind)
    return [
        (
            _kebab(f.name),
            _type_name(hints[f.name]),
            _show(f.default),
            str(f.metadata.get("doc", "")),
        )
        for f in _fields(kind)
    ]


def as_json(options: object) -> dict[str, object]:
    """Return the options as plain data."""
    return {_kebab(f.name): getattr(options, f.name) for f in _fields(options)}


def check_options_class(kind: type) -> None:
    """Refuse an options class that cannot be read from text: a bug of the pass."""
    for each in _fields(kind):
        if each.default is dataclasses.MISSING:
            raise TypeError(f"{kind.__qualname__}.{each.name} has no default")


def _fields(options: object) -> tuple[dataclasses.Field[object], ...]:
    if not dataclasses.is_dataclass(options):
        raise TypeError(f"{options!r} is no dataclass")
    return dataclasses.fields(options)


def _hints(kind: type) -> dict[str, object]:
    return {f.name: typing.get_type_hints(kind)[f.name] for f in _fields(kind)}


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _known(names: list[str]) -> str:
    return f"its options: {', '.join(names)}" if names else "it takes no options"


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(_show, cast("tuple[object, ...]", value)))
    text = "none" if value is None else str(value)
    plain = all(c.isalnum() or c in "-+._/*" for c in text)
    return text if text and plain else '"' + text.replace('"', "'") + '"'


def _type_name(hint: object) -> str:
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return hint.__name__
    return str(hint)


def _bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return text == "true"


def _int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError("expected an integer") from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("expected a number") from None


_SCALARS: dict[object, Callable[[str], Scalar]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: str,
}


def _convert(hint: object, pieces: tuple[str, ...]) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return tuple(_SCALARS[arguments[0]](p) for p in pieces if p)
    if origin in (types.UnionType, typing.Union):
        if pieces == ("none",):
            return None
        return _convert(next(a for a in arguments if a is not type(None)), pieces)
    if origin is typing.Literal:
        if len(pieces) != 1 or pieces[0] not in arguments:
            raise ValueError(f"expected one of {', '.join(map(str, arguments))}")
        return pieces[0]
    if len(pieces) != 1:
        raise ValueError("expected one value")
    return _SCALARS[hint](pieces[0])
