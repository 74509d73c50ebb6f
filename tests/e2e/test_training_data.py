"""Training data that cannot be right: a message with file and sample before the first epoch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.common import refused, snncc
from e2e.test_resume import NETWORK, samples, save

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("n.snn").write_text(NETWORK)
    return tmp_path


def trained(**changed: Array) -> Any:
    save("d.npz", {**samples(), **changed})
    return snncc("train", "n.snn", "--data", "d.npz", "--epochs", "1", "--cores", "1", "-o", "run")


def put(name: str, place: tuple[int, ...], value: float) -> dict[str, Array]:
    array = samples()[name].astype(np.float64)
    array[place] = value
    return {name: array}


@pytest.mark.parametrize(
    ("name", "place", "value", "text"),
    [
        ("y", (7,), 4, "y holds class 4; the model has classes 0..3 (sample 7)"),
        ("y", (3,), -1, "y holds class -1; the model has classes 0..3 (sample 3)"),
        ("y", (2,), np.inf, "y holds inf (sample 2), no class number"),
        ("y", (2,), 0.5, "y holds 0.5 (sample 2), no class number"),
        ("y_test", (5,), 9, "y_test holds class 9; the model has classes 0..3 (sample 5)"),
        ("x", (23, 1, 1), np.nan, "x[23, 1, 1] (sample 23) is nan, which is no finite number"),
        (
            "x_test",
            (4, 0, 7),
            np.nan,
            "x_test[4, 0, 7] (sample 4) is nan, which",
        ),
        (
            "x_test",
            (1, 0, 0),
            -np.inf,
            "x_test[1, 0, 0] (sample 1) is -inf, which",
        ),
    ],
)
def test_a_bad_value_names_its_sample(
    name: str, place: tuple[int, ...], value: float, text: str
) -> None:
    said = refused(trained(**put(name, place, value)), "E0023")
    assert said.startswith(f"d.npz: error[E0023]: {text}")
    assert "epoch" not in said
    assert not Path("run/checkpoint.npz").exists()


BAD: dict[str, Array] = {
    "scalar": np.array(1.0),
    "complex": np.full(24, 1j),
    "text": np.array(["a"] * 24),
    "bytes": np.array([b"a"] * 24),
    "date": np.full(24, np.datetime64("2020-01-01")),
    "duration": np.full(24, np.timedelta64(1, "s")),
    "record": np.zeros(24, [("a", "f4")]),
    "object": np.array([None] * 24, object),
    "huge": np.full(24, 2**64 - 1, np.uint64),
    "none": np.zeros((0, 3, 8)),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", ["x", "y", "x_test", "y_test"])
def test_arrays_of_a_wrong_kind(name: str, kind: str) -> None:
    done = trained(**{name: BAD[kind]})
    assert done.exit_code == 1, done.output
    assert "error[E002" in done.stderr
    assert "d.npz" in done.stderr


def test_bytes_that_nobody_scaled() -> None:
    x = samples()["x"].astype(np.uint8) * 200
    x[11, 2, 3] = 255
    done = trained(x=x)
    assert done.exit_code == 0
    said = done.stderr.splitlines()
    assert said[0].startswith("d.npz: warning[E0376]: x holds whole numbers up to 255 (sample 11)")
    assert said.index(next(line for line in said if line.startswith("epoch"))) > 0


@pytest.mark.parametrize("largest", [1, 100, 256])
def test_other_whole_numbers_are_no_bytes(largest: int) -> None:
    assert "E0376" not in trained(x=samples()["x"] * largest).stderr


def test_labels_without_samples() -> None:
    arrays = samples()
    del arrays["y_test"]
    save("d.npz", arrays)
    done = snncc("train", "n.snn", "--data", "d.npz", "--epochs", "1")
    assert "y_test is missing" in refused(done, "E0021")
