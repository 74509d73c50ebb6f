"""Lines of assembly text, and what is wrong with one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from snncc.isa.diagnostics.diag import Diagnostic, Note, SourceFile, Span

MAX_LINE: Final = 1 << 16
"""The most characters of a line; longer ones only come out of macros gone wild."""

NAME: Final = r"\.?[A-Za-z_$][A-Za-z0-9_$]*(?:\.[A-Za-z0-9_$]+)*"
_NAME: Final = re.compile(NAME)
_LABEL: Final = re.compile(rf"\s*({NAME})\s*:")
_HEAD: Final = re.compile(r"\s*(\.?[A-Za-z_$][A-Za-z0-9_.$]*)")
_SPECIAL: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[;#]')
_COMMENT: Final = re.compile(r"[;#]")


class Problem(Exception):
    """Something is wrong with a line: columns ``start`` to ``end`` of it (-1: all of it).

    ``line`` is there when it is another one than the line being read.
    """

    def __init__(
        self,
        code: str,
        message: str,
        start: int = -1,
        end: int = -1,
        *,
        help: str = "",
        line: Line | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.start = start
        self.end = end
        self.help = help
        self.line = line

    def shifted(self, columns: int) -> Problem:
        """Return the problem of a piece of a line as one of the line."""
        if self.start >= 0:
            self.start += columns
            self.end += columns
        return self


class Fatal(Problem):
    """A problem that makes all that follows meaningless."""


@dataclass(frozen=True, slots=True)
class MacroCall:
    """Where a macro was called."""

    macro: str
    line: Line


@dataclass(frozen=True, slots=True)
class Line:
    """A line; ``text`` has no comment, its columns are those of the file unless ``changed``.

    ``start`` is the offset of its first character in the file, ``raw`` the line with comment.
    """

    text: str
    raw: str
    file: SourceFile
    start: int
    number: int
    changed: bool = False
    call: MacroCall | None = None

    def rewritten(self, text: str, call: MacroCall | None) -> Line:
        """Return the line with other text, as a macro or a repeat makes it."""
        if text == self.raw:
            return self if call is None else replace(self, call=call)
        return replace(self, text=cut_comment(text), raw=text, changed=True, call=call)

    def prefix(self, end: int) -> Line:
        """Return what stands before a column."""
        return replace(self, text=self.text[:end])

    def suffix(self, start: int) -> Line:
        """Return what stands behind a column, the columns kept."""
        return replace(self, text=" " * start + self.text[start:])

    @property
    def head(self) -> str:
        """The first word of the line, if it begins with one."""
        found = _HEAD.match(self.text)
        return found[1] if found else ""

    def span(self, start: int = -1, end: int = -1) -> Span:
        """Return the place of some columns in the file."""
        if start < 0 or self.changed:
            stripped = self.raw.strip() if self.changed else self.text.strip()
            shown = self.file.line(self.number) if self.changed else self.text
            start = len(shown) - len(shown.lstrip())
            end = len(shown.rstrip()) if self.changed else start + len(stripped)
        return Span(self.file, self.start + start, self.start + max(end, start + 1))

    def diagnostic(self, problem: Problem) -> Diagnostic:
        """Return a problem of this line as the user sees it."""
        notes: list[Note | str] = []
        if self.changed:
            notes.append(f"the line reads '{self.raw.strip()[:200]}' here")
        call, depth = self.call, 0
        while call is not None and depth < 4:
            notes.append(Note(f"in macro {call.macro}, called here", call.line.span()))
            call, depth = call.line.call, depth + 1
        where = self.span(problem.start, problem.end)
        return Diagnostic(problem.code, problem.message, where, tuple(notes), problem.help)


def is_name(text: str) -> bool:
    """Whether a text can be a name without quotes."""
    return _NAME.fullmatch(text) is not None


def cut_comment(text: str) -> str:
    """Return a line without its comment; ``;`` and ``#`` in quotes begin none."""
    if '"' not in text:
        found = _COMMENT.search(text)
        return text[: found.start()] if found else text
    for found in _SPECIAL.finditer(text):
        if found[0] in ";#":
            return text[: found.start()]
    return text


def split_lines(file: SourceFile) -> Iterable[Line]:
    """Yield the lines of a file."""
    at = 0
    for number, raw in enumerate(file.text.split("\n"), 1):
        yield Line(cut_comment(raw), raw, file, at, number)
        at += len(raw) + 1


def labels(text: str) -> tuple[list[tuple[str, int, int]], int]:
    """Return the labels at the beginning of a line with their columns, and where they end."""
    found: list[tuple[str, int, int]] = []
    at = 0
    while match := _LABEL.match(text, at):
        found.append((match[1], match.start(1), match.end(1)))
        at = match.end()
    return found, at
