"""Names out of files on their way to a person: what steers a terminal is shown, not obeyed."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PLAIN: Final = re.compile(r"[ -~]*")
LINES: Final = "\n\t"
"""What a text of several lines keeps."""


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
