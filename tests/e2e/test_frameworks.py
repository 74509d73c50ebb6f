"""Small networks of the frameworks, exported: the step is PyTorch's, and the chip's is exact.

The files were written by tests/data/frameworks/make.py, which needs the frameworks; the tests do
not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snncc.compiler.driver import api
from snncc.compiler.driver.build import TO_PHASED, lower
from snncc.compiler.driver.interpret import interpret
from snncc.compiler.driver.simulate import step_seed

DATA = Path(__file__).parents[1] / "data" / "frameworks"
NAMES = sorted(p.stem for p in DATA.glob("*.onnx"))


def load(name: str) -> tuple[api.Model, dict[str, Any]]:
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as file:
        arrays = {k: file[k] for k in file}
    path = DATA / f"{name}.onnx"
    return api.load(path, config=DATA / f"{name}.toml", x_shape=arrays["x"].shape), arrays


def test_there_are_files() -> None:
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_training_step_is_the_frameworks(name: str) -> None:
    model, ref = load(name)
    found = api.run(model, ref["x"], ref["y"], numerics="float32")
    np.testing.assert_allclose(found["out/out"], ref["out"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["loss"], ref["loss"], rtol=1e-4)
    names = [k for k in ref if k.startswith("grad/")]
    assert names
    largest = max(float(np.abs(ref[k]).max()) for k in names)
    for key in names:
        np.testing.assert_allclose(
            found[key], ref[key], rtol=1e-3, atol=1e-4 * largest, err_msg=key
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_chip_computes_what_the_interpreter_does(name: str) -> None:
    model, ref = load(name)
    chip = api.run(model, ref["x"], ref["y"], stats=False)
    interface = model.interface("train")
    step, _ = lower(model.graph, TO_PHASED, config=model.config, mode="train")
    given = {interface.x.name: interface.check_x(ref["x"], "x")}
    want = interpret(step, interface, given, ref["y"], "fp16", "x", step_seed(0, 0))
    for key in want:
        np.testing.assert_array_equal(np.asarray(chip[key]), want[key], err_msg=key)
