"""`snncc run`: one step of a program or model."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snncc.compiler.cli.commands.inspection import (
    Inspection,
    costs,
    inspection_options,
    run_timing_only,
)
from snncc.compiler.cli.commands.options import (
    CORES,
    ENGINE,
    NO_VALIDATE,
    TARGET,
    config_options,
    read_config,
)

if TYPE_CHECKING:
    from snncc.isasim.observe.hooks import Tracer

NUMERICS = ("fp16", "float32", "float64")


@click.command(short_help="Simulate one step of a program or model.")
@click.argument("program", metavar="PROG.snnx|MODEL")
@click.option("--inputs", "-i", help="IN.npz with x, and y to train; - is stdin.")
@click.option("-o", "--output", help="OUT.npz for the results; - is stdout.")
@config_options
@TARGET
@CORES
@ENGINE
@click.option(
    "--numerics",
    type=click.Choice(NUMERICS),
    default="fp16",
    show_default=True,
    help="float32 or float64: evaluate the step of a MODEL in that type, without a chip.",
)
@click.option("--mode", type=click.Choice(["train", "infer"]), help="Default: train if there is y.")
@click.option(
    "--spikes",
    is_flag=True,
    help="Also write spikes/LAYER (a program must be compiled with --spikes).",
)
@click.option("--stats", help="Write cycles, energy and traffic as JSON.")
@click.option(
    "--trace", help="Write a trace: text, .jsonl, .pftrace (ui.perfetto.dev), .json; - is stdout."
)
@click.option("--check-races", is_flag=True, help="Prove that all accesses are ordered.")
@click.option("--strict-init", is_flag=True, help="Trap on reads of memory never written.")
@click.option("--max-instructions", type=click.IntRange(1), help="Stop after so many (exit 4).")
@click.option("--debug", is_flag=True, help="Interactive debugger; `help` lists its commands.")
@click.option("--dt", type=float, help="Time step of a .nir file, in its unit.")
@NO_VALIDATE
@inspection_options
def run(
    program: str, inputs: str | None, output: str | None, config: str | None, target: str | None,
    cores: int | None, engine: str, numerics: str, mode: str | None, spikes: bool,
    stats: str | None, trace: str | None, check_races: bool, strict_init: bool,
    max_instructions: int | None, debug: bool, dt: float | None, no_validate: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Run ONE step: a training step for a training program (or a MODEL with y), else inference.

    \b
      snncc run net.snnx --inputs batch.npz -o out.npz --stats stats.json
      snncc run net.onnx --config net.toml --inputs batch.npz --numerics float32 -o ref.npz
      snncc run net.snnx --inputs batch.npz --report run.html --trace run.pftrace
      snncc run net.snnx --timing-only --density 0.1 --stats stats.json

    OUT.npz holds float32 arrays of the exact values: logits, loss, out/OUTPUT, grad/INITIALIZER in
    the file's own layout, and param/INITIALIZER after the update when there is an optimizer.
    """
    from snncc.compiler.cli.commands.places import check_places
    from snncc.compiler.diag import fail
    from snncc.compiler.driver.files import is_model, read_npz

    asked = Inspection.take(flags, debug)
    check_places(
        {"PROG": program, "--inputs": inputs, "--config": config, "--target": target,
         "--activity": asked.activity, "--commands": asked.commands},
        {"-o": output, "--stats": stats, "--trace": trace, "--report": asked.report,
         "--record": asked.record},
    )  # fmt: skip
    if debug:
        _refuse_files({"-o": output, "--stats": stats, "--trace": trace, "--report": asked.report,
                       "--record": asked.record})  # fmt: skip
    path = Path(program)
    options = asked.options(_options(engine, check_races, strict_init, max_instructions), stats)
    where = inputs or program
    if asked.timing_only and is_model(path):
        from snncc.compiler.driver import api

        arrays = read_npz(inputs, ("x", "y")) if inputs else {}
        shape = arrays["x"].shape if "x" in arrays else None
        settings = read_config(config, flags)
        training = mode != "infer"
        loaded = _load(path, settings, shape, dt, no_validate, training)
        made = api.compile(loaded, target=target or "", cores=cores, mode=mode or "train")
        run_timing_only(made.object_file, asked, options, stats, trace)
        return
    if is_model(path):
        from snncc.compiler.driver import api  # the compiler: programs start sooner without

        settings = read_config(config, flags)
        arrays = _model_inputs(inputs, mode, where)
        loaded = _load(path, settings, arrays["x"].shape, dt, no_validate, "y" in arrays)
        if numerics != "fp16":
            result = api.step(
                loaded, arrays["x"], arrays.get("y"), numerics=numerics, spikes=spikes, where=where
            )
            _finish(result, output, stats)
            return
        kind = "infer"
        if "y" in arrays:
            kind, loaded = "train", loaded.for_targets(arrays["y"], where)
        loaded.interface(kind).check_x(arrays["x"], where)  # before the time that compiling takes
        made = api.compile(loaded, target=target or "", cores=cores, mode=kind, spikes=spikes)
    else:
        if path.suffix.lower() != ".snnx":
            help_ = "MODEL is .onnx; a program is .snnx"
            fail("E0024", "neither a model nor a program", program, help=help_)
        _refuse(config, target, cores, numerics, flags)
        from snncc.compiler.driver.execute import as_program
        from snncc.compiler.driver.failure import show_validation
        from snncc.compiler.driver.simulate import read_program

        raw = read_program(program)
        if asked.timing_only:
            run_timing_only(raw, asked, options, stats, trace)
            return
        if "interface" not in raw.metadata or not inputs:
            from snncc.compiler.cli.commands.bare import run_bare

            run_bare(raw, path, inputs, output, stats, trace, options, debug, asked)
            return
        made = as_program(raw, path)
        show_validation(raw.metadata.get("validation"))
        arrays = read_npz(inputs, ("x", "y"))
        if "x" not in arrays:
            fail("E0021", "array x is missing", where)
    if debug:
        from snncc.compiler.cli.commands.bare import debug_program

        debug_program(made, arrays, options, asked.commands)
        return
    from snncc.compiler.driver.execute import run_program
    from snncc.compiler.driver.simulate import refuse_races

    with ExitStack() as files:
        files.enter_context(asked.keeping(stats))
        tracers: list[Tracer] = []
        if trace:
            from snncc.compiler.cli.commands.tracing import open_tracers

            tracers = open_tracers(trace, made.object_file, files, asked.span())
        result = run_program(
            made,
            arrays["x"],
            arrays.get("y"),
            spikes=spikes,
            options=options,
            tracers=tracers,
            where=where,
        )
    asked.finish(made.object_file, options, result.stats)
    _finish(result, output, stats)
    if check_races and result.races:
        refuse_races(result.races, program)


