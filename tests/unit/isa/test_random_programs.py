"""Random programs are sound: they run to their end and stay within what they own.

A small scheduler runs only what decides that: registers, loops, queues, semaphores, messages.
Values are left out; comparing them is the business of the simulator's tests.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from snncc.isa.instructions.encoding import encode_program
from snncc.isa.instructions.table import TABLE
from snncc.isa.machine.machine import Machine, load_machine
from snncc.isa.program.file import ObjectFile
from snncc.isa.random_programs.instructions import random_inst, random_value
from snncc.isa.random_programs.programs import random_program
from snncc.isa.random_programs.windows import WINDOWED
from snncc.isa.spec import IndexedKind, Inst, Unit

SMALL = load_machine("small")
SEEDS = range(40)
UNITS = tuple(Unit)


@dataclass
class Core:
    """A core's queues, semaphores and instruction stream."""

    number: int
    stream: Iterator[tuple[Unit, Inst, dict[str, int]]]
    queues: dict[Unit, deque[tuple[Inst, dict[str, int]]]] = field(
        default_factory=lambda: {unit: deque() for unit in UNITS}
    )
    tokens: Counter[int] = field(default_factory=Counter[int])
    pending: tuple[Unit, Inst, dict[str, int]] | None = None


def issue(number: int, code: tuple[Inst, ...]) -> Iterator[tuple[Unit, Inst, dict[str, int]]]:
    """Yield what the sequencer hands to its units, registers replaced by what they hold."""
    registers = [0] * 64
    loops: list[list[int]] = []
    pc = 0
    while True:
        inst = code[pc]
        name = inst.insn.mnemonic
        values = {
            f.name: registers[v] if isinstance(f.kind, IndexedKind) and f.kind.prefix == "r" else v
            for f, v in zip(inst.insn.operands, inst.values, strict=True)
        }
        pc += 1
        if name == "halt":
            return
        if name == "li":
            registers[inst["rd"]] = values["imm"]
        elif name in ("add", "sub", "mul", "min", "max"):
            a, b = values["ra"], values["rb"]
            results = {"add": a + b, "sub": a - b, "mul": a * b, "min": min(a, b), "max": max(a, b)}
            registers[inst["rd"]] = results[name]
        elif name == "div":
            registers[inst["rd"]] = values["ra"] // values["rb"]
        elif name == "coreid":
            registers[inst["rd"]] = number
        elif name == "addi":
            registers[inst["rd"]] = values["ra"] + values["imm"]
        elif name in ("loop", "loopi"):
            if values["count"] == 0:
                pc = values["end"]
            else:
                loops.append([values["count"], pc, values["end"]])
        elif name in ("wait", "post"):
            yield UNITS[values["unit"]], inst, values
        elif inst.insn.unit is not Unit.SEQ:
            yield inst.insn.unit, inst, values
        assert all(-(2**63) <= r < 2**63 for r in registers)
        while loops and loops[-1][2] == pc:
            loops[-1][0] -= 1
            if loops[-1][0]:
                pc = loops[-1][1]
                break
            loops.pop()


