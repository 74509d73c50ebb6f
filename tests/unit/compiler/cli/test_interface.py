"""Arrays between the user's layout and the program's."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.driver.interface import InputLayout, Interface, OutputLayout
from snncc.compiler.driver.target_layout import TargetLayout

Array = npt.NDArray[Any]


def interface(x: InputLayout) -> Interface:
    return Interface("m", "train", 5, 4, x, {"out/s": OutputLayout(1, (4, 5, 3))})


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (InputLayout((4, 7)), (4, 7)),
        (InputLayout((5, 4, 7), 0), (5, 4, 7)),
        (InputLayout((5, 4, 7), 1), (4, 5, 7)),
        (InputLayout((5, 4, 7), 2), (4, 7, 5)),
        (InputLayout((5, 4, 7), 0, True), (20, 7)),
    ],
)
def test_the_users_shape(layout: InputLayout, shape: tuple[int, ...]) -> None:
    assert layout.user_shape == shape
    assert layout.batch == 4
    inside = layout.inward(np.zeros(shape))
    assert inside.shape == layout.shape
    assert inside.dtype == np.float32


def test_batch_in_time_is_sample_major() -> None:
    x = np.arange(20).reshape(20, 1)
    inside = InputLayout((5, 4, 1), 0, True).inward(x)
    assert inside[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert inside[0, :, 0].tolist() == [0, 5, 10, 15]
    back = OutputLayout(0, (), True).outward(inside)
    np.testing.assert_array_equal(back, x)


def test_outputs() -> None:
    value = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    assert OutputLayout(1).outward(value).shape == (4, 5, 3)
    assert OutputLayout(0, (5, 12)).outward(value).shape == (5, 12)
    np.testing.assert_array_equal(OutputLayout(-1, (), False, True).outward(value[0]), value[0].T)
    assert OutputLayout(-1).outward(np.array([0, 1], np.uint8)).dtype == np.float32


def test_json_round_trip() -> None:
    made = interface(InputLayout((5, 4, 7), 1, spikes=True))
    assert Interface.from_json(made.as_json()) == made
    for broken in (None, {}, {"x": 1}, {**made.as_json(), "outputs": {"a": {"b": 1}}}):
        with pytest.raises(CompileError, match="E0029"):
            Interface.from_json(broken)


@pytest.mark.parametrize(
    ("x", "code"),
    [
        (np.zeros((4, 8)), "E0022"),
        (np.zeros((5, 4, 7)), "E0022.*[\\s\\S]*time_axis = 0"),
        (np.zeros((8, 7)), "E0022.*[\\s\\S]*--batch 8"),
        (np.full((4, 7), np.nan), "E0023"),
        (np.full((4, 7), "a"), "E0023"),
    ],
)
def test_wrong_x(x: Array, code: str) -> None:
    with pytest.raises(CompileError, match=code):
        interface(InputLayout((4, 7))).check_x(x, "in.npz")


@pytest.mark.parametrize(
    ("y", "code"),
    [
        (np.zeros(5, np.int64), "E0022"),
        (np.array([0, 1, 2, 3]), "class 3; the model has classes 0..2"),
        (np.array([0, 1, -1, 0]), "class -1"),
        (np.array([0.5, 1, 1, 0]), "E0023"),
    ],
)
def test_wrong_y(y: Array, code: str) -> None:
    with pytest.raises(CompileError, match=code):
        replace(interface(InputLayout((4, 7))), y=TargetLayout((4,), 3)).check_y(y, "in.npz")


def test_spikes_must_be_spikes() -> None:
    layout = InputLayout((4, 7), spikes=True)
    with pytest.raises(CompileError, match="other values than 0 and 1"):
        interface(layout).check_x(np.full((4, 7), 0.5), "")
    assert interface(layout).check_x(np.ones((4, 7)), "").all()
