"""One instruction to and from one line of assembly.

The operand part of a line follows the row's syntax; blanks around punctuation do not matter.
Operands may be expressions that only an assembler can resolve (labels, constants, names of
microprograms): :func:`match` splits a line without looking into its operands, :func:`parse` asks
a callback first.  Text after ``;`` or ``#`` is a comment.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final, TypeAlias

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.lines import SyntaxMistake, strip_comment, suggestion
from snncc.isa.microprograms.text import MicroSyntaxError, parse_micro, show_micro
from snncc.isa.spec import Field, Insn, Inst, OperandError

__all__ = [
    "MicroSyntaxError",
    "Resolve",
    "Symbols",
    "SyntaxMistake",
    "match",
    "operand_value",
    "parse",
    "parse_micro",
    "show",
    "show_micro",
    "strip_comment",
    "syntax_regex",
    "usage",
]

Resolve: TypeAlias = Callable[[Field, str], int | None]
"""Turns the text of an operand into its value; None leaves it to the operand's kind."""

Symbols: TypeAlias = Callable[[Field, int], str | None]
"""Turns the value of an operand into a name; None leaves it to the operand's kind."""

_PLACEHOLDER: Final = re.compile(r"<(\w+)>")


def syntax_regex(text: str) -> str:
    """Return the regular expression of a syntax: a group per ``<operand>``, blanks anywhere."""
    pieces: list[str] = []
    for token in re.findall(r"<\w+>|\w+|\S", text):
        if token.startswith("<") and len(token) > 1:
            pieces.append(rf"(?P<{token[1:-1]}>[^\s,:\[\]=][^,:\[\]=]*?)")
        else:
            pieces.append(re.escape(token))
    return r"\s*".join(pieces)


@functools.cache
def _pattern(mnemonic: str) -> re.Pattern[str]:
    return re.compile(syntax_regex(BY_MNEMONIC[mnemonic].text))


def usage(row: Insn) -> str:
    """Return the syntax of a whole line, as error messages and the manual show it."""
    return f"{row.mnemonic} {row.text}".rstrip()


def match(line: str) -> tuple[Insn, dict[str, str]]:
    """Split a line into its row and the texts of its operands, unresolved."""
    body = strip_comment(line)
    if not body:
        raise SyntaxMistake("expected an instruction, got an empty line")
    mnemonic, _, rest = body.replace("\t", " ").partition(" ")
    row = BY_MNEMONIC.get(mnemonic)
    if row is None:
        raise SyntaxMistake(f"unknown instruction '{mnemonic}'{suggestion(mnemonic, BY_MNEMONIC)}")
    found = _pattern(mnemonic).fullmatch(rest.strip())
    if found is None:
        expected = f"'{row.text}'" if row.text else "no operands"
        got = f"'{rest.strip()}'" if rest.strip() else "no operands"
        raise SyntaxMistake(f"{mnemonic}: expected {expected}, got {got}")
    return row, {name: text.strip() for name, text in found.groupdict().items()}


def operand_value(row: Insn, operand: Field, text: str, resolve: Resolve | None = None) -> int:
    """Return the value of one operand; SyntaxMistake names the operand and what would do."""
    try:
        value = resolve(operand, text) if resolve else None
        if value is None:
            return operand.kind.parse(text)
        operand.kind.check(value)
    except OperandError as error:
        raise SyntaxMistake(f"{row.mnemonic}: operand <{operand.name}>: {error}") from None
    return value


def parse(line: str, resolve: Resolve | None = None) -> Inst:
    """Return the instruction that a line stands for."""
    row, texts = match(line)
    return Inst(row, tuple(operand_value(row, f, texts[f.name], resolve) for f in row.operands))


def show(inst: Inst, symbols: Symbols | None = None) -> str:
    """Return the canonical line of an instruction; ``symbols`` may name operands' values."""
    texts: dict[str, str] = {}
    for operand, value in zip(inst.insn.operands, inst.values, strict=True):
        name = symbols(operand, value) if symbols else None
        texts[operand.name] = operand.kind.show(value) if name is None else name
    body = _PLACEHOLDER.sub(lambda m: texts[m.group(1)], inst.insn.text)
    return f"{inst.insn.mnemonic} {body}".rstrip()
