"""The arguments of one directive, taken one by one with their kinds checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from snncc.assembler.names import NOWHERE, LocalNames, Names
from snncc.assembler.nodes import (
    Apply,
    Binary,
    Brackets,
    Chain,
    Expr,
    Keyword,
    Name,
    NumberNode,
    RangeNode,
    Real,
    TextNode,
    Unary,
    Value,
)
from snncc.assembler.parser import parse_arguments
from snncc.assembler.source import Problem

EXPRESSIONS = (NumberNode, Real, Name, Unary, Binary, Apply)


class Taker:
    """Arguments of a directive; ``usage`` says what it expects."""

    def __init__(self, text: str, column: int, usage: str, names: Names) -> None:
        self.usage = usage
        self.names = names
        self.column = column
        self.end = column + len(text.rstrip())
        try:
            parsed = parse_arguments(text)
        except Problem as problem:
            problem.help = problem.help or f"the directive is: {usage}"
            raise problem.shifted(column) from None
        self.rest = list(parsed.positional)
        self.keywords: dict[str, Keyword] = {}
        for keyword in parsed.keywords:
            if keyword.name in self.keywords:
                raise self.wrong(f"{keyword.name}= is given twice", keyword)
            self.keywords[keyword.name] = keyword

    def wrong(self, message: str, value: Value | Keyword | None = None) -> Problem:
        """Return the problem of an argument, or of the directive as a whole."""
        start, end = self.place(value)
        return Problem("E0707", message, start, end, help=f"the directive is: {self.usage}")

    def place(self, value: Value | Keyword | None) -> tuple[int, int]:
        """Return the columns of an argument."""
        if value is None or value.start < 0:
            return -1, -1
        return value.start + self.column, value.end + self.column

    def next(self, what: str) -> Value:
        """Take the next positional argument."""
        if not self.rest:
            raise Problem(
                "E0707",
                f"expected {what}, got the end of the line",
                self.end,
                self.end + 1,
                help=f"the directive is: {self.usage}",
            )
        return self.rest.pop(0)

    def word(self, value: Value, what: str) -> str:
        """Return a name or a string."""
        if isinstance(value, Name):
            return value.name
        if isinstance(value, TextNode):
            return value.text
        raise self.wrong(f"expected {what}", value)

    def expression(self, value: Value, what: str) -> Expr:
        """Return an expression."""
        if isinstance(value, EXPRESSIONS):
            return value
        raise self.wrong(f"expected {what}", value)

    def integer(
        self, value: Value, what: str, low: int, high: int, scope: LocalNames = NOWHERE
    ) -> int:
        """Return the value of an expression within bounds, both allowed."""
        node = self.expression(value, what)
        try:
            number = self.names.value(node, scope)
        except Problem as problem:
            raise problem.shifted(self.column) from None
        if not low <= number <= high:
            raise self.wrong(f"{what} {number} is outside {low}..{high}", value)
        return number

    def items(self, value: Value, what: str) -> tuple[Value, ...]:
        """Return the values of a list in brackets."""
        if isinstance(value, Brackets):
            return value.items
        raise self.wrong(f"expected {what}", value)

    def chain(self, value: Value, count: int, what: str) -> tuple[Expr, ...]:
        """Return the expressions of a chain of a certain length."""
        if isinstance(value, Chain) and len(value.items) == count:
            return value.items
        raise self.wrong(f"expected {what}", value)

    def numbers(self, value: Value, what: str, limit: int) -> list[int]:
        """Return the numbers of ``3`` or ``0..3``."""
        if isinstance(value, RangeNode):
            first = self.integer(value.first, what, 0, limit)
            last = self.integer(value.last, what, first, limit)
            return list(range(first, last + 1))
        return [self.integer(value, what, 0, limit)]

    def keyword(self, name: str) -> Value | None:
        """Take a keyword argument, None when it is not there."""
        found = self.keywords.pop(name, None)
        return found.value if found else None

    def done(self, known: Iterable[str] = ()) -> None:
        """Raise unless all arguments were taken; ``known`` are keywords that it could have."""
        if self.rest:
            raise self.wrong("unexpected argument", self.rest[0])
        for name, keyword in self.keywords.items():
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f"; did you mean '{close[0]}='?" if close else ""
            raise self.wrong(f"unknown argument '{name}='{hint}", keyword)
