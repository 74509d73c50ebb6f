"""Plans: recorded runs give the bits, times, statistics and faults of the schedulers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from snncc.isa.instructions.encoding import make
from snncc.isa.machine.machine import Machine, load_machine
from snncc.isa.microprograms.code import MicroBuilder
from snncc.isa.program.file import ObjectFile
from snncc.isa.random_programs.programs import random_program
from snncc.isa.spec import SEED_REGISTER
from snncc.isasim.faults import StopReason
from snncc.isasim.replay import plan as plans
from snncc.isasim.system import RunOptions, SimulationResult, System
from unit.isasim.programs import Asm, program, small

pytest.importorskip("numba")

MACHINES: list[dict[str, Any]] = [
    {},
    {"sequencer.queue_depth": 1, "noc.channel_credits": 1},
    {"dram.bytes_per_cycle": 1, "noc.hop_cycles": 40},
    {"sequencer.instruction_bytes": 16},
]


def both(file: ObjectFile, machine: Machine | None = None, **options: Any) -> list[System]:
    """Return a system with a plan and one without."""
    choices = (RunOptions(**options), RunOptions(plan=False, **options))
    return [System(file, choice, machine=machine) for choice in choices]


def compare(planned: System, plain: System, seed: int = 0) -> SimulationResult:
    """Run both and compare everything."""
    result, expected = planned.run(seed), plain.run(seed)
    assert (result.reason, str(result.fault)) == (expected.reason, str(expected.fault))
    if result.fault is None:
        assert (result.cycles, result.instructions) == (expected.cycles, expected.instructions)
        assert result.leftovers == expected.leftovers
        assert json.dumps(result.stats) == json.dumps(expected.stats)
        assert (planned.dram == plain.dram).all()
        for a, b in zip(planned.chip.cores, plain.chip.cores, strict=True):
            assert (a.sram == b.sram).all()
            assert (a.seq.counts, a.semaphores.values, a.seq.registers) == (
                b.seq.counts, b.semaphores.values, b.seq.registers,
            )  # fmt: skip
    return result


@pytest.mark.parametrize("timing", [True, False])
@pytest.mark.parametrize("changes", MACHINES, ids=lambda c: "-".join(c) or "small")
@pytest.mark.parametrize("seed", range(4))
def test_random_programs(seed: int, changes: dict[str, Any], timing: bool) -> None:
    file = random_program(seed, load_machine("small"))
    machine = load_machine("small").with_(**changes)
    planned, plain = both(file, machine, timing=timing)
    for number in range(3):  # other data, hence other times
        for system in (planned, plain):
            noise = np.random.default_rng(number).integers(0, 60, system.dram.size // 8)
            system.dram[: noise.size] = noise
        assert compare(planned, plain, number).reason is StopReason.HALT
    assert planned._plan is not None  # pyright: ignore[reportPrivateUsage]


def test_the_seed_of_each_run_is_used() -> None:
    b = MicroBuilder("noise")
    number = b.emit("const.f", (), 0x3F801000)  # half-way between two binary16 numbers
    b.emit("st.h", (b.emit("srnd", (number, b.emit("rand", (), 0))),), 1)
    asm = Asm()
    zero, step = asm.reg(0), asm.reg(64)
    asm.emit("stream", s=0, base=zero, step=zero, row=step)
    asm.emit("stream", s=1, base=zero, step=zero, row=step)
    one, wide = asm.reg(1), asm.reg(16)
    asm.emit("ew", prog=0, steps=one, rows=one, cols=wide, seed=SEED_REGISTER)
    planned, plain = both(program(asm.done(), micro=[b.build()]))
    seen: set[bytes] = set()
    for seed in (0, 1, 2):
        compare(planned, plain, seed)
        seen.add(planned.chip.cores[0].sram[:64].tobytes())
    assert len(seen) == 3


def test_a_plan_that_needs_the_seed_is_used_for_that_seed_only() -> None:
    asm = Asm()
    asm.emit("addi", rd=40, ra=SEED_REGISTER, imm=64)
    asm.emit("fill", dst=40, dst0=asm.reg(0), n0=asm.reg(1), bytes=asm.reg(8), pattern=0x3C00)
    planned, plain = both(program(asm.done()))
    for seed in (8, 8, 64, 8):
        compare(planned, plain, seed)


def test_a_semaphore_that_overflows_in_time_only() -> None:
    """In the plan's order each token is taken before the next one comes."""
    asm = Asm()
    asm.colsum(1024, 0, 16, rows=16)
    for _ in range(2):
        asm.post("dma", 3, 40_000)
        asm.wait("vpu", 3, 40_000)
    planned, plain = both(program(asm.done()))
    result = compare(planned, plain)
    assert result.fault is not None
    assert result.fault.kind == "token"
    assert planned._plan is not None  # pyright: ignore[reportPrivateUsage]


def test_a_deadlock_in_time_only() -> None:
    """Two units want one token; who comes first decides, which no correct program allows."""
    asm = Asm()
    asm.colsum(1024, 0, 16, rows=16)
    asm.post("seq", 1)
    asm.wait("vpu", 1)
    asm.post("vpu", 2)
    asm.wait("dma", 1)
    asm.wait("noc", 2)
    asm.post("noc", 1)
    planned, plain = both(program(asm.done()))
    planned.run()
    result = compare(planned, plain)
    assert (result.reason is StopReason.DEADLOCK) == (result.fault is not None)


def test_no_plan_where_a_run_stops() -> None:
    asm = Asm()
    asm.copy("ld", 0, 1 << 30, 16)
    trap, _ = both(program(asm.done()))
    assert trap.run().reason is StopReason.TRAP
    loop = program((make("loopi", count=100, end=3), make("nop"), make("nop"), make("halt")))
    limit = System(loop, RunOptions(max_instructions=50))
    assert limit.run().reason is StopReason.LIMIT
    for system in (trap, limit):
        assert system._plan is None  # pyright: ignore[reportPrivateUsage]


def test_a_long_program_has_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MAX_ENTRIES", 10)
    asm = Asm()
    with asm.loop(20):
        asm.fill(0, 16, 0x3C00)
    planned, plain = both(program(asm.done(), small()))
    compare(planned, plain)
    assert planned._plan is None  # pyright: ignore[reportPrivateUsage]
