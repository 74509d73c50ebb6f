"""Programs without a model: traps, deadlocks, races, and tensors by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from e2e.common import refused, snncc
from snncc.isa.instructions import text
from snncc.isa.machine.machine import load_machine
from snncc.isa.program.file import CoreProgram, ObjectFile, TensorEntry, write


def program(path: Path, *lines: str) -> Path:
    """Write a program for one core of the small machine; x is read, z is written."""
    machine = load_machine("small")
    code = tuple(text.parse(line) for line in (*lines, "halt"))
    tensors = (
        TensorEntry("x", "input", "f16", (4,), 0),
        TensorEntry("z", "output", "f16", (4,), 64),
    )
    made = ObjectFile(
        machine.name, machine.hash, machine.to_toml(), (CoreProgram(0, code),), (), (), tensors
    )
    write(made, path)
    return path


COPY = (
    "li r1, 8",
    "li r2, 64",
    "li r3, 1",
    "ld [r0:r0:r0], [r0:r0:r0], n0=r3, n1=r3, bytes=r1",
)
STORE = "st [r2:r0:r0], [r0:r0:r0], n0=r3, n1=r3, bytes=r1"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "in.npz"
    np.savez(path, x=np.array([1, 2, 3, 65504], np.float32), unused=np.zeros(1))
    return path


def test_tensors_by_name(tmp_path: Path, inputs: Path) -> None:
    path, out = program(tmp_path / "p.snnx", *COPY, STORE), tmp_path / "out.npz"
    stats = tmp_path / "s.json"
    done = snncc("run", path, "--inputs", inputs, "-o", out, "--stats", stats)
    assert done.exit_code == 0, done.output
    with np.load(out) as found:
        assert found["z"].tolist() == [1, 2, 3, 65504]
    assert json.loads(stats.read_text())["instructions"] == 6


def test_wrong_shape(tmp_path: Path) -> None:
    path, bad = program(tmp_path / "p.snnx", *COPY), tmp_path / "bad.npz"
    np.savez(bad, x=np.zeros(5))
    refused(snncc("run", path, "--inputs", bad), "E0022")


def test_trap(tmp_path: Path) -> None:
    far = "li r4, 0x7fffff00"
    path = program(tmp_path / "p.snnx", *COPY, far, STORE.replace("[r2", "[r4"))
    said = refused(snncc("run", path), "E0901", 3)
    assert "core 0 dma" in said


def test_deadlock_names_who_waits(tmp_path: Path) -> None:
    path = program(tmp_path / "p.snnx", "wait dma, sem3, 1")
    said = refused(snncc("run", path), "E0903", 5)
    assert "sem3" in said
    assert "core 0 dma" in said


def test_limit(tmp_path: Path) -> None:
    path = program(tmp_path / "p.snnx", "li r1, 1", "li r1, 2", "li r1, 3")
    refused(snncc("run", path, "--max-instructions", "2"), "E0902", 4)


def test_race(tmp_path: Path, inputs: Path) -> None:
    vpu = "colsum [r2], [r0:r1], rows=r3, n=r3, type=f16, init=zero"
    path = program(tmp_path / "p.snnx", *COPY, vpu)
    assert snncc("run", path, "--inputs", inputs).exit_code == 0
    said = refused(snncc("run", path, "--inputs", inputs, "--check-races"), "E0904")
    assert "\\n" not in said  # one line for each of the two accesses
    assert [line[:6] for line in said.splitlines()[-2:]] == ["note: ", "note: "]


def test_strict_init(tmp_path: Path) -> None:
    path = program(tmp_path / "p.snnx", *COPY)
    assert snncc("run", path).exit_code == 0
    assert "uninitialised" in refused(snncc("run", path, "--strict-init"), "E0901", 3)
