"""Runs without values: the same schedule as full runs when the activity is the same."""

import io

import numpy as np
import pytest

from snncc.isa.machine.machine import load_machine
from snncc.isa.random_programs.programs import random_program
from snncc.isasim.engines import select_engine
from snncc.isasim.engines.base import LANE_MNEMONICS, MNEMONICS
from snncc.isasim.measure.activity import ActivityError, ActivityRecorder, Expected, Recording
from snncc.isasim.measure.stats import Stats
from snncc.isasim.system import RunOptions, System
from unit.isasim.engine_cases import random_case
from unit.isasim.test_observers import busy_program, filled


def recorded() -> tuple[Stats, bytes]:
    recorder = ActivityRecorder()
    result = filled(busy_program(), recorder=recorder, timeline=True).run()
    out = io.BytesIO()
    recorder.write(out, "ring")
    return result.stats, out.getvalue()


def test_a_recording_gives_the_same_statistics() -> None:
    stats, data = recorded()
    source = Recording.read(data, "ring")
    system = System(busy_program(), RunOptions(source=source, timeline=True))
    for _ in range(2):  # and again
        assert system.run().stats == stats
    assert not system.dram.any()


def test_a_recording_must_fit() -> None:
    _, data = recorded()
    with pytest.raises(ActivityError, match="another program"):
        Recording.read(data, "other")
    for damaged in (b"", data[:100], b"PK\3\4" + bytes(50)):
        with pytest.raises(ActivityError, match="no recording"):
            Recording.read(damaged)
    empty = Recording({})
    with pytest.raises(ActivityError, match="runs more often than in the recording"):
        System(busy_program(), RunOptions(source=empty)).run()
    with pytest.raises(ActivityError, match="different lengths"):
        Recording.of(np.array([[0, 0, 2]]), np.zeros((1, 6), np.int64))


@pytest.mark.parametrize("density", [-0.1, 1.5])
def test_a_density_is_a_share(density: float) -> None:
    with pytest.raises(ActivityError, match="not between 0 and 1"):
        Expected({}, density)
    with pytest.raises(ActivityError, match="not between 0 and 1"):
        Expected({("fc1", "fp"): density})


def test_statistics_give_densities_by_layer_and_phase() -> None:
    layers = [
        {"name": "a", "phase": "fp", "macs": {"dense": 10}, "density": 0.25},
        {"name": "a", "phase": "bp", "macs": {"dense": 0}, "density": 0.0},
    ]
    found = Expected.from_stats({"layers": layers}, 0.5)
    assert found.densities.found == {("a", "fp"): 0.25}
    assert found.densities.default == 0.5
    for bad in ({}, {"layers": 3}, {"layers": [{"name": "a"}]}):
        with pytest.raises(ActivityError):
            Expected.from_stats(bad)


@pytest.mark.parametrize("mnemonic", sorted(MNEMONICS))
def test_the_expectation_at_the_counted_density_is_the_count(mnemonic: str) -> None:
    engine = select_engine("reference")
    core = System(busy_program()).chip.cores[0]
    close = compared = 0
    for seed in range(40):
        op, memory = random_case(mnemonic, seed, limit=40)
        counted = engine.execute(op, memory)
        if not counted.dense:
            continue
        found = Expected({}, counted.performed / counted.dense)(core, 0, op)
        assert found.dense == counted.dense, op
        assert 0 <= found.performed <= found.dense
        if mnemonic in LANE_MNEMONICS:
            assert found[:2] == counted[:2]
        compared += 1
        close += abs(found.performed - counted.performed) <= 0.02 * counted.dense + 64
    assert close >= (0 if mnemonic == "poolgrad" else 0.7) * compared  # it has no price there
    assert compared


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_take_the_same_time(seed: int) -> None:
    file = random_program(seed, load_machine("small"), windows=bool(seed % 2))
    recorder = ActivityRecorder()
    full = System(file, RunOptions(engine="reference", recorder=recorder))
    result = full.run()
    if result.exit_code:
        pytest.skip("this program stops")
    out = io.BytesIO()
    recorder.write(out)
    again = System(file, RunOptions(source=Recording.read(out.getvalue()))).run()
    assert again.stats == result.stats
