from typing import Any

import numpy as np
import pytest

from snncc.isa.spec import Inst
from snncc.isasim.faults import StopReason, Waiting, find_cycle
from unit.isasim.programs import HALT, Asm, program, run, run_code, small

MODES: list[dict[str, Any]] = [
    {"timing": True},
    {"timing": False},
    *({"timing": False, "order_seed": seed} for seed in range(5)),
]


@pytest.mark.parametrize("mode", MODES)
def test_a_pipeline_of_units(mode: dict[str, Any]) -> None:
    """DMA loads, the vector unit adds, DMA stores; double buffered by two credits."""
    asm = Asm()
    one, four, zero = asm.reg(1), asm.reg(16), asm.reg(0)
    near, far, step = asm.reg(64), asm.reg(1024), asm.reg(8)
    source, target = 40, 41
    asm.emit("li", rd=target, imm=1024)
    asm.post("seq", 1, 2)
    copy = {"n0": one, "n1": one, "bytes": four, "dst0": zero, "dst1": zero}
    copy |= {"src0": zero, "src1": zero}
    with asm.loop(8):
        asm.wait("dma", 1)
        asm.emit("ld", dst=near, src=source, **copy)
        asm.sync(2, "dma", "vpu")
        asm.emit("colsum", acc=far, x=near, x_stride=four, rows=one, n=step, type=0, init=1)
        asm.sync(3, "vpu", "dma")
        asm.emit("st", dst=target, src=far, **copy)
        asm.emit("addi", rd=source, ra=source, imm=16)
        asm.emit("addi", rd=target, ra=target, imm=16)
        asm.post("dma", 1)
    system, _ = run(program(asm.done()), **mode)
    values = np.arange(64, dtype=np.float16)
    system.dram[:128] = values.view(np.uint8)
    result = system.run()
    assert result.reason is StopReason.HALT, result.fault
    for step in range(8):
        stored = system.dram[1024 + 16 * step : 1024 + 16 * step + 16].view(np.float32)
        assert (stored == values[8 * step : 8 * step + 4]).all()


@pytest.mark.parametrize("mode", MODES)
def test_messages_between_cores(mode: dict[str, Any]) -> None:
    """A ring: each core adds its own value to what it got and passes it on."""
    codes: dict[int, tuple[Inst, ...]] = {}
    for core in range(4):
        asm = Asm()
        asm.copy("ld", 0, 16 * core, 16)
        asm.sync(0, "dma", "noc")
        if core:
            asm.recvadd(core - 1, 7, 0, 4)
        if core < 3:
            asm.send(core + 1, 7, 0, 16)
        asm.sync(1, "noc", "dma")
        asm.copy("st", 256 + 16 * core, 0, 16)
        codes[core] = asm.done()
    system, _ = run(program(codes), **mode)
    values = np.arange(16, dtype=np.float32)
    system.dram[:64] = values.view(np.uint8)
    result = system.run()
    assert result.reason is StopReason.HALT, result.fault
    stored = system.dram[256:320].view(np.float32).reshape(4, 4)
    assert (stored == np.cumsum(values.reshape(4, 4), axis=0)).all()


@pytest.mark.parametrize("mode", MODES)
def test_multicast_and_messages_in_order(mode: dict[str, Any]) -> None:
    sender = Asm()
    for k in range(6):  # more than the channel's two credits
        sender.fill(0, 8, 0x1111 * (k + 1))
        sender.sync(0, "dma", "noc")
        sender.mcast(0b1111, 3, 0, 8)
        sender.sync(1, "noc", "dma")
    codes = {0: sender.done()}
    for core in (1, 2, 3):
        asm = Asm()
        for k in range(6):
            asm.recv(0, 3, 16 * k, 8)
        codes[core] = asm.done()
    system, result = run(program(codes), **mode)
    assert result.reason is StopReason.HALT, result.fault
    for there in system.chip.cores[1:]:
        for k in range(6):
            assert (there.sram[16 * k : 16 * k + 8].view(np.uint16) == 0x1111 * (k + 1)).all()


def test_minus_zero_is_loaded_as_plus_zero() -> None:
    one, two = Asm(), Asm()
    one.fill(0, 4, 0x8000)
    one.fill(0, 2, 0)
    one.sync(0, "dma", "noc")
    one.send(1, 0, 0, 4)
    two.fill(0, 4, 0x8000)
    two.fill(0, 2, 0)
    two.sync(0, "dma", "noc")
    two.recvadd(0, 0, 0, 1)
    system, result = run(program({0: one.done(), 1: two.done()}))
    assert result.reason is StopReason.HALT
    assert system.chip.cores[0].sram[:4].view(np.uint32)[0] == 0x80000000
    assert system.chip.cores[1].sram[:4].view(np.uint32)[0] == 0


