"""Which values do not survive rounding to binary16; numpy's own conversion is the judge."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.driver.input_values import (
    first_unfit,
    only_spikes,
    refuse_unfit,
    rounding_warnings,
)
from snncc.compiler.driver.interface import InputLayout, Interface

Array = npt.NDArray[Any]
AROUND_THE_END = [0.0, 65503.9, 65504.0, 65519.996, 65520.0, 65536.0, 1e30, np.inf, np.nan]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_judge_is_the_conversion(dtype: type[Any]) -> None:
    with np.errstate(over="ignore"):
        values = np.array([s * v for v in AROUND_THE_END for s in (1, -1)], dtype)
        converted = values.astype(np.float16)
    bad = ~np.isfinite(converted)
    assert first_unfit(values) == ((int(np.argmax(bad)),), int(bad.sum()))
    assert first_unfit(values[~bad]) is None


def test_integers() -> None:
    assert first_unfit(np.array([[255, 65519], [0, -65520]])) == ((1, 1), 1)
    assert first_unfit(np.array([np.iinfo(np.int64).max])) == ((0,), 1)
    assert first_unfit(np.arange(256, dtype=np.uint8)) is None
    assert first_unfit(np.zeros((0, 3))) is None


def test_the_first_of_many_in_a_large_array() -> None:
    values = np.zeros((5000, 1000), np.float32)
    values[4711, 42] = values[4999, 0] = np.nan
    assert first_unfit(values) == ((4711, 42), 2)


def test_other_numerics_have_another_end() -> None:
    values = np.array([1e38, 1e39])
    assert first_unfit(values, binary16=False) == ((1,), 1)
    assert first_unfit(values[:1], binary16=False) is None


def test_the_message_has_file_array_sample_and_value() -> None:
    x = np.zeros((3, 2, 4))
    x[1, 0, 2] = 7e4
    with pytest.raises(CompileError) as caught:
        refuse_unfit(x, "x_test", "in.npz", lambda index: index[1])
    text = str(caught.value)
    assert "in.npz: error[E0023]: x_test[1, 0, 2] (sample 0) is 70000" in text
    assert "65504" in text


@pytest.mark.parametrize(
    ("layout", "index", "sample"),
    [
        (InputLayout((4, 7)), (2, 6), 2),
        (InputLayout((5, 4, 7), 0), (3, 2, 6), 2),
        (InputLayout((5, 4, 7), 1), (2, 3, 6), 2),
        (InputLayout((5, 4, 7), 2), (2, 6, 3), 2),
        (InputLayout((5, 4, 7), 0, True), (13, 6), 2),
    ],
)
def test_the_sample_of_a_place(layout: InputLayout, index: tuple[int, ...], sample: int) -> None:
    x = np.zeros(layout.user_shape)
    x[index] = -1e5
    made = Interface("m", "infer", 5, 4, layout)
    with pytest.raises(CompileError, match=rf"\(sample {sample}\) is -100000"):
        made.check_x(x, "in.npz")
    inside = made.check_x(x, "in.npz", "float32")
    steps_and_samples = np.argwhere(inside == np.float32(-1e5))[0]
    assert steps_and_samples[0 if layout.time_axis is None else 1] == sample


def test_tensors_of_unknown_meaning() -> None:
    assert rounding_warnings(np.array([np.inf, np.nan, 65504.0]), "w", "in.npz") == []
    (warning,) = rounding_warnings(np.array([[np.inf, 1e5], [1e6, 0]]), "w", "in.npz")
    assert warning.code == "E0023"
    assert "w[0, 1] is 100000" in warning.message
    assert "the first of 2" in warning.message


@pytest.mark.parametrize("kind", ["f4", "f8", "u1", "i8", "?"])
def test_spikes(kind: str) -> None:
    values = np.zeros((3, 1 << 16), kind)
    values[1, ::7] = 1
    assert only_spikes(values)
    assert only_spikes(values[:, ::3])
    assert only_spikes(values[:0])


@pytest.mark.parametrize("value", [2, -1, 0.5, 1e-40, 1 + 2**-23, np.nan, np.inf])
def test_one_value_that_is_no_spike(value: float) -> None:
    values = np.zeros((3, 1 << 16), np.float32)
    values[2, 4711] = value
    assert not only_spikes(values)
