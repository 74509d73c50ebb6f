"""What the grammar makes of expressions and arguments; columns count from the text's beginning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class NumberNode:
    """An integer."""

    value: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Real:
    """A number with a fraction or an exponent; also inf and nan in data."""

    value: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Name:
    """A name."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unary:
    """A sign or complement."""

    op: str
    operand: Expr
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and what is between them."""

    op: str
    left: Expr
    right: Expr
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of one argument."""

    function: str
    argument: Expr
    start: int
    end: int
    depth: int


Expr: TypeAlias = NumberNode | Real | Name | Unary | Binary | Apply


@dataclass(frozen=True, slots=True)
class TextNode:
    """A string."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Expressions with colons between them."""

    items: tuple[Expr, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RangeNode:
    """Two expressions with two dots between them."""

    first: Expr
    last: Expr
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Brackets:
    """Values in brackets."""

    items: tuple[Value, ...]
    start: int
    end: int


Value: TypeAlias = Expr | TextNode | Chain | RangeNode | Brackets


@dataclass(frozen=True, slots=True)
class Keyword:
    """``name=value``."""

    name: str
    value: Value
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a directive."""

    positional: tuple[Value, ...]
    keywords: tuple[Keyword, ...]


def depth(node: Expr) -> int:
    """Return how deep a tree is."""
    return node.depth if isinstance(node, Unary | Binary | Apply) else 0
