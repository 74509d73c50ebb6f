"""Training on the simulated chip: it learns, and a resumed run has the same bits."""

import json
from pathlib import Path

import numpy as np
import pytest

from e2e.common import CONFIG, DIGITS, refused, snncc
from examples import sampled
from snncc.models.datasets import digits

SMALL = ("--target", "small", "--seed", "5")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few digits, so that an epoch is short."""
    found = digits()
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, x=found.x[:150], y=found.y[:150], x_test=found.x_test[:70],
             y_test=found.y_test[:70])  # fmt: skip
    return path


def train(data: Path, *words: object) -> None:
    done = snncc("train", DIGITS, "--config", CONFIG, "--data", data, *SMALL, *words)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "words",
    sampled([("--rounding", "stochastic"), (), ("--weights", "fp32-master")], 3),
    ids=["stochastic", "fp16", "masters"],
)
def test_resume_is_bit_identical(data: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(data, "--epochs", "4", "-o", whole, *words)
    train(data, "--epochs", "2", "-o", parts, *words)
    train(data, "--epochs", "4", "--resume", parts, *words)
    assert (whole / "weights.npz").read_bytes() == (parts / "weights.npz").read_bytes()
    with np.load(whole / "checkpoint.npz") as a, np.load(parts / "checkpoint.npz") as b:
        for name in a.files:
            if name.startswith("state/"):
                assert a[name].tobytes() == b[name].tobytes(), name
    rows = [
        [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (whole, parts)
    ]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_run(data: Path, tmp_path: Path) -> None:
    train(data, "--epochs", "1", "-o", tmp_path)
    words = ("train", DIGITS, "--config", CONFIG, "--data", data, *SMALL, "--epochs", "2")
    refused(snncc(*words, "--seed", "6", "--resume", tmp_path), "E0027")
    refused(snncc(*words, "--loss-scale", "4", "--resume", tmp_path), "E0027")
    refused(snncc(*words, "--resume", tmp_path / "none"), "E0027")
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:1000])
    refused(snncc(*words, "--resume", tmp_path), "E0020")


def test_weights_have_the_files_names_and_layout(data: Path, tmp_path: Path) -> None:
    train(data, "--epochs", "1", "-o", tmp_path)
    with np.load(tmp_path / "weights.npz") as found:
        assert found["param/fc1.weight"].shape == (128, 64)
        assert found["param/fc2.bias"].shape == (10,)


def test_wrong_data(tmp_path: Path) -> None:
    words = ("train", DIGITS, "--config", CONFIG, "--epochs", "1", "--data")
    refused(snncc(*words, "cifar"), "E0025")
    path = tmp_path / "d.npz"
    np.savez(path, x=np.zeros((200, 63)), y=np.zeros(200, int))
    refused(snncc(*words, path), "E0022")
    np.savez(path, x=np.zeros((10, 64)), y=np.zeros(10, int))
    refused(snncc(*words, path), "E0022")
    np.savez(path, x=np.zeros((200, 64)))
    refused(snncc(*words, path), "E0021")


@pytest.mark.slow
def test_demo_reaches_its_goal() -> None:
    done = snncc("demo")
    assert done.exit_code == 0, done.output
    assert "test accuracy" in done.stdout
    for word in ("graph", "phased", "tiled", "mapped", "core", "cycles", "mJ", "DRAM", "PyTorch"):
        assert word in done.stdout
