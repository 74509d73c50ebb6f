"""The work of a training step, against values computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snncc.compiler.driver import api
from snncc.compiler.driver.step_bound import engine_cycles, step_bound
from snncc.isa.cost.step_work import KEY, PhaseProducts, StepWork
from snncc.isa.machine.machine import load_machine

FIRE = "let fire = lif(beta=0.5, threshold=1, surrogate=fast_sigmoid(slope=25))\n"
TRAIN = "train { optimizer = sgd(lr=0.1)  readout = sum }\n"
DENSE = (
    f"network a\ninput(784, steps=25, static=false)\n{FIRE}"
    f"dense(1000) fire\ndense(10) fire\noutput(spk)\n{TRAIN}"
)
IMAGES = (
    f"network b\ninput(2x6x6, steps=3, static=false)\n{FIRE}"
    "conv(4, kernel=3, padding=1, bias=false) fire\n"
    "conv(8, kernel=3, padding=1, stride=2, bias=false) fire\nflatten\n"
    f"dense(10, bias=false) fire\noutput(spk)\n{TRAIN}"
)
"""6x6 images, kernel 3, padding 1: an axis has 3*6 - 2 = 16 pairs of position and tap inside; with
stride 2 (positions 0, 2, 4 of the padded frame) 3*3 - 1 = 8 pairs."""


def work(folder: Path, text: str, batch: int, **options: Any) -> StepWork:
    """Compile a network and return the work that its program states."""
    file = folder / "net.snn"
    file.write_text(text, encoding="utf-8")
    program = api.compile(api.load(file, batch=batch), target="small", **options)
    return StepWork.from_json(program.object_file.metadata[KEY])


def test_a_dense_network(tmp_path: Path) -> None:
    found = work(tmp_path, DENSE, 4)
    rows = 25 * 4
    assert set(found.products) == {
        PhaseProducts("dense1", "fp", rows * 784 * 1000),
        PhaseProducts("dense1", "wg", rows * 784 * 1000),  # no gradient of the input
        PhaseProducts("dense2", "fp", rows * 1000 * 10),
        PhaseProducts("dense2", "bp", rows * 1000 * 10),
        PhaseProducts("dense2", "wg", rows * 1000 * 10),
    }
    weights = 2 * (784 * 1000 + 1000 + 1000 * 10 + 10)
    inputs = 2 * rows * 784
    spikes = rows * 1000 // 8 + rows * 10 // 8
    assert found.compulsory == 3 * weights + inputs
    assert found.recomputing == 4 * weights + 2 * (inputs + spikes)


def test_convolutions(tmp_path: Path) -> None:
    found = work(tmp_path, IMAGES, 5)
    images = 3 * 5
    first, second = images * 16 * 16 * 2 * 4, images * 8 * 8 * 4 * 8
    assert set(found.products) == {
        PhaseProducts("conv1", "fp", first),
        PhaseProducts("conv1", "wg", first),
        PhaseProducts("conv2", "fp", second),
        PhaseProducts("conv2", "bp", second),
        PhaseProducts("conv2", "wg", second),
        PhaseProducts("dense1", "fp", images * 72 * 10),
        PhaseProducts("dense1", "bp", images * 72 * 10),
        PhaseProducts("dense1", "wg", images * 72 * 10),
    }
    weights = 2 * (4 * 2 * 9 + 8 * 4 * 9 + 72 * 10)
    inputs = 2 * images * 2 * 36
    bits = images * 4 * 36, images * 8 * 9, images * 10
    spikes = sum(-(-n // 8) for n in bits)
    assert found.compulsory == 3 * weights + inputs
    assert found.recomputing == 4 * weights + 2 * (inputs + spikes)


def test_work_does_not_depend_on_the_machine(tmp_path: Path) -> None:
    assert work(tmp_path, IMAGES, 5, cores=1) == work(tmp_path, IMAGES, 5, cores=4)


def test_the_bound_by_hand() -> None:
    """16 x 16 arrays on 20 cores that skip blocks; densities 1/2 in FP, 1 elsewhere."""
    machine = load_machine("multicore20")
    products = (
        PhaseProducts("a", "fp", 5120),
        PhaseProducts("a", "bp", 10240),
        PhaseProducts("a", "wg", 0),
    )
    made = StepWork(products, 64, 640)
    half = 1 - 0.5**16
    cycles = engine_cycles(made, machine, {("a", "fp"): 0.5})
    assert cycles == {"fp": pytest.approx(half), "bp": 2.0, "wg": 0.0}
    layers = [
        {"name": "a", "phase": "fp", "density": 0.5, "macs": {"dense": 5120}},
        {"name": "a", "phase": "bp", "density": 1.0, "macs": {"dense": 10240}},
        {"name": "a", "phase": "update", "density": 0.0, "macs": {"dense": 0}},
    ]
    stats = {"layers": layers, "cycles": 10, "dram_bytes": {"read": 1000, "write": 280}}
    found = step_bound(made, machine, stats)
    assert found["cycles"] == pytest.approx(2 + half)
    assert found["limit"] == "engines"
    assert found["utilisation"] == pytest.approx((2 + half) / 10)
    assert found["traffic"] == 2.0
    wide = step_bound(StepWork(made.products, 64 * 50, 640), machine, stats)
    assert (wide["cycles"], wide["limit"]) == (50.0, "dram")


def test_what_a_program_states_may_be_damaged() -> None:
    for found in ({}, {"products": 3}, {"products": [{"layer": "a"}], "compulsory_bytes": 1}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            StepWork.from_json(found)
