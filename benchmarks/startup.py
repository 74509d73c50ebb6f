"""How long a command takes to say something: a process each time, against a number of seconds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from time import perf_counter

from benchmarks.common import Case, Side
from benchmarks.models import mlp_onnx

SNNCC = Path(sys.executable).with_name("snncc")


def _command(*words: str) -> Side:
    quiet = subprocess.DEVNULL

    def run() -> None:
        subprocess.run([str(SNNCC), *words], check=True, stdout=quiet, stderr=quiet)

    return run


def _help() -> tuple[Side, Side | None, str]:
    return _command("--help"), None, ""


def _check() -> tuple[Side, Side | None, str]:
    folder = Path(tempfile.mkdtemp(prefix="snncc-bench-"))
    path = mlp_onnx(folder / "mlp.onnx", steps=25, batch=128, sizes=(784, 1000, 10))
    return _command("check", str(path)), None, f"{path.stat().st_size / 1e6:.1f} MB"


def _run() -> tuple[Side, Side | None, str]:
    """Compile the shipped model; the first run, which is not counted, warms the kernel cache."""
    folder = Path(tempfile.mkdtemp(prefix="snncc-bench-"))
    shipped = Path(str(files("snncc.models")))
    program, model = folder / "net.snnx", shipped / "mlp_digits.onnx"
    config = ("--config", str(shipped / "mlp_digits.toml"))
    _command("compile", str(model), *config, "--cores", "2", "-o", str(program))()
    inputs = ("-i", str(shipped / "mlp_digits.npz"), "-o", str(folder / "out.npz"))
    return _command("run", str(program), *inputs), None, "64-128-10, T=10, batch 64"


def cases() -> list[Case]:
    """Return the start-up cases."""
    return [
        Case("startup/help", "budget 0.3 s", _help, budget=0.3, clock=perf_counter),
        Case("startup/check", "budget 1.5 s", _check, budget=1.5, clock=perf_counter),
        Case("startup/run", "budget 2.5 s", _run, budget=2.5, clock=perf_counter),
    ]
