"""Reading TOML text from outside in bounded time: ``tomllib`` takes squares of a key's parts."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final, cast

MAX_KEY_PARTS: Final = 100
_TOKEN: Final = re.compile(r'#[^\n]*|"""|\'\'\'|["\']|\.|[ \t]+|[^\s"\'#.=,\[\]{}]+|.', re.DOTALL)
_REST: Final = {
    '"': re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*"'),
    "'": re.compile(r"[^'\n]*'"),
    '"""': re.compile(r'[^"\\]*(?:(?:\\.|"{1,2}(?!"))[^"\\]*)*"""', re.DOTALL),
    "'''": re.compile(r"[^']*(?:'{1,2}(?!')[^']*)*'''"),
}
"""What follows an opening quote, the closing one included."""
_SEPARATORS: Final = frozenset("=,[]{}\n\r")


class TomlError(Exception):
    """The text is no TOML, or not of a kind that is read; ``line`` and ``column`` from 1, or 0."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


def read_toml(text: str) -> dict[str, Any]:
    """Return the table of a text; every fault is a :class:`TomlError`."""
    _check_keys(text)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
        if found is None:
            raise TomlError(re.sub(r" \(at .*\)$", "", message)) from None
        raise TomlError(message[: found.start()], int(found[1]), int(found[2])) from None
    except RecursionError:
        raise TomlError("nested too deeply") from None
    except ValueError:  # Python reads no integer of more digits than this
        raise TomlError("an integer with thousands of digits") from None
    _check_integers(table)
    return table


def _check_integers(table: dict[str, Any]) -> None:
    """Refuse integers that TOML has no room for."""
    todo: list[tuple[str, object]] = list(table.items())
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{key}.{k}", v) for k, v in cast("dict[str, object]", value).items()]
        elif isinstance(value, list):
            todo += [(key, v) for v in cast("list[object]", value)]
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise TomlError(f"{key} is an integer of more than 64 bits")


def _check_keys(text: str) -> None:
    """Refuse keys of very many parts; strings and comments are skipped."""
    if text.count(".") < MAX_KEY_PARTS:
        return
    at, parts, start, after_part = 0, 1, 0, False
    while (token := _TOKEN.match(text, at)) is not None:
        kind, begin, at = token[0], at, token.end()
        if kind in _REST:
            rest = _REST[kind].match(text, at)
            if rest is None:
                return  # a string without an end: tomllib comes no further either
            at = rest.end()
        if kind == "." and after_part:
            parts, after_part = parts + 1, False
            if parts > MAX_KEY_PARTS:
                line = text.count("\n", 0, start) + 1
                column = start - text.rfind("\n", 0, start)
                message = f"a key of more than {MAX_KEY_PARTS} parts"
                raise TomlError(message, line, column)
        elif kind in _SEPARATORS or kind == "." or kind.startswith("#"):
            parts, after_part = 1, False
        elif not kind.isspace():
            if parts == 1:
                start = begin
            after_part = True
