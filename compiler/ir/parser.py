"""Reads the text form of the IR (grammar: docs/design/ir.md); every fault is a diagnostic.

Written by hand because a generated LALR parser needs more than the whole time budget for it
(docs/adr/0006-hand-written-ir-parser.md).  A wrong name is reported and reading goes on; a syntax
error ends it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from snncc.compiler.diag import DiagnosticSink, SourceFile, Span, fail
from snncc.compiler.ir.core import (
    UNKNOWN,
    Array,
    Attribute,
    Block,
    Func,
    Location,
    Module,
    Op,
    Type,
    TypeKind,
    Value,
    op,
    tensor,
)
from snncc.compiler.ir.lexer import (
    KIND_WORDS,
    NUMBER,
    PUNCT,
    SHA,
    STRING,
    SYMBOL,
    TYPE,
    VALUE,
    WORD,
    tokenize,
)

MAX_DEPTH = 50  # of regions, and of lists and dicts in attributes
MAX_CHARACTERS = 1 << 28
KINDS: dict[str, TypeKind] = {"tensor": "tensor", "seq": "seq", "dram": "dram", "sram": "sram"}
LoadResource = Callable[[str, str, Type, Span], Array]
"""Returns the array of (name, sha256, type, place in the text), or raises CompileError."""


@dataclass(slots=True)
class Parsed:
    """A module and where its ops stand in the text, for the verifier's messages."""

    module: Module
    spans: dict[Op, Span] = field(default_factory=dict[Op, Span])


def parse_type(text: str) -> Type | None:
    """Return the type that a text stands for, or None."""
    kind, _, rest = text.removesuffix(">").partition("<")
    *dims, dtype = rest.split("x")
    if kind not in KINDS or not dtype.isalnum() or not dtype[0].isalpha():
        return None
    if not all(d.isascii() and d.isdigit() and len(d) < 16 for d in dims):
        return None
    return Type(KINDS[kind], tuple(map(int, dims)), dtype)


def parse_module(
    text: str, name: str = "<text>", load_resource: LoadResource | None = None
) -> Parsed:
    """Read a module; ``name`` is the file's name in messages."""
    source = SourceFile(name, text)
    if len(text) > MAX_CHARACTERS:
        fail("E0156", f"the text has {len(text)} characters, more than {MAX_CHARACTERS}", name)
    return _Parser(source, load_resource or _no_resources).module()


def _no_resources(name: str, sha: str, type_: Type, where: Span) -> Array:
    fail(
        "E0154",
        f"resource @{name}: there is no side file to take it from",
        where,
        help="read the module from a file with NAME.snnir.npz or resources.npz beside it",
    )


