"""Instruction words: round trips, refused words, the hand-checked encodings, the table's checks."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa_strategies import insts, rows
from snncc.isa.instructions.encoding import (
    BY_MNEMONIC,
    BY_OPCODE,
    IllegalInstruction,
    TableMistake,
    canonical_dump,
    check_micro_table,
    check_table,
    decode,
    decode_program,
    encode,
    encode_program,
    isa_hash,
    make,
)
from snncc.isa.instructions.table import TABLE
from snncc.isa.instructions.text import parse, show
from snncc.isa.microprograms.table import MICRO_OPS
from snncc.isa.random_programs.instructions import bounds, random_inst
from snncc.isa.spec import REG, Field, Insn, Inst, OperandError, Unit, pack

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "asm" / "encodings.txt"
MNEMONICS = [row.mnemonic for row in TABLE]


@given(insts())
def test_decode_undoes_encode(inst: Inst) -> None:
    word = encode(inst)
    assert len(word) == 16
    assert decode(word) == inst
    assert decode(int.from_bytes(word, "little")) == inst


@given(st.one_of(st.binary(min_size=16, max_size=16), st.builds(bytes, st.just(16))))
def test_any_word_decodes_exactly_or_is_illegal(word: bytes) -> None:
    try:
        inst = decode(word)
    except IllegalInstruction:
        return
    assert encode(inst) == word


@given(rows, st.integers(0, 2**128 - 1), st.integers(0, 127))
def test_words_with_a_known_opcode_decode_exactly_or_are_illegal(
    row: Insn, noise: int, bits: int
) -> None:
    word = (noise >> bits) & ~0xFF | row.opcode  # the shift makes reserved zeros likely
    try:
        inst = decode(word)
    except IllegalInstruction:
        return
    assert int.from_bytes(encode(inst), "little") == word


@pytest.mark.parametrize("name", MNEMONICS)
def test_every_operand_at_its_corners(name: str) -> None:
    row = BY_MNEMONIC[name]
    low = [bounds(f.kind)[0] for f in row.operands]
    high = [bounds(f.kind)[1] for f in row.operands]
    for index in range(len(low)):
        for value in (low[index], high[index]):
            for others in (low, high):
                values = [*others]
                values[index] = value
                inst = Inst(row, tuple(values))
                assert decode(encode(inst)) == inst
                assert parse(show(inst)) == inst


@pytest.mark.parametrize("name", MNEMONICS)
def test_values_beyond_the_corners_are_refused(name: str) -> None:
    row = BY_MNEMONIC[name]
    good = random_inst(random.Random(1), name)
    for index, operand in enumerate(row.operands):
        low, high = bounds(operand.kind)
        for value in (low - 1, high + 1):
            values = [*good.values]
            values[index] = value
            with pytest.raises(OperandError, match=f"{name}: operand {operand.name}"):
                encode(Inst(row, tuple(values)))


def test_every_reserved_bit_is_checked() -> None:
    for row in TABLE:
        word = int.from_bytes(encode(random_inst(random.Random(2), row.mnemonic)), "little")
        used = 0xFF
        for operand in row.operands:
            used |= operand.mask
        for bit in range(128):
            if not used >> bit & 1:
                with pytest.raises(IllegalInstruction, match=f"reserved bit {bit} of"):
                    decode(word | 1 << bit)


def test_unknown_opcodes_are_illegal() -> None:
    for opcode in set(range(256)) - set(BY_OPCODE):
        with pytest.raises(IllegalInstruction, match="unknown opcode"):
            decode(opcode)


def test_words_of_the_wrong_size() -> None:
    with pytest.raises(IllegalInstruction, match="16 bytes, got 15"):
        decode(bytes(15))
    with pytest.raises(IllegalInstruction, match="128-bit"):
        decode(1 << 128)
    with pytest.raises(IllegalInstruction, match="no whole number"):
        decode_program(bytes(17))


@given(st.lists(insts(), max_size=6))
def test_programs_round_trip(code: list[Inst]) -> None:
    assert decode_program(encode_program(code)) == tuple(code)


def test_a_bad_word_of_a_program_is_named_by_its_address() -> None:
    code = encode_program([make("nop")] * 3) + bytes(16)
    with pytest.raises(IllegalInstruction, match="address 3: word"):
        decode_program(code)


def golden_cases() -> list[tuple[str, str]]:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    cases = [line.split(" ", 1) for line in lines if not line.startswith("#")]
    return [(case[0], case[1]) for case in cases]


@pytest.mark.parametrize(("word", "text"), golden_cases())
def test_hand_checked_encodings(word: str, text: str) -> None:
    inst = parse(text)
    assert f"{int.from_bytes(encode(inst), 'little'):032x}" == word
    assert show(decode(int(word, 16))) == text


def test_every_instruction_has_a_hand_checked_encoding() -> None:
    assert {text.split()[0] for _, text in golden_cases()} == set(MNEMONICS)


def test_make_checks_names_and_values() -> None:
    assert make("add", rd=1, ra=2, rb=3) == parse("add r1, r2, r3")
    with pytest.raises(OperandError, match="no instruction 'ad'"):
        make("ad", rd=1)
    with pytest.raises(OperandError, match="add takes rd, ra, rb; got rd"):
        make("add", rd=1)
    with pytest.raises(OperandError, match="operand rd: register r64 does not exist"):
        make("add", rd=64, ra=0, rb=0)


ROW = Insn("x", 0x01, Unit.SEQ, pack(("a", REG), ("b", REG)), "doc", "action")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"opcode": 0}, "outside 0x01..0xff"),
        ({"opcode": 256}, "outside 0x01..0xff"),
        ({"opcode": 0x02}, "is that of nop2"),
        ({"opcode": 0x77}, "retired"),
        ({"mnemonic": "nop2"}, "two rows of this name"),
        ({"mnemonic": "X"}, "no mnemonic"),
        ({"operands": (Field("a", REG, 8), Field("b", REG, 13))}, "b overlaps"),
        ({"operands": (Field("a", REG, 2), Field("b", REG, 14))}, "a overlaps"),
        ({"operands": (Field("a", REG, 8), Field("b", REG, 123))}, "outside the word"),
        ({"operands": (Field("a", REG, 8), Field("a", REG, 14))}, "declared twice"),
        ({"syntax": "<a>"}, "does not show"),
        ({"syntax": "<a>, <a>, <b>"}, "does not show"),
    ],
)
def test_mistakes_in_the_table_are_found(changed: dict[str, Any], message: str) -> None:
    other = Insn("nop2", 0x02, Unit.SEQ, (), "doc", "action")
    check_table([other, ROW])
    arguments: dict[str, Any] = {
        f.name: getattr(ROW, f.name) for f in dataclasses.fields(ROW) if f.init
    }
    arguments["syntax"] = ""
    bad = Insn(**{**arguments, **changed})
    with pytest.raises(TableMistake, match=message):
        check_table([other, bad], frozenset({0x77}))


def test_mistakes_in_the_micro_table_are_found() -> None:
    check_micro_table(MICRO_OPS)
    with pytest.raises(TableMistake, match="not unique"):
        check_micro_table([*MICRO_OPS, MICRO_OPS[0]])
    with pytest.raises(TableMistake, match="bad row"):
        check_micro_table([dataclasses.replace(MICRO_OPS[0], args="hhh")])


def test_the_hash_ignores_prose_and_nothing_else() -> None:
    assert len(isa_hash()) == 64
    assert TABLE[2].doc not in canonical_dump()
    assert TABLE[2].action in canonical_dump()
