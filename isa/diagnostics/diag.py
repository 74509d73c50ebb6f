"""Diagnostics: what went wrong, where, why, and what to do, in one shape everywhere.

    net.snn:12:17: error[E0214]: threshold must be above the reset potential (got 0.2 <= 0.5)
       12 | neuron h1 lif(leak=0.9, thr=0.2, reset=0.5)
          |                         ^^^^^^^
    net.snn:3:1: note: reset defaults to 0.5 here
    help: raise thr, or set reset=0

A user's mistake becomes a :class:`Diagnostic`, never a traceback.  Several are collected in a
:class:`DiagnosticSink` and leave as one :class:`CompileError`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeAlias

from snncc.isa.diagnostics import errors
from snncc.isa.diagnostics.printable import LONGEST_PLACE, bounded

MAX_ERRORS = 20
MAX_EXCERPT = 110
Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A text with its name, for excerpts."""

    name: str
    text: str = field(repr=False)
    _starts: list[int] = field(
        default_factory=list[int], init=False, repr=False, compare=False, hash=False
    )

    def position(self, offset: int) -> tuple[int, int]:
        """Return line and column, both from 1, of a character offset."""
        if not self._starts:
            self._starts.append(0)
            self._starts.extend(i + 1 for i, char in enumerate(self.text) if char == "\n")
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Return one line, counted from 1."""
        self.position(0)
        start = self._starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a source file: characters ``start`` to ``end`` (exclusive)."""

    file: SourceFile
    start: int
    end: int

    def __str__(self) -> str:
        """Return ``file:line:col``."""
        line, column = self.file.position(self.start)
        return f"{self.file.name}:{line}:{column}"

    def excerpt(self) -> list[str]:
        """Return the source line and a line of carets under the span."""
        number, column = self.file.position(self.start)
        line = self.file.line(number).rstrip("\r")
        width = max(1, min(self.end - self.start, len(line) - column + 1))
        first = max(0, column - 1 - MAX_EXCERPT * 2 // 3) if len(line) > MAX_EXCERPT else 0
        shown = line[first : first + MAX_EXCERPT]
        width = max(1, min(width, MAX_EXCERPT - (column - 1 - first)))
        shown = "".join(c if c.isprintable() else " " for c in shown)
        margin = f"{number:5d}"
        blank = " " * len(margin)
        return [
            f"{margin} | {shown}".rstrip(),
            f"{blank} | {' ' * (column - 1 - first)}{'^' * width}",
        ]


Where: TypeAlias = Span | str
"""``file:line:col``, ``model.onnx:/node/path``, or a span, which also shows the line."""


@dataclass(frozen=True, slots=True)
class Note:
    """A further place or fact that belongs to a diagnostic."""

    message: str
    where: Where = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message to the user.  ``code`` must be in :mod:`snncc.isa.diagnostics.errors`."""

    code: str
    message: str
    where: Where = ""
    notes: tuple[Note | str, ...] = ()
    help: str = ""
    severity: Severity = "error"

    def __post_init__(self) -> None:
        """Refuse a code that the manual does not list."""
        errors.lookup(self.code)

    def __str__(self) -> str:
        """Return the message as the user sees it."""
        return render(self)

    def as_json(self) -> dict[str, object]:
        """Return the fields as plain data for ``--json``."""
        notes = [n if isinstance(n, Note) else Note(n) for n in self.notes]
        return {
            "code": self.code,
            "severity": self.severity,
            "where": bounded(str(self.where), LONGEST_PLACE),
            "message": bounded(self.message),
            "notes": [
                {"message": bounded(n.message), "where": bounded(str(n.where), LONGEST_PLACE)}
                for n in notes
            ],
            "help": bounded(self.help),
        }


class CompileError(Exception):
    """The input cannot be processed; ``diagnostics`` say why."""

    def __init__(self, diagnostics: Iterable[Diagnostic] | Diagnostic) -> None:
        given = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        self.diagnostics: tuple[Diagnostic, ...] = given
        super().__init__(given)

    def __str__(self) -> str:
        """Return all messages, rendered."""
        return render_all(self.diagnostics)


def fail(
    code: str,
    message: str,
    where: Where = "",
    *,
    notes: Iterable[Note | str] = (),
    help: str = "",
) -> NoReturn:
    """Raise a :class:`CompileError` with one error."""
    raise CompileError(Diagnostic(code, message, where, tuple(notes), help))


class DiagnosticSink:
    """Collects diagnostics; stops by itself after ``limit`` errors."""

    def __init__(self, limit: int = MAX_ERRORS) -> None:
        self.limit = limit
        self.diagnostics: list[Diagnostic] = []

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic (a repeated one once); raise when the limit of errors is reached."""
        if diagnostic not in self.diagnostics:
            self.diagnostics.append(diagnostic)
            if len(self.errors) >= self.limit:
                self.raise_if_errors()

    def error(
        self,
        code: str,
        message: str,
        where: Where = "",
        *,
        notes: Iterable[Note | str] = (),
        help: str = "",
    ) -> None:
        """Add an error."""
        self.add(Diagnostic(code, message, where, tuple(notes), help))

    def warning(
        self,
        code: str,
        message: str,
        where: Where = "",
        *,
        notes: Iterable[Note | str] = (),
        help: str = "",
    ) -> None:
        """Add a warning; warnings are shown only where there are no errors."""
        self.add(Diagnostic(code, message, where, tuple(notes), help, "warning"))

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors so far."""
        return [d for d in self.diagnostics if d.severity == "error"]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings so far."""
        return [d for d in self.diagnostics if d.severity == "warning"]

    def raise_if_errors(self) -> None:
        """Raise what was collected if any of it is an error."""
        if self.errors:
            raise CompileError(self.errors)


def render(diagnostic: Diagnostic) -> str:
    """Return a diagnostic as text, without a final newline."""
    title = f"{diagnostic.severity}[{diagnostic.code}]"
    lines = _entry(diagnostic.where, title, diagnostic.message)
    for note in diagnostic.notes:
        if isinstance(note, str):
            note = Note(note)
        lines += _entry(note.where, "note", note.message)
    if diagnostic.help:
        lines.append(f"help: {bounded(diagnostic.help)}")
    return "\n".join(lines)


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """Return several diagnostics as text: warnings only where there are no errors."""
    given = list(diagnostics)
    errors_ = [d for d in given if d.severity == "error"]
    text = "\n".join(render(d) for d in errors_ or given)
    if len(errors_) >= MAX_ERRORS:
        text += f"\nstopped after {len(errors_)} errors"
    return text


def _entry(where: Where, title: str, message: str) -> list[str]:
    place = bounded(str(where), LONGEST_PLACE)
    head = f"{place}: {title}: {bounded(message)}" if place else f"{title}: {bounded(message)}"
    return [head, *where.excerpt()] if isinstance(where, Span) else [head]
