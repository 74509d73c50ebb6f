"""Expressions and arguments of directives from text, by the grammar in ``grammar.lark``."""

from __future__ import annotations

import functools
import json
from typing import Any, Final, TypeVar, cast

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError, UnexpectedInput, UnexpectedToken, VisitError

from snncc.assembler.nodes import (
    Apply,
    Arguments,
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
    depth,
)
from snncc.assembler.source import Problem

MAX_DEPTH: Final = 200
MAX_DIGITS: Final = 140
MAX_CACHED: Final = 4096  # characters of a text whose tree is kept

_Node = TypeVar("_Node", Apply, Unary, Binary)


class _Build(Transformer[Token, Any]):
    """Builds the nodes, bottom-up while parsing."""

    def arguments(self, children: list[Any]) -> Arguments:
        given = [c for c in children if c is not None]
        keywords = tuple(c for c in given if isinstance(c, Keyword))
        return Arguments(tuple(c for c in given if not isinstance(c, Keyword)), keywords)

    def positional(self, children: list[Value]) -> Value:
        return children[0]

    def keyword(self, children: list[Any]) -> Keyword:
        name, value = cast(Token, children[0]), cast(Value, children[1])
        return Keyword(str(name), value, _start(name), value.end)

    def text(self, children: list[Token]) -> TextNode:
        token = children[0]
        try:
            text = str(json.loads(str(token)))
            text.encode()
        except ValueError:
            raise Problem(
                "E0701",
                "the string has an escape that is none, or a control character",
                _start(token),
                _end(token),
                help=r"escapes are those of JSON: \" \\ \n \t \u0041",
            ) from None
        return TextNode(text, _start(token), _end(token))

    def items(self, children: list[Any]) -> Brackets:
        items = tuple(cast(Value, c) for c in children if c is not None)
        if not items:
            return Brackets((), -1, -1)
        return Brackets(items, items[0].start, items[-1].end)

    def chain(self, children: list[Expr]) -> Chain:
        return Chain(tuple(children), children[0].start, children[-1].end)

    def range(self, children: list[Expr]) -> RangeNode:
        return RangeNode(children[0], children[1], children[0].start, children[1].end)

    def integer(self, children: list[Token]) -> NumberNode:
        token = children[0]
        try:
            if len(token) > MAX_DIGITS:
                raise ValueError
            return NumberNode(int(str(token), 0), _start(token), _end(token))
        except ValueError:
            message = f"'{str(token)[:40]}' is no number"
            raise Problem("E0706", message, _start(token), _end(token)) from None

    def real(self, children: list[Token]) -> Real:
        token = children[0]
        return Real(float(str(token)[:MAX_DIGITS]), _start(token), _end(token))

    def name(self, children: list[Token]) -> Name:
        return Name(str(children[0]), _start(children[0]), _end(children[0]))

    def call(self, children: list[Any]) -> Apply:
        function, argument = cast(Token, children[0]), cast(Expr, children[1])
        node = Apply(
            str(function), argument, _start(function), argument.end + 1, depth(argument) + 1
        )
        return _bounded(node)

    def unary(self, children: list[Any]) -> Expr:
        op, operand = cast(Token, children[0]), cast(Expr, children[1])
        node = Unary(str(op), operand, _start(op), operand.end, depth(operand) + 1)
        return _bounded(node)

    def binary(self, children: list[Any]) -> Expr:
        left, op, right = cast(tuple[Expr, Token, Expr], children)
        deep = max(depth(left), depth(right)) + 1
        return _bounded(Binary(str(op), left, right, left.start, right.end, deep))


def _bounded(node: _Node) -> _Node:
    if depth(node) > MAX_DEPTH:
        message = f"the expression is nested more than {MAX_DEPTH} deep"
        raise Problem("E0706", message, node.start, node.end, help="name parts of it with .equ")
    return node


def _start(token: Token) -> int:
    return token.start_pos or 0


def _end(token: Token) -> int:
    return token.end_pos or 0


@functools.cache
def _parser() -> Any:  # the types of lark are incomplete
    lark: Any = Lark
    return lark.open(
        "grammar.lark",
        rel_to=__file__,
        parser="lalr",
        lexer="contextual",
        start=["arguments", "expression"],
        transformer=_Build(),
        maybe_placeholders=False,
    )


def parse_arguments(text: str) -> Arguments:
    """Return the arguments of a directive."""
    return cast(Arguments, _parse(text, "arguments"))


def parse_expression(text: str) -> Expr:
    """Return the tree of an expression."""
    if len(text) > MAX_CACHED:
        return cast(Expr, _parse(text, "expression"))
    return _cached_expression(text)


@functools.lru_cache(maxsize=4096)
def _cached_expression(text: str) -> Expr:
    return cast(Expr, _parse(text, "expression"))


def _parse(text: str, start: str) -> object:
    try:
        return cast(object, _parser().parse(text, start=start))
    except VisitError as error:
        if isinstance(error.orig_exc, Problem):
            raise error.orig_exc from None
        raise
    except UnexpectedInput as error:
        raise _syntax(text, error) from None
    except LarkError as error:  # the grammar and this module disagree: our bug
        raise AssertionError(f"parsing {text!r}: {error}") from error


def _syntax(text: str, error: UnexpectedInput) -> Problem:
    at = len(text)
    got = "the end of the line"
    if isinstance(error, UnexpectedToken):
        token = cast(Token, cast(Any, error).token)
        if token.type != "$END":
            at, got = _start(token), f"'{str(token)[:40]}'"
    elif error.pos_in_stream is not None:
        at = error.pos_in_stream
        got = f"'{text[at : at + 1]}'"
    expected = "a value such as 12, 0x10, name or (a + 1) * 2"
    before = text[:at].rstrip()
    if before and (before[-1].isalnum() or before[-1] in '_$)]"'):
        expected = "an operator, ',' or the end of the line"
        if at == len(text):
            expected = "an operator or a closing bracket"
    if got.startswith("'\"") or got == "'\"'":
        expected = "a string that ends with a quote on the same line"
    return Problem("E0701", f"expected {expected}, got {got}", at, at + max(1, len(got) - 2))
