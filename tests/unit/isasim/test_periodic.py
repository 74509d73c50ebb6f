"""Turns of loops that are left out: every number is what it is when they are run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from made_networks import NETWORKS, compiled
from snncc.isa.machine.machine import load_machine
from snncc.isa.program.file import ObjectFile
from snncc.isa.spec import Inst
from snncc.isasim.faults import StopReason
from snncc.isasim.measure.activity import ActivityRecorder, Expected, Recording
from snncc.isasim.schedulers import periodic
from snncc.isasim.system import RunOptions, SimulationResult, System
from unit.isasim.programs import Asm, program, small
from unit.isasim.test_closed_forms import LATENCY, ROWS, SPIKES, WEIGHTS, K, N, fetched, streaming

DENSITY = 0.3


def ran(file: ObjectFile, extrapolate: bool, **options: Any) -> SimulationResult:
    source = options.pop("source", Expected({}, DENSITY))
    merged: dict[str, Any] = {"timeline": True, **options}
    return System(file, RunOptions(source=source, extrapolate=extrapolate, **merged)).run()


@pytest.fixture
def left_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the cycles that runs leave out."""
    found: list[int] = []
    move = periodic.Periodic._move  # pyright: ignore[reportPrivateUsage]

    def moving(self: Any, before: Any, after: Any, turns: int) -> None:
        found.append(turns * (after.now - before.now))
        move(self, before, after, turns)

    monkeypatch.setattr(periodic.Periodic, "_move", moving)
    return found


def same(file: ObjectFile, **options: Any) -> SimulationResult:
    """Run both ways; everything must be equal, but for a critical path that was given up."""
    one, other = (ran(file, extrapolate, **options) for extrapolate in (False, True))
    assert (one.reason, one.cycles, one.instructions) == (
        other.reason, other.cycles, other.instructions,
    )  # fmt: skip
    assert str(one.fault) == str(other.fault)
    assert one.leftovers == other.leftovers
    found = dict(one.stats)
    if "critical" not in other.stats:  # it would have holes
        del found["critical"]
    assert found == other.stats
    return other


