"""Where a run's trace goes; the file's name says its format."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from pathlib import Path

from snncc.compiler.cli.failure import Stopped
from snncc.compiler.cli.files import writing
from snncc.compiler.diag import fail
from snncc.isa.machine import Machine
from snncc.isa.objfile import ObjectFile, ObjectFileError, machine_of
from snncc.isasim.hooks import Tracer
from snncc.isasim.perfetto import PerfettoTrace
from snncc.isasim.trace import EventTrace, JsonTrace, TextTrace

PERFETTO = (".pftrace", ".perfetto-trace")


def open_tracers(path: str | None, program: ObjectFile, files: ExitStack) -> list[Tracer]:
    """Return the tracers for ``--trace``; ``files`` closes what was opened.

    The trace of a program that traps or deadlocks is kept, that of an interrupted run is not.
    """
    if not path:
        return []
    if path == "-":
        return [TextTrace(sys.stdout)]
    out = files.enter_context(writing(path, keep=(Stopped,)))
    machine = _machine(program)
    if Path(path).suffix in PERFETTO:
        return [PerfettoTrace(out, machine.clock_hz)]
    text = io.TextIOWrapper(out, encoding="utf-8", newline="\n")
    files.callback(text.detach)
    match Path(path).suffix:
        case ".jsonl":
            return [JsonTrace(text)]
        case ".json":
            return [EventTrace(text, machine.clock_hz)]
        case _:
            return [TextTrace(text)]


def _machine(program: ObjectFile) -> Machine:
    try:
        return machine_of(program)
    except ObjectFileError as error:
        fail("E0801", str(error), help="compile or assemble the program again")
