"""Hostile programs and damaged object files: every run stops properly, on every path the same way.

``make fuzz`` runs many of them; SNNCC_FUZZ_SEED chooses the first.
"""

from __future__ import annotations

import os
import random

import pytest

from snncc.isa.machine.machine import load_machine
from snncc.isa.program.file import ObjectFileError, from_bytes, to_bytes
from snncc.isa.random_programs.programs import random_program
from snncc.isasim.faults import TRAP_KINDS
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import program
from unit.isasim.test_hostile_programs import hostile, micro

FIRST = int(os.environ.get("SNNCC_FUZZ_SEED", "0"))
COUNT = 2000 if "SNNCC_FUZZ_SEED" in os.environ else 40
PROPER = {*TRAP_KINDS, "halt", "limit", "deadlock"}
SMALL = load_machine("small")


@pytest.mark.parametrize("block", range(10))
def test_every_way_stops_alike(block: int) -> None:
    """Where units are ordered (no races), all ways give the same report and the same memory."""
    for seed in range(FIRST + block, FIRST + COUNT, 10):
        file = program(hostile(seed), micro=micro())
        checked = System(
            file, RunOptions(engine="reference", check_races=True, max_instructions=3000)
        )
        first = checked.run()
        kind = first.fault.kind if first.fault else "halt"
        assert kind in PROPER, seed
        for options in (
            RunOptions(engine="reference", max_instructions=3000),
            RunOptions(engine="fast", max_instructions=3000),
            RunOptions(engine="fast", max_instructions=3000, threads=2),
        ):
            system = System(file, options)
            result = system.run()
            if first.races:
                assert (result.fault.kind if result.fault else "halt") in PROPER, seed
                continue
            assert str(result.fault) == str(first.fault), (seed, options)
            assert result.cycles == first.cycles, (seed, options)
            assert system.dram.tobytes() == checked.dram.tobytes(), (seed, options)


@pytest.mark.parametrize("block", range(4))
def test_damaged_object_files_are_refused_or_run(block: int) -> None:
    for seed in range(FIRST + block, FIRST + COUNT, 4):
        rng = random.Random(seed)
        data = bytearray(to_bytes(random_program(seed % 50, SMALL)))
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.randint(1, 4)):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            file = from_bytes(bytes(data))
            result = System(file, RunOptions(engine="reference", max_instructions=3000)).run()
        except ObjectFileError:
            continue
        assert (result.fault.kind if result.fault else "halt") in PROPER, seed
