"""Several threads give what one gives: bits, cycles, counters, and reports of what goes wrong."""

import signal
import threading
from typing import Any

import pytest

from snncc.isa.machine.machine import load_machine
from snncc.isa.program.file import ObjectFile
from snncc.isa.random_programs.programs import random_program
from snncc.isasim.engines.reference.engine import ReferenceEngine
from snncc.isasim.faults import StopReason
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import Asm, program
from unit.isasim.test_observers import busy_program, filled


def outcome(file: ObjectFile, threads: int, **options: Any) -> tuple[Any, ...]:
    system = filled(file, threads=threads, **options)
    system._image.load("dram", "sram")  # pyright: ignore[reportPrivateUsage]
    assert system.parallel == (threads > 1 and len(file.cores) > 1)
    found: list[Any] = []
    for seed in range(2):
        result = system.run(seed)
        memories = [core.sram.tobytes() for core in system.chip.cores]
        found += [str(result.fault), result.stats, system.dram.tobytes(), memories]
        found += [result.reason, result.leftovers]
    return tuple(found)


@pytest.mark.parametrize("threads", [2, 4, 9])
def test_a_ring_of_cores(threads: int) -> None:
    assert outcome(busy_program(), threads) == outcome(busy_program(), 1)


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 150))]
)
def test_random_programs(seed: int) -> None:
    file = random_program(seed, load_machine("small"), cores=4, windows=bool(seed % 2))
    one = outcome(file, 1, engine="fast")
    assert one[4] is StopReason.HALT
    assert outcome(file, 3, engine="fast") == one


def stopping(kind: str) -> ObjectFile:
    """Core 0 loads and stores; core 1 does something wrong after a message."""
    first, second = Asm(), Asm()
    first.copy("ld", 0, 0, 64)
    first.copy("st", 512, 0, 64)
    first.sync(0, "dma", "noc")
    first.send(1, 0, 0, 64)
    second.recv(0, 0, 128, 64)
    second.sync(0, "noc", "dma")
    second.copy("st", 1024, 128, 64)
    if kind == "trap":
        second.sync(1, "dma", "vpu")
        second.colsum(3, 0, 16)
    elif kind == "deadlock":
        second.recv(0, 1, 0, 64)
    elif kind == "token":
        for _ in range(3):
            second.emit("post", unit=0, sem=5, n=65535)
    elif kind == "limit":
        with second.loop(1000), second.loop(1000):
            second.emit("addi", rd=60, ra=60, imm=1)
    return program({0: first.done(), 1: second.done()})


@pytest.mark.parametrize("kind", ["trap", "deadlock", "token", "limit"])
def test_what_stops_is_reported_as_in_order(kind: str) -> None:
    options = {"max_instructions": 5000}
    one = outcome(stopping(kind), 1, **options)
    assert one[4] is not StopReason.HALT
    assert outcome(stopping(kind), 2, **options) == one


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ReferenceEngine, "execute", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        System(busy_program(), RunOptions(engine="reference", threads=2)).run()


def test_an_interrupt_ends_the_threads() -> None:
    """Two cores that count for hours; whoever waits for them is told to end."""
    first, second = Asm(), Asm()
    for asm in (first, second):
        with asm.loop(100000), asm.loop(100000):
            asm.emit("addi", rd=60, ra=60, imm=1)
    file = program({0: first.done(), 1: second.done()})
    system = System(file, RunOptions(engine="reference", threads=2, max_instructions=1 << 60))

    def told(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, told)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            system.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for thread in threading.enumerate():
        if thread.name.startswith("snncc-core"):
            thread.join(60)
            assert not thread.is_alive()


def test_observers_go_in_order() -> None:
    system = System(busy_program(), RunOptions(engine="reference", threads=2, check_races=True))
    assert not system.parallel
    assert system.run().reason is StopReason.HALT
