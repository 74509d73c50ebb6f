"""Names out of files on their way to a person: what steers a terminal is shown, not obeyed."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PLAIN: Final = re.compile(r"[ -~]*")
LINES: Final = "\n\t"
"""What a text of several lines keeps."""


LONGEST_WORD: Final = 200
"""Characters of a value, name or path that a message repeats as they are."""
LONGEST_PLACE: Final = 1000
"""The same for the place of an error: paths of files may be long, and are to be copied."""
_KEPT = 60, 20
"""Characters at the beginning and the end of what is longer."""
LONGEST_TEXT: Final = 2000


def bounded(text: str, longest_word: int = LONGEST_WORD) -> str:
    """Return one printable line of bounded length of a text that repeats somebody's input.

    A number of thousands of digits, or a name of a hostile file, is cut in its middle.
    """
    if len(text) > longest_word:
        text = re.sub(r"\S{%d,}" % (longest_word + 1), _shortened, text)  # noqa: UP031
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "..."
    return printable(text)


def _shortened(found: re.Match[str]) -> str:
    word, (first, last) = found.group(), _KEPT
    return f"{word[:first]}...({len(word)} characters)...{word[-last:]}"


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with every character that is not printable as an escape, ``\x1b``.

    That covers C0 and C1 controls, line separators, marks that turn the writing direction,
    zero-width characters and half surrogates.  ``keep`` lists characters that stay.
    """
    if _PLAIN.fullmatch(text) or text.isprintable():
        return text
    return "".join(c if c in keep or _shown(c) else _escape(c) for c in text)


def _shown(character: str) -> bool:
    """Whether a character is one that a person sees, if only as a gap (Python counts few gaps)."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
