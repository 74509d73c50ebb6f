"""The text of a pipeline: ``canonicalize,tile{density=0.2,sizes=1,2},dce``.

A piece without ``=`` continues the list of the option before it.  A value with other characters
stands in double quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from snncc.compiler.diag import SourceFile, Span, fail
from snncc.compiler.pipeline.options import OptionText

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_PIECE = re.compile(r'"([^"]*)"|([^\s,{}="]*)')


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a pipeline: a pass or an alias, with its options."""

    name: str
    options: dict[str, OptionText]
    span: Span


def parse_pipeline(text: str, name: str = "<pipeline>") -> list[Item]:
    """Return the entries of a pipeline text (none for an empty text)."""
    return _Reader(SourceFile(name, text)).items() if text.strip() else []


class _Reader:
    def __init__(self, source: SourceFile) -> None:
        self.source = source
        self.at = 0

    def span(self, start: int, end: int | None = None) -> Span:
        return Span(self.source, start, self.at if end is None else end)

    def peek(self) -> str:
        """Skip white space and return the next character, '' at the end."""
        match = _SPACE.match(self.source.text, self.at)
        self.at = match.end() if match else self.at
        return self.source.text[self.at : self.at + 1]

    def match(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        found = self.peek() or "the end"
        match = pattern.match(self.source.text, self.at)
        if match is None:
            where = self.span(self.at, self.at + 1)
            fail("E0002", f"expected {expected}, found {found}", where)
        self.at = match.end()
        return match

    def items(self) -> list[Item]:
        found = [self.item()]
        while self.peek() == ",":
            self.at += 1
            found.append(self.item())
        if self.peek():
            where = self.span(self.at, self.at + 1)
            fail("E0002", f"expected a comma between passes, found {self.peek()}", where)
        return found

    def item(self) -> Item:
        self.peek()
        start = self.at
        name = self.match(_NAME, "the name of a pass").group()
        options = self.options() if self.peek() == "{" else {}
        return Item(name, options, self.span(start, start + len(name)))

    def options(self) -> dict[str, OptionText]:
        self.at += 1
        options: dict[str, OptionText] = {}
        last: OptionText | None = None
        while self.peek() != "}":
            if options:
                self.match(re.compile(","), ", or }")
            self.peek()
            start = self.at
            piece = self.piece()
            if self.peek() == "=":
                self.at += 1
                if piece in options:
                    fail("E0002", f"option {piece} is given twice", self.span(start))
                last = OptionText(piece, (self.piece(),), self.span(start))
            elif last is None:
                fail(
                    "E0002",
                    f"expected option=value, found {piece or self.peek() or 'the end'}",
                    self.span(start, max(self.at, start + 1)),
                )
            else:
                where = self.span(last.span.start)
                last = OptionText(last.name, (*last.pieces, piece), where)
            options[last.name] = last
            if not self.peek():
                fail("E0002", "the brace is never closed", self.span(start))
        self.at += 1
        return options

    def piece(self) -> str:
        match = self.match(_PIECE, "a value")
        return match.group(2) if match.group(1) is None else match.group(1)
