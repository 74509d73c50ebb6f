"""Operands of instructions: aliases, names of microprograms and expressions."""

from __future__ import annotations

import re
from typing import Final

from snncc.assembler.names import LocalNames
from snncc.assembler.parser import parse_expression
from snncc.assembler.source import Problem
from snncc.assembler.state import Alias, CodeSection, SourceInstruction, State
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.instructions.table import TABLE
from snncc.isa.instructions.text import match, operand_value, syntax_regex, usage
from snncc.isa.lines import SyntaxMistake, suggestion
from snncc.isa.spec import EnumKind, Field, IndexedKind, Insn, Inst, OperandError

MICROPROGRAM: Final = "microprogram"
ADDRESS: Final = "instruction address"
INDEXED: Final = {
    f.kind.prefix: f.kind
    for row in TABLE
    for f in row.operands
    if isinstance(f.kind, IndexedKind) and f.kind.name != MICROPROGRAM
}
"""Numbered resources by the prefix of their names."""

_PLAIN: Final = re.compile(r"-?(?:[0-9]+|0[xX][0-9A-Fa-f]+)")
_RESOURCE: Final = re.compile(f"({'|'.join(sorted(INDEXED, key=len, reverse=True))})[0-9]+")


def is_resource(name: str) -> bool:
    """Whether a name is that of a register, stream, semaphore or window."""
    return _RESOURCE.fullmatch(name) is not None


def resource(text: str) -> Alias:
    """Return kind and number of what ``r5`` or ``sem3`` names; OperandError if nothing."""
    found = _RESOURCE.fullmatch(text)
    if not found:
        known = ", ".join(f"{p}0..{p}{k.count - 1} ({k.name})" for p, k in INDEXED.items())
        raise OperandError(f"expected one of {known}, got '{text[:40]}'")
    kind = INDEXED[found[1]]
    return kind.name, kind.parse(text)


def end_operand(row: Insn) -> str | None:
    """Return the operand that a block in braces gives: the address behind the block."""
    last = row.operands[-1] if row.operands else None
    return last.name if last is not None and last.kind.name == ADDRESS else None


def split(code: str, *, block: bool) -> tuple[Insn, dict[str, str]]:
    """Split an instruction into its row and operands; a block's end is left open (empty)."""
    mnemonic = code.split(None, 1)[0]
    row = BY_MNEMONIC.get(mnemonic)
    if row is None:
        hint = suggestion(mnemonic, BY_MNEMONIC)
        message = f"there is no instruction '{mnemonic[:64]}'{hint}"
        help = "`snncc isa` lists the instructions; a macro is defined above its first use"
        raise Problem("E0702", message, 0, len(mnemonic), help=help)
    try:
        if not block:
            return match(code)
        end = end_operand(row)
        if end is None:
            message = f"{mnemonic} opens no block"
            raise Problem("E0708", message, 0, len(mnemonic), help="loop and loopi do")
        row, texts = match(f"{code}, 0")
        return row, {**texts, end: ""}
    except SyntaxMistake as mistake:
        help = f"the instruction is: {usage(row)}"
        raise Problem("E0703", str(mistake), 0, len(code), help=help) from None


def constant(row: Insn, texts: dict[str, str]) -> Inst | None:
    """Return the instruction if its operands need no names."""
    values: list[int] = []
    for operand in row.operands:
        try:
            values.append(operand_value(row, operand, texts[operand.name]))
        except SyntaxMistake:
            return None
    return Inst(row, tuple(values))


class Resolver:
    """Turns the operands of the instructions of one core into values."""

    def __init__(self, state: State, section: CodeSection, core: int) -> None:
        self.state = state
        self.section = section
        self.scope = LocalNames(section.labels, core)

    def instruction(self, item: SourceInstruction) -> Inst:
        """Return an instruction; a Problem has the columns of the operand."""
        if item.inst is not None:
            return item.inst
        values: list[int] = []
        for operand in item.row.operands:
            try:
                values.append(
                    operand_value(item.row, operand, item.texts[operand.name], self._resolve)
                )
            except SyntaxMistake as mistake:
                start, end = _columns(item, operand.name)
                help = f"the instruction is: {usage(item.row)}"
                raise Problem("E0703", str(mistake), start, end, help=help) from None
            except Problem as problem:
                raise problem.shifted(_columns(item, operand.name)[0]) from None
        return Inst(item.row, tuple(values))

    def _resolve(self, operand: Field, text: str) -> int | None:
        kind = operand.kind
        if isinstance(kind, EnumKind):
            if text not in kind.words:
                hint = suggestion(text, dict.fromkeys(kind.words))
                words = ", ".join(kind.words)
                raise OperandError(f"expected one of {words}, got '{text[:40]}'{hint}")
            return None
        if kind.name == MICROPROGRAM:
            return self._micro(text)
        if isinstance(kind, IndexedKind):
            return self._indexed(kind, text)
        if _PLAIN.fullmatch(text):
            return None
        return self.state.names.value(parse_expression(text), self.scope)

    def _micro(self, text: str) -> int | None:
        numbers = self.state.micro_numbers
        name = text.removeprefix("@")
        if text.startswith("@") and name in numbers:
            return numbers[name]
        if not text.startswith("@") or not name.isdecimal():
            hint = suggestion(f"@{name}", {f"@{known}": 0 for known in numbers})
            raise OperandError(f"there is no microprogram '{text[:40]}'{hint}")
        if len(name) < 9 and int(name) >= len(self.state.micro):
            raise OperandError(f"there are {len(self.state.micro)} microprograms, got {text}")
        return None

    def _indexed(self, kind: IndexedKind, text: str) -> int | None:
        alias = self.section.aliases.get(text) or self.state.aliases.get(text)
        if alias is not None:
            if alias[0] != kind.name:
                raise OperandError(f"expected a {kind.name}, but '{text}' names a {alias[0]}")
            return alias[1]
        found = self.state.names.table.get(text)
        if found is not None and found.kind == "sem" and kind.name == "semaphore":
            return self.state.names.value(parse_expression(text), self.scope)
        if is_resource(text):
            return None
        names = {**self.state.aliases, **self.section.aliases}
        close = suggestion(text, {n: 0 for n, a in names.items() if a[0] == kind.name})
        example = f"{kind.prefix}1"
        raise OperandError(f"expected a {kind.name} such as {example}, got '{text[:40]}'{close}")


def _columns(item: SourceInstruction, operand: str) -> tuple[int, int]:
    """Return the columns of an operand in its line."""
    text = item.line.text.rstrip()
    start = item.column + len(item.row.mnemonic)
    body = text[start:]
    if not item.texts[operand]:
        return -1, -1
    pattern = syntax_regex(item.row.text)
    found = re.fullmatch(rf"\s*{pattern}\s*", body.replace("{", ", 0"))
    if found is None:
        return -1, -1
    return start + found.start(operand), start + found.end(operand)
