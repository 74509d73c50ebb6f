"""Runs tests, with or without a fault, in a copy of this process that has the libraries imported.

Starting Python, pytest, numpy, numba and onnx takes longer than most tests; a forked process has
them.  Nothing of snncc may be imported here: a copy must import the fault.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from guards import tree
from mutation.mutants import Mutant
from mutation.reached import Recorder
from mutation.relevant import SOURCES, module_of

HOOK: Final = Path(__file__).resolve().parent / "hook"
LIBRARIES: Final = (
    "numpy", "numba", "llvmlite.binding", "networkx", "lark", "click.testing", "rich.console",
    "onnx", "onnxruntime", "h5py", "nir", "hypothesis.strategies", "sklearn.datasets",
)  # fmt: skip
COMPILED: Final = "isasim/engines/kernels/"
"""What decides machine code, which is kept on disk: faults there get a cache of their own."""

COMPILES: Final = 900.0
"""Seconds in which all kernels must be compiled."""

HUNG: Final = -1


class Ended(NamedTuple):
    """Pytest's exit code, or HUNG; the processor time that it took; the first test that failed."""

    code: int
    seconds: float
    by: str = ""


class FirstFailure:
    """A plugin of pytest that writes down which test failed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pytest ends with the first failure, so there is one."""
        if report.failed:
            self.path.write_text(report.nodeid, encoding="utf-8")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported fails as well."""
        if report.failed:
            self.path.write_text(report.nodeid, encoding="utf-8")


def run(
    tests: Sequence[str],
    mutant: Mutant | None = None,
    limit: float | None = None,
    result: Path | None = None,
    most: float = 30.0,
    kernels: Path | None = None,
) -> Ended:
    """Run files or single tests until the first failure; ``limit`` is in seconds by the clock.

    ``result``: where to write which functions each test calls, of the tests that a file can run
    in ``most`` seconds.  ``kernels`` is where machine code is kept that a fault has part in.
    """
    _import_libraries()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            recorder = Recorder(Path(folder, "notes"), result, most) if result else None
            _in_the_copy(tests, mutant, Path(folder), recorder, kernels)
        ended, by = _wait(child, limit), Path(folder, "failed")
        return ended._replace(by=by.read_text(encoding="utf-8") if by.exists() else "")


def compile_kernels(mutant: Mutant, kernels: Path) -> Ended:
    """Let tests find machine code as they do without a fault; the code is not 0 if that fails."""
    _import_libraries()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _in_the_copy([], mutant, Path(folder), None, kernels)
        return _wait(child, COMPILES)


def is_compiled(file: str) -> bool:
    """Return whether a fault in this file may change machine code."""
    return file.startswith(COMPILED)


def _import_libraries() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    mine = [name for name in sys.modules if name.startswith("snncc.")]
    assert not mine, mine


def _in_the_copy(
    tests: Sequence[str],
    mutant: Mutant | None,
    folder: Path,
    recorder: Recorder | None,
    kernels: Path | None,
) -> None:
    """Run pytest in a session of its own, then end; without tests, compile the kernels."""
    code = 70
    try:
        os.setsid()
        quiet = os.open(os.environ.get("MUTANT_LOG", os.devnull), os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(quiet, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(tree.ROOT)
        plugins: list[object] = [FirstFailure(folder / "failed")]
        if mutant is not None:
            _plant(mutant, folder)
        if kernels is not None:
            os.environ["NUMBA_CACHE_DIR"] = str(kernels)
            settings: Any = importlib.import_module("numba.core.config")
            settings.reload_config()
        if recorder is not None:
            _note(recorder.notes)
            plugins.append(recorder)
        if mutant is not None or recorder is not None:
            paths = [str(HOOK), os.environ.get("PYTHONPATH", "")]
            os.environ["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
            runpy.run_path(str(HOOK / "sitecustomize.py"))
        if not tests:
            for file in tree.files(f"{COMPILED}*.py"):
                importlib.import_module(module_of(file))
            code = 0
            return
        options = ("-q", "-x", "-m", "not slow", "-p", "no:cacheprovider")
        places = (str(tree.ROOT / test) for test in tests)
        code = int(pytest.main([*options, *places], plugins=plugins))
        code = 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else code  # all of them are slow
    finally:
        sys.stdout.flush()
        os._exit(code)


def _plant(mutant: Mutant, folder: Path) -> None:
    """Let this process and those that it starts import the fault."""
    text = folder / "mutant.py"
    text.write_text(mutant.text, encoding="utf-8")
    os.environ["MUTANT_FILE"] = str((tree.ROOT / mutant.file).resolve())
    os.environ["MUTANT_TEXT"] = str(text)


def _note(notes: Path) -> None:
    """Let this process and those that it starts note which functions are called."""
    notes.mkdir()
    sources = tree.files(*(f"{top}/**.py" for top in SOURCES))
    os.environ["REACHED_FOLDER"] = str(notes)
    os.environ["REACHED_SOURCES"] = os.pathsep.join(f"{tree.ROOT / top}/" for top in SOURCES)
    os.environ["REACHED_EXCEPT"] = os.pathsep.join(
        str(tree.ROOT / file) for file in sources if is_compiled(file)
    )


def _wait(child: int, limit: float | None) -> Ended:
    """Wait for a process; end it and all that it started."""
    started = time.monotonic()
    try:
        while True:
            done, status, used = os.wait4(child, os.WNOHANG)
            if done:
                return Ended(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime)
            if limit is not None and time.monotonic() - started > limit:
                os.killpg(child, signal.SIGKILL)
                _, _, used = os.wait4(child, 0)
                return Ended(HUNG, used.ru_utime + used.ru_stime)
            time.sleep(0.05)
    finally:
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
