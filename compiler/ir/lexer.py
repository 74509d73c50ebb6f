"""Tokens of the IR text: one regular expression, three parallel lists."""

from __future__ import annotations

import re
from dataclasses import dataclass

from snncc.compiler.diag import SourceFile, Span, fail

VALUE, SYMBOL, SHA, STRING, NUMBER, TYPE, WORD, PUNCT, BAD, END = range(1, 11)
KIND_WORDS = {
    VALUE: "a value (%name)",
    SYMBOL: "a name (@name)",
    SHA: "sha256: with 64 hex digits",
    STRING: "a string",
    NUMBER: "a number",
    TYPE: "a type",
    WORD: "a word",
    END: "the end of the text",
}
_STRING = r'"(?:[^"\\\n]|\\.)*"'
_TOKEN = re.compile(
    r"(?:[ \t\r\n]+|//[^\n]*)*"
    r"(?:(%[\w.$-]+)"
    rf"|(@(?:[A-Za-z_][\w.$-]*|{_STRING}))"
    r"|(sha256:[0-9a-f]{64}(?!\w))"
    rf"|({_STRING})"
    r"|(-?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|inf|nan)(?![\w.]))"
    r"|([a-z]+<[^<>\n\"]*>)"
    r"|([A-Za-z_][\w.$]*)"
    r"|([{}()\[\],:=^])"
    r"|([^ \t\r\n])"
    r"|$)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text: kind, text and first character of each; the last is END."""

    source: SourceFile
    kinds: list[int]
    texts: list[str]
    starts: list[int]

    def span(self, index: int) -> Span:
        """Return where a token stands."""
        start = self.starts[index]
        return Span(self.source, start, start + len(self.texts[index]))


def tokenize(source: SourceFile) -> Tokens:
    """Split a text into tokens; a character that begins none is a diagnostic."""
    kinds: list[int] = []
    texts: list[str] = []
    starts: list[int] = []
    for match in _TOKEN.finditer(source.text):
        kind = match.lastindex
        if kind is None:
            continue
        kinds.append(kind)
        texts.append(match[kind])
        starts.append(match.start(kind))
    if BAD in kinds:
        at = kinds.index(BAD)
        help_ = 'a string ends on its line; use \\n and \\" inside' if texts[at] == '"' else ""
        place = Span(source, starts[at], starts[at] + 1)
        fail("E0150", f"unexpected character {texts[at]!r}", place, help=help_)
    kinds.append(END)
    texts.append("")
    starts.append(len(source.text))
    return Tokens(source, kinds, texts, starts)