def pipeline(asm: Asm, turns: int, size: int = 160) -> None:
    """Load, work, store: three units that wait for each other."""
    with asm.loop(turns):
        asm.wait("dma", 1)
        asm.copy("ld", 0, 4096, size)
        asm.post("dma", 0)
        asm.wait("vpu", 0)
        asm.colsum(4096, 0, size // 4)
        asm.sync(3, "vpu", "dma")
        asm.copy("st", 0, 4096, size)
        asm.post("dma", 1)


def prepared(*sizes: int) -> Asm:
    asm = Asm()
    for value in (1, 4096, *sizes, *(n // 4 for n in sizes), *(n // 2 for n in sizes)):
        asm.reg(value)
    asm.post("dma", 1)
    return asm


def test_one_loop(left_out: list[int]) -> None:
    asm = prepared(160)
    pipeline(asm, 1000)
    result = same(program(asm.done()))
    assert sum(left_out) > 0.9 * result.cycles


def test_loops_in_loops(left_out: list[int]) -> None:
    asm = prepared(160, 320)
    with asm.loop(40):
        pipeline(asm, 50)
        with asm.loop(3):
            pipeline(asm, 2, 320)
    pipeline(asm, 700, 320)
    result = same(program(asm.done()))
    assert sum(left_out) > 0.5 * result.cycles


def test_cores_that_share_the_dram(left_out: list[int]) -> None:
    cores: dict[int, Sequence[Inst]] = {}
    for core, turns in enumerate((400, 400, 130)):
        asm = prepared(640)
        pipeline(asm, turns, 640)
        cores[core] = asm.done()
    same(program(cores, small(**{"dram.bytes_per_cycle": 16})))
    assert left_out


@pytest.mark.parametrize("turns", [7, 300])
def test_messages_in_loops(turns: int, left_out: list[int]) -> None:
    ping, pong, idle = Asm(), Asm(), Asm()
    for asm, other in ((ping, 1), (pong, 0)):
        for value in (0, other, 160, 4096):
            asm.reg(value)
        with asm.loop(turns):
            if asm is ping:
                asm.send(other, 0, 0, 160)
                asm.recv(other, 0, 4096, 160)
            else:
                asm.recv(other, 0, 4096, 160)
                asm.send(other, 0, 4096, 160)
    idle.recv(1, 9, 0, 0)  # waits all the time
    for _ in range(turns):
        pong.colsum(4096, 0, 16)
    pong.send(2, 9, 0, 0)
    same(program({0: ping.done(), 1: pong.done(), 2: idle.done()}))
    assert bool(left_out) == (turns > 100)


@pytest.mark.parametrize("limit", [1500, 5000, 7999])
def test_a_limit_is_met_where_it_is_without(limit: int) -> None:
    asm = prepared(160)
    pipeline(asm, 100_000)
    result = same(program(asm.done()), max_instructions=limit)
    assert result.reason is StopReason.LIMIT


def test_a_deadlock_after_a_loop(left_out: list[int]) -> None:
    asm = prepared(160)
    pipeline(asm, 500)
    asm.wait("fp", 7)
    result = same(program(asm.done()))
    assert result.reason is StopReason.DEADLOCK
    assert left_out


def test_semaphores_that_fill_up_are_no_period() -> None:
    asm = prepared(160)
    with asm.loop(5000):
        asm.colsum(4096, 0, 40)
        asm.post("vpu", 5)
    file = program(asm.done(), small(**{"sequencer.semaphore_max": 3000}))
    result = same(file)
    assert result.reason is StopReason.TRAP


def test_sizes_that_change_and_recordings_are_run(left_out: list[int]) -> None:
    asm = prepared(160)
    asm.emit("li", rd=40, imm=2)
    with asm.loop(300):
        asm.emit("fill", dst=asm.reg(0), dst0=asm.reg(0), n0=asm.reg(1), bytes=40, pattern=0)
        asm.emit("addi", rd=40, ra=40, imm=2)
    same(program(asm.done()))
    fixed = prepared(160)
    pipeline(fixed, 300)
    file = program(fixed.done(), dram_bytes=1 << 14)
    recorder = ActivityRecorder()
    System(file, RunOptions(engine="reference", recorder=recorder)).run()
    same(file, source=Recording(recorder.found))
    assert not left_out
    same(file)
    assert left_out


@pytest.mark.parametrize("pairs", [1000, 1_000_000])
def test_a_million_tiles_in_closed_form(pairs: int) -> None:
    """The sum of ``test_closed_forms``: the array works on a tile while the next one is loaded."""
    asm, first = streaming(2 * pairs, 1)
    code = asm.done()
    file = program(code, dram_bytes=1 << 17)
    result = ran(file, True, source=Expected({}, 1.0), max_instructions=1 << 40)
    steps, array = ROWS * K // 16 * N // 16, 16
    load = SPIKES // 16 + 1 + WEIGHTS // 16 + LATENCY
    assert result.cycles == fetched(len(code)) + first + load + 2 * pairs * (steps + array + 2)
    assert result.stats["macs"]["performed"] == 2 * pairs * ROWS * K * N
    assert result.stats["dram_bytes"]["read"] == SPIKES + 2 * pairs * WEIGHTS
    line = result.stats["timeline"]
    assert sum(line["units"]["0"]["fp"]) == result.stats["units"]["fp"]["busy"]
    assert sum(line["dram"]) == result.stats["dram"]["busy"]


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_compiled_networks(name: str, cores: int, tmp_path: Path) -> None:
    same(compiled(name, tmp_path, cores))


def test_a_compiled_network_of_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "long", NETWORKS["dense"].replace("steps=5", "steps=400"))
    same(compiled("long", tmp_path, 1))


WORK = st.sampled_from(["ld", "st", "colsum", "fill", "pipeline"])
BODY = st.lists(WORK, min_size=1, max_size=3)
NEST = st.lists(st.tuples(st.integers(1, 60), BODY, st.integers(0, 25), BODY), max_size=3)


def drawn(nest: Any) -> tuple[Inst, ...]:
    asm = prepared(160, 320)

    def emit(body: list[str]) -> None:
        for what in body:
            match what:
                case "colsum":
                    asm.colsum(4096, 0, 40)
                case "fill":
                    asm.fill(0, 320, 7)
                case "pipeline":
                    pipeline(asm, 9)
                case _:
                    asm.copy(what, 0, 4096, 320)

    for outer, first, inner, second in nest:
        with asm.loop(outer):
            emit(first)
            with asm.loop(inner):
                emit(second)
    return asm.done()


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(NEST, min_size=1, max_size=3), st.sampled_from([8, 32]))
def test_random_loops(nests: list[Any], width: int) -> None:
    machine = load_machine("small").with_(**{"dram.bytes_per_cycle": width})
    same(program({i: drawn(nest) for i, nest in enumerate(nests)}, machine))


def test_limits_around_the_first_period_that_is_left_out() -> None:
    """Also where less than a period is left when it has been found."""
    asm = prepared(160)
    pipeline(asm, 1000)
    file = program(asm.done())
    reasons = {same(file, max_instructions=limit).reason for limit in range(48, 72, 2)}
    assert reasons == {StopReason.LIMIT}
