"""What a training run does, step by step, against a loop written out here.

Two runs that are compared with each other may both be wrong; so the order of the samples, the
numbers of the steps and the weights are computed here once more, the weights in the interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api
from snncc.compiler.driver.build import TO_PHASED, lower
from snncc.compiler.driver.trainer import Array, Data, Plan, batches, fit
from snncc.compiler.interp import evaluate

NETWORK = """input(6, steps=2)
init(seed=3, gain=2)
dense(5) lif(beta=0.9, reset=subtract)
dense(3)
"""
CONFIG = """[optimizer]
name = "sgd"
lr = 0.05
[weights]
rounding = "stochastic"
seed = 9
[training]
seed = 5
"""
SAMPLES, BATCH, EPOCHS = 11, 4, 3  # two steps an epoch, three samples are left out


class Watched:
    """Learns nothing; keeps the numbers of its steps and the samples that it saw."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, list[int]]] = []

    def step(self, x: Array, y: Array, number: int) -> tuple[float, Array]:
        self.steps.append((number, x[:, 0].astype(int).tolist()))
        return 0.0, np.zeros((len(y), 3))

    def predict(self, x: Array) -> Array:
        return np.zeros((len(x), 3))

    def state(self) -> dict[str, Array]:
        return {"count": np.array([len(self.steps)])}

    def load_state(self, state: Mapping[str, Array]) -> None:
        self.steps = []

    def stats(self) -> Mapping[str, Any]:
        return {"cycles": 1, "seconds": 0.0, "energy_pj": {"total": 1.0}, "dram_bytes": {}}


def numbered() -> Data:
    """Samples that hold their own number."""
    x = np.arange(SAMPLES, dtype=np.float32)[:, None]
    return Data(x, np.zeros(SAMPLES, np.int64), x[:0], np.zeros(0, np.int64))


def order(seed: int, epoch: int, count: int = SAMPLES) -> list[list[int]]:
    """The batches of an epoch: a permutation by Philox with the key (seed, epoch)."""
    found = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count).tolist()
    return [found[i : i + BATCH] for i in range(0, count - BATCH + 1, BATCH)]


@pytest.mark.parametrize("seed", [0, 5])
def test_steps_are_numbered_through_all_epochs(seed: int) -> None:
    learner = Watched()
    fit(learner, numbered(), Plan(EPOCHS, BATCH, seed))
    wanted = [each for epoch in range(1, EPOCHS + 1) for each in order(seed, epoch)]
    assert learner.steps == list(enumerate(wanted))
    assert len(learner.steps) == 6


def test_a_resumed_run_goes_on_with_the_next_number(tmp_path: Path) -> None:
    fit(Watched(), numbered(), Plan(1, BATCH, 5), out=tmp_path)
    learner = Watched()
    fit(learner, numbered(), Plan(EPOCHS, BATCH, 5), out=tmp_path, resume=True)
    assert [number for number, _ in learner.steps] == [2, 3, 4, 5]
    assert [samples for _, samples in learner.steps] == [*order(5, 2), *order(5, 3)]


def test_shuffling_follows_the_seed() -> None:
    found = {
        seed: [b.tolist() for b in batches(SAMPLES, Plan(1, BATCH, seed), 1)] for seed in (0, 1, 5)
    }
    assert found == {seed: order(seed, 1) for seed in found}
    assert len({str(each) for each in found.values()}) == 3


def test_another_seed_does_not_go_on(tmp_path: Path) -> None:
    fit(Watched(), numbered(), Plan(1, BATCH, 5), out=tmp_path)
    with pytest.raises(CompileError, match=r"training\.seed was 5, is 6") as caught:
        fit(Watched(), numbered(), Plan(EPOCHS, BATCH, 6), out=tmp_path, resume=True)
    assert [d.code for d in caught.value.diagnostics] == ["E0027"]


def made(folder: Path) -> tuple[api.Model, Data]:
    """Return the network and numbers to train it with."""
    (folder / "net.snn").write_text(NETWORK)
    (folder / "net.toml").write_text(CONFIG)
    model = api.load(folder / "net.snn", config=folder / "net.toml", batch=BATCH)
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(SAMPLES, 2, 6)) * 2).astype(np.float16).astype(np.float32)
    y = rng.integers(0, 3, SAMPLES)
    return model, Data(x, y, x[:0], y[:0])


def interpreted(model: api.Model, data: Data, numbers: list[int]) -> dict[str, Array]:
    """Train in the interpreter, steps with these numbers; return the weights."""
    module, _ = lower(model.graph, TO_PHASED, config=model.config, mode="train")
    state: dict[str, Any] = {}
    chosen = [each for epoch in range(1, EPOCHS + 1) for each in order(5, epoch)]
    for number, samples in zip(numbers, chosen, strict=True):
        inputs = {"x": np.moveaxis(data.x[samples], 0, 1), "y": data.y[samples]}
        seed = 9 << 32 | number  # of the configuration, and the step
        found = evaluate(module, "step", inputs, "fp16", state=state, seed=seed)
        kept = {k: v for k, v in found.items() if k.startswith(("param/", "state/"))}
        state = {k.partition("/")[2]: v for k, v in kept.items()}
    return state


def test_weights_are_those_of_the_interpreter_with_fresh_random_bits(tmp_path: Path) -> None:
    model, data = made(tmp_path)
    run = api.prepare_training(model, data, epochs=EPOCHS, target="small")
    run.fit()
    wanted = interpreted(model, data, [0, 1, 2, 3, 4, 5])
    repeated = interpreted(model, data, [0, 1, 0, 1, 0, 1])
    found = run.worker.state()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], np.asarray(value), err_msg=name)
    assert any((wanted[k] != repeated[k]).any() for k in wanted)  # so the numbers matter


def test_resuming_the_chip_gives_the_weights_of_the_interpreter(tmp_path: Path) -> None:
    model, data = made(tmp_path)
    api.prepare_training(model, data, epochs=1, target="small").fit(out=tmp_path / "run")
    run = api.prepare_training(model, data, epochs=EPOCHS, target="small")
    run.fit(out=tmp_path / "run", resume=True)
    wanted = interpreted(model, data, [0, 1, 2, 3, 4, 5])
    for name, value in run.worker.state().items():
        np.testing.assert_array_equal(value, np.asarray(wanted[name]), err_msg=name)


def test_a_finished_run_is_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    model, data = made(tmp_path)
    folder = tmp_path / "run"
    api.prepare_training(model, data, epochs=1, target="small").fit(out=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CompileError) as caught:
        api.prepare_training(model, data, epochs=1, target="small").fit(out=folder)
    assert [d.code for d in caught.value.diagnostics] == ["E0040"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    api.prepare_training(model, data, epochs=1, target="small").fit(out=folder, overwrite=True)
