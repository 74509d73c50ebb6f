"""The critical path: worked out by hand on the small machine, and complete on random programs.

DMA 16 bytes per cycle and 20 cycles, DRAM 32 bytes per cycle and 50 cycles, a fill 32 bytes per
cycle; links 16 bytes per cycle, two cycles per hop; code comes first, at the DRAM's rate.
"""

import pytest

from snncc.isa.machine.machine import load_machine
from snncc.isa.program.file import ObjectFile, SourceLine
from snncc.isa.random_programs.programs import random_program
from snncc.isasim.measure.stats import Stats
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import Asm, program

LATENCY = 70


def path(file: ObjectFile) -> tuple[dict[tuple[str, str], int], Stats]:
    """Run; return cycles by unit and cause, and all statistics."""
    result = System(file, RunOptions(timeline=True)).run()
    assert result.fault is None
    found: dict[tuple[str, str], int] = {}
    for row in result.stats["critical"]:
        assert sum(row["cores"].values()) == row["cycles"] > 0
        key = row["unit"], row["cause"]
        found[key] = found.get(key, 0) + row["cycles"]
    assert sum(found.values()) == result.cycles
    return found, result.stats


def test_load_then_wait_then_store() -> None:
    """Nothing overlaps: two transfers with their latencies, a post and a wait between them."""
    asm = Asm()
    asm.copy("ld", 0, 0, 512)
    asm.sync(0, "dma", "fp")
    asm.sync(1, "fp", "dma")
    asm.copy("st", 0, 0, 512)
    found, _ = path(program(asm.done()))
    assert found == {
        ("seq", "fetch"): LATENCY + 5,  # 9 words of 16 bytes, 32 per cycle
        ("seq", "busy"): 2,  # li, li
        ("dma", "busy"): 32 + 1 + 1 + 32,  # load, post, wait, store
        ("dma", "latency"): LATENCY + LATENCY,  # the post waits for data, the end for the store
    }


def test_a_message_between_two_cores() -> None:
    one, two = Asm(), Asm()
    one.copy("ld", 0, 0, 512)
    one.sync(0, "dma", "noc")
    one.send(3, 7, 0, 512)
    two.recv(0, 7, 0, 512)
    found, stats = path(program({0: one.done(), 3: two.done()}))
    assert found == {
        ("seq", "fetch"): LATENCY + 4,
        ("seq", "busy"): 2,
        ("dma", "busy"): 32,
        ("dma", "latency"): LATENCY,
        ("noc", "busy"): 1 + 32,  # the wait on core 0, the write on core 3
        ("noc", "message"): 32 + 2 * 2,  # 32 flits over two hops of two cycles
    }
    cores = {row["unit"] + row["cause"]: row["cores"] for row in stats["critical"]}
    assert cores["nocbusy"] == {"0": 1, "3": 32}
    assert cores["dmabusy"] == {"0": 32}


def test_the_second_of_two_loads_waits_for_the_bus() -> None:
    """Each needs the bus for 64 cycles; core 1 starts two cycles later, as its code came later."""
    cores: dict[int, Asm] = {0: Asm(), 1: Asm()}
    for asm in cores.values():
        asm.copy("ld", 0, 0, 2048)
    found, _ = path(program({core: asm.done() for core, asm in cores.items()}))
    assert found == {
        ("seq", "fetch"): LATENCY + 4,
        ("seq", "busy"): 2,
        ("dma", "dram"): 64 - 2,
        ("dma", "busy"): 128,
        ("dma", "latency"): LATENCY,
    }


def test_a_full_queue_leads_back_to_the_unit_that_fills_it() -> None:
    """Twelve fills of 64 cycles; the sequencer only waits for room, four entries deep."""
    asm = Asm()
    for _ in range(12):
        asm.fill(0, 2048, 0)
    found, _ = path(program(asm.done()))
    assert found == {
        ("seq", "fetch"): LATENCY + 8,  # 15 words
        ("seq", "busy"): 2,
        ("dma", "busy"): 12 * 64,
        ("dma", "latency"): 20,
    }


def test_a_branch_that_nobody_waits_for_is_not_on_the_path() -> None:
    """The network unit and the longer DMA work run side by side; layers have their names."""
    asm = Asm()
    asm.fill(0, 32, 0)
    long = asm.fill(0, 32 * 500, 0)
    asm.post("noc", 3)
    asm.wait("noc", 3)
    lines = [SourceLine(0, layer="a", phase="fp"), SourceLine(long, layer="b", phase="bp")]
    _, stats = path(program(asm.done(), lines={0: lines}))
    rows = {(row["unit"], row["cause"], row["layer"]): row["cycles"] for row in stats["critical"]}
    assert rows["dma", "busy", "b"] == 500
    assert not any(unit == "noc" for unit, _, _ in rows)


@pytest.mark.parametrize("seed", range(12))
def test_every_cycle_of_random_programs_is_on_the_path_once(seed: int) -> None:
    file = random_program(seed, load_machine("small"))
    path(file)
    plain = System(file, RunOptions()).run()
    assert "critical" not in plain.stats
    assert (
        System(file, RunOptions(timeline=True, threads=2)).run().stats["critical"]
        == (System(file, RunOptions(timeline=True)).run().stats["critical"])
    )
