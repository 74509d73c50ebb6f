"""The Python interface: what docs/api.md promises."""

from pathlib import Path

import numpy as np
import pytest

from e2e.common import BATCH, CONFIG, DIGITS
from snncc.compiler.config.config import parse_config
from snncc.compiler.driver import api as snncc
from snncc.compiler.driver.simulate import LoadedProgram


@pytest.fixture(scope="module")
def model() -> snncc.Model:
    return snncc.load(DIGITS, config=CONFIG, batch=64)


@pytest.fixture(scope="module")
def program(model: snncc.Model) -> snncc.Program:
    return snncc.compile(model, target="multicore20", cores=4)


def batch() -> tuple[snncc.Array, snncc.Array]:
    with np.load(BATCH) as found:
        return found["x"], found["y"]


def test_load_compile_run(program: snncc.Program) -> None:
    x, y = batch()
    result = snncc.run(program, x, y)
    assert result["loss"].shape == ()
    assert result["grad/fc1.weight"].shape == (128, 64)
    assert "logits" in result
    assert len(result) == len(list(result))
    assert result.stats is not None
    assert result.stats["cycles"] > 0


def test_float32_without_a_chip(model: snncc.Model) -> None:
    x, y = batch()
    result = snncc.run(model, x, y, numerics="float32")
    assert result.stats is None
    with np.load(BATCH) as reference:
        np.testing.assert_allclose(result["loss"], reference["loss"], atol=1e-5)


def test_inference_of_a_model(model: snncc.Model) -> None:
    result = snncc.run(model, batch()[0])
    assert list(result) == ["out/spk_rec"]


def test_programs_are_files(program: snncc.Program, tmp_path: Path) -> None:
    path = tmp_path / "p.snnx"
    path.write_bytes(program.to_bytes())
    again = snncc.load_program(path)
    assert again.interface == program.interface
    assert again.to_bytes() == program.to_bytes()


def test_many_steps(program: snncc.Program) -> None:
    x, y = batch()
    chip = LoadedProgram(program.object_file, program.interface)
    losses: list[float] = []
    for _ in range(8):
        chip.run(x, y)
        losses.append(float(chip.output("loss")))
    assert losses[-1] < losses[0]
    assert chip.parameters()["fc1.weight"].shape == (128, 64)


def test_train_with_arrays() -> None:
    config = parse_config('timesteps = 10\n[optimizer]\nname = "sgd"\nlr = 0.02')
    model = snncc.load(DIGITS, config=config, batch=32)
    x, y = batch()
    history, weights = snncc.train(model, {"x": x, "y": y}, epochs=3, cores=2)
    assert len(history.epochs) == 3
    assert history.test_accuracy is None
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert weights["fc2.bias"].shape == (10,)


def test_errors_are_exceptions(model: snncc.Model, program: snncc.Program) -> None:
    x, y = batch()
    with pytest.raises(snncc.CompileError, match="E0022"):
        snncc.run(program, x[:3], y)
    with pytest.raises(snncc.CompileError, match="E0021"):
        snncc.run(program, x)
    with pytest.raises(snncc.CompileError, match="E0029"):
        snncc.run(program, x, y, numerics="float32")
    with pytest.raises(snncc.CompileError, match="E0029"):
        snncc.run(program, x, y, spikes=True)
    with pytest.raises(snncc.CompileError, match="E0028"):
        snncc.compile(model, cores=21)
