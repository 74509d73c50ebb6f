"""Targets of every kind, given to a model: what `run` and `train` take them for, and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snncc.compiler.config.config import Config, parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api
from snncc.compiler.driver.scoring import Scorer

T, B = 3, 4
DENSE = """network d
input(5, steps=3, static=false)
let fire = lif(beta=0.5, threshold=1, surrogate=atan)
dense(6) fire
dense(2) li(beta=0.5)
output(out)
train { readout = last  batch = 4 }
"""
IMAGE = """network p
input(1x4x4, steps=3, static=false)
let fire = lif(beta=0.5, threshold=1, surrogate=atan)
conv(3, kernel=3, padding=1) fire
conv(2, kernel=1)
output(out)
train { readout = sum  batch = 4 }
"""
Array = np.ndarray[Any, Any]


def model(folder: Path, text: str = DENSE, config: Config | None = None) -> api.Model:
    path = folder / "net.snn"
    path.write_text(text, encoding="utf-8")
    return api.load(path, config=config or Config(), batch=B)


def inputs(text: str = DENSE) -> Array:
    shape = (T, B, 5) if text == DENSE else (T, B, 1, 4, 4)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def loss(name: str, more: str = "") -> Config:
    return parse_config(f'[loss]\nname = "{name}"\nscale = 1.0\n{more}')


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "targets", "steps", "reduce"),
    [
        ("cross-entropy", (B,), "i4", "classes", False, "last"),
        ("cross-entropy", (T, B), "i4", "classes", True, "none"),
        ("mse", (B,), "i4", "classes", False, "last"),
        ("mse", (B, 2), "f4", "values", False, "last"),
        ("mse", (B, 2), "i4", "values", False, "last"),
        ("huber", (T, B, 2), "f4", "values", True, "none"),
    ],
)
def test_what_targets_look_like(
    tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str, targets: str, steps: bool,
    reduce: str,
) -> None:  # fmt: skip
    text = DENSE.replace("readout = last  ", "")
    y = np.zeros(shape, dtype) if dtype == "i4" else np.full(shape, 0.25, dtype)
    config = model(tmp_path, text, loss(name)).for_targets(y).config
    assert config.text("loss.targets") == targets
    assert config.flag("loss.target_steps") == steps
    assert (config.text("readout.reduce") or "last") == reduce
    assert config.origin("loss.targets") == "data"


def test_the_loss_is_that_of_the_outputs(tmp_path: Path) -> None:
    """What the loss of errors says, by numpy from the outputs of the same run."""
    x, rng = inputs(), np.random.default_rng(2)
    y = rng.normal(size=(T, B, 2)).astype(np.float32)
    every = model(tmp_path, DENSE.replace("readout = last  ", ""), loss("mae"))
    found = api.run(every, x, y, numerics="float64")
    np.testing.assert_allclose(found["loss"], np.abs(found["out/out"] - y).mean(), rtol=1e-6)
    assert found["logits"].shape == (T, B, 2)
    last = api.run(model(tmp_path, DENSE, loss("mse")), x, y[0], numerics="float64")
    np.testing.assert_allclose(last["loss"], ((last["out/out"][-1] - y[0]) ** 2).mean(), rtol=1e-6)
    chip = api.run(model(tmp_path, DENSE, loss("mse")), x, y[0])
    assert abs(float(chip["loss"]) - float(last["loss"])) < 0.01 * float(last["loss"])


def test_a_program_knows_its_targets(tmp_path: Path) -> None:
    x, y = inputs(IMAGE), np.random.default_rng(3).integers(0, 2, (B, 4, 4))
    given = model(tmp_path, IMAGE).for_targets(y)
    program = api.compile(given)
    path = tmp_path / "net.snnx"
    path.write_bytes(program.to_bytes())
    again = api.load_program(path)
    assert again.interface.y == given.interface("train").y
    found = api.run(again, x, y)
    z = found["logits"].astype(np.float64)
    right = np.take_along_axis(z, y[:, None], 1)[:, 0]
    want = (np.log(np.exp(z).sum(1)) - right).mean()
    assert abs(found["loss"] - want) < 0.01 * want
    with pytest.raises(CompileError, match=r"expected \[4, 4, 4\] \(class numbers\)"):
        api.run(again, x, y[:, 0, 0])
    with pytest.raises(CompileError, match="class 2; the model has classes 0"):
        api.run(again, x, y + 1)


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        ("cross-entropy", np.zeros((B, 2)), r"expected \[4\] \(class numbers\), or \[3, 4\]"),
        ("mse", np.full((B, 3), 0.5), r"expected \[4, 2\] \(numbers\)"),
        ("mse", np.full((B, 2), np.inf), r"y\[0, 0\] \(sample 0\) is inf"),
        ("mse", np.full((B, 2), 1e6), "the largest number is 65504"),
    ],
)
def test_targets_that_do_not_fit(tmp_path: Path, name: str, y: Array, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        api.run(model(tmp_path, DENSE.replace("readout = last  ", ""), loss(name)), inputs(), y)


def test_training_on_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(16, T, 5)).astype(np.float32)
    y = np.stack([x[:, :, 0].mean(1), x[:, :, 1].mean(1)], 1)
    made = model(tmp_path, DENSE, loss("smooth-l1", "beta = 0.5\n[optimizer]\nname = 'adam'\n"))
    history, _ = api.train(made, {"x": x, "y": y, "x_test": x[:4], "y_test": y[:4]}, epochs=4)
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert history.epochs[-1].train_accuracy is None
    assert history.test_accuracy is None


@pytest.mark.parametrize("kind", ["places", "steps"])
def test_accuracy_counts_labels(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    if kind == "places":
        x, text = rng.normal(size=(8, T, 1, 4, 4)), IMAGE
        y = rng.integers(0, 2, (8, 4, 4))
    else:
        x, text = rng.normal(size=(8, T, 5)), DENSE.replace("readout = last  ", "")
        y = rng.integers(0, 2, (8, T))
    made = model(tmp_path, text)
    arrays = {"x": x, "y": y, "x_test": x[:6], "y_test": y[:6]}
    history, _ = api.train(made, arrays, epochs=1)
    for share, labels in ((history.epochs[0].train_accuracy, y), (history.test_accuracy, y[:6])):
        assert share is not None
        assert 0 < share < 1
        assert abs(share * labels.size - round(share * labels.size)) < 1e-9


def test_logits_of_every_step() -> None:
    """One sample and two steps: summed over the steps class 1 wins, step 0 alone says class 0."""
    logits = np.asarray([[[1.0, 0.0]], [[0.0, 3.0]]])
    assert Scorer(0).right(logits, np.asarray([1])) == 1
    assert Scorer(0).right(logits, np.asarray([0])) == 0
    assert Scorer(0, True).right(logits, np.asarray([[0, 1]])) == 2
    assert Scorer(1, True).right(logits.transpose(1, 0, 2), np.asarray([[0, 0]])) == 1
