"""Exceptions as messages and exit codes; an internal error leaves a file that reproduces it."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snncc.compiler.cli.roof import EXIT_INPUT, EXIT_INTERNAL
from snncc.compiler.cli.streams import OUTSIDE
from snncc.compiler.diag import CompileError, Diagnostic


class Stopped(Exception):
    """A simulated run that did not halt: the report, the exit code (3, 4 or 5), its statistics."""

    def __init__(
        self, report: str, code: int, stats: Callable[[], dict[str, Any]] | None = None
    ) -> None:
        super().__init__(report)
        self.code = code
        self.stats = stats


def explain(error: Exception) -> tuple[str, int]:
    """Return what to tell the user about an exception, and the exit code."""
    from snncc.compiler.pipeline.manager import PassFailure  # not before something fails

    match error:
        case Stopped():
            return str(error), error.code
        case PassFailure():
            return str(error), EXIT_INTERNAL
        case CompileError():
            internal = any(d.code == "E0006" for d in error.diagnostics)
            return str(error), EXIT_INTERNAL if internal else EXIT_INPUT
        case OSError() if error.filename is not None and error.strerror:
            return _one("E0005", error.strerror.lower(), str(error.filename)), EXIT_INPUT
        case OSError() if error.errno in OUTSIDE:
            return _one("E0005", (error.strerror or str(error)).lower()), EXIT_INPUT
        case MemoryError():
            return _one("E0032", "not enough memory for this model on this computer"), EXIT_INPUT
        case _:
            return _crash(error), EXIT_INTERNAL


def _one(code: str, message: str, where: str = "", help: str = "") -> str:
    return str(Diagnostic(code, message, where, help=help))


def _crash(error: Exception) -> str:
    """Write command, versions and traceback to a file and say where it is."""
    trace = "".join(traceback.format_exception(error))
    command = shlex.join(["snncc", *sys.argv[1:]])
    text = f"command: {command}\nfolder: {Path.cwd()}\nversions: {versions()}\n\n{trace}"
    name = f"snncc-crash-{hashlib.sha256(trace.encode()).hexdigest()[:12]}.txt"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        where = f"details and the command are in {folder / name}"
        break
    else:
        where = trace
    what = f"{type(error).__name__}: {error}"
    return _one("E0006", what, help=f"this is a bug of snncc, please report it; {where}")


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("snncc", "numpy", "numba", "onnx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found
