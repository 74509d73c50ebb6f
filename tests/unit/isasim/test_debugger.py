"""The debugger, driven by scripts."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from snncc.isa.program.file import ObjectFile, Symbol, TensorEntry
from snncc.isasim.debug.commands import COMMANDS, HELP, execute
from snncc.isasim.debug.debugger import Debugger
from snncc.isasim.debug.views import raster
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import Asm, program
from unit.isasim.test_observers import busy_program


def session(script: Iterable[str], file: ObjectFile | None = None) -> list[str]:
    """Run a script; return what was said, without the questions."""
    lines = iter(script)
    said: list[str] = []
    debugger = Debugger(lambda prompt: next(lines, None), said.append, execute)
    built = file or busy_program()
    system = System(built, RunOptions(engine="reference"), tracers=[debugger])
    system.dram[:] = 0
    debugger.attach(system)
    debugger.run()
    return [line for text in said for line in text.splitlines()]


def loaded() -> ObjectFile:
    """A core that loads a spike tensor ten times and deadlocks at the end, if asked."""
    asm = Asm()
    for value in (0, 1, 8, 64):
        asm.reg(value)
    with asm.loop(2), asm.loop(5):
        asm.copy("ld", 64, 0, 8)
        asm.copy("st", 8, 64, 8)
    asm.wait("fp", 3)
    asm.wait("seq", 4)
    tensors = [
        TensorEntry("net.spikes", "spikes", "bit", (2, 2, 16), 0),
        TensorEntry("copy", "other", "f16", (4,), 8),
    ]
    return program(asm.done(), tensors=tensors)


def test_it_stops_before_the_first_instruction_and_runs_to_the_end() -> None:
    said = session(["where", "s"])
    assert said[0].startswith("before the first instruction")
    assert said[1] == "before the first instruction"
    assert " dma " in said[2]
    assert said[-1].startswith("halt after ")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("unit vpu", ("core 0 vpu", "wait vpu")),
        ("core 2 unit noc", ("core 2 noc", "wait noc")),
        ("layer fc1 phase bp", ("fc1 bp", "")),
        ("line 3", ("net.snn:3", "")),
        ("file net.snn line 2", ("net.snn:2", "")),
    ],
)
def test_breakpoints(words: str, wanted: tuple[str, str]) -> None:
    said = session([f"break {words}", "continue", "delete", "c"])
    assert said[1].startswith("1: break ")
    assert said[2].startswith("breakpoint 1: cycle ")
    assert all(text in said[2] for text in wanted)
    assert said[-1].startswith("halt")


def test_break_at_an_address_and_loops_with_their_turns() -> None:
    at = next(
        i for i, inst in enumerate(loaded().cores[0].code)
        if inst.insn.mnemonic == "st"
    )  # fmt: skip
    said = session([f"break at {16 * at:#x}", *["c"] * 8, "where", "q"], loaded())
    tail = said[-7:]
    assert f"{16 * at:08x}: st" in tail[0]
    assert tail[1].strip() == "dst=8 src=64 n0=1 n1=1 bytes=8 dst0=0 dst1=0 src0=0 src1=0"
    assert tail[2].strip() == "reads  src: core 0 0x40..0x47"
    assert tail[3].strip() == "writes dst: dram 0x8..0xf  copy"
    assert "turn 2 of 5" in tail[4]
    assert "turn 1 of 2" in tail[5]
    assert tail[6].strip() == "executed 7 times before"


def test_stepping_counts_instructions_of_any_or_of_the_same_unit() -> None:
    said = session(["break core 1 unit dma", "c", "delete", "n", "n 2", "s", "q"])
    units = [line.split("core ")[1].split()[:2] for line in said if "cycle " in line]
    assert units[:3] == [["1", "dma"]] * 3
    assert not said[-1].startswith("halt")


def test_watching_memory_and_tensors() -> None:
    said = session(
        ["watch copy", "watch core 0 0x40 8", "watch dram 0 1", "stops", "c", "c", "q"], loaded()
    )
    assert said[1] == "1: watch copy: dram 0x8..0xf"
    assert said[4:7] == said[1:4]
    assert said[7].startswith("watch 2: memory written by")
    assert ": ld " in said[7]
    assert said[8].startswith("watch 1: copy written by")


def test_tensors_as_spikes_and_numbers() -> None:
    said = session(["print spikes", "p net.spikes numbers 1,0", "p copy", "tensors sp"], loaded())
    assert said[1] == "net.spikes bit 2x2x16"
    assert said[2:8] == ["  [0]", *["  " + "." * 16] * 2, "  [1]", *["  " + "." * 16] * 2]
    assert said[8].strip() == "0 of 64 active (0.0 %)"
    assert "net.spikes[1, 0] bit 16" in said
    assert any(line.strip().startswith("net.spikes") and "spikes" in line for line in said)
    marks = raster(np.array([[0, 1, 3], [0, 0, 12]]))
    assert marks == [".#3", "..+", "3 of 6 active (50.0 %)"]
    long = raster(np.ones((100, 200)))
    assert long[0].endswith(" ..")
    assert "36 more rows" in long[-2]


def test_who_waits_for_whom_also_after_a_deadlock() -> None:
    said = session(["c", "waits", "where", "regs", "queue"], loaded())
    assert any("deadlock" in line for line in said)
    waits = [line for line in said if "waits for sem" in line]
    assert any("core 0 fp" in line and "sem3 >= 1 (it is 0)" in line for line in waits)
    assert any("head" in line and "wait fp" in line for line in said)
    running = session(["break unit vpu", "c", "waits", "regs 1", "queue 1", "list 0 0x20", "q"])
    assert any("sequencer at" in line for line in running)
    assert any("turns left" in line for line in running)
    assert any(": li " in line for line in running)


def crossed() -> ObjectFile:
    """Core 0: dma and vpu wait for each other.  Core 1 waits for a message that core 0 would send
    behind that, and its sequencer for a semaphore that nobody posts."""
    one, two = Asm(), Asm()
    for value in (0, 1, 8):
        one.reg(value)
        two.reg(value)
    one.wait("dma", 1)
    one.wait("vpu", 2)
    one.post("dma", 2)
    one.post("vpu", 1)
    one.wait("seq", 9)
    one.emit("send", core=one.reg(1), tag=3, src=0, bytes=one.reg(8))
    two.emit("recv", core=0, tag=3, dst=0, bytes=two.reg(8))
    two.post("noc", 4)
    two.wait("fp", 4)
    two.wait("seq", 7)
    symbols = (
        Symbol("ready", "sem", 1, 0), Symbol("half", "sram", 0, 1, 4, 0, -1, "message"),
        Symbol("other", "sram", 0, 1, 4, 99, -1), Symbol("rest", "sram", 4, 1, 60),
    )  # fmt: skip
    return replace(program({0: one.done(), 1: two.done()}), symbols=symbols)


def test_every_unit_of_a_deadlock_says_for_whom_it_waits() -> None:
    said = session(["waits", "c", "waits"], crossed())
    wanted = {
        "core 0 dma": "sem1 (ready) >= 1 (it is 0); provider: core 0 vpu",
        "core 0 vpu": "sem2 >= 1 (it is 0); provider: core 0 dma",
        "core 0 seq": "sem9 >= 1 (it is 0); provider: nobody",
        "core 1 noc": "a message from core 0 with tag 3; provider: core 0 seq",
        "core 1 fp": "sem4 >= 1 (it is 0); provider: core 1 noc",
        "core 1 seq": "sem7 >= 1 (it is 0); provider: nobody",
    }
    last = said[-8:]
    for actor, text in wanted.items():
        (line,) = (x for x in last if x.strip().startswith(f"{actor} at "))
        assert line.endswith(text)
    assert set(last[-2].partition(": ")[2].split(", ")) == set(wanted)
    assert last[-1].strip() == "circle: core 0 dma -> core 0 vpu -> core 0 dma"


def test_units_that_only_have_to_wait_are_no_circle() -> None:
    """The vector unit waits for one of two posters; that the other waits for it is no deadlock."""
    asm = Asm()
    for value in (0, 1, 8):
        asm.reg(value)
    asm.copy("ld", 0, 0, 8)
    asm.post("dma", 1)
    asm.wait("vpu", 1)
    asm.wait("dma", 2)
    asm.post("dma", 1)
    asm.post("vpu", 2)
    asm.wait("vpu", 1)
    said = session(["break unit dma", "c", "waits", "delete", "c"], program(asm.done()))
    assert any("under way or starts next" in line for line in said)
    assert not any("circle" in line or "for ever" in line for line in said)
    assert said[-1].startswith("halt")


def test_buffers_have_names() -> None:
    said = session(
        ["break core 1", "c", "buffers 1", "print half u8", "print rest bit", "watch half",
         "mem core 1 0 9 bit", "print other", "q"],
        running(),
    )  # fmt: skip
    assert any("half" in x and "of message" in x and "code 00000000..end" in x for x in said)
    assert "core 1 half of message: 4 u8" in said
    assert "core 1 rest: 480 bit" in said
    assert any(x.endswith("watch half: core 1 0x0..0x3") for x in said)
    assert "other does not hold here; this is what lies there now" in said
    written = session(["break core 1 unit noc", "c", "where", "q"], running())
    assert any(x.strip() == "writes dst: core 1 0x0..0x7  half (message), rest" for x in written)


def running() -> ObjectFile:
    """Core 0 sends eight bytes to core 1; the symbols are those of ``crossed``."""
    one, two = Asm(), Asm()
    one.emit("send", core=one.reg(1), tag=3, src=0, bytes=one.reg(8))
    two.emit("recv", core=0, tag=3, dst=0, bytes=two.reg(8))
    two.post("noc", 4)
    two.wait("fp", 4)
    return replace(program({0: one.done(), 1: two.done()}), symbols=crossed().symbols)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("break at 0", "'li r1, 1' is the sequencer's: it runs ahead of its units; the next"),
        ("break core 0 unit bp", "no instruction of this program fits all of that"),
        ("break core 3", "core 3 has no program"),
        ("print hal", "no tensor 'hal' and no buffer of core 0"),
        ("mem core 1 0 4 f12", "no type 'f12'"),
        ("buffers 7", "core 7 has no program"),
    ],
)
def test_stops_that_never_come_are_refused(line: str, text: str) -> None:
    said = session([line, "stops"], running())
    assert said[1].startswith("error: ")
    assert text in said[1]


def test_a_program_of_which_nothing_starts_still_asks_first() -> None:
    said = session(["print copy", "c"], loaded_but_blocked())
    assert said[1].startswith("copy f16")
    assert any(line.startswith("deadlock") for line in said)


def loaded_but_blocked() -> ObjectFile:
    asm = Asm()
    asm.wait("dma", 1)
    return program(asm.done(), tensors=[TensorEntry("copy", "other", "f16", (4,), 8)])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("fly", "no command 'fly'"),
        ("break core", "pairs"),
        ("break moon 1", "break knows"),
        ("break unit xx", "units are seq, dma"),
        ("break at 3", "no multiple of 16"),
        ("break layer fc9", "there are fc1"),
        ("break line 77", "there are 1, 2, 3"),
        ("break core x", "must be a number"),
        ("watch", "say `dram ADDRESS"),
        ("watch core 0 1", "watch NAME"),
        ("watch nothing", "no tensor 'nothing'"),
        ("watch core 77 0 4", "core 77 has no program"),
        ("watch dram 0x7fffffff 4", "is outside"),
        ("delete 9", "no breakpoint 9"),
        ("step 0", "must be positive"),
        ("print", "print TENSOR"),
        ("mem dram 0 4 f12", "no type 'f12'"),
        ("mem dram 0", "mem core N|dram"),
        ("regs 9", "core 9 has no program"),
        ('print "', "No closing quotation"),
    ],
)
def test_mistakes_are_said_and_change_nothing(line: str, text: str) -> None:
    said = session([line, "stops"])
    assert said[1].startswith("error: ")
    assert text in said[1]
    assert said[2] == "no breakpoints"
    assert said[-1].startswith("halt")


def test_print_checks_its_index_and_nothing_steps_after_the_end() -> None:
    said = session(["print copy 9,9", "c", "step", "mem dram 8 4 f16"], loaded())
    assert any("has shape 4" in line for line in said)
    assert any("the program has ended" in line for line in said)
    assert said[-1].strip() == "[0 0 0 0]"


def test_help_names_every_command_and_prefixes_work() -> None:
    said = session(["help", "cont"])
    assert all(any(line.startswith(name) for line in said) for name in COMMANDS if name != "help")
    assert len(HELP.splitlines()) < 40
    assert said[-1].startswith("halt")
    assert session(["", "# a comment", "q"])[-1].startswith("before the first")