class _Parser:
    """Recursive descent over the token lists; ``at`` is the next token."""

    def __init__(self, source: SourceFile, load: LoadResource) -> None:
        self.tokens = tokenize(source)
        self.kinds = self.tokens.kinds
        self.texts = self.tokens.texts
        self.at = 0
        self.load = load
        self.sink = DiagnosticSink()
        self.types: dict[str, Type] = {}
        self.locations: dict[str, Location] = {}
        self.scope: dict[str, Value] = {}
        self.spans: dict[Op, Span] = {}

    # --- tokens ---------------------------------------------------------------------------

    def wrong(self, expected: str) -> NoReturn:
        """Report the next token as a syntax error, after what was found before it."""
        found = self.texts[self.at]
        shown = (found if len(found) <= 40 else found[:40] + "...") or KIND_WORDS[10]
        self.sink.error("E0150", f"expected {expected}, found {shown}", self.tokens.span(self.at))
        self.sink.raise_if_errors()
        raise AssertionError

    def need(self, text: str) -> None:
        """Step over punctuation or a keyword."""
        if self.texts[self.at] != text or self.kinds[self.at] not in (PUNCT, WORD):
            self.wrong(f"'{text}'" if len(text) == 1 else text)
        self.at += 1

    def has(self, text: str) -> bool:
        """Step over punctuation or a keyword if it comes next."""
        if self.texts[self.at] == text and self.kinds[self.at] in (PUNCT, WORD):
            self.at += 1
            return True
        return False

    def take(self, kind: int) -> str:
        """Step over a token of a kind and return its text."""
        if self.kinds[self.at] != kind:
            self.wrong(KIND_WORDS[kind])
        self.at += 1
        return self.texts[self.at - 1]

    def string(self, text: str) -> str:
        """Return the value of a string literal, that of the last token."""
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            what = error.msg.removesuffix(" at").lower()
            self.sink.error("E0150", f"bad string: {what}", self.tokens.span(self.at - 1))
            return ""
        return str(value)

    def symbol(self) -> str:
        """Read ``@name`` or ``@"name"``."""
        text = self.take(SYMBOL)[1:]
        return self.string(text) if text.startswith('"') else text

    # --- module ---------------------------------------------------------------------------

    def module(self) -> Parsed:
        """Read the whole text."""
        self.need("module")
        module = Module(self.symbol())
        if self.has("attributes"):
            module.attrs = self.dict(0)
        self.need("{")
        while self.texts[self.at] == "resource" and self.kinds[self.at] == WORD:
            self.resource(module)
        while self.has("func"):
            self.func(module)
        if self.texts[self.at] != "}":
            self.wrong("resource, func or '}'")
        self.need("}")
        if self.at != len(self.kinds) - 1:
            self.wrong("the end of the text")
        self.sink.raise_if_errors()
        return Parsed(module, self.spans)

    def resource(self, module: Module) -> None:
        self.need("resource")
        first = self.at
        name = self.symbol()
        sha = self.take(SHA).removeprefix("sha256:")
        self.need(":")
        type_ = self.type()
        where = self.tokens.span(first)
        if name in module.resources:
            self.sink.error("E0152", f"resource @{name} is defined twice", where)
        elif not self.sink.errors:
            module.resources[name] = self.load(name, sha, type_, where)

    def func(self, module: Module) -> None:
        where = self.tokens.span(self.at)
        name = self.symbol()
        if name in module.funcs:
            self.sink.error("E0152", f"function @{name} is defined twice", where)
        body = Block()
        self.scope = {}
        self.arguments(body)
        attrs = self.dict(0) if self.has("attributes") else {}
        module.funcs[name] = Func(name, body, attrs)
        self.need("{")
        self.ops(body, 0)

    def arguments(self, block: Block) -> list[str]:
        """Read ``(%a: type, ...)`` and return the names."""
        self.need("(")
        names: list[str] = []
        while not self.has(")"):
            if names:
                self.need(",")
            first = self.at
            names.append(self.take(VALUE))
            self.need(":")
            value = block.add_arg(self.type(), hint(names[-1]))
            self.define(names[-1], value, first)
        return names

    def define(self, name: str, value: Value, token: int) -> None:
        if name in self.scope:
            self.sink.error("E0152", f"{name} is defined twice", self.tokens.span(token))
        self.scope[name] = value

    def type(self) -> Type:
        text = self.take(TYPE)
        known = self.types.get(text)
        if known is None:
            known = parse_type(text)
            if known is None:
                where = self.tokens.span(self.at - 1)
                help_ = "write kind<2x3xf16>, kind one of " + ", ".join(KINDS)
                self.sink.error("E0153", f"{text} is not a type", where, help=help_)
                known = tensor(())
            self.types[text] = known
        return known

    # --- ops ------------------------------------------------------------------------------

    def ops(self, block: Block, depth: int) -> None:
        """Read ops up to the closing brace, and step over it."""
        while not self.has("}"):
            block.append(self.op(depth))

    def op(self, depth: int) -> Op:
        first = self.at
        kinds, texts, scope = self.kinds, self.texts, self.scope
        results: list[int] = []
        if kinds[first] == VALUE:
            results.append(first)
            self.at += 1
            while self.has(","):
                self.take(VALUE)
                results.append(self.at - 1)
            self.need("=")
        name_at = self.at
        if kinds[name_at] != WORD or "." not in texts[name_at]:
            self.wrong("an op (dialect.name)")
        self.at += 1
        self.need("(")
        operands: list[Value] = []
        while not self.has(")"):
            if operands:
                self.need(",")
            name = self.take(VALUE)
            operands.append(scope.get(name) or self.unknown(name))
        attrs = self.dict(0) if texts[self.at] == "{" else {}
        types: list[Type] = []
        if self.has(":"):
            types.append(self.type())
            while self.has(","):
                types.append(self.type())
        span = self.tokens.span(name_at)
        if len(types) != len(results):
            self.sink.error("E0150", f"{len(results)} results, but types for {len(types)}", span)
            types = [*types, *[tensor(())] * len(results)][: len(results)]
        loc = self.location() if texts[self.at] == "loc" else UNKNOWN
        regions = self.regions(depth + 1) if texts[self.at] == "(" else ()
        names = [hint(texts[i]) for i in results]
        made = op(texts[name_at], operands, types, attrs, regions, loc, names)
        for i, value in zip(results, made.results, strict=True):
            self.define(texts[i], value, i)
        self.spans[made] = span
        return made

    def unknown(self, name: str) -> Value:
        where = self.tokens.span(self.at - 1)
        help_ = "an op may use arguments and the results of ops above it"
        self.sink.error("E0151", f"{name} is not defined here", where, help=help_)
        return Value(tensor(()))

    def location(self) -> Location:
        self.need("loc")
        self.need("(")
        text = self.take(STRING)
        known = self.locations.get(text)
        if known is None:
            self.locations[text] = known = Location(self.string(text))
        self.need(")")
        return known

    def regions(self, depth: int) -> list[Block]:
        """Read ``({ ^(args): ops }, { ... })``."""
        self.deep(depth)
        self.need("(")
        blocks: list[Block] = []
        while not self.has(")"):
            if blocks:
                self.need(",")
            self.need("{")
            outer = self.scope
            self.scope = dict(outer)
            block = Block()
            if self.has("^"):
                self.arguments(block)
                self.need(":")
            self.ops(block, depth)
            self.scope = outer
            blocks.append(block)
        return blocks

    # --- attributes -----------------------------------------------------------------------

    def deep(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            fail("E0156", f"nested more than {MAX_DEPTH} deep", self.tokens.span(self.at))

    def dict(self, depth: int) -> dict[str, Attribute]:
        """Read ``{key = value, ...}``."""
        self.need("{")
        self.deep(depth)
        entries: dict[str, Attribute] = {}
        while not self.has("}"):
            if entries:
                self.need(",")
            if self.kinds[self.at] == STRING:
                key = self.string(self.take(STRING))
            else:
                key = self.take(WORD)
            if key in entries:
                where = self.tokens.span(self.at - 1)
                self.sink.error("E0152", f"attribute {key} is given twice", where)
            self.need("=")
            entries[key] = self.attribute(depth)
        return entries

    def attribute(self, depth: int) -> Attribute:
        kind, text = self.kinds[self.at], self.texts[self.at]
        if text == "{":
            return self.dict(depth + 1)
        if text == "[":
            return self.list(depth + 1)
        self.at += 1
        if kind == STRING:
            return self.string(text)
        if kind == NUMBER:
            return self.number(text)
        if kind == WORD and text in _CONSTANTS:
            return _CONSTANTS[text]
        self.at -= 1
        self.wrong("an attribute: a number, a string, true, false, none, [list] or {dict}")

    def number(self, text: str) -> int | float:
        digits = text.removeprefix("-")
        if not digits.isdigit():
            return float(text)
        if len(digits) > 100:
            fail("E0156", f"an integer of {len(digits)} digits", self.tokens.span(self.at - 1))
        return int(text)

    def list(self, depth: int) -> tuple[Attribute, ...]:
        """Read ``[value, ...]``."""
        self.need("[")
        self.deep(depth)
        entries: list[Attribute] = []
        while not self.has("]"):
            if entries:
                self.need(",")
            entries.append(self.attribute(depth))
        return tuple(entries)


_CONSTANTS: dict[str, Attribute] = {"true": True, "false": False, "none": None}


def hint(text: str) -> str:
    """Return the name hint of a printed value: ``%12`` stands for a value without a name."""
    return "" if text[1:].isdigit() else text[1:]
