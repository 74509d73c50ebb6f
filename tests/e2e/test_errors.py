"""A user's mistakes: each gives one clear error and the documented exit code."""

import os
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc
from snncc.compiler.cli.survey import survey
from snncc.models.datasets import LOADERS, Dataset

BASE = ("--config", CONFIG, "--inputs", BATCH)


@pytest.mark.parametrize("command", ["check", "compile", "run"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated_onnx(tmp_path: Path, command: str, keep: float) -> None:
    data = DIGITS.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * keep)])
    inputs = ("--inputs", BATCH) if command == "run" else ()
    said = refused(snncc(command, path, "--config", CONFIG, *inputs), "E0101")
    assert "cut.onnx" in said


def test_something_else_renamed_to_onnx(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 10)
    refused(snncc("check", path), "E0101")
    path.write_text("this is a text file\n" * 20)
    refused(snncc("check", path), "E0101")


def test_model_with_another_suffix(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(DIGITS.read_bytes())
    refused(snncc("check", path), "E0024")
    refused(snncc("run", path, *BASE), "E0024")
    refused(snncc("check", tmp_path / "none.onnx"), "E0005")


def shipped_model() -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.ParseFromString(DIGITS.read_bytes())
    return model


def external(tmp_path: Path, location: str) -> Path:
    """Return a copy of the model whose first weight lies in another file."""
    model = shipped_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value=location)
    path = tmp_path / "model" / "ext.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", ""])
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 65536)
    refused(snncc("check", external(tmp_path, location), "--config", CONFIG), "E0102")


def test_external_data_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 65536)
    path = external(tmp_path, "link.bin")
    os.symlink(tmp_path / "secret.bin", path.parent / "link.bin")
    refused(snncc("check", path, "--config", CONFIG), "E0102")


def test_external_data_missing(tmp_path: Path) -> None:
    assert "gone.bin" in refused(snncc("check", external(tmp_path, "gone.bin")), "E0102")


def test_absurd_dimensions(tmp_path: Path) -> None:
    model = shipped_model()
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    path = tmp_path / "big.onnx"
    path.write_bytes(model.SerializeToString())
    refused(snncc("check", path, "--config", CONFIG), "E0103")


def test_absurd_input_shape(tmp_path: Path) -> None:
    model = shipped_model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 50
    path = tmp_path / "big.onnx"
    path.write_bytes(model.SerializeToString())
    done = snncc("check", path, "--config", CONFIG)
    assert done.exit_code == 1
    assert "error[E01" in done.stderr


def test_broken_object_file(tmp_path: Path) -> None:
    path = tmp_path / "p.snnx"
    assert snncc("compile", DIGITS, "--config", CONFIG, "-t", "small", "-o", path).exit_code == 0
    good = path.read_bytes()
    for bad in (b"", good[:100], good[:-1], good[:5000] + b"\xff" + good[5001:], b"x" * 4096):
        path.write_bytes(bad)
        refused(snncc("run", path, "--inputs", BATCH), "E0801")
        refused(snncc("dis", path), "E0801")
    refused(snncc("run", tmp_path / "none.snnx", "--inputs", BATCH), "E0801")


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_wrong_inputs(tmp_path: Path) -> None:
    x, y = np.zeros((64, 64), np.float32), np.zeros(64, np.int64)
    path = tmp_path / "in.npz"

    def run(**arrays: object) -> str:
        npz(path, **arrays)
        done = snncc("run", DIGITS, "--config", CONFIG, "--inputs", path)
        assert done.exit_code == 1
        assert "Traceback" not in done.output
        return done.stderr

    assert "error[E0022]: x has shape [64, 63], expected [64, 64]" in run(x=x[:, :63], y=y)
    assert "error[E0022]: y has shape [63]" in run(x=x, y=y[:63])
    assert "error[E0023]: y holds class 10" in run(x=x, y=y + 10)
    assert "error[E0023]" in run(x=x * np.nan, y=y)
    assert "error[E0021]" in run(y=y)
    assert "error[E0020]" in run(x=np.array([object()]), y=y)


def test_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    for content in (b"", b"PK\x03\x04 no", BATCH.read_bytes()[:3000]):
        path.write_bytes(content)
        refused(snncc("run", DIGITS, "--config", CONFIG, "--inputs", path), "E0020")
    with zipfile.ZipFile(path, "w") as box:
        box.writestr("x.npy", b"not an array")
    refused(snncc("run", DIGITS, "--config", CONFIG, "--inputs", path), "E0020")
    refused(snncc("run", DIGITS, "--inputs", tmp_path / "none.npz"), "E0005")


def test_too_small_machine(tmp_path: Path) -> None:
    shown = snncc("targets", "small")
    assert shown.exit_code == 0
    text = shown.stdout
    for name, size in (("scratch", 64), ("dram", 4096)):
        section = {"scratch": "[scratchpad]", "dram": "[dram]"}[name]
        head, _, tail = text.partition(section)
        lines = tail.splitlines()
        lines = [f"bytes = {size}" if li.startswith("bytes =") else li for li in lines]
        first = next(i for i, li in enumerate(lines) if li.startswith("["))
        kept = tail.splitlines()
        kept[:first] = lines[:first]
        path = tmp_path / f"{name}.toml"
        path.write_text(head + section + "\n".join(kept))
        done = snncc("compile", DIGITS, "--config", CONFIG, "--target", path, "-o", "-")
        assert done.exit_code == 1, done.output[:500]
        assert "error[E0" in done.stderr
        assert "Traceback" not in done.stderr


