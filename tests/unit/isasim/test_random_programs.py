"""Random sound programs: every way of running them gives the same bits."""

from typing import Any

import pytest

from snncc.isa.machine.machine import load_machine
from snncc.isa.random_programs.programs import random_program
from snncc.isasim.faults import StopReason
from snncc.isasim.system import RunOptions, SimulationResult, System

WAYS: list[dict[str, Any]] = [
    {"engine": "fast"},
    {"engine": "fast", "timing": False},
    {"engine": "reference", "timing": False, "order_seed": 1},
    {"engine": "fast", "timing": False, "order_seed": 2},
    {"engine": "reference", "check_races": True, "strict_init": True},
    {"engine": "fast", "timing": False, "check_races": True},
]


def outcome(system: System, result: SimulationResult) -> tuple[Any, ...]:
    assert result.reason is StopReason.HALT, result.fault
    assert result.races == (), "\n".join(map(str, result.races))
    tensors = {name: system.read_tensor(name).tobytes() for name in system.tensors}
    memories = [core.sram.tobytes() for core in system.chip.cores]
    return tensors, memories, [core.seq.counts for core in system.chip.cores]


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 200))]
)
def test_every_way_gives_the_same_bits(seed: int) -> None:
    file = random_program(seed, load_machine("small"))
    system = System(file, RunOptions(engine="reference"))
    result = system.run()
    expected = outcome(system, result)
    assert result.cycles > 0
    energy = result.stats["energy_pj"]
    layers = result.stats["layers"]
    assert energy["total"] == pytest.approx(sum(x["energy_pj"] for x in layers))
    for unit in result.stats["units"].values():
        for core in unit["cores"]:
            assert core["busy"] + sum(core["stall"].values()) == result.cycles
    for way in WAYS:
        other = System(file, RunOptions(**way))
        again = other.run()
        assert outcome(other, again) == expected, way
        if way.get("timing", True):
            assert again.cycles == result.cycles
            assert again.stats == result.stats
