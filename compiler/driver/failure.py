"""Exceptions as messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from snncc.compiler.diag import CompileError, Diagnostic
from snncc.compiler.driver.exits import EXIT_INPUT, EXIT_INTERNAL
from snncc.compiler.driver.streams import OUTSIDE


class Stopped(Exception):
    """A simulated run that did not halt: the report, the exit code (3, 4 or 5), its statistics."""

    def __init__(
        self, report: str, code: int, stats: Callable[[], dict[str, Any]] | None = None
    ) -> None:
        super().__init__(report)
        self.code = code
        self.stats = stats


def explain(error: Exception, words: Sequence[str] = ()) -> tuple[str, int]:
    """Return what to tell the user about an exception, and the exit code.

    ``words`` are those of the command line, for the report of an internal error.
    """
    match error:
        case Stopped():
            return str(error), error.code
        case CompileError() if any(d.code == "E0006" for d in error.diagnostics):
            return _report(error, words), EXIT_INTERNAL
        case CompileError():
            return str(error), EXIT_INPUT
        case OSError() if error.filename is not None and error.strerror:
            return _one("E0005", error.strerror.lower(), str(error.filename)), EXIT_INPUT
        case OSError() if error.errno in OUTSIDE:
            return _one("E0005", (error.strerror or str(error)).lower()), EXIT_INPUT
        case MemoryError():
            return _one("E0032", "not enough memory for this model on this computer"), EXIT_INPUT
        case _:
            return _report(error, words), EXIT_INTERNAL


def _report(error: Exception, words: Sequence[str]) -> str:
    from snncc.compiler.driver.crash import report_crash  # it loads the compiler

    return report_crash(error, words)


def show_validation(validation: object) -> None:
    """Say on stderr that a model was not compared with its file; ``validation``: a program's."""
    if isinstance(validation, Mapping):
        facts = cast("Mapping[str, object]", validation)
        if facts.get("validated") is False:
            print(f"snncc: note: not validated: {facts.get('why')}", file=sys.stderr)
        elif facts.get("other_gradients"):
            note = "for inference only: its gradients would not be those of the model's file"
            print(f"snncc: note: {note}: {facts['other_gradients']}", file=sys.stderr)


def _one(code: str, message: str, where: str = "") -> str:
    return str(Diagnostic(code, message, where))
