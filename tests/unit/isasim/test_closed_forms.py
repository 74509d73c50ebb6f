"""Whole layers whose cycles and energy are worked out by hand, on the small machine.

DMA 16 bytes per cycle, DRAM 32 for all, latency 20 + 50; a 16 x 16 array with latency 16; links of
16 bytes per cycle, two cycles per hop.
"""

from collections.abc import Sequence

import pytest

from snncc.isa.spec import Inst
from snncc.isasim.faults import StopReason
from snncc.isasim.measure.stats import Stats
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import SLOT, Asm, program, small

LATENCY, ARRAY = 70, 16
ROWS, K, N = 64, 128, 32
SPIKES, WEIGHTS, SUMS = ROWS * K // 8, 2 * K * N, 4 * ROWS * N
DENSE = ROWS * K * N
MACHINE = small()


def fetched(words: int) -> int:
    return LATENCY + -(-16 * words // 32)


def gacc(asm: Asm, acc: int, a: int, w: int, k: int = K) -> int:
    """All rows; new sums."""
    return asm.emit(
        "gacc", acc=asm.reg(acc), acc_stride=asm.reg(4 * N), a=asm.reg(a),
        a_stride=asm.reg(k // 8), w=asm.reg(w), w_stride=asm.reg(2 * N), rows=asm.reg(ROWS),
        k=asm.reg(k), n=asm.reg(N), bias=asm.reg(0), init=1,
    )  # fmt: skip


def stats_of(code: Asm, spikes: int) -> tuple[Stats, int]:
    """Run; the spikes are bytes of this value.  Return also when the first instruction issues."""
    words = code.done()
    system = System(program(words, dram_bytes=1 << 17), RunOptions(engine="reference"))
    system.dram[:] = 0
    system.dram[:SPIKES] = spikes
    result = system.run()
    assert result.reason is StopReason.HALT, result.fault
    return result.stats, fetched(len(words))


def layer_that_fits() -> tuple[Asm, int]:
    asm = Asm()
    for value in (1, 4 * N, K // 8, 2 * N, ROWS, K, N, SPIKES, WEIGHTS, SUMS, 16384, 1 << 16):
        asm.reg(value)
    first = asm.copy("ld", 0, 0, SPIKES)
    asm.copy("ld", SPIKES, SPIKES, WEIGHTS)
    asm.sync(0, "dma", "fp")
    gacc(asm, 16384, 0, SPIKES)
    asm.sync(1, "fp", "dma")
    asm.copy("st", 1 << 16, 16384, SUMS)
    return asm, first


@pytest.mark.parametrize(("spikes", "share"), [(0xFF, 1.0), (0x00, 0.0), (0x01, 1 / 8)])
def test_a_layer_that_fits(spikes: int, share: float) -> None:
    """Load, accumulate, store: one after the other."""
    asm, first = layer_that_fits()
    stats, begin = stats_of(asm, spikes)
    blocks = ROWS * K // 16 if share else 0  # every byte has a spike or none has
    steps = blocks * N // 16
    weight_passes = 1  # the spikes fit the 2312 bytes of the a buffer
    ports = max((SPIKES * weight_passes + WEIGHTS) // 32, SUMS // 64)
    work = max(steps, ports)
    load = (SPIKES + WEIGHTS) // 16
    sync = 1  # the wait behind a post
    expected = begin + first + load + LATENCY + sync + work + ARRAY + sync + SUMS // 16 + LATENCY
    assert stats["cycles"] == expected
    assert stats["macs"] == {"dense": DENSE, "performed": round(share * DENSE)}
    code = 16 * len(asm.done())
    assert stats["dram_bytes"] == {
        "read": SPIKES + WEIGHTS, "write": SUMS, "instruction": code,
    }  # fmt: skip
    dram = 8 * MACHINE.dram.pj_per_bit * (SPIKES + WEIGHTS + SUMS + code)
    assert stats["energy_pj"]["dram"] == pytest.approx(dram)
    add, mux = MACHINE.energy.mac_add, MACHINE.energy.mux
    slots = DENSE if share else 0
    compute = share * DENSE * add + slots * mux
    assert stats["energy_pj"]["unit"]["fp"] == pytest.approx(compute)
    power = MACHINE.power
    running = stats["cycles"] - stats["units"]["seq"]["cores"][0]["stall"].get("never", 0)
    static = (power.chip_mw + 4 * power.core_leakage_mw) * stats["cycles"]
    static += power.core_clock_mw * running
    per_mw = 1e9 / MACHINE.clock_hz
    assert sum(stats["energy_pj"]["static"].values()) == pytest.approx(per_mw * static)


def streaming(tiles: int, loads: int) -> tuple[Asm, int]:
    """Weights of ``tiles`` tiles go through two buffers; each is loaded ``loads`` times."""
    asm = Asm()
    for value in (1, 4 * N, K // 8, 2 * N, ROWS, K, N, SPIKES, WEIGHTS, SPIKES + WEIGHTS, 20480):
        asm.reg(value)
    asm.emit("post", unit=SLOT["fp"], sem=1, n=2)  # two buffers are free
    first = asm.copy("ld", 0, 0, SPIKES)
    assert tiles % 2 == 0
    with asm.loop(tiles // 2):
        for buffer in (SPIKES, SPIKES + WEIGHTS):
            asm.wait("dma", 1)
            for _ in range(loads):
                asm.copy("ld", buffer, SPIKES, WEIGHTS)
            asm.post("dma", 0)
            asm.wait("fp", 0)
            gacc(asm, 20480, 0, buffer)
            asm.post("fp", 1)
    return asm, first


@pytest.mark.parametrize("tiles", [4, 10, 50])
def test_a_layer_that_streams_and_is_bound_by_its_engine(tiles: int) -> None:
    """The array takes 1024 cycles per tile, the load 512: the first load is exposed."""
    asm, first = streaming(tiles, 1)
    stats, begin = stats_of(asm, 0xFF)
    steps = ROWS * K // 16 * N // 16
    load = SPIKES // 16 + 1 + WEIGHTS // 16 + LATENCY
    per_tile = 1 + steps + ARRAY + 1  # wait, work, and a post that waits for the results
    assert stats["cycles"] == begin + first + load + tiles * per_tile
    assert stats["units"]["fp"]["cores"][0]["busy"] == 1 + tiles * (1 + steps + 1)


@pytest.mark.parametrize("tiles", [4, 10, 50])
def test_a_layer_that_streams_and_is_bound_by_the_dram(tiles: int) -> None:
    """Without spikes the engine needs the ports only: the loads follow each other."""
    asm, first = streaming(tiles, 1)
    stats, begin = stats_of(asm, 0x00)
    work = (SPIKES + WEIGHTS) // 32
    per_tile = 1 + WEIGHTS // 16 + LATENCY + 1  # the post waits for the data
    expected = begin + first + SPIKES // 16 + tiles * per_tile - 1 + 1 + work + ARRAY + 1
    assert stats["cycles"] == expected
    dma = stats["units"]["dma"]["cores"][0]
    assert dma["stall"]["latency"] == tiles * LATENCY
    assert stats["dram_bytes"]["read"] == SPIKES + tiles * WEIGHTS


@pytest.mark.parametrize(("turns", "size"), [(1, 160), (7, 160), (20, 1600)])
def test_two_cores_that_exchange_in_turns(turns: int, size: int) -> None:
    """Ping and pong: each way takes hop, flits, and the way into the scratchpad."""
    ping, pong, start = Asm(), Asm(), 0
    for asm, other in ((ping, 1), (pong, 0)):
        for value in (0, other, size, 4096):
            asm.reg(value)
        with asm.loop(turns):
            if asm is ping:
                start = asm.send(other, 0, 0, size)
                asm.recv(other, 0, 4096, size)
            else:
                asm.recv(other, 0, 4096, size)
                asm.send(other, 0, 4096, size)
    codes = {0: ping.done(), 1: pong.done()}
    system = System(program(codes), RunOptions(engine="reference"))
    result = system.run()
    assert result.reason is StopReason.HALT, result.fault
    way = 2 + size // 16 + size // 16  # one hop, flits over the link, flits into the memory
    assert result.cycles == fetched(len(codes[0])) + start + 2 * turns * way
    stats = result.stats
    assert stats["noc_bytes"] == 2 * turns * size
    links = {(x["from"], x["to"]): x["busy"] for x in stats["links"]}
    assert links[0, 1] == links[1, 0] == turns * size // 16
    energy = 2 * turns * 8 * size * MACHINE.noc.pj_per_bit_hop
    assert stats["energy_pj"]["noc"] == pytest.approx(energy)


@pytest.mark.parametrize("messages", [10, 40])
def test_a_link_that_two_senders_saturate(messages: int) -> None:
    """Cores 0 and 1 of a row send to 2 and 3; the link 1 -> 2 carries one flit per cycle."""
    size = 1600
    machine = small(**{"cores": 4, "mesh.rows": 1, "mesh.cols": 4, "noc.channel_credits": 64})
    codes: dict[int, Sequence[Inst]] = {}
    for core in range(4):
        asm, other = Asm(), (core + 2) % 4
        for value in (0, other, size):
            asm.reg(value)
        with asm.loop(messages):
            if core < 2:
                asm.send(other, 0, 0, size)
            else:
                asm.recv(other, 0, 0, size)
        codes[core] = asm.done()
    result = System(program(codes, machine), RunOptions(engine="reference")).run()
    assert result.reason is StopReason.HALT, result.fault
    links = {(x["from"], x["to"]): x["busy"] for x in result.stats["links"]}
    flits = size // 16
    assert links[1, 2] == 2 * messages * flits
    issued = fetched(len(codes[0])) + sum(i.insn.mnemonic != "send" for i in codes[0][:-1])
    begin = issued + 2  # the first head is at core 1; from then on the link is never free
    last = 3 + flits  # a hop out (core 3 only), then into the memory
    assert result.cycles == pytest.approx(begin + links[1, 2] + last, abs=4)
    stall = result.stats["units"]["noc"]["stall"]["link"]
    assert stall == pytest.approx(messages * flits, rel=0.1)
