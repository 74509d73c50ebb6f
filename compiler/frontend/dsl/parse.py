"""From the text of a .snn file to its tree (docs/dsl.md); faults show line and caret."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput

from snncc.compiler.diag import SourceFile, Span, fail
from snncc.isa.files.whole_file import read_at_most

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
WORDS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "SHAPE": "a shape such as 3x32x32",
    "STRING": '"text"',
    "$END": "the end of the file",
    "LPAR": "(",
    "RPAR": ")",
    "LBRACE": "{",
    "RBRACE": "}",
    "LSQB": "[",
    "RSQB": "]",
    "EQUAL": "=",
    "COMMA": ",",
    "SEMICOLON": ";",
}


@dataclass(frozen=True, slots=True)
class Number:
    """A number; ``value`` is an int where it is written as one."""

    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Dims:
    """A shape."""

    value: tuple[int, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    value: tuple[Value, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """``name(arguments) {block} {block}``; a bare name is a call without arguments."""

    name: str
    span: Span
    args: tuple[tuple[str, Value], ...] = ()
    """Keyword (or '') and value."""
    blocks: tuple[tuple[Item, ...], ...] = ()
    bare: bool = True


@dataclass(frozen=True, slots=True)
class Item:
    """A statement: ``kind`` is network, from, let, assign or plain."""

    kind: str
    name: str
    span: Span
    value: Value | None = None


Value: TypeAlias = Number | Text | Dims | Items | Call
Node: TypeAlias = "Tree[Token]"


@dataclass(slots=True)
class Program:
    """A file's statements."""

    source: SourceFile
    items: tuple[Item, ...] = field(default=())


@cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("dsl.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", maybe_placeholders=False)


def read_program(path: Path) -> Program:
    """Read and parse a file."""
    try:
        data = read_at_most(path, MAX_BYTES)
    except OSError as error:
        fail("E0005", f"cannot read: {error.strerror}", str(path))
    if len(data) > MAX_BYTES:
        fail("E0120", "larger than 1 MB, no network", str(path))
    try:
        return parse(data.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        fail("E0120", f"not UTF-8 text (byte {error.start})", str(path))


def parse(text: str, name: str) -> Program:
    """Parse a text."""
    source = SourceFile(name, text)
    try:
        tree = _tree(text)
    except UnexpectedCharacters as error:
        at = int(cast("int", getattr(error, "pos_in_stream", 0)))
        fail("E0120", f"{text[at]!r} has no place here", Span(source, at, at + 1))
    except UnexpectedInput as error:
        fail(*_syntax(source, error))
    return Program(source, _Reader(source).items(tree.children, 0))


def _tree(text: str) -> Node:
    lark: Any = _parser()  # its parse() is hardly typed
    tree: Node = lark.parse(text)
    return tree


def _syntax(source: SourceFile, error: UnexpectedInput) -> tuple[str, str, Span]:
    token = getattr(error, "token", None)
    found = str(token) if isinstance(token, Token) else ""
    start = token.start_pos if isinstance(token, Token) else None
    at = len(source.text.rstrip()) if not found or start is None else start
    expected = [str(t) for t in cast("Iterable[object]", getattr(error, "expected", ()))]
    wanted = sorted({WORDS.get(t, t.lower()) for t in expected})
    said = f"{found!r} has no place here" if found else "the file ends too early"
    if wanted:
        said += f"; expected {', '.join(wanted[:-1])}{' or ' if wanted[1:] else ''}{wanted[-1]}"
    return "E0120", said, Span(source, at, at + max(1, len(found)))


class _Reader:
    def __init__(self, source: SourceFile) -> None:
        self.source = source

    def span(self, token: Token) -> Span:
        start = token.start_pos or 0
        return Span(self.source, start, start + len(token))

    def around(self, tree: Node) -> Span:
        """Return the span of everything below a tree."""
        spans: list[Span] = []
        todo: list[Token | Node] = [tree]
        while todo:
            each = todo.pop()
            if isinstance(each, Token):
                spans.append(self.span(each))
            else:
                todo += each.children
        if not spans:
            return Span(self.source, 0, 1)
        return Span(self.source, min(s.start for s in spans), max(s.end for s in spans))

    def items(self, children: list[Token | Node], depth: int) -> tuple[Item, ...]:
        found: list[Item] = []
        for child in children:
            if not isinstance(child, Tree) or child.data == "nothing":
                continue
            kind = str(child.data).rstrip("_")
            head, rest = child.children[0], child.children[1:]
            if kind == "plain":
                call = self.value(head, depth)
                assert isinstance(call, Call)
                found.append(Item(kind, "", call.span, call))
                continue
            assert isinstance(head, Token)
            value = self.value(rest[0], depth) if rest else None
            found.append(Item(kind, str(head), self.span(head), value))
        return tuple(found)

    def value(self, tree: Token | Node, depth: int) -> Value:
        assert isinstance(tree, Tree)
        if depth > MAX_DEPTH:
            fail("E0120", "nested too deeply", self.around(tree))
        if tree.data == "call":
            return self.call(tree, depth)
        if tree.data == "list":
            children = [self.value(c, depth + 1) for c in tree.children]
            return Items(tuple(children), self.around(tree))
        token = tree.children[0]
        assert isinstance(token, Token)
        text, span = str(token), self.span(token)
        if tree.data == "string":
            return Text(text[1:-1], span)
        if len(text) > 200:
            fail("E0122", "a number with too many digits", span)
        if tree.data == "shape":
            return Dims(tuple(int(d) for d in text.split("x")), span)
        whole = text.lstrip("+-").isdigit()
        return Number(int(text) if whole else float(text), span)

    def call(self, tree: Node, depth: int) -> Call:
        head = tree.children[0]
        assert isinstance(head, Token)
        args: list[tuple[str, Value]] = []
        blocks: list[tuple[Item, ...]] = []
        bare = True
        for part in tree.children[1:]:
            assert isinstance(part, Tree)
            if part.data == "block":
                blocks.append(self.items(part.children, depth + 1))
                continue
            bare = False
            for arg in part.children:
                assert isinstance(arg, Tree)
                if arg.data == "keyword":
                    args.append((str(arg.children[0]), self.value(arg.children[1], depth + 1)))
                else:
                    args.append(("", self.value(arg.children[0], depth + 1)))
        return Call(str(head), self.span(head), tuple(args), tuple(blocks), bare)
