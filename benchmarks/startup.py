"""How long a command takes to say something: a process each time, against a number of seconds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.common import Case, Side
from benchmarks.models import mlp_onnx

SNNCC = Path(sys.executable).with_name("snncc")


def _command(*words: str) -> Side:
    def run() -> None:
        subprocess.run([str(SNNCC), *words], check=True, stdout=subprocess.DEVNULL)

    return run


def _help() -> tuple[Side, Side | None, str]:
    return _command("--help"), None, ""


def _check() -> tuple[Side, Side | None, str]:
    folder = Path(tempfile.mkdtemp(prefix="snncc-bench-"))
    path = mlp_onnx(folder / "mlp.onnx", steps=25, batch=128, sizes=(784, 1000, 10))
    return _command("check", str(path)), None, f"{path.stat().st_size / 1e6:.1f} MB"


def cases() -> list[Case]:
    """Return the start-up cases."""
    return [
        Case("startup/help", "budget 0.3 s", _help, budget=0.3, clock=perf_counter),
        Case("startup/check", "budget 1.5 s", _check, budget=1.5, clock=perf_counter),
    ]
