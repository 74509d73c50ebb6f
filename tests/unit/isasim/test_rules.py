"""The rules of waits, posts, credits and messages, and their compiled twin."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from snncc.isa.machine.machine import Machine
from snncc.isa.program.file import ObjectFile
from snncc.isa.spec import Inst
from snncc.isasim.faults import Fault, StopReason, Trap
from snncc.isasim.machine.decode import ENGINE_KIND
from snncc.isasim.machine.network import DramBus, MeshLinks
from snncc.isasim.machine.rules import Channels, Semaphores
from snncc.isasim.measure.activity import Expected
from snncc.isasim.measure.counters import Counters
from snncc.isasim.replay.plan import RunPlan, record
from snncc.isasim.replay.times import Schedule
from snncc.isasim.schedulers.timed import Timed
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import Asm, program, small


def test_a_wait_takes_all_its_tokens_or_none() -> None:
    semaphores = Semaphores(9)
    assert not semaphores.take(3, 1, actor=11)
    assert semaphores.post(3, 2) == [11]
    assert not semaphores.take(3, 3, actor=12)
    assert not semaphores.take(3, 4, actor=13)
    assert semaphores.values[3] == 2
    assert semaphores.post(3, 1) == [12, 13]
    assert semaphores.take(3, 3, actor=12)
    assert semaphores.values[3] == 0
    assert list(semaphores.post(3, 1)) == []


def test_a_post_that_overflows_adds_nothing_and_wakes_nobody() -> None:
    semaphores = Semaphores(9)
    semaphores.post(1, 9)
    assert not semaphores.take(1, 10, actor=5)
    with pytest.raises(Trap, match=r"sem1 holds 9; 1 more exceed 9"):
        semaphores.post(1, 1)
    assert semaphores.values[1] == 9
    assert semaphores.waiters == {1: [5]}


def test_a_credit_comes_back_when_a_message_is_received() -> None:
    channels = Channels(3, credits=1)
    assert channels.may_send(0, (1, 2))
    assert channels.send(0, 7, b"one", (1, 2), (10, 12)) == ([1, 2], [])
    assert not channels.may_send(0, (1,))
    assert channels.may_send(1, (0,))  # each channel has its own
    assert not channels.may_send(0, (1, 2))
    assert channels.first(2, 0, 7) == (12, b"one", None, 2)
    assert channels.take(2, 0, 7)
    assert not channels.may_send(0, (1, 2))
    assert channels.take(1, 0, 7)
    assert channels.may_send(0, (1, 2))


def test_who_waits_for_a_message_is_named_when_it_is_sent() -> None:
    channels = Channels(2, credits=4)
    assert channels.first(1, 0, 5) is None
    assert channels.send(0, 6, b"", (1,), (3,)) == ([1], [])  # another tag
    assert channels.send(0, 5, b"a", (1,), (8,)) == ([2], [(1, 8)])
    assert channels.send(0, 5, b"b", (1,), (9,)) == ([3], [])
    assert [channels.first(1, 0, 5)] == [(8, b"a", None, 2)]
    assert not channels.take(1, 0, 5)
    assert channels.first(1, 0, 5) == (9, b"b", None, 3)


def test_what_differs_is_seen_in_the_state() -> None:
    one, other = Channels(2, credits=2), Channels(2, credits=2)
    for channels in (one, other):
        channels.send(0, 1, b"", (1,), (5,))
    assert one.state() == other.state()
    assert other.first(0, 1, 3) is None
    assert one.state() != other.state()
    one.set_times(iter([17]))
    assert one.times() == [17]
    semaphores = Semaphores(2)
    before = semaphores.state()
    semaphores.take(0, 1, actor=1)
    assert semaphores.state() != before


TIGHT = {"sequencer.semaphore_max": 3, "noc.channel_credits": 1, "sequencer.queue_depth": 2}
UNITS = ("seq", "dma", "noc", "vpu", "fp")


def core_program(rng: random.Random, me: int, cores: int, steps: int) -> tuple[Inst, ...]:
    """Return code that posts, waits, works, sends and receives, with no care at all."""
    asm = Asm()
    for value in (64, 1, 32, *range(cores)):
        asm.reg(value)
    others = [core for core in range(cores) if core != me]
    for _ in range(steps):
        match rng.choices(("post", "wait", "work", "move", "send", "recv"), (6, 4, 3, 2, 2, 2))[0]:
            case "post":
                asm.post(rng.choice(UNITS), rng.randrange(3), rng.choice((1, 1, 1, 2)))
            case "wait":
                asm.wait(rng.choice(UNITS), rng.randrange(3), rng.choice((1, 1, 2)))
            case "work":
                asm.colsum(64, 0, 16, rows=rng.choice((1, 1, 16)))
            case "move":
                asm.copy(rng.choice(("ld", "st", "copy")), 64, 0, 32)
            case "send" if others and rng.random() < 0.7:
                asm.send(rng.choice(others), rng.randrange(2), 64, 32)
            case "send" if others:
                asm.mcast((1 << cores) - 1, rng.randrange(2), 64, 32)
            case "recv" if others:
                asm.recv(rng.choice(others), rng.randrange(2), 64, 32)
            case _:
                asm.emit("nop")
    return asm.done()


def drawn(seed: int) -> tuple[ObjectFile, Machine]:
    """Return a program of some cores, and a machine with little room."""
    rng = random.Random(seed)
    cores = rng.randint(1, 3)
    steps = rng.randint(3, 14)
    machine = small(**(TIGHT if rng.random() < 0.7 else {"noc.channel_credits": 1}))
    code = {core: core_program(rng, core, cores, steps) for core in range(cores)}
    return program(code, machine), machine


def unordered(system: System) -> RunPlan:
    """Return a plan for the times alone: who receives which message is a matter of counting."""
    plan = RunPlan(0)
    record(plan, system.chip, 0)
    sent: dict[tuple[int, int, int], list[int]] = {}
    for place, item in enumerate(plan.items):
        if item.op[0] in ("send", "mcast"):
            targets = system.chip.targets(item.core, item.op)
            plan.add_send(place, targets, item.op[1][3])
            for target, number in plan.sends[place].targets:
                sent.setdefault((item.core.index, target, item.op[1][1]), []).append(number)
    for place, item in enumerate(plan.items):
        if item.op[0] == "recv":
            source, tag, _, _ = item.op[1]
            numbers = sent.get((source, item.core.index, tag))
            if not numbers:  # nobody sends it
                plan.senders.append(-1)
                numbers = [len(plan.senders) - 1]
            plan.receives[place] = numbers.pop(0)
    return plan


def kind(fault: Fault | None) -> set[str]:
    """Return what happened, in words of this file."""
    if fault is None:
        return {"halt"}
    if fault.reason is StopReason.TRAP:
        return {"overflow"}
    words = ("credit", "a message", "sem", "room")
    return {word for waiting in fault.waiting for word in words if waiting.reason.startswith(word)}


def both_ways(seed: int) -> Fault | None:
    """Run a program by the rules and by the twin; compare; return how it ended."""
    file, machine = drawn(seed)
    source = Expected({}, 0.5)
    system = System(file, RunOptions(source=source), machine=machine)
    plan, chip, pricing = unordered(system), system.chip, system.pricing
    starts = [0] * len(chip.cores)
    buses = DramBus(), DramBus()
    meshes = [
        MeshLinks(machine.mesh.cols, machine.mesh.rows, machine.noc.hop_cycles) for _ in buses
    ]
    counters = Counters(chip, pricing.prices)
    timed = Timed(
        chip, system.engine, pricing, counters, buses[0], meshes[0], 10_000, None, None, source,
        values=False,
    )  # fmt: skip
    chip.reset(starts, 0)
    fault = timed.run()
    values = [core.semaphores.values[:] for core in chip.cores]
    chip.reset(starts, 0)
    found = [
        source(item.core, item.pc, item.op) if item.kind == ENGINE_KIND else None
        for item in plan.items
    ]
    twin = Schedule(plan, chip, pricing, meshes[1]).run(found, starts, buses[1])
    assert str(twin.fault) == str(fault)
    if fault is None or fault.reason is StopReason.DEADLOCK:
        other = twin.counters()
        assert (twin.cycles, twin.ends) == (timed.end, timed.ends)
        assert other.busy == counters.busy
        assert other.spent == counters.spent
        assert [dict(+Counter(waits)) for waits in other.waits] == [
            dict(+Counter(waits)) for waits in counters.waits
        ]
        assert (buses[0].busy, buses[0].free) == (buses[1].busy, buses[1].free)
        assert +Counter(meshes[0].busy) == +Counter(meshes[1].busy)
    if fault is not None and fault.reason is StopReason.DEADLOCK:
        assert [core.semaphores.values for core in chip.cores] == values
    return fault


def test_the_twin_follows_the_rules() -> None:
    """A hundred careless programs: most overflow, wait for ever or run out of credits."""
    pytest.importorskip("numba")
    ends: Counter[str] = Counter()
    for seed in range(100):
        ends.update(kind(both_ways(seed)))
    least = {"halt": 8, "overflow": 4, "sem": 20, "a message": 8, "credit": 4, "room": 4}
    assert {what for what, count in least.items() if ends[what] < count} == set(), ends
