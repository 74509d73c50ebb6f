"""Names and strings as the disassembler writes them."""

from __future__ import annotations

import json

from snncc.assembler.source import is_name


def quoted(text: str) -> str:
    """Return a string with quotes and escapes."""
    return json.dumps(text)


def word(text: str) -> str:
    """Return a name as it is, anything else in quotes; nothing for nothing."""
    return text if is_name(text) or not text else quoted(text)
