"""Runs without values, on what full runs of compiled networks recorded: equal in every number."""

from pathlib import Path

import numpy as np
import pytest

from made_networks import NETWORKS, program
from snncc.compiler.driver.simulate import LoadedProgram
from snncc.isasim.measure.activity import ActivityRecorder, Recording
from snncc.isasim.system import RunOptions, System


@pytest.mark.parametrize("cores", [1, 4])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_recorded_densities_give_the_numbers_of_the_full_run(
    name: str, cores: int, tmp_path: Path
) -> None:
    made = program(name, tmp_path, cores)
    recorder = ActivityRecorder()
    chip = LoadedProgram(
        made.object_file, made.interface, options=RunOptions(recorder=recorder, timeline=True)
    )
    rng = np.random.default_rng(5)
    shape = {"dense": (5, 4, 24), "convolutional": (4, 4, 2, 8, 8), "recurrent": (5, 4, 20)}[name]
    full = chip.run(rng.random(shape, np.float32) * 2, rng.integers(0, 6, 4))
    source = Recording(recorder.found)
    again = System(made.object_file, RunOptions(source=source, timeline=True)).run()
    assert 0 < full.stats["macs"]["performed"] < full.stats["macs"]["dense"]
    assert again.cycles == full.cycles
    assert again.stats == full.stats
