"""Where a run's trace goes; the file's name says its format."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from snncc.compiler.diag import fail
from snncc.isa.machine import parse_machine
from snncc.isa.objfile import ObjectFile
from snncc.isasim.hooks import Tracer
from snncc.isasim.trace import EventTrace, JsonTrace, TextTrace


def open_tracers(path: str | None, program: ObjectFile, files: ExitStack) -> list[Tracer]:
    """Return the tracers for ``--trace``; ``files`` closes what was opened."""
    if not path:
        return []
    if path == "-":
        return [TextTrace(sys.stdout)]
    try:
        out = files.enter_context(Path(path).open("w", encoding="utf-8"))
    except OSError as error:
        fail("E0005", f"cannot be written: {(error.strerror or str(error)).lower()}", path)
    match Path(path).suffix:
        case ".jsonl":
            return [JsonTrace(out)]
        case ".json":
            machine = parse_machine(program.machine_toml, program.machine_name)
            return [EventTrace(out, machine.clock_hz)]
        case _:
            return [TextTrace(out)]