@pytest.mark.parametrize("timing", [True, False])
@pytest.mark.parametrize("kind", ["missing", "no program", "length", "mask", "negative"])
def test_message_traps(kind: str, timing: bool) -> None:
    one, two = Asm(), Asm()
    expected = "core"
    if kind == "missing":
        one.send(4, 0, 0, 4)
    elif kind == "no program":
        one.send(3, 0, 0, 4)
    elif kind == "mask":
        one.mcast(1 << 5, 0, 0, 4)
    elif kind == "negative":
        one.recv(-1, 0, 0, 4)
    else:
        expected = "length"
        one.send(1, 0, 0, 4)
        two.recv(0, 0, 0, 8)
    system, result = run(program({0: one.done(), 1: two.done()}), timing=timing)
    assert result.fault is not None
    assert (result.reason, result.fault.kind) == (StopReason.TRAP, expected)
    assert all((core.sram == 0x7E).all() for core in system.chip.cores)


@pytest.mark.parametrize("timing", [True, False])
@pytest.mark.parametrize("unit", ["seq", "fp"])
def test_a_semaphore_that_overflows_traps(unit: str, timing: bool) -> None:
    asm = Asm()
    asm.post(unit, 5, 65_535)
    asm.post(unit, 5, 1)
    system, result = run_code(asm.done(), timing=timing)
    assert result.fault is not None
    assert (result.fault.kind, result.exit_code) == ("token", 3)
    assert result.fault.where is not None
    assert (result.fault.where.unit, result.fault.where.pc) == (unit, 1)
    assert system.chip.cores[0].semaphores.values[5] == 65_535


@pytest.mark.parametrize("timing", [True, False])
def test_deadlock_names_who_waits_for_whom(timing: bool) -> None:
    asm = Asm()
    asm.wait("fp", 1)
    asm.post("fp", 2)
    asm.wait("wg", 2)
    asm.post("wg", 1)
    _, result = run_code(asm.done(), timing=timing)
    assert (result.reason, result.exit_code) == (StopReason.DEADLOCK, 5)
    assert result.fault is not None
    assert {(w.unit, w.providers) for w in result.fault.waiting} == {
        ("fp", ((0, "wg"),)),
        ("wg", ((0, "fp"),)),
    }
    assert set(result.fault.cycle) == {(0, "fp"), (0, "wg")}
    assert "sem1 >= 1 (it is 0)" in str(result.fault)


@pytest.mark.parametrize("timing", [True, False])
def test_deadlock_between_cores(timing: bool) -> None:
    codes: dict[int, tuple[Inst, ...]] = {}
    for core in (0, 1):
        asm = Asm()
        asm.recv(1 - core, 0, 0, 4)
        asm.send(1 - core, 0, 0, 4)
        codes[core] = asm.done()
    _, result = run(program(codes), timing=timing)
    assert result.fault is not None
    assert result.reason is StopReason.DEADLOCK
    assert set(result.fault.cycle) == {(0, "noc"), (1, "noc")}
    assert "a message from core 1 with tag 0" in str(result.fault)


@pytest.mark.parametrize("timing", [True, False])
def test_deadlock_by_full_queue_and_by_credit(timing: bool) -> None:
    asm = Asm()
    asm.wait("fp", 1)
    for _ in range(5):
        asm.post("fp", 2)
    asm.post("bp", 1)
    _, result = run_code(asm.done(), timing=timing)
    assert result.fault is not None
    assert set(result.fault.cycle) == {(0, "seq"), (0, "fp")}
    assert "room in the queue of fp (4 entries)" in str(result.fault)

    sender = Asm()
    for _ in range(3):
        sender.send(1, 0, 0, 0)
    _, result = run(program({0: sender.done(), 1: (HALT,)}), timing=timing)
    assert result.fault is not None
    assert result.reason is StopReason.DEADLOCK
    assert "credit on the channel to core 1" in str(result.fault)


def test_more_credits_let_the_same_program_end() -> None:
    sender = Asm()
    for _ in range(3):
        sender.send(1, 0, 0, 0)
    machine = small(**{"noc.channel_credits": 3})
    sender.post("dma", 9, 2)
    _, result = run(program({0: sender.done(), 1: (HALT,)}, machine))
    assert result.reason is StopReason.HALT
    assert result.leftovers == (
        "core 0: sem9 is 2",
        "core 1: 3 messages from core 0 with tag 0",
    )


@pytest.mark.parametrize("mode", MODES)
def test_the_sequencer_waits_and_posts(mode: dict[str, Any]) -> None:
    asm = Asm()
    asm.fill(0, 8, 0x3C00)
    asm.post("dma", 4)
    asm.wait("seq", 4)
    asm.post("seq", 5)
    asm.wait("dma", 5)
    asm.copy("copy", 8, 0, 8)
    system, result = run_code(asm.done(), **mode)
    assert result.reason is StopReason.HALT
    assert (system.chip.cores[0].sram[8:16].view(np.uint16) == 0x3C00).all()


def test_cycles_are_found_behind_a_tail() -> None:
    def waits(unit: str, *others: str) -> Waiting:
        return Waiting(0, unit, "", tuple((0, o) for o in others))

    chain = [waits("a", "b"), waits("b", "x", "c"), waits("c", "d"), waits("d", "b")]
    assert set(find_cycle(chain)) == {(0, "b"), (0, "c"), (0, "d")}
    assert find_cycle([waits("a", "b"), waits("b", "c")]) == ()
