"""Text from object files assembles to the same bytes."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from isa_strategies import insts, microprograms
from snncc.assembler import assemble, disassemble
from snncc.assembler.disassemble import SideFile
from snncc.isa.instructions.encoding import make
from snncc.isa.machine.machine import load_machine
from snncc.isa.microprograms.code import MicroBuilder, decode_micro
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.program.file import from_bytes, to_bytes
from snncc.isa.program.layout import LayoutDim, TensorEntry
from snncc.isa.program.model import (
    CoreProgram,
    FileRef,
    InitialData,
    ObjectFile,
    SourceLine,
    Symbol,
)
from snncc.isa.random_programs.programs import random_program
from snncc.isa.spec import Inst

SMALL = load_machine("small")
HALT = make("halt")


def program(**parts: object) -> ObjectFile:
    """Return a small program with some parts replaced."""
    base = ObjectFile(SMALL.name, SMALL.hash, SMALL.to_toml(), (CoreProgram(0, (HALT,)),))
    return dataclasses.replace(base, **parts)  # type: ignore[arg-type]


def check(given_program: ObjectFile) -> str:
    """Check that the bytes survive; return the text."""
    text = disassemble(given_program)
    data = to_bytes(given_program)
    assert to_bytes(assemble(text, "x.s")) == data
    assert to_bytes(assemble(disassemble(from_bytes(data)), "y.s")) == data
    return text


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=examples(25), deadline=None)
def test_random_programs(seed: int, windows: bool) -> None:
    check(random_program(seed, SMALL, windows=windows, steps=6))


def _sound(inst: Inst) -> bool:
    return all(f.kind.name != "microprogram" for f in inst.insn.operands)


@given(st.lists(insts().filter(_sound), max_size=30))
@settings(deadline=None)
def test_any_instructions(code: list[Inst]) -> None:
    check(program(cores=(CoreProgram(1, tuple(code)), CoreProgram(3, ()))))


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=12))
@settings(deadline=None)
def test_loops_of_any_shape(ends: list[tuple[int, bool]]) -> None:
    code = tuple(make("loopi", count=i, end=end) for i, (end, _) in enumerate(ends))
    names = tuple(Symbol(f"e{i}", "label", e, 0) for i, (e, named) in enumerate(ends) if named)
    check(program(cores=(CoreProgram(0, code),), symbols=names))


@given(st.lists(microprograms(), max_size=4))
@settings(deadline=None)
def test_microprograms(programs: list[MicroProgram]) -> None:
    check(program(micro=tuple(programs)))


names = st.one_of(
    st.sampled_from(["a", "b", "core", "r5", "nan", ".x", "add", "x.y", "", "a b", '"', "é", "\n"]),
    st.text(st.characters(codec="utf-8"), max_size=6),
)


@given(
    st.lists(
        st.builds(
            Symbol,
            names,
            st.sampled_from(["label", "sram", "dram", "sem", "const"]),
            st.one_of(st.integers(-3, 3), st.integers(-(1 << 62), 1 << 62)),
            st.integers(-1, 2),
            st.sampled_from([0, 64]),
            st.sampled_from([0, 3]),
            st.sampled_from([-1, 9]),
            names,
        ),
        max_size=8,
    ),
    st.lists(names, unique=True, max_size=4),
)
@settings(deadline=None)
def test_symbols_and_names_of_tensors(symbols: list[Symbol], tensors: list[str]) -> None:
    entries = tuple(TensorEntry(n, "other", "f16", (2,), 64 * i) for i, n in enumerate(tensors))
    cores = tuple(CoreProgram(i, (HALT, HALT)) for i in range(2))
    check(program(symbols=tuple(symbols), tensors=entries, cores=cores))


lines = st.builds(
    SourceLine,
    st.just(0),
    st.sampled_from(["", "a.s", "dir/b c.s"]),
    st.integers(0, 3),
    st.sampled_from(["", "net.onnx:/fc/MatMul", 'a"b;c#d']),
    st.sampled_from(["", "fc1", "fc 1"]),
    st.sampled_from(["", "fp", "bp"]),
)


@given(st.lists(st.tuples(st.integers(1, 3), lines), max_size=8))
@settings(deadline=None)
def test_source_lines(entries: list[tuple[int, SourceLine]]) -> None:
    table: list[SourceLine] = []
    address = -1
    for step, entry in entries:
        address += step
        table.append(dataclasses.replace(entry, address=address))
    code = (make("nop"),) * (address + 2)
    check(program(cores=(CoreProgram(0, code, tuple(table)), CoreProgram(1, code, tuple(table)))))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(names, json_values, max_size=4))
@settings(deadline=None)
def test_metadata(metadata: dict[str, object]) -> None:
    check(program(metadata=metadata))


def _data() -> list[InitialData]:
    noise = random.Random(1).randbytes(200)
    ref = FileRef("w b.bin", 3, 64, "ab" * 32)
    return [
        InitialData(0),
        InitialData(64, noise, row_bytes=50, row_stride=64),
        InitialData(512, bytes(4096) + noise + b"\1" * 64 + b"\2" * 33 + b"\3" * 31),
        InitialData(8192, ref=ref, convert="f32-f16"),
        InitialData(128, b"\xff", space="sram", core=0),
        InitialData(0, b"\0\1", space="dram", core=2),
    ]


def test_initial_data(tmp_path: Path) -> None:
    given_program = program(initial=tuple(_data()))
    check(given_program)
    side = SideFile("d.bin")
    text = disassemble(given_program, side)
    assert ".hex ff" in text
    assert text.count(".incbin") == 2
    (tmp_path / "d.bin").write_bytes(side.data)
    assert to_bytes(assemble(text, folder=tmp_path)) == to_bytes(given_program)


def test_tensors() -> None:
    entries = (
        TensorEntry(
            "x", "input", "f16", (2, 3), 64, (LayoutDim(0, 2, 1, 8), LayoutDim(1, 3, 1, 2))
        ),
        TensorEntry("fc1.weight", "param", "f32", (), 0, (), 'f"w', True),
        TensorEntry("b", "no role", "bit", (4, 17), 0, space="sram", core=1),
        TensorEntry("c", "state", "i32", (0,), 0, core=3),
        TensorEntry("d", "state", "f16", (4,), 64, (LayoutDim(0, 4, 1, -2),)),
    )
    check(program(tensors=entries))


@pytest.mark.parametrize(
    "machine",
    [
        load_machine("multicore20"),
        load_machine("multicore20").with_(cores=4),
        SMALL.with_(scratchpad_bytes=1 << 20),
        SMALL.with_(name="mine"),
        SMALL.with_(description='a "quoted"\u2028 # ; text'),
    ],
)
def test_machines(machine: object) -> None:
    assert isinstance(machine, type(SMALL))
    toml = machine.to_toml()
    text = check(program(machine_name=machine.name, machine_hash=machine.hash, machine_toml=toml))
    assert len(text) < 200 or machine.name == "mine" or "text" in text


def test_a_description_of_another_version_stays_as_it_is() -> None:
    check(program(machine_name="odd", machine_hash="12" * 32, machine_toml='a\n\t"b\r\n\n# c'))
    check(program(machine_name="odd", machine_hash="12" * 32))


def test_microprograms_that_have_no_canonical_text() -> None:
    builder = MicroBuilder("m")
    first = builder.emit("const.h", imm=1)
    builder.emit("st.h", (first,))
    code = bytearray.fromhex("1009000000000000")  # const.h into register 9
    odd = decode_micro("m", bytes(code))
    text = check(program(micro=(odd, builder.build(), decode_micro(".x y", b""))))
    assert '.microcode "m"' in text


def test_labels_come_back_as_labels() -> None:
    text = "a: nop\nloopi 3 {\nb: nop\n}\nc: halt\n.loc off\n.equ k, 3\n.symbol s, sem, 4\n"
    first = assemble(text, "x.s", SMALL)
    shown = check(first)
    assert "\na:" in shown
    assert "\nc:" in shown
    assert ".equ k, 3" in shown
    assert [s.name for s in first.symbols] == ["k", "s", "a", "b", "c"]


def test_blocks_are_indented() -> None:
    text = "loopi 2 {\nloop r1 {\nnop\n}\n}\nloopi 5, .out\nnop\n.out: halt\n"
    shown = disassemble(assemble(".loc off\n" + text, "x.s", SMALL))
    body = shown.partition(".core 0\n")[2]
    assert [line[2:] for line in body.splitlines()] == [
        *("loopi 2 {", "  loop r1 {", "    nop", "  }", "}"),
        *("loopi 5 {", "  nop", "}", "halt"),
    ]
