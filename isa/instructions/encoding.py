"""Instruction words to and from bytes, checks of the table, and the hash that names the ISA.

Layout of a word: 128 bits, stored as 16 little-endian bytes.  Bits 0..7 are the opcode, the other
bits belong to the fields that the instruction's row declares; bits of no field are reserved and 0.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from snncc.isa.instructions.complete import problems
from snncc.isa.instructions.table import RETIRED, TABLE
from snncc.isa.microprograms.code import is_state, is_store
from snncc.isa.microprograms.table import MICRO_OPS, MicroOp
from snncc.isa.numbers.tables import UNARY_NAMES
from snncc.isa.spec import (
    OPCODE_BITS,
    WORD_BITS,
    WORD_BYTES,
    Insn,
    Inst,
    Kind,
    OperandError,
)

_OPCODE_MASK: Final = (1 << OPCODE_BITS) - 1
_MICRO_ARG_KINDS: Final = "hfminsx"
_MICRO_IMMEDIATES: Final = ("", "stream", "f16", "f32", "table")


class IllegalInstruction(ValueError):
    """A word is no instruction: unknown opcode, a reserved bit set, or a field without meaning."""


class TableMistake(AssertionError):
    """The instruction table contradicts itself; raised when this module is imported."""


def syntax_operands(text: str) -> list[str]:
    """Return the operand names of an assembly syntax in the order in which they are written."""
    return re.findall(r"<(\w+)>", text)


def check_table(table: Sequence[Insn], retired: frozenset[int] = frozenset()) -> None:
    """Raise :class:`TableMistake` unless every row is sound by itself and beside the others."""
    mnemonics: set[str] = set()
    opcodes: dict[int, str] = {}
    for row in table:
        name = row.mnemonic
        if not re.fullmatch(r"[a-z][a-z0-9.]*", name):
            raise TableMistake(f"'{name}' is no mnemonic")
        if name in mnemonics:
            raise TableMistake(f"{name}: there are two rows of this name")
        mnemonics.add(name)
        if not 0 < row.opcode <= _OPCODE_MASK:
            raise TableMistake(f"{name}: opcode {row.opcode:#x} is outside 0x01..0xff")
        if row.opcode in opcodes:
            raise TableMistake(f"{name}: opcode {row.opcode:#x} is that of {opcodes[row.opcode]}")
        if row.opcode in retired:
            raise TableMistake(f"{name}: opcode {row.opcode:#x} is retired")
        opcodes[row.opcode] = name
        _check_fields(row)


def _check_fields(row: Insn) -> None:
    used = _OPCODE_MASK
    names = [f.name for f in row.operands]
    for operand in row.operands:
        if operand.kind.width < 1 or operand.low + operand.kind.width > WORD_BITS:
            raise TableMistake(f"{row.mnemonic}: operand {operand.name} is outside the word")
        if operand.mask & used:
            raise TableMistake(f"{row.mnemonic}: operand {operand.name} overlaps another field")
        used |= operand.mask
    if len(set(names)) != len(names):
        raise TableMistake(f"{row.mnemonic}: an operand is declared twice")
    if sorted(syntax_operands(row.text)) != sorted(names):
        raise TableMistake(f"{row.mnemonic}: the syntax '{row.text}' does not show {names} once")
    for sentence in problems(row):
        raise TableMistake(f"{row.mnemonic}: {sentence}")


def check_micro_table(table: Sequence[MicroOp]) -> None:
    """Raise :class:`TableMistake` unless the micro-operation table is sound."""
    names: set[str] = set()
    opcodes: set[int] = set()
    for op in table:
        if op.name in names or op.opcode in opcodes:
            raise TableMistake(f"micro-operation {op.name} {op.opcode:#x}: not unique")
        names.add(op.name)
        opcodes.add(op.opcode)
        sound = (
            0 < op.opcode < 256
            and len(op.args) <= 3
            and set(op.args) <= set(_MICRO_ARG_KINDS)
            and op.result in ("h", "f", "m", "i", "-")
            and op.imm in _MICRO_IMMEDIATES
            and not (len(op.args) == 3 and op.imm)
        )
        if not sound:
            raise TableMistake(f"micro-operation {op.name}: bad row")
        moves = op.name == "next" or is_store(op) or is_state(op)
        if op.meaning is None and not moves:
            raise TableMistake(f"micro-operation {op.name}: no function says what it computes")
        if op.source not in ("", "immediate", "counter", "h", "f", "m"):
            raise TableMistake(f"micro-operation {op.name}: there is no source '{op.source}'")


check_table(TABLE, RETIRED)
check_micro_table(MICRO_OPS)

BY_MNEMONIC: Final[Mapping[str, Insn]] = MappingProxyType({i.mnemonic: i for i in TABLE})
"""Rows of the table by mnemonic."""

BY_OPCODE: Final[Mapping[int, Insn]] = MappingProxyType({i.opcode: i for i in TABLE})
"""Rows of the table by opcode."""


def _reserved(row: Insn) -> int:
    used = _OPCODE_MASK
    for operand in row.operands:
        used |= operand.mask
    return ~used & ((1 << WORD_BITS) - 1)


_RESERVED: Final[Mapping[int, int]] = MappingProxyType({i.opcode: _reserved(i) for i in TABLE})


def make(mnemonic: str, /, **operands: int) -> Inst:
    """Return the instruction ``mnemonic`` with its operands given by name, checked."""
    row = BY_MNEMONIC.get(mnemonic)
    if row is None:
        raise OperandError(f"there is no instruction '{mnemonic}'")
    names = [f.name for f in row.operands]
    if set(names) != set(operands):
        raise OperandError(f"{mnemonic} takes {', '.join(names)}; got {', '.join(operands)}")
    for operand in row.operands:
        _check_value(row, operand.name, operand.kind, operands[operand.name])
    return Inst(row, tuple(operands[name] for name in names))


def _check_value(row: Insn, name: str, kind: Kind, value: int) -> int:
    try:
        return kind.to_bits(value)
    except OperandError as error:
        raise OperandError(f"{row.mnemonic}: operand {name}: {error}") from None


def encode_int(inst: Inst) -> int:
    """Return the 128-bit word of an instruction; OperandError when a value does not fit."""
    row = inst.insn
    if len(inst.values) != len(row.operands):
        raise OperandError(
            f"{row.mnemonic} takes {len(row.operands)} operands, got {len(inst.values)}"
        )
    word = row.opcode
    for operand, value in zip(row.operands, inst.values, strict=True):
        word |= _check_value(row, operand.name, operand.kind, value) << operand.low
    return word


def encode(inst: Inst) -> bytes:
    """Return the 16 bytes of an instruction; OperandError when a value does not fit its field."""
    return encode_int(inst).to_bytes(WORD_BYTES, "little")


def decode(word: bytes | int) -> Inst:
    """Return the instruction that a word stands for; IllegalInstruction when it stands for none."""
    if not isinstance(word, int):
        if len(word) != WORD_BYTES:
            raise IllegalInstruction(f"an instruction has {WORD_BYTES} bytes, got {len(word)}")
        word = int.from_bytes(word, "little")
    if not 0 <= word < 1 << WORD_BITS:
        raise IllegalInstruction(f"{word:#x} is no {WORD_BITS}-bit word")
    opcode = word & _OPCODE_MASK
    row = BY_OPCODE.get(opcode)
    if row is None:
        kind = "retired" if opcode in RETIRED else "unknown"
        raise IllegalInstruction(f"word {word:#034x}: {kind} opcode {opcode:#04x}")
    stray = word & _RESERVED[opcode]
    if stray:
        bit = (stray & -stray).bit_length() - 1
        raise IllegalInstruction(f"word {word:#034x}: reserved bit {bit} of {row.mnemonic} is set")
    values: list[int] = []
    for operand in row.operands:
        bits = (word >> operand.low) & ((1 << operand.kind.width) - 1)
        try:
            values.append(operand.kind.from_bits(bits))
        except OperandError as error:
            raise IllegalInstruction(
                f"word {word:#034x}: {row.mnemonic} operand {operand.name}: {error}"
            ) from None
    return Inst(row, tuple(values))


def encode_program(code: Iterable[Inst]) -> bytes:
    """Return the words of a program one after the other."""
    return b"".join(encode(inst) for inst in code)


def decode_program(code: bytes) -> tuple[Inst, ...]:
    """Return the instructions of a program; the error names the address of the bad word.

    Addresses of instructions count words: instruction ``i`` lies at byte ``16 * i``.
    """
    if len(code) % WORD_BYTES:
        raise IllegalInstruction(f"code of {len(code)} bytes is no whole number of instructions")
    memo: dict[bytes, Inst] = {}
    out: list[Inst] = []
    for at in range(0, len(code), WORD_BYTES):
        word = code[at : at + WORD_BYTES]
        inst = memo.get(word)
        if inst is None:
            try:
                inst = memo[word] = decode(word)
            except IllegalInstruction as error:
                raise IllegalInstruction(f"address {at // WORD_BYTES}: {error}") from None
        out.append(inst)
    return tuple(out)


def kind_facts(kind: Kind) -> dict[str, object]:
    """Return what identifies a kind, as plain data."""
    return {"class": type(kind).__name__, **dataclasses.asdict(kind)}


def canonical_dump() -> str:
    """Return both tables as canonical JSON: all that a program's meaning rests on, no prose."""
    instructions = [
        {
            "mnemonic": row.mnemonic,
            "opcode": row.opcode,
            "unit": row.unit.value,
            "group": row.group,
            "syntax": row.text,
            "action": row.action,
            "operands": [[f.name, f.low, kind_facts(f.kind)] for f in row.operands],
        }
        for row in sorted(TABLE, key=lambda r: r.opcode)
    ]
    micro = [
        [op.name, op.opcode, op.args, op.result, op.imm]
        for op in sorted(MICRO_OPS, key=lambda o: o.opcode)
    ]
    facts = {"instructions": instructions, "micro": micro, "tables": list(UNARY_NAMES)}
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


@functools.cache
def isa_hash() -> str:
    """Return the SHA-256 (hex) of :func:`canonical_dump`; object files carry it."""
    return hashlib.sha256(canonical_dump().encode()).hexdigest()
