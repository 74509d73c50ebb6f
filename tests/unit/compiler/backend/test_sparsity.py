"""Sparse data costs less: the terms that a run performs are counted from its spikes by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snncc.compiler.driver import api

STEPS, BATCH, IN, HIDDEN, OUT = 5, 4, 24, 40, 6
NETWORK = f"""input({IN}, steps={STEPS})
init(seed=3, gain=2)
dense({HIDDEN}) lif(beta=0.9, reset=subtract)
dense({OUT}) lif(beta=0.9, reset=subtract)
"""
CONFIG = """[input]
spikes = true
"""


def model(folder: Path) -> api.Model:
    (folder / "net.snn").write_text(NETWORK)
    (folder / "net.toml").write_text(CONFIG)
    return api.load(folder / "net.snn", config=folder / "net.toml", batch=BATCH)


def terms(stats: Any, phase: str) -> dict[int, int]:
    """Performed terms of a phase, by the number of dense ones, which tells the layers apart."""
    return {
        one["macs"]["dense"]: one["macs"]["performed"]
        for one in stats["layers"]
        if one["phase"] == phase and one["macs"]["dense"]
    }


FIRST, SECOND = STEPS * BATCH * IN * HIDDEN, STEPS * BATCH * HIDDEN * OUT


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 1.0])
def test_gated_terms_are_spikes_times_outputs(tmp_path: Path, density: float, engine: str) -> None:
    rng = np.random.default_rng(2)
    x = (rng.random((STEPS, BATCH, IN)) < density).astype(np.float32)
    y = rng.integers(0, OUT, BATCH)
    found = api.run(model(tmp_path), x, y, engine=engine, spikes=True)
    spikes = [v for k, v in found.items() if k.startswith("spikes/") and v.shape[-1] == HIDDEN]
    assert len(spikes) == 1
    ones, fired = int(x.sum()), int(spikes[0].sum())
    assert terms(found.stats, "fp") == {FIRST: ones * HIDDEN, SECOND: fired * OUT}
    assert terms(found.stats, "wg") == {FIRST: ones * HIDDEN, SECOND: fired * OUT}
    assert found.stats is not None
    if 0 < density < 1:
        assert 0 < ones * HIDDEN < FIRST
        assert found.stats["macs"]["performed"] < found.stats["macs"]["dense"]


def test_fewer_spikes_take_less_energy_and_no_more_time(tmp_path: Path) -> None:
    program = api.compile(model(tmp_path), mode="train")
    rng = np.random.default_rng(2)
    draw = rng.random((STEPS, BATCH, IN))
    y = rng.integers(0, OUT, BATCH)
    found: list[Any] = [
        api.run(program, (draw < d).astype(np.float32), y).stats for d in (0.0, 0.1, 0.9)
    ]
    energy = [each["energy_pj"]["total"] for each in found]
    assert energy[0] < energy[1] < energy[2]
    cycles = [each["cycles"] for each in found]
    assert cycles == sorted(cycles)
