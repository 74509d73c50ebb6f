"""An internal error, wherever it is planted: a report with the command, the IR or the program."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc
from snncc.compiler.driver import trainer
from snncc.compiler.frontend import import_onnx as onnx_import
from snncc.compiler.ir.resources import read_module
from snncc.compiler.passes.phases import split_forward
from snncc.isa.program.file import read
from snncc.isasim.system import System

Words = tuple[object, ...]
COMPILING: dict[str, Words] = {
    "check": ("check", DIGITS, "--config", CONFIG),
    "compile": ("compile", DIGITS, "--config", CONFIG, "-o", "out.snnx", "--cores", "3"),
    "emit": ("compile", DIGITS, "--config", CONFIG, "--emit", "ir:phased"),
    "run": ("run", DIGITS, "--config", CONFIG, "-i", BATCH),
    "interpret": ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "--numerics", "float32"),
    "train": ("train", DIGITS, "--config", CONFIG, "--data", "d.npz", "--epochs", "1"),
    "opt": ("opt", DIGITS, "--config", CONFIG, "-p", "frontend,phases"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    np.savez("d.npz", x=rng.random((64, 64), np.float32), y=rng.integers(0, 10, 64))
    return tmp_path


def plant(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(owner, name, broken)


def report(folder: Path, said: str) -> str:
    """Return the text of the one report, which the message must name."""
    (path,) = folder.glob("snncc-crash-*.txt")
    assert str(path) in said
    text = path.read_text()
    assert "ZeroDivisionError: planted" in text
    return text


@pytest.mark.parametrize("words", COMPILING.values(), ids=COMPILING)
def test_a_pass_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch, words: Words) -> None:
    with monkeypatch.context() as planted:
        plant_pass(planted)
        said = refused(snncc(*words), "E0006", 70)
        assert "split-forward" in said
        text = report(folder, said)
        assert shlex.join(["snncc", *map(str, words)]) in text
        (ir,) = folder.glob("snncc-crash-*.snnir")
        assert read_module(ir).module.stage == "graph"
        command = text.partition("to see the failure again: ")[2].partition("\n")[0]
        assert command in said
        again = refused(snncc(*shlex.split(command)[1:]), "E0006", 70)
        assert "ZeroDivisionError: planted" in again
        assert ir.exists()
    done = snncc(*shlex.split(command)[1:])  # the bug is gone: the same command works
    assert done.exit_code == 0, done.output
    assert "phased" in done.stdout


def plant_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, split_forward, "training_of")


IMPORTING: dict[str, Words] = {
    name: words for name, words in COMPILING.items() if name in ("check", "compile", "train")
}


@pytest.mark.parametrize("words", IMPORTING.values(), ids=IMPORTING)
def test_an_importer_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: Words
) -> None:
    plant(monkeypatch, onnx_import, "import_onnx")
    text = report(folder, refused(snncc(*words), "E0006", 70))
    assert shlex.join(["snncc", *map(str, words)]) in text
    assert f"file: {DIGITS}, {DIGITS.stat().st_size} bytes" in text


def test_a_simulator_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, System, "run")
    text = report(folder, refused(snncc(*COMPILING["run"]), "E0006", 70))
    (program,) = folder.glob("snncc-crash-*.snnx")
    assert read(program).machine_name == "multicore20"
    (ir,) = folder.glob("snncc-crash-*.snnir")
    assert read_module(ir).module.stage == "graph"
    assert str(program) in text
    assert str(ir) in text


def test_a_trainer_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, trainer, "_epoch")
    report(folder, refused(snncc(*COMPILING["train"]), "E0006", 70))
    assert len(list(folder.glob("snncc-crash-*.snnx"))) == 1


def test_no_report_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_pass(monkeypatch)
    before: dict[str, bytes] = {}
    for count in (1, 2, 3):
        refused(snncc(*COMPILING["check"]), "E0006", 70)
        now = {p.name: p.read_bytes() for p in folder.glob("snncc-crash-*")}
        assert len([name for name in now if name.endswith(".txt")]) == count
        assert before.items() <= now.items()
        before = now


def test_where_nothing_can_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback itself is shown, in lines."""
    plant(monkeypatch, onnx_import, "import_onnx")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    done = snncc(*COMPILING["check"])
    assert done.exit_code == 70
    assert "\nTraceback (most recent call last):\n" in done.stderr
    assert [p.name for p in folder.iterdir()] == ["d.npz"]
