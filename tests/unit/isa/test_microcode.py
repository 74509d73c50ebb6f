"""Microprograms: text, binary form, validation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa_strategies import microprograms
from snncc.isa.microprograms.code import (
    MICRO_BY_NAME,
    MicroBuilder,
    MicroError,
    canonical,
    decode_micro,
    encode_micro,
    validate,
)
from snncc.isa.microprograms.table import MICRO_OPS, MicroInst, MicroOp, MicroProgram
from snncc.isa.microprograms.text import MicroSyntaxError, micro_usage, parse_micro, show_micro

LIF = """
.micro lif            ; a block
  v  = state.h s1
  x  = ld.h s0
  b  = const.h 0x3b33
  t  = mul.h b, v
  h  = add.h t, x
  m  = gt h, b        # spike
  next v, h
  st.m s2, m
.end
"""


def inst(name: str, dst: int, *args: int, imm: int = 0) -> MicroInst:
    return MicroInst(MICRO_BY_NAME[name], dst, args, imm)


@given(microprograms())
def test_text_and_binary_round_trip(program: MicroProgram) -> None:
    validate(program)
    assert parse_micro(show_micro(program).splitlines()) == program
    code = encode_micro(program)
    assert len(code) == 8 * len(program.code)
    assert decode_micro("p", code) == program
    assert canonical(program) == program


def test_the_example_of_the_documentation() -> None:
    program = parse_micro(LIF.splitlines())
    assert program.name == "lif"
    assert program.code[0] == inst("state.h", 0, imm=1)
    assert program.code[5] == inst("gt", 5, 4, 2)
    assert program.code[6] == inst("next", -1, 0, 4)
    assert program.code[7] == inst("st.m", -1, 5, imm=2)
    assert encode_micro(program)[:16].hex() == "0b00000001000000" + "0101000000000000"


def test_binary_form_by_hand() -> None:
    program = parse_micro(
        """.micro x
        a = ld.m s3
        b = ld.h s31
        c = const.h 1.0
        d = sel.h a, b, c
        e = tab.h sigmoid, d
        f = const.f 1.0
        st.h s0, e
        .end""".splitlines()
    )
    assert encode_micro(program).hex(" ", 8).split() == [
        "0400000003000000",  # ld.m dst 0, stream 3
        "010100001f000000",  # ld.h dst 1, stream 31
        "10020000003c0000",  # const.h dst 2, 0x3c00
        "4803000102000000",  # sel.h dst 3, registers 0, 1 and (in the immediate) 2
        "2b04030005000000",  # tab.h dst 4, register 3, table 5
        "110500000000803f",  # const.f dst 5, 0x3f800000
        "0800040000000000",  # st.h register 4, stream 0
    ]


@given(st.binary(max_size=64))
def test_any_bytes_decode_exactly_or_are_refused(code: bytes) -> None:
    try:
        program = decode_micro("p", code)
    except MicroError:
        return
    assert encode_micro(program) == code


@given(st.lists(st.tuples(st.sampled_from(MICRO_OPS), st.binary(min_size=4, max_size=4))))
def test_any_microcode_decodes_exactly_or_is_refused(parts: list[tuple[MicroOp, bytes]]) -> None:
    small = [bytes([op.opcode, *(x & 3 for x in rest), 0, 0, 0]) for op, rest in parts]
    try:
        program = decode_micro("p", b"".join(small))
    except MicroError:
        return
    assert encode_micro(program) == b"".join(small)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([inst("ld.h", 0, imm=32)], "stream s32 does not exist"),
        ([inst("ld.h", 256, imm=0)], "register 256 is outside 0..255"),
        ([inst("ld.h", 0), inst("ld.h", 0)], "register 0 is assigned twice"),
        ([inst("neg.h", 0, 0)], "register 0 is not defined before its use"),
        ([inst("ld.f", 0), inst("neg.h", 1, 0)], "expected a binary16 (h), got register 0"),
        ([inst("ld.m", 0), inst("gt", 1, 0, 0)], "expected a number (h or f)"),
        ([inst("ld.h", 0), inst("next", -1, 0, 0)], "register 0 is no state"),
        ([inst("state.h", 0)], "state register 0 has no next"),
        ([inst("state.h", 0), *[inst("next", -1, 0, 0)] * 2], "already has a next value"),
        (
            [inst("state.h", 0), inst("ld.f", 1, imm=1), inst("next", -1, 0, 1)],
            "expected a binary16",
        ),
        ([inst("ld.h", 0), *[inst("st.h", -1, 0, imm=1)] * 2], "s1 is already written by st.h"),
        ([inst("const.h", 0, imm=0x10000)], "no 16-bit pattern"),
        ([inst("ld.h", 0), inst("tab.h", 1, 0, imm=99)], "table 99 does not exist"),
        ([inst("ld.h", 0), inst("neg.h", 1, 0, imm=1)], "takes no immediate"),
        ([inst("ld.h", 0), inst("st.h", 1, 0)], "has no result, but destination 1"),
        ([inst("ld.h", 0, 1)], "takes 0 arguments, got 1"),
    ],
)
def test_unsound_programs_are_refused(code: list[MicroInst], message: str) -> None:
    with pytest.raises(MicroError) as caught:
        validate(MicroProgram("bad", tuple(code)))
    assert message in str(caught.value)


def test_a_binary32_state_takes_a_binary16_value() -> None:
    builder = MicroBuilder("p")
    state = builder.emit("state.f", imm=0)
    half = builder.emit("ld.h", imm=1)
    builder.emit("next", (state, half))
    assert len(builder.build().code) == 3


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        (
            "v = ld.h s0\nw = muls.h v, v",
            3,
            "unknown micro-operation 'muls.h'; did you mean 'mul.h'?",
        ),
        ("v = ld.h 0", 2, "ld.h: expected a stream such as s0, got '0'"),
        ("v = ld.h s32", 2, "ld.h: stream s32 does not exist: there are s0..s31"),
        ("v = add.h s0", 2, "expected 'r = add.h a, b', got 'v = add.h s0'"),
        ("ld.h s0", 2, "expected 'r = ld.h s0', got 'ld.h s0'"),
        ("\n\nv = ld.h s0\nw = neg.h x", 5, "neg.h: 'x' is not defined before"),
        ("v = ld.h s0\nv = ld.h s0", 3, "'v' is assigned twice"),
        ("s1 = ld.h s0", 2, "'s1' cannot name a register"),
        ("v = ld.h s0\nw = tab.h sine, v", 3, "tab.h: expected one of exp, exp2"),
        ("v = const.h 1", 2, "const.h: expected a bit pattern such as 0x3c00 or a number"),
        ("v = const.h 0x12345", 2, "const.h: 0x12345 is no 16-bit pattern"),
        ("v = ld.m s0\nst.h s1, v", 3, "st.h: expected a binary16 (h), got 'v', a mask (m)"),
        ("v = state.h s0", 3, "state 'v' has no next"),
    ],
)
def test_errors_name_the_line(body: str, line: int, message: str) -> None:
    with pytest.raises(MicroSyntaxError) as caught:
        parse_micro(f".micro p\n{body}\n.end".splitlines())
    assert caught.value.line == line
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected '.micro NAME', got the end of the text"),
        ("v = ld.h s0", "line 1: expected '.micro NAME', got 'v = ld.h s0'"),
        (".micro p\nv = ld.h s0", "line 2: expected '.end' of .micro p"),
        (".micro p\n.end\nx", "line 3: expected nothing after '.end', got 'x'"),
    ],
)
def test_blocks_begin_and_end(text: str, message: str) -> None:
    with pytest.raises(MicroSyntaxError) as caught:
        parse_micro(text.splitlines())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("number", "half", "single"),
    [
        ("1.0", 0x3C00, 0x3F800000),
        ("-0.0", 0x8000, 0x80000000),
        ("0.9", 0x3B33, 0x3F666666),
        ("1e99", 0x7C00, 0x7F800000),
        ("-inf", 0xFC00, 0xFF800000),
        ("nan", 0x7E00, 0x7FC00000),
        ("0x1", 1, 1),
    ],
)
def test_constants_as_numbers(number: str, half: int, single: int) -> None:
    text = f".micro p\na = const.h {number}\nb = const.f {number}\n.end"
    assert [i.imm for i in parse_micro(text.splitlines()).code] == [half, single]


@given(st.text(alphabet="abs01 .=,;#\nhfmix-", max_size=80))
def test_any_text_is_a_program_or_a_syntax_error(text: str) -> None:
    for whole in (text, f".micro p\n{text}\n.end"):
        try:
            program = parse_micro(whole.splitlines())
        except MicroSyntaxError:
            continue
        assert parse_micro(show_micro(program).splitlines()) == program


def test_usage_shows_every_form() -> None:
    assert micro_usage(MICRO_BY_NAME["sel.h"]) == "r = sel.h a, b, c"
    assert micro_usage(MICRO_BY_NAME["st.m"]) == "st.m s0, a"
    assert micro_usage(MICRO_BY_NAME["next"]) == "next a, b"
