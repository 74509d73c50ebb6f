"""Assembly lines of single instructions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa_strategies import insts
from snncc.isa.instructions.encoding import make
from snncc.isa.instructions.text import SyntaxMistake, match, parse, show, usage
from snncc.isa.spec import Field, Inst


@given(insts())
def test_parse_undoes_show(inst: Inst) -> None:
    assert parse(show(inst)) == inst


@given(insts(), st.sampled_from(["  ", "\t"]))
def test_blanks_and_comments_do_not_matter(inst: Inst, blank: str) -> None:
    line = show(inst)
    for mark in ",:=[]":
        line = line.replace(mark, f"{blank}{mark}{blank}")
    assert parse(f"{blank}{line}{blank}; a comment, with [marks] = 1") == inst


@given(st.text(max_size=60))
def test_any_text_is_an_instruction_or_a_syntax_mistake(text: str) -> None:
    for line in (text, f"ld {text}", f"add r1, {text}"):
        try:
            inst = parse(line)
        except SyntaxMistake:
            continue
        assert parse(show(inst)) == inst


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected an instruction, got an empty line"),
        ("; nothing", "expected an instruction, got an empty line"),
        ("gac r1", "unknown instruction 'gac'; did you mean 'gacc'?"),
        ("add r1, r2", "add: expected '<rd>, <ra>, <rb>', got 'r1, r2'"),
        ("add r1, r2, r3, r4", "add: expected '<rd>, <ra>, <rb>', got 'r1, r2, r3, r4'"),
        ("add", "add: expected '<rd>, <ra>, <rb>', got no operands"),
        ("halt now", "halt: expected no operands, got 'now'"),
        ("add r1, r2, r64", "operand <rb>: register r64 does not exist: there are r0..r63"),
        ("add r1, r2, 3", "add: operand <rb>: expected a register such as r1, got '3'"),
        ("wait cpu, sem1, 1", "expected one of seq, dma, noc, fp, bp, wg, vpu, got 'cpu'"),
        ("wait fp, sem256, 1", "semaphore sem256 does not exist"),
        ("li r1, one", "operand <imm>: expected an immediate, got 'one'"),
        ("li r1, 9223372036854775808", "is outside -9223372036854775808..9223372036854775807"),
        ("li r1, " + "9" * 5000, "expected an immediate"),
        ("add r1, r2, r" + "9" * 5000, "expected a register"),
    ],
)
def test_errors_say_what_was_expected_and_what_was_got(line: str, message: str) -> None:
    with pytest.raises(SyntaxMistake) as caught:
        parse(line)
    assert message in str(caught.value)


def test_match_leaves_operands_to_the_assembler() -> None:
    row, texts = match("loop r1, after_loop + 1   ; a label")
    assert row.mnemonic == "loop"
    assert texts == {"count": "r1", "end": "after_loop + 1"}


def test_symbols_are_resolved_and_shown() -> None:
    def resolve(operand: Field, text: str) -> int | None:
        return {"done": 7, "@lif": 2}.get(text)

    def name(operand: Field, value: int) -> str | None:
        return "done" if operand.name == "end" else None

    loop = parse("loop r1, done", resolve)
    assert loop == make("loop", count=1, end=7)
    assert show(loop, name) == "loop r1, done"
    assert show(loop) == "loop r1, 7"
    assert parse("ew @lif, steps=r1, rows=r2, cols=r3, seed=r4", resolve)["prog"] == 2
    with pytest.raises(SyntaxMistake, match="operand <end>: instruction address -1 is outside"):
        parse("loop r1, before", lambda operand, text: -1 if text == "before" else None)


def test_usage_is_the_whole_line() -> None:
    assert usage(make("nop").insn) == "nop"
    assert usage(make("add", rd=0, ra=0, rb=0).insn) == "add <rd>, <ra>, <rb>"
