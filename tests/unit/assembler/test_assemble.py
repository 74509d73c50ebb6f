"""The language, piece by piece; programs as a whole are in test_examples.py."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from snncc.assembler import assemble, state
from snncc.assembler import assemble as _function
from snncc.assembler.source import cut_comment, labels
from snncc.isa.diagnostics.diag import CompileError
from snncc.isa.instructions.text import show
from snncc.isa.machine.machine import load_machine
from snncc.isa.program.file import to_bytes
from snncc.isa.program.model import ObjectFile

SMALL = load_machine("small")


def asm(text: str) -> ObjectFile:
    return assemble(text, "dir/t.s", SMALL)


def code(text: str, core: int = 0) -> list[str]:
    """Return the canonical lines of a core's code."""
    programs = {c.core: c.code for c in asm(text).cores}
    return [show(inst) for inst in programs[core]]


def problems(text: str) -> list[str]:
    """Return codes and messages of what is wrong."""
    with pytest.raises(CompileError) as caught:
        asm(text)
    return [f"{d.code} {d.message}" for d in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("-7 / 2", -4),
        ("-7 % 3", 2),
        ("1 << 4 | 3 & 2 ^ 1", 19),
        ("~0", -1),
        ("- -5", 5),
        ("0x_ff + 0b11 + 0o7 + 1_000", 1265),
        ("(1 << 100) >> 98", 4),
        ("f16(1.5)", 0x3E00),
        ("f16(-inf)", 0xFC00),
        ("f32(0.1)", 0x3DCCCCCD),
        ("f32(nan)", 0x7FC00000),
        ("f16(-0)", 0x8000),
        ("late * 2", 42),
        ("sizeof(t) + t", 16 + 64),
        ("here", 1),
        ("core + 1", 1),
    ],
)
def test_expressions(expression: str, value: int) -> None:
    text = f".tensor t, f16, [8], addr=64\nnop\nhere: li r1, {expression}\n.equ late, 21\n"
    assert code(text)[1] == f"li r1, {value}"


def test_labels_belong_to_their_core() -> None:
    text = ".core 0\nloopi 2, end\nnop\nend: halt\n.core 1\nnop\nend:\nloopi 2, end\n"
    assert code(text, 0)[0] == "loopi 2, 2"
    assert code(text, 1)[1] == "loopi 2, 1"
    assert [(s.name, s.value, s.core) for s in asm(text).symbols] == [("end", 2, 0), ("end", 1, 1)]


def test_one_text_for_several_cores() -> None:
    text = ".core 0..1, 3\nli r1, core * 8\n.data sram, core * 4\n.i32 7 + core\n"
    assert [code(text, c) for c in (0, 1, 3)] == [["li r1, 0"], ["li r1, 8"], ["li r1, 24"]]
    data = [(i.core, i.address, struct.unpack("<i", i.data)[0]) for i in asm(text).initial]
    assert data == [(0, 0, 7), (1, 4, 8), (3, 12, 10)]


def test_blocks_and_macros() -> None:
    text = """
.macro twice op, count
  loopi \\count {
    \\op
    \\op r7, r8, (1)
  }
.done\\@:
.endm
.macro step
  addi r7, r7, 1
.endm
.macro addi2 a, b, c
  addi \\a, \\b, \\c
.endm
.rep 2, i
  li r\\i, \\i + 1
.endr
  loop r1 {
  step
  step
  }
"""
    assert code(text) == [
        "li r0, 1", "li r1, 2", "loop r1, 5", "addi r7, r7, 1", "addi r7, r7, 1",
    ]  # fmt: skip


def test_repeats_in_repeats_and_commas_in_arguments() -> None:
    text = """
.macro m a, b
  li r1, \\a
  li r2, \\b
.endm
.rep 2, i
.rep 2, j
  m (\\i), \\j
.endr
.endr
"""
    assert code(text)[4:] == ["li r1, 1", "li r2, 0", "li r1, 1", "li r2, 1"]


def test_data_values() -> None:
    text = """
.data dram, 0
  .bytes 1, -1, 255
  .i16 -2
  .i32 0x80000000
  .f16 0.1, -0, 65520
  .f32 1e-45, 3
  .bits "1000 0000 1"
  .fill 2, 9
  .hex 0a 0B
"""
    want = bytes([1, 255, 255]) + struct.pack("<hI", -2, 1 << 31)
    want += struct.pack("<3H", 0x2E66, 0x8000, 0x7C00) + struct.pack("<If", 1, 3.0)
    want += bytes([1, 1, 9, 9, 10, 11])
    assert asm(text).initial[0].data == want


def test_tensors_without_an_address_are_placed_behind_the_others() -> None:
    text = """
.tensor a, f16, [3]
.tensor b, f16, [2, 4], addr=100, row_stride=32
.data dram, 500
  .bytes 1
.data c
  .f16 1
.tensor c, f32, [2]
"""
    assert problems(text) == ["E0707 'c' is neither dram, sram nor a tensor defined above"]
    entries = {t.name: t for t in asm(text.replace(".data c\n  .f16 1\n", "")).tensors}
    assert {n: t.address for n, t in entries.items()} == {"a": 512, "b": 100, "c": 576}
    assert [d.stride for d in entries["b"].layout] == [32, 2]


