"""What the texts of instructions and of microprograms share: errors, comments, suggestions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping


class SyntaxMistake(ValueError):
    """A line is not what it should be; the message says what was expected and what was got."""


def strip_comment(line: str) -> str:
    """Return a line without its comment (``;`` or ``#`` to the end) and outer blanks."""
    return re.split(r"[;#]", line, maxsplit=1)[0].strip()


def suggestion(word: str, words: Mapping[str, object]) -> str:
    """Return ``'; did you mean ...?'`` when a known word is close, else nothing."""
    close = difflib.get_close_matches(word[:64], list(words), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
