"""Arrays that an exporter folded: they are computed from the parameter that they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from snncc.compiler.frontend.flat.exporter_names import FileNames
from snncc.compiler.validate.onnx.tape import Env, Tape

Array = npt.NDArray[Any]
RNG = np.random.default_rng(11)
BIAS = RNG.normal(size=5)
WEIGHT = RNG.normal(size=(5, 4))
HELD: dict[str, Array] = {
    "lif.beta": np.array(0.9),
    "first.bias": np.full(5, 0.25),
    "first.few": np.array([0.5, 1.5]),
    "fc.weight": WEIGHT,
    "fc.bias": BIAS,
    "last.bias": RNG.normal(size=5),
    "steps": np.array([1, 2, 3]),
}


class Reader:
    """Takes arrays from the file itself."""

    def array(self, tensor: onnx.TensorProto, where: str = "") -> Array:
        """Return a tensor's content; ``where`` is for messages."""
        assert not where
        return np.asarray(numpy_helper.to_array(tensor))


def taped(arrays: dict[str, Array]) -> tuple[Tape, Env]:
    """Bind initializers."""
    held = [numpy_helper.from_array(a, name) for name, a in arrays.items()]
    model = helper.make_model(helper.make_graph([], "g", [], [], held))
    tape, env = Tape(model, Reader(), FileNames(model)), Env()
    tape.initializers(model.graph, env)
    return tape, env


def origin(tape: Tape, number: object) -> set[str]:
    """Return the parameters that a value is computed from."""
    assert isinstance(number, int)
    names = {at: name for name, at in tape.parameters.items()}
    if number in names:
        return {names[number]}
    step = tape.maker.get(number)
    return {n for i in (step.ins if step else []) if i is not None for n in origin(tape, i)}


def sigmoid(x: Array) -> Array:
    """Return the logistic function."""
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (BIAS, {"fc.bias"}),
        (3 * BIAS, {"fc.bias"}),
        (3 * BIAS + 0.5, {"fc.bias"}),
        (np.tile(-0.2 * BIAS, (2, 1)), {"fc.bias"}),
        (0.5 * HELD["last.bias"], {"last.bias"}),
        (2 * sigmoid(BIAS), {"fc.bias"}),
        (WEIGHT.T, {"fc.weight"}),
        (BIAS * BIAS, {"val_7"}),  # not a multiple
        (np.stack([BIAS, 2 * BIAS]), {"val_7"}),  # of every row another one
        (np.full(5, 0.25), {"val_7"}),  # equal numbers say nothing
        (2 * BIAS[:2], {"val_7"}),  # nor do few
        (2 * WEIGHT, {"val_7"}),  # weights are not scaled
    ],
)
def test_what_a_folded_array_is_computed_from(array: Array, wanted: set[str]) -> None:
    tape, env = taped({**HELD, "val_7": array})
    number = env["val_7"]
    assert origin(tape, number) == wanted
    assert isinstance(number, int)
    np.testing.assert_allclose(tape.value[number], array, rtol=1e-6, atol=1e-9)
    assert tape.varies[number]
    assert not tape.data[number]
    assert set(tape.parameters) == {*HELD, *(w for w in wanted if w == "val_7")} - {"steps"}


def test_names_of_the_file_are_parameters_whatever_they_hold() -> None:
    tape, env = taped({**HELD, "second.bias": 2 * BIAS})
    assert origin(tape, env["second.bias"]) == {"second.bias"}
    assert not tape.steps


def test_whole_numbers_are_no_parameters() -> None:
    tape, env = taped(HELD)
    number = env["steps"]
    assert isinstance(number, int)
    assert not tape.varies[number]
    assert tape.value[number].dtype == np.int64
    assert all(tape.value[at].dtype == np.float64 for at in tape.parameters.values())