class Chip:
    """Runs the queues in any order, as far as queues, tokens and credits allow."""

    def __init__(self, program: ObjectFile, machine: Machine, rng: random.Random) -> None:
        self.machine = machine
        self.rng = rng
        self.cores = {c.core: Core(c.core, issue(c.core, c.code)) for c in program.cores}
        self.channels: dict[tuple[int, int, int], deque[int]] = {}
        self.done = 0

    def run(self) -> None:
        """Run until nothing can move any more."""
        moved = True
        while moved:
            moved = False
            cores = list(self.cores.values())
            self.rng.shuffle(cores)
            for core in cores:
                for _ in range(self.rng.randint(1, 20)):
                    moved |= self.push(core)
                for unit in self.rng.sample(UNITS, len(UNITS)):
                    moved |= self.step(core, unit)

    def push(self, core: Core) -> bool:
        """Let the sequencer hand out one instruction; it stops while it waits itself."""
        core.pending = core.pending or next(core.stream, None)
        if core.pending is None or core.queues[Unit.SEQ]:
            return False
        unit, inst, values = core.pending
        if len(core.queues[unit]) >= self.machine.sequencer.queue_depth:
            return False
        core.queues[unit].append((inst, values))
        core.pending = None
        return True

    def step(self, core: Core, unit: Unit) -> bool:
        """Let a unit do its next instruction if it can."""
        if not core.queues[unit]:
            return False
        inst, v = core.queues[unit][0]
        name = inst.insn.mnemonic
        if name == "post":
            core.tokens[v["sem"]] += v["n"]
            assert core.tokens[v["sem"]] <= self.machine.sequencer.semaphore_max
        elif name == "wait":
            if core.tokens[v["sem"]] < v["n"]:
                return False
            core.tokens[v["sem"]] -= v["n"]
        elif name in ("send", "mcast"):
            targets = [v["core"]] if name == "send" else self.receivers(v["mask"], core.number)
            channels = [
                self.channels.setdefault((core.number, target, v["tag"]), deque())
                for target in targets
            ]
            if any(len(c) >= self.machine.noc.channel_credits for c in channels):
                return False
            for channel in channels:
                channel.append(v["bytes"])
        elif name in ("recv", "recvadd"):
            channel = self.channels.get((v["core"], core.number, v["tag"]), deque())
            if not channel:
                return False
            assert channel.popleft() == v.get("bytes", 4 * v.get("count", 0))
        elif name in ("ld", "st", "copy"):
            self.check_copy(name, v)
        core.queues[unit].popleft()
        self.done += 1
        return True

    @staticmethod
    def receivers(mask: int, sender: int) -> list[int]:
        """Cores of a multicast's mask."""
        return [i for i in range(64) if mask >> i & 1 and i != sender]

    def check_copy(self, name: str, v: dict[str, int]) -> None:
        """Check that a copy stays within its memories."""
        for side in ("dst", "src"):
            in_dram = (name, side) in (("ld", "src"), ("st", "dst"))
            size = self.machine.dram.bytes if in_dram else self.machine.scratchpad.bytes
            for i in (0, max(0, v["n0"] - 1)):
                for j in (0, max(0, v["n1"] - 1)):
                    at = v[side] + i * v[f"{side}0"] + j * v[f"{side}1"]
                    assert 0 <= at <= at + v["bytes"] <= size


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_end(seed: int) -> None:
    program = random_program(seed, SMALL, windows=seed % 2 == 1)
    for order in range(2):
        chip = Chip(program, SMALL, random.Random(order))
        chip.run()
        for core in chip.cores.values():
            assert core.pending is None
            assert next(core.stream, None) is None
            assert not any(core.queues.values()), "deadlock"
            assert not +core.tokens, "tokens are left over"
        assert not any(chip.channels.values()), "messages are left over"
        assert chip.done > 20


def test_random_programs_use_everything() -> None:
    used: Counter[str] = Counter()
    counts: set[int] = set()
    for seed in SEEDS:
        program = random_program(seed, SMALL, windows=True)
        counts.add(len(program.cores))
        for core in program.cores:
            used.update(inst.insn.mnemonic for inst in core.code)
            assert len(encode_program(core.code)) <= SMALL.sequencer.instruction_bytes
    assert set(used) == {row.mnemonic for row in TABLE}
    assert counts == {1, 2, 3, 4}
    plain: set[str] = set()
    for seed in SEEDS:
        for core in random_program(seed, SMALL).cores:
            plain.update(inst.insn.mnemonic for inst in core.code)
    assert plain == {row.mnemonic for row in TABLE} - {
        *(row.mnemonic for row in WINDOWED),
        "winsize",
        "winmap",
    }


def test_size_and_machine_are_respected() -> None:
    assert len(random_program(1, SMALL, cores=3).cores) == 3
    assert len(random_program(1, SMALL, cores=99).cores) == 4
    tiny = SMALL.with_(scratchpad_bytes=4096)
    for seed in range(10):
        Chip(random_program(seed, tiny), tiny, random.Random(0)).run()
    short = random_program(1, SMALL, cores=1, steps=0)
    assert [core.code[-1].insn.mnemonic for core in short.cores] == ["halt"]


def test_random_instructions_of_every_row_encode() -> None:
    rng = random.Random(5)
    for row in TABLE:
        for _ in range(20):
            inst = random_inst(rng, row.mnemonic)
            assert inst.insn is row
            for operand, value in zip(row.operands, inst.values, strict=True):
                operand.kind.check(value)
    values = {random_value(TABLE[2].operands[0].kind, rng) for _ in range(500)}
    assert {0, 63} <= values


def test_windows_of_all_kinds_are_drawn() -> None:
    """Strides, padding and dilation of 1 and 2 in both directions, alone and together."""
    drawn: set[tuple[int, ...]] = set()
    unequal = 0
    for seed in range(60):
        for core in random_program(seed, SMALL, windows=True).cores:
            for inst in core.code:
                if inst.insn.mnemonic == "winmap":
                    axes = [
                        tuple(inst[f"{key}_{axis}"] for key in ("mul", "base", "step", "div"))
                        for axis in "hw"
                    ]
                    drawn.update(axes)
                    unequal += axes[0] != axes[1]
    forward: set[tuple[int, ...]] = {(s, -p, d, 1) for s in (1, 2) for p in (0, 1) for d in (1, 2)}
    backward: set[tuple[int, ...]] = {(1, p, -d, s) for s in (1, 2) for p in (0, 1) for d in (1, 2)}
    assert drawn == forward | backward
    assert unequal > 20
