"""Runs that are cut off, and files that cannot be written: no half-written file is left."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc
from snncc.isa.program.file import read, to_bytes

ENDLESS = """.machine small
.core 0
  loopi 4294967295 {
    post dma, sem0, 1
    wait fp, sem0, 1
  }
  halt
"""
# A shell lets what it runs in the background ignore SIGINT, hence preexec_fn below.
COMMAND = (sys.executable, "-m", "snncc.compiler.cli.entry")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_told_to_end_leaves_what_was_there(
    tmp_path: Path, number: int, code: int
) -> None:
    source, program, trace = (tmp_path / name for name in ("p.s", "p.snnx", "t.pftrace"))
    source.write_text(ENDLESS)
    assert snncc("asm", source, "-o", program).exit_code == 0
    trace.write_bytes(b"old")
    run = subprocess.Popen(
        [*COMMAND, "run", str(program), "--trace", str(trace)], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not any(p.stat().st_size for p in tmp_path.glob(".t.pftrace.*")):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == code
    assert said.strip() in ("interrupted", "terminated")
    assert trace.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.s", "p.snnx", "t.pftrace"]


def test_an_interrupt_while_modules_are_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, "targets"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.fixture
def no_room() -> Iterator[None]:
    """Files may not grow beyond some bytes: like a full disk, but only for this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize(
    "words",
    [
        ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "-o", "out.npz"),
        ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "--trace", "out.pftrace"),
        ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "--trace", "out.jsonl"),
        ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "--report", "out.html"),
        ("compile", DIGITS, "--config", CONFIG, "-o", "out.snnx"),
        ("export", DIGITS, "--config", CONFIG, "-o", "out.onnx"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
@pytest.mark.usefixtures("no_room")
def test_a_full_disk_is_an_error_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(snncc(*words), "E0005")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["-o", "--stats", "--trace", "--report", "--record"])
def test_a_folder_that_is_not_there(tmp_path: Path, flag: str) -> None:
    words = ("run", DIGITS, "--config", CONFIG, "-i", BATCH, flag, tmp_path / "none" / "x.npz")
    refused(snncc(*words), "E0005")
    assert not list(tmp_path.iterdir())


def test_a_machine_that_is_none_is_a_damaged_program(tmp_path: Path) -> None:
    """The checksum is right: somebody wrote it like that."""
    path = tmp_path / "p.snnx"
    assert snncc("compile", DIGITS, "--config", CONFIG, "-o", path).exit_code == 0
    program = replace(read(path), machine_toml="clock_hz = [")
    path.write_bytes(to_bytes(program))
    text = refused(snncc("run", path, "-i", BATCH), "E0801")
    assert "section MACH: not valid TOML" in text
    refused(snncc("run", path, "-i", BATCH, "--trace", tmp_path / "t.pftrace"), "E0801")
    refused(snncc("run", path, "--timing-only"), "E0801")
    assert [p.name for p in tmp_path.iterdir()] == ["p.snnx"]