def test_source_lines() -> None:
    text = """.layer fc
nop
nop
.macro m
nop
.endm
m
.loc "a.py", 5, at="x"
nop
nop
.loc auto
.layer
.phase bp
nop
"""
    lines = asm(text).cores[0].lines
    assert [(x.address, x.file, x.line, x.location, x.layer, x.phase) for x in lines] == [
        (0, "t.s", 2, "", "fc", ""),
        (1, "t.s", 3, "", "fc", ""),
        (2, "t.s", 5, "m, called in line 7", "fc", ""),
        (3, "a.py", 5, "x", "fc", ""),
        (5, "t.s", 14, "", "", "bp"),
    ]


def test_comments_and_strings() -> None:
    assert cut_comment('.loc "a;b#c" ; d "e') == '.loc "a;b#c" '
    assert cut_comment(r'.loc "a\";b" # c') == r'.loc "a\";b" '
    assert labels(" a: .b:c") == ([("a", 1, 2), (".b", 4, 6)], 7)
    assert code("a:b: nop ; c: nop\r\n # all comment\n") == ["nop"]


def test_the_machine() -> None:
    assert assemble(".machine multicore20, cores=4\nhalt").machine_name == "multicore20"
    assert assemble(".machine multicore20\nhalt", machine=SMALL).machine_name == "small"
    assert assemble("halt", default=SMALL).machine_name == "small"
    with pytest.raises(CompileError, match="E0711"):
        assemble("halt")


def test_errors_have_columns_and_come_in_order() -> None:
    with pytest.raises(CompileError) as caught:
        asm("  li r1, foo\nx: add r1, r2, 3\n.equ a, (zz)\n")
    text = str(caught.value)
    assert "dir/t.s:1:10: error[E0704]" in text
    assert "    1 |   li r1, foo\n      |          ^^^\n" in text
    assert text.index("t.s:1:") < text.index("t.s:2:16:") < text.index("t.s:3:10:")


def test_twenty_errors_are_enough() -> None:
    assert len(problems("foo\n" * 50 + "".join(f"bar{i}\n" for i in range(50)))) == 20


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (".rep 1 << 30\nnop\n.endr\n", "E0709"),
        (".rep 1 << 30\n.endr\n", "E0709"),
        (".macro m\nm\nm\n.endm\nm\n", "E0709"),
        (".macro m a\nm \\a\\a\n.endm\nm " + "x" * 1000 + "\n", "E0709"),
        pytest.param(
            ".rep 1000\n.rep 1000\n.rep 1000\nnop\n.endr\n.endr\n.endr\n", "E0709",
            marks=pytest.mark.slow,
        ),
        ("li r1, " + "(" * 100_000, "E0701"),
        (".equ a, " + "-" * 50_000 + "1", "E0706"),
        (".equ a, " + "1+" * 50_000 + "1", "E0706"),
        (".equ a, " + "9" * 100_000, "E0706"),
        ("\n".join(f".equ a{i}, a{i + 1} * 3" for i in range(5000)) + "\n.equ a5000, 1", "E0706"),
        (".data dram, 0\n.fill 1 << 40\n", "E0716"),
        (".data dram, 0\n" + ".fill 1 << 28\n" * 40, "E0716"),
        (".meta a = " + "[" * 100_000, "E0707"),
        (".tensor a, f16, [" + "1," * 1000 + "1]", "E0713"),
        ("a" * 1_000_000, "E0702"),
        ("\0", "E0702"),
        ("{", "E0708"),
        (':', "E0702"),
    ],
)  # fmt: skip
def test_hostile_text_fails_soon(text: str, problem: str) -> None:
    found = problems(text)
    assert any(line.startswith(problem) for line in found), found


def test_too_many_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    module = sys.modules["snncc.assembler.assemble"]
    monkeypatch.setattr(module, "MAX_INSTRUCTIONS", 5)
    monkeypatch.setattr(module, "MAX_TEXT", 100)
    assert problems("nop\n" * 6) == ["E0716 more than 5 instructions"]
    assert problems("nop\n" * 60)[0].startswith("E0716")
    assert state.MAX_DATA >= 1 << 20
    assert _function is assemble


WORDS = st.sampled_from(
    [
        ".core", ".data", "dram", "sram", ".f16", ".rep", ".endr", ".macro", ".endm", ".micro",
        ".end", "{", "}", "[", "]", "(", ")", ",", ":", "=", "..", "0", "1", "7", "r1", "sem0",
        "x", "y", "li", "loopi", "add", "\n", "\n", "\n", ".equ", ".tensor", "f16", '"', "\\x",
        ".machine", "text", "|", ".symbol", ".loc", ".line", ".fill", ".hex", "ff", "@x", "-", "~",
    ]
)  # fmt: skip


@given(st.lists(WORDS, max_size=40).map(" ".join) | st.text(max_size=80))
@settings(max_examples=examples(300), deadline=None)
def test_any_text_is_a_program_or_a_list_of_problems(text: str) -> None:
    try:
        program = asm(text)
    except CompileError:
        return
    to_bytes(program)


@pytest.mark.parametrize(
    "line",
    [".data dram, [-64]", "  .data   dram,   [0 - 7*9] ; far"],
)
def test_an_address_that_no_memory_has_is_underlined(line: str) -> None:
    first, last = line.index("["), line.index("]")
    text = line.replace("[", " ").replace("]", " ")
    with pytest.raises(CompileError) as caught:
        assemble(f".machine small\n{text}\n  .bytes 1\n", "t.s")
    (found,) = caught.value.diagnostics
    assert found.code == "E0712"
    shown = str(found).splitlines()
    carets = next(row for row in shown if "^" in row)
    source = next(row for row in shown if ".data" in row and "|" in row)
    at = source.index(".data") - text.index(".data")
    assert text[carets.index("^") - at : carets.rindex("^") + 1 - at] == text[first:last].strip()
