"""Times that can be worked out by hand, on the small machine.

DRAM: 32 bytes per cycle for all, 16 per core; latency 20 + 50.  Links: 16 bytes per cycle,
two cycles per hop.
"""

from typing import Any

import pytest

from snncc.isa.machine.machine import Machine
from snncc.isasim.faults import StopReason
from snncc.isasim.machine.sequencer import Sequencer
from snncc.isasim.measure.stats import Stats
from unit.isasim.programs import HALT, Asm, program, run, small

LATENCY = 70


def fetched(words: int) -> int:
    """Cycles until a core's program is loaded."""
    return LATENCY + -(-16 * words // 32)


def timed(file: Any) -> tuple[int, Stats, Sequencer]:
    system, result = run(file)
    assert result.reason is StopReason.HALT, result.fault
    return result.cycles, result.stats, system.chip.cores[0].seq


def test_an_empty_program_takes_its_fetch_and_its_halt() -> None:
    cycles, stats, _ = timed(program([HALT]))
    assert cycles == fetched(1) + 1
    assert stats["dram_bytes"]["instruction"] == 16
    assert stats["instructions"] == 1


@pytest.mark.parametrize(("size", "transfer"), [(16, 1), (17, 2), (1600, 100), (1, 1)])
def test_one_load_is_latency_and_bytes_over_bandwidth(size: int, transfer: int) -> None:
    asm = Asm()
    at = asm.copy("ld", 0, 0, size)
    code = asm.done()
    cycles, stats, _ = timed(program(code))
    bursts = -(-size // 8) * 8
    assert cycles == fetched(len(code)) + at + max(transfer, -(-bursts // 16)) + LATENCY
    assert stats["dram_bytes"]["read"] == bursts


def test_loads_overlap_their_latencies_and_a_post_waits_for_the_last() -> None:
    asm = Asm()
    first = asm.copy("ld", 0, 0, 1600)
    asm.copy("ld", 1600, 1600, 1600)
    asm.post("dma", 1)
    asm.wait("seq", 1)
    code = asm.done()
    cycles, stats, _ = timed(program(code, dram_bytes=3200))
    start = fetched(len(code)) + first
    assert cycles == start + 200 + LATENCY + 1 + 1  # wait and halt issue after the post's start
    assert stats["units"]["dma"]["stall"]["latency"] == LATENCY
    assert stats["units"]["dma"]["busy"] == 201


def test_two_cores_share_the_dram() -> None:
    """Four cores ask for 16 bytes per cycle each; the DRAM has 32."""
    asm = Asm()
    at = asm.copy("ld", 0, 0, 1600)
    code = asm.done()
    count = 4
    cycles, stats, _ = timed(program(dict.fromkeys(range(count), code)))
    last_fetch = LATENCY + count * -(-16 * len(code) // 32)
    begins: list[int] = []
    bus = 0
    for core in range(count):
        start = LATENCY + (core + 1) * -(-16 * len(code) // 32) + at
        begin = max(start, bus)
        bus = begin + 1600 // 32
        begins.append(begin)
    assert cycles == max(b + 100 for b in begins) + LATENCY
    assert cycles > last_fetch + at + 100 + LATENCY  # the DRAM was the bottleneck
    assert stats["units"]["dma"]["stall"]["dram"] > 0


@pytest.mark.parametrize(("target", "hops"), [(1, 1), (2, 1), (3, 2), (0, 0)])
def test_a_message_takes_its_hops_and_its_flits(target: int, hops: int) -> None:
    asm = Asm()
    sent = asm.send(target, 0, 0, 160)
    received = Asm()
    if target:
        received.recv(0, 0, 0, 160)
    else:
        asm.recv(0, 0, 1000, 160)
    codes = {0: asm.done()} | ({target: received.done()} if target else {})
    cycles, stats, _ = timed(program(codes))
    start = fetched(len(codes[0])) + sent
    assert cycles == start + 2 * hops + 10 + 10  # way, flits into the mesh, into the scratchpad
    assert stats["noc_bytes"] == 160
    energy = 160 * 8 * hops * small().noc.pj_per_bit_hop
    assert stats["energy_pj"]["noc"] == pytest.approx(energy)


def test_a_saturated_link_delays_the_second_message() -> None:
    """Cores 0 and 1 of a 1 x 3 mesh send to core 2 at once: both need the link 1 -> 2."""
    machine = small(**{"cores": 3, "mesh.rows": 1, "mesh.cols": 3})
    one, two, sink = Asm(), Asm(), Asm()
    for asm in (one, two):
        asm.reg(0)
        asm.send(2, 0, 0, 1600)
    sink.recv(0, 0, 0, 1600)
    sink.recv(1, 0, 2000, 1600)
    codes = {0: one.done(), 1: two.done(), 2: sink.done()}
    cycles, stats, _ = timed(program(codes, machine))
    starts = [LATENCY + 1 * 2 + 2, LATENCY + 2 * 2 + 2]  # 2 cycles for 4 words; 2 li
    head = starts[0] + 2  # at the link 1 -> 2
    assert head < starts[1] + 10
    first = head + 100
    begin = first  # the second message gets the link
    assert stats["units"]["noc"]["stall"]["link"] == begin - starts[1]
    arrival = begin + 2 + 100
    assert cycles == max(arrival, head + 2 + 100 + 100) + 100


def test_a_full_queue_stops_the_sequencer() -> None:
    """The queue has 4 places; the fifth post finds it full until the wait has passed."""
    machine = small()
    assert machine.sequencer.queue_depth == 4
    other = Asm()
    load = other.copy("ld", 0, 0, 1600)
    other.post("dma", 1)
    other.wait("fp", 1)
    for _ in range(4):
        other.post("fp", 2)
    words = other.done()
    cycles, stats, _ = timed(program(words, machine))
    start = fetched(len(words)) + load
    passed = start + 100 + LATENCY  # the post of dma, and with it the wait of fp
    assert stats["units"]["seq"]["stall"]["queue"] == passed - (start + 6)
    assert cycles == passed + 5  # four more entries of the queue behind the wait


def test_code_that_does_not_fit_is_fetched_again_and_again() -> None:
    machine = small(**{"sequencer.instruction_bytes": 32})
    asm = Asm()
    with asm.loop(10):
        asm.emit("addi", rd=1, ra=1, imm=1)
        asm.emit("addi", rd=2, ra=2, imm=1)
    cycles, stats, seq = timed(program(asm.done(), machine))
    assert seq.executed == 22
    assert stats["dram_bytes"]["instruction"] == 22 * 16
    assert cycles == 22 * 2  # 16 bytes at a quarter of 32 bytes per cycle
    fits, _, _ = timed(program(asm.done()))
    assert fits == fetched(4) + 22


def test_more_bandwidth_is_never_slower() -> None:
    asm = Asm()
    for k in range(8):
        asm.copy("ld", 0, 64 * k, 64)
        asm.sync(0, "dma", "vpu")
        asm.colsum(1024, 0, 32)
        asm.sync(1, "vpu", "dma")
    code = asm.done()

    def cycles(machine: Machine) -> int:
        return timed(program(dict.fromkeys(range(4), code), machine))[0]

    base = cycles(small())
    assert cycles(small(**{"dram.bytes_per_cycle": 64})) <= base
    assert cycles(small(**{"dram.latency_cycles": 10})) < base
    assert cycles(small(**{"sequencer.queue_depth": 64})) <= base