def test_unknown_targets_and_cores() -> None:
    refused(snncc("compile", DIGITS, "--target", "multicore21"), "E0028")
    refused(snncc("compile", DIGITS, "--cores", "21"), "E0028")
    refused(snncc("targets", "nothing"), "E0028")


def test_configuration_errors(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("timestep = 10\n")
    said = refused(snncc("check", DIGITS, "--config", path), "E0351")
    assert f"{path}:1:1" in said
    assert "did you mean 'timesteps'?" in said
    refused(snncc("check", DIGITS, "--config", tmp_path / "none.toml"), "E0005")
    refused(snncc("check", DIGITS, "--surrogate", "atn"), "E0353")
    refused(snncc("check", DIGITS, "--loss-scale", "0"), "E0352")
    refused(snncc("check", DIGITS, "--readout", "nothing"), "E0354")


def test_usage_errors() -> None:
    for words in (
        ("comple",),
        ("run",),
        ("compile", DIGITS, "--mode", "both"),
        ("compile", DIGITS, "--emit", "ir:nothing"),
        ("train", DIGITS, "--data", "digits"),
        ("isa", "show", "nothing"),
    ):
        done = snncc(*words)
        assert done.exit_code == 2, words
        assert "Traceback" not in done.output


def test_program_and_request_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "p.snnx"
    assert snncc("compile", DIGITS, "--config", CONFIG, "-t", "small", "-o", path).exit_code == 0
    assert snncc("run", path, "--inputs", BATCH, "--config", CONFIG).exit_code == 2
    only_x = npz(tmp_path / "x.npz", x=np.zeros((64, 64), np.float32))
    refused(snncc("run", path, "--inputs", only_x), "E0021")


def test_an_internal_error_leaves_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(survey, "survey", broken)
    said = refused(snncc("check", DIGITS), "E0006", 70)
    assert "planted" in said
    (report,) = tmp_path.glob("snncc-crash-*.txt")
    assert str(report) in said
    assert "ZeroDivisionError" in report.read_text()


def test_limit(tmp_path: Path) -> None:
    path = tmp_path / "p.snnx"
    assert snncc("compile", DIGITS, "--config", CONFIG, "-t", "small", "-o", path).exit_code == 0
    refused(snncc("run", path, "--inputs", BATCH, "--max-instructions", "5"), "E0902", 4)


def test_a_data_set_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Dataset:
        raise ImportError("No module named 'sklearn'")

    monkeypatch.setitem(LOADERS, "digits", absent)
    done = snncc("train", DIGITS, "--config", CONFIG, "--data", "digits", "--epochs", "1")
    assert "pip install" in refused(done, "E0026")


def test_not_enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(survey, "survey", huge)
    refused(snncc("check", DIGITS), "E0032")


def test_demo_notices_wrong_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snncc.compiler.cli.commands.demo.COSINE", 1.1)
    done = snncc("demo", "--cores", "1")
    assert "E0031" in done.stderr
    assert done.exit_code == 1


@pytest.mark.parametrize(
    "words",
    [("check", "X.onnx"), ("check", DIGITS, "--batch", "X"), ("check", DIGITS, "--batch", "-X"),
     ("train", DIGITS, "--seed", "X"), ("run", "X.snnx"), ("run", DIGITS, "--numerics", "X"),
     ("check", DIGITS, "--surrogate", "X:X=X"), ("check", DIGITS, "--target", "X"), ("X",),
     ("check", "--X"), ("isa", "show", "X"), ("opt", "X", "-p", "X"),
     ("compile", "x", "--emit", "X"),
     ("report", "X"), ("asm", "X"), ("train", DIGITS, "--data", "X", "--epochs", "1")],
    ids=lambda words: " ".join(map(str, words))[-40:],
)  # fmt: skip
def test_values_are_repeated_in_bounded_length(words: tuple[object, ...]) -> None:
    done = snncc(*(str(w).replace("X", "9" * 5000) for w in words))
    assert done.exit_code in (1, 2)
    assert len(done.output) < 1500
    assert done.output.strip()


HOLE = 1 << 36
"""Bytes of a file that takes no room on the disk."""


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [("net.snn", ("check", "F"), "E0120"),
     ("net.onnx", ("check", "F"), "E0101"),
     ("net.nir", ("check", "F"), "E0112"),
     ("net.snnir", ("opt", "F"), "E0156"),
     ("net.snnx", ("run", "F"), "E0801"),
     ("net.s", ("asm", "F", "-o", "-"), "E0005"),
     ("net.toml", ("check", DIGITS, "--config", "F"), "E0350"),
     ("net.toml", ("check", DIGITS, "--target", "F"), "E0028"),
     ("s.json", ("report", "F", "-o", "-"), "E0005"),
     ("in.npz", ("run", DIGITS, "-i", "F"), "E0020")],
)  # fmt: skip
def test_files_of_many_gigabytes_are_refused_unread(
    tmp_path: Path, name: str, words: tuple[object, ...], code: str
) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n" if name == "net.nir" else b" ")
        file.truncate(HOLE)
    refused(snncc(*(path if w == "F" else w for w in words)), code)