def _load(
    path: Path, settings: Any, shape: Any, dt: float | None, no_validate: bool, training: bool
) -> Any:
    from snncc.compiler.driver import api
    from snncc.compiler.driver.failure import show_validation

    loaded = api.load(
        path, config=settings, x_shape=shape, dt=dt, validate=not no_validate, training=training
    )
    show_validation(loaded.verdict.as_json())
    return loaded


def _model_inputs(inputs: str | None, mode: str | None, where: str) -> dict[str, Any]:
    """Return x, and y for a training step."""
    from snncc.compiler.diag import fail
    from snncc.compiler.driver.files import read_npz

    arrays = read_npz(inputs, ("x",) if mode == "infer" else ("x", "y")) if inputs else {}
    if "x" not in arrays:
        text = "array x is missing" if inputs else "a model needs --inputs IN.npz with x"
        fail("E0021", text, where)
    if mode == "train" and "y" not in arrays:
        fail("E0021", "array y is missing; training needs labels", where)
    return arrays


def _options(engine: str, races: bool, strict: bool, limit: int | None) -> Any:
    from snncc.isasim.system import DEFAULT_LIMIT, RunOptions

    return RunOptions(
        engine=engine,
        check_races=races,
        strict_init=strict,
        max_instructions=limit or DEFAULT_LIMIT,
    )


def _refuse(
    config: str | None,
    target: str | None,
    cores: int | None,
    numerics: str,
    flags: Mapping[str, Any],
) -> None:
    """Say that a compiled program cannot be given another configuration or machine."""
    said = [
        flag
        for flag, given in (
            ("--config", config),
            ("--target", target),
            ("--cores", cores),
            ("--numerics", numerics != "fp16"),
        )
        if given
    ]
    if said or any(value is not None for value in flags.values()):
        flag = said[0] if said else "a configuration flag"
        raise click.UsageError(f"{flag} goes with a MODEL; a program is compiled already")


def _refuse_files(files: Mapping[str, str | None]) -> None:
    """Say that a debugging session writes no results."""
    for flag, path in files.items():
        if path:
            raise click.UsageError(f"--debug writes no files: leave out {flag}, or --debug")


def _finish(result: Any, output: str | None, stats: str | None) -> None:
    from snncc.compiler.cli.commands.show import show_warnings
    from snncc.compiler.driver.files import npz_bytes, write_bytes, write_text

    show_warnings(result.warnings)
    if output:
        write_bytes(output, npz_bytes(result.arrays))
    if stats and result.stats is not None:
        write_text(stats, json.dumps(result.stats, indent=1) + "\n")
    elif stats:
        print("snncc: note: no --stats without a simulated chip", file=sys.stderr)
    if output != "-" and stats != "-":
        summary(result, sys.stderr if output else sys.stdout)


def summary(result: Any, stream: Any) -> None:
    """Print what a step gave, one line per array."""
    from snncc.isa.diagnostics.printable import printable

    for name, value in result.items():
        shape = "x".join(map(str, value.shape)) or "scalar"
        shown = f"{float(value):.6g}" if value.ndim == 0 else f"|max| {abs(value).max():.4g}"
        print(f"{printable(name):32} {shape:>16}  {shown}", file=stream)
    if result.stats is not None:
        costs(result.stats, stream)
