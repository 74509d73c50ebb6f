"""The training loop, with a small learner in numpy in place of a chip."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.driver.identity import Identity
from snncc.compiler.driver.scoring import Scorer
from snncc.compiler.driver.trainer import Data, Metrics, Plan, accuracy, batches, fit

Array = np.ndarray[Any, Any]


class Linear:
    """Softmax regression, written to be deterministic."""

    def __init__(self) -> None:
        self.w = np.zeros((4, 3), np.float32)

    def step(self, x: Array, y: Array, number: int) -> tuple[float, Array]:
        z = x @ self.w
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        loss = float(-np.log(p[np.arange(len(y)), y]).mean())
        p[np.arange(len(y)), y] -= 1
        self.w -= 0.1 * (x.T @ p / len(y)).astype(np.float32)
        return loss, z

    def predict(self, x: Array) -> Array:
        out: Array = x @ self.w
        return out

    def state(self) -> dict[str, Array]:
        return {"w": self.w.copy()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        self.w = state["w"].copy()

    def stats(self) -> Mapping[str, Any]:
        return {
            "cycles": 10,
            "seconds": 1e-6,
            "energy_pj": {"total": 2.0},
            "dram_bytes": {"read": 3, "write": 4},
        }


def data() -> Data:
    rng = np.random.Generator(np.random.PCG64(0))
    x = rng.normal(size=(70, 4)).astype(np.float32)
    y = np.argmax(x[:, :3], 1)
    return Data(x[:50], y[:50], x[50:], y[50:])


PLAN = Plan(epochs=6, batch=8, seed=3, identity=Identity({"model": "a"}))


def test_batches_are_whole_disjoint_and_differ_by_epoch() -> None:
    first, second = list(batches(50, PLAN, 1)), list(batches(50, PLAN, 2))
    assert [len(b) for b in first] == [8] * 6
    assert len(np.unique(np.concatenate(first))) == 48
    assert not np.array_equal(first[0], second[0])
    again = list(batches(50, PLAN, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_evaluation_pads_the_last_batch() -> None:
    learner, d = Linear(), data()
    learner.w[:3, :3] = np.eye(3)
    assert accuracy(learner, d.x_test, d.y_test, PLAN, Scorer()) == 1.0


def test_learns_and_counts_costs() -> None:
    history = fit(Linear(), data(), PLAN)
    assert len(history.epochs) == 6
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert history.costs.cycles == 6 * 6 * 10
    assert history.costs.dram_bytes == 6 * 6 * 7


def test_resumed_run_has_the_same_bits(tmp_path: Path) -> None:
    whole = Linear()
    fit(whole, data(), PLAN, out=tmp_path / "whole")
    half = Linear()
    fit(half, data(), Plan(3, 8, 3, identity=Identity({"model": "a"})), out=tmp_path / "half")
    resumed = Linear()
    fit(resumed, data(), PLAN, out=tmp_path / "half", resume=True)
    assert resumed.w.tobytes() == whole.w.tobytes()
    rows = [
        [json.loads(line) for line in (tmp_path / f / "metrics.jsonl").read_text().splitlines()]
        for f in ("whole", "half")
    ]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1]


def test_interrupted_epoch_is_done_again(tmp_path: Path) -> None:
    whole = Linear()
    fit(whole, data(), PLAN)

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (4, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Linear(), data(), PLAN, out=tmp_path, on_step=stop)
    resumed = Linear()
    seen: list[Metrics] = []
    fit(resumed, data(), PLAN, out=tmp_path, resume=True, on_epoch=seen.append)
    assert [m.epoch for m in seen] == [4, 5, 6]
    assert resumed.w.tobytes() == whole.w.tobytes()


def test_bad_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="E0027"):
        fit(Linear(), data(), PLAN, out=tmp_path, resume=True)
    fit(Linear(), data(), PLAN, out=tmp_path)
    other = Plan(6, 8, 3, identity=Identity({"model": "b"}))
    with pytest.raises(CompileError, match="another model"):
        fit(Linear(), data(), other, out=tmp_path, resume=True)


def damaged(folder: Path, name: str, lost: bool) -> None:
    """Write the checkpoint of a run again without an array, or with a bit of it flipped."""
    fit(Linear(), data(), PLAN, out=folder)
    with np.load(folder / "checkpoint.npz") as file:
        arrays: dict[str, Any] = {each: file[each] for each in file.files}
    if lost:
        del arrays[name]
    else:
        arrays[name].reshape(-1).view(np.uint8)[0] ^= 1
    np.savez(folder / "checkpoint.npz", **arrays)


@pytest.mark.parametrize("lost", [False, True], ids=["flipped", "lost"])
@pytest.mark.parametrize("name", ["state/w", "info", "sha256"])
def test_damaged_checkpoints(tmp_path: Path, name: str, lost: bool) -> None:
    damaged(tmp_path, name, lost)
    learner = Linear()
    with pytest.raises(CompileError) as caught:
        fit(learner, data(), PLAN, out=tmp_path, resume=True)
    (found,) = caught.value.diagnostics
    assert found.code == "E0027"
    assert "its checksum is wrong" in found.message
    assert not learner.w.any()  # nothing was taken over


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    fit(Linear(), data(), PLAN, out=tmp_path)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CompileError) as caught:
        fit(Linear(), data(), PLAN, out=tmp_path, resume=True)
    assert [d.code for d in caught.value.diagnostics] == ["E0020"]


def test_too_few_samples_and_divergence() -> None:
    with pytest.raises(CompileError, match="do not fill one batch"):
        fit(Linear(), data(), Plan(1, 64))
    bad = Linear()
    bad.w[:] = np.nan
    with pytest.raises(CompileError, match="E0030"):
        fit(bad, data(), PLAN)
