"""Options of `snncc run` that look at a run or leave out its values, and what they need."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from snncc.compiler.diag import fail
from snncc.compiler.driver.failure import Stopped

if TYPE_CHECKING:
    from snncc.isa.program.file import ObjectFile
    from snncc.isasim.measure.activity import Expected, Recording
    from snncc.isasim.observe.trace_span import TraceSpan
    from snncc.isasim.system import RunOptions

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--report", help="Write a page (HTML) that shows where time and energy went."),
    click.option(
        "--timing-only", is_flag=True, help="Compute no values: time and energy at given densities."
    ),
    click.option(
        "--density", type=float, help="Density where --activity says none.  [default: 0.1]"
    ),
    click.option(
        "--activity", help="Densities: a recording (--record), or --stats JSON of another run."
    ),
    click.option("--record", help="Write what every instruction did, for --activity (.npz)."),
    click.option(
        "--threads",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Compute so many cores at once; same results, seldom sooner.",
    ),
    click.option("--trace-cycles", metavar="FROM:TO", help="Trace only these cycles."),
    click.option(
        "--no-extrapolate",
        is_flag=True,
        help="With --timing-only: run every turn of loops, also of those that repeat exactly.",
    ),
    click.option("--commands", help="Commands for --debug from a file; - is stdin."),
)


def inspection_options(command: F) -> F:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass
class Inspection:
    """What was asked for."""

    report: str | None
    timing_only: bool
    density: float | None
    activity: str | None
    record: str | None
    commands: str | None
    threads: int
    trace_cycles: str | None
    no_extrapolate: bool

    @classmethod
    def take(cls, flags: dict[str, Any], debug: bool) -> Inspection:
        """Take the options out of the flags of a command."""
        found = cls(**{f.name: flags.pop(f.name) for f in fields(cls)})
        if not found.timing_only and (found.density is not None or found.activity):
            raise click.UsageError("--density and --activity go with --timing-only")
        if not found.timing_only and found.no_extrapolate:
            raise click.UsageError("--no-extrapolate goes with --timing-only")
        if found.commands and not debug:
            raise click.UsageError("--commands goes with --debug")
        if found.timing_only and found.record:
            raise click.UsageError("--record needs values, --timing-only has none")
        return found

    def options(self, options: RunOptions, stats: str | None) -> RunOptions:
        """Return the simulator's options for a run with values."""
        from snncc.isasim.measure.activity import ActivityRecorder

        recorder = ActivityRecorder() if self.record else None
        return replace(
            options,
            timeline=bool(stats or self.report),
            recorder=recorder,
            threads=self.threads,
        )

    def source(self, program: ObjectFile) -> Expected | Recording:
        """Return where the densities come from."""
        from snncc.compiler.driver.files import read_bytes
        from snncc.isasim.measure.activity import MAX_RECORDING, ActivityError, Recording

        data = read_bytes(self.activity, MAX_RECORDING) if self.activity is not None else b"{"
        if data[:1] == b"{":
            return expected_densities(self.density, self.activity)
        try:
            return Recording.read(data, program_hash(program))
        except (ActivityError, ValueError) as error:
            fail("E0033", str(error), self.activity or "")

    def span(self) -> TraceSpan:
        """Return the part of the run that is traced."""
        from snncc.compiler.cli.commands.tracing import parse_span

        return parse_span(self.trace_cycles)

    @contextmanager
    def keeping(self, stats: str | None) -> Generator[None]:
        """Write statistics and report also of a run that stops before its end."""
        from snncc.compiler.driver.files import write_text

        try:
            yield
        except Stopped as stop:
            if stop.stats is not None and (stats or self.report):
                found = stop.stats()
                if stats:
                    write_text(stats, json.dumps(found, indent=1) + "\n")
                if self.report:
                    from snncc.compiler.cli.commands.report import write_report

                    write_report(self.report, found)
            raise

    def finish(self, program: ObjectFile, options: RunOptions, stats: Any) -> None:
        """Write the recording and the report of a run."""
        from snncc.compiler.driver.files import write_bytes

        if self.record and options.recorder is not None:
            out = io.BytesIO()
            options.recorder.write(out, program_hash(program))
            write_bytes(self.record, out.getvalue())
        if self.report and stats is not None:
            from snncc.compiler.cli.commands.report import write_report

            write_report(self.report, stats)


def expected_densities(density: float | None, stats: str | None) -> Expected:
    """Return what ``--density`` and a ``--stats`` file of another run expect."""
    from snncc.compiler.driver.files import read_bytes
    from snncc.isa.cost.expected import DEFAULT_DENSITY
    from snncc.isasim.measure.activity import ActivityError, Expected

    default = DEFAULT_DENSITY if density is None else density
    try:
        if stats is None:
            return Expected({}, default)
        return Expected.from_stats(json.loads(read_bytes(stats)), default)
    except (ActivityError, ValueError, RecursionError) as error:
        fail("E0033", str(error), stats or "--density")


def program_hash(program: ObjectFile) -> str:
    """Return a digest of the code: what a recording depends on."""
    digest = hashlib.sha256(program.isa.encode())
    for core in program.cores:
        digest.update(repr((core.core, [(i.insn.mnemonic, i.values) for i in core.code])).encode())
    return digest.hexdigest()


def run_timing_only(
    program: ObjectFile,
    asked: Inspection,
    options: RunOptions,
    stats: str | None,
    trace: str | None,
) -> None:
    """Run a program without values."""
    from contextlib import ExitStack

    from snncc.compiler.cli.commands.tracing import open_tracers
    from snncc.compiler.driver.estimated import with_estimate
    from snncc.compiler.driver.files import write_text
    from snncc.compiler.driver.interface import InputLayout, Interface
    from snncc.compiler.driver.simulate import LoadedProgram
    from snncc.isasim.measure.activity import ActivityError

    options = replace(
        options,
        source=asked.source(program),
        timeline=bool(stats or asked.report),
        extrapolate=not asked.no_extrapolate,
    )
    with ExitStack() as files:
        files.enter_context(asked.keeping(stats))
        tracers = open_tracers(trace, program, files, asked.span())
        nothing = Interface("", "bare", 1, 1, InputLayout(()))
        chip = LoadedProgram(program, nothing, options=options, tracers=tracers)
        try:
            result = chip.start()
        except ActivityError as error:
            fail("E0033", str(error), asked.activity or "")
    found = with_estimate(result.stats, program)
    if stats:
        write_text(stats, json.dumps(found, indent=1) + "\n")
    asked.finish(program, options, found)
    if stats != "-":
        costs(found, sys.stderr if trace == "-" else sys.stdout)


def costs(stats: Any, stream: Any) -> None:
    """Print what a step cost, in one line, and what was estimated."""
    traffic = sum(stats["dram_bytes"].values())
    macs = stats["macs"]
    print(
        f"{stats['cycles']} cycles ({stats['seconds'] * 1e6:.4g} us), "
        f"{stats['energy_pj']['total'] / 1e6:.4g} uJ, DRAM {traffic} bytes, "
        f"{macs['performed']} of {macs['dense']} MACs",
        file=stream,
    )
    expected = stats.get("estimate")
    if expected:
        moved = sum(expected["dram_bytes"].values())
        part = expected["macs"]["performed"]
        print(
            f"estimated: at least {expected['bound']['cycles']} cycles, "
            f"{expected['energy_pj'] / 1e6:.4g} uJ without leakage and clock, "
            f"DRAM {moved} bytes, {part} MACs",
            file=stream,
        )
