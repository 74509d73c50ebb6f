"""Where a run's trace goes; the file's name says its format."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from snncc.compiler.diag import fail
from snncc.compiler.driver.failure import Stopped
from snncc.compiler.driver.files import writing
from snncc.isa.machine.machine import Machine
from snncc.isa.program.file import ObjectFile, ObjectFileError, machine_of
from snncc.isasim.observe.hooks import Tracer
from snncc.isasim.observe.perfetto import PerfettoTrace
from snncc.isasim.observe.trace import EventTrace, JsonTrace, TextTrace
from snncc.isasim.observe.trace_span import FOREVER, SpanTrace, TraceSpan

PERFETTO = (".pftrace", ".perfetto-trace")


def open_tracers(
    path: str | None, program: ObjectFile, files: ExitStack, span: TraceSpan | None = None
) -> list[Tracer]:
    """Return the tracers for ``--trace``; ``files`` closes what was opened.

    The trace of a program that traps or deadlocks is kept, that of an interrupted run is not.
    """
    if not path:
        return []
    span = span or TraceSpan()
    files.callback(_say_cut, span)
    if path == "-":
        return [SpanTrace(TextTrace(sys.stdout), span)]
    out = files.enter_context(writing(path, keep=(Stopped,)))
    machine = _machine(program)
    if Path(path).suffix in PERFETTO:
        return [PerfettoTrace(out, machine.clock_hz, span)]
    text = io.TextIOWrapper(out, encoding="utf-8", newline="\n")
    files.callback(text.detach)
    match Path(path).suffix:
        case ".jsonl":
            return [SpanTrace(JsonTrace(text), span)]
        case ".json":
            return [SpanTrace(EventTrace(text, machine.clock_hz), span)]
        case _:
            return [SpanTrace(TextTrace(text), span)]


def _say_cut(span: TraceSpan) -> None:
    if span.cut is not None:
        print(
            f"snncc: note: the trace ends at cycle {span.cut}, after {span.taken} instructions; "
            "--trace-cycles FROM:TO chooses a part",
            file=sys.stderr,
        )


def parse_span(text: str | None) -> TraceSpan:
    """Return the span that ``--trace-cycles`` names: FROM:TO, either may be left out."""
    if text is None:
        return TraceSpan()
    first, colon, last = text.partition(":")
    try:
        span = TraceSpan(int(first or 0), int(last) if last else FOREVER)
    except ValueError:
        colon = ""
    else:
        if colon and 0 <= span.first < span.last:
            return span
    raise click.UsageError(f"--trace-cycles wants FROM:TO, two cycles, not {text!r}")


def _machine(program: ObjectFile) -> Machine:
    try:
        return machine_of(program)
    except ObjectFileError as error:
        fail("E0801", str(error), help="compile or assemble the program again")
