"""Pieces of HTML that the sections of a report share."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from snncc.isa.diagnostics.printable import LINES, printable

MADE_BY = '<meta name="generator" content="snncc">'


def is_page(begin: bytes) -> bool:
    """Whether a file that begins with these bytes is a page that `snncc report` made."""
    return MADE_BY.encode() in begin


def escape(text: str) -> str:
    """Return a text as HTML; names in it can neither close a tag nor hide a character."""
    return html.escape(printable(text, LINES))


def section(title: str, content: str) -> str:
    """Return a section; ``content`` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are HTML."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in row) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def percent(share: float) -> str:
    """Return a share as text."""
    return f"{100 * share:.1f}\u00a0%"
