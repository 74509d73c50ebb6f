"""`snncc compile`: a model becomes a program."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from snncc.compiler.cli.commands.options import (
    CORES,
    MODEL,
    NO_VALIDATE,
    TARGET,
    config_options,
    read_config,
)

STAGES = {
    "graph": "frontend",
    "phased": "frontend,phases",
    "tiled": "frontend,phases,tile",
    "mapped": "frontend,phases,tile,map",
    "core": "frontend,phases,tile,map,lower",
}
DRAWN = ("graph", "phased")
"""Stages whose layers can be drawn."""


@click.command("compile", short_help="Turn a model into a program (.snnx).")
@MODEL
@click.option("-o", "--output", help="PROG.snnx (default: MODEL's name); - is stdout.")
@config_options
@TARGET
@CORES
@click.option("--batch", type=click.IntRange(1), help="Samples per step.")
@click.option("--mode", type=click.Choice(["train", "infer"]), default="train", show_default=True)
@click.option(
    "--emit",
    metavar="asm|ir:STAGE|dot[:STAGE]",
    help="Write text instead: graph, phased, ...; dot: the layers as a picture.",
)
@click.option("--dump-dir", type=click.Path(), help="Write the IR after every pass here.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True)
@click.option("--stats", help="Write what was compiled as JSON.")
@click.option("--spikes", is_flag=True, help="Keep the spikes of every layer for `snncc run`.")
@click.option("--dt", type=float, help="Time step of a .nir file, in its unit.")
@NO_VALIDATE
@click.option("--density", type=float, help="Expected of spikes, for the estimate.  [default: 0.1]")
@click.option("--activity", help="--stats JSON of a run: densities for the estimate.")
def compile_(
    model: str, output: str | None, config: str | None, target: str | None, cores: int | None,
    batch: int | None, mode: str, emit: str | None, dump_dir: str | None, level: int,
    stats: str | None, spikes: bool, dt: float | None, density: float | None,
    activity: str | None, no_validate: bool, **flags: Any,
) -> None:  # fmt: skip
    """Compile MODEL for a machine and write an object file.

    \b
      snncc compile net.onnx --config net.toml -o net.snnx
      snncc compile net.onnx --target small --cores 4 --emit asm | less
      snncc compile net.onnx --emit ir:phased > step.snnir
      snncc compile net.onnx --emit dot | dot -Tsvg > net.svg
    """
    kind, stage = _emitted(emit)
    from snncc.compiler.cli.commands.places import check_places, unnamed
    from snncc.compiler.cli.commands.show import show_warnings
    from snncc.compiler.driver import api
    from snncc.compiler.driver.files import write_bytes, write_text
    from snncc.compiler.driver.stages import Recorder
    from snncc.compiler.pipeline.dumps import DumpWriter
    from snncc.compiler.pipeline.manager import Observer
    from snncc.isa.program.container import is_program

    unsaid = f"{Path(model).stem}.snnx"
    check_places(
        {"MODEL": model, "--config": config, "--target": target, "--activity": activity},
        {"-o": output or ("-" if emit else unsaid), "--stats": stats},
    )
    path = output or unnamed(Path(unsaid), is_program) if not emit else ""
    settings = read_config(config, flags)
    loaded = api.load(model, config=settings, batch=batch, dt=dt, validate=not no_validate,
                      training=mode == "train")  # fmt: skip
    show_warnings(loaded.warnings, loaded.verdict.as_json())
    recorder = Recorder()
    observers: list[Observer] = [recorder]
    if dump_dir:
        observers.append(DumpWriter(Path(dump_dir)))
    if stage:
        _emit_ir(loaded, kind, stage, output or "-", target, cores, mode, level, observers)
        return
    program = api.compile(
        loaded, target=target or "", cores=cores, mode=mode, level=level, spikes=spikes,
        observers=observers, flags=f"--target {target}" if target else "",
        densities=_densities(density, activity),
    )  # fmt: skip
    if stats:
        write_text(stats, json.dumps(recorder.report(program), indent=1) + "\n")
    if emit == "asm":
        from snncc.assembler import disassemble

        write_text(output or "-", disassemble(program.object_file))
        return
    data = program.to_bytes()
    write_bytes(path, data)
    code = program.object_file.code_bytes
    used = len(program.object_file.cores)
    print(
        f"{path}: {len(data)} bytes, {code} of them code, for {used} of "
        f"{program.object_file.machine_name}'s cores",
        file=sys.stderr,
    )


def _densities(density: float | None, activity: str | None) -> Any:
    """Return what the estimate expects."""
    if density is None and activity is None:
        return None
    from snncc.compiler.cli.commands.inspection import expected_densities
    from snncc.isa.cost.estimate import Densities

    expected = expected_densities(density, activity).densities
    origin = "default" if density is None else "--density"
    origins = Path(activity).name if activity else ""
    return Densities(expected.found, origins, expected.default, origin)


def _emitted(emit: str | None) -> tuple[str, str]:
    """Return what to write instead of a program, and of which stage."""
    if emit in (None, "asm"):
        return emit or "", ""
    kind, _, stage = emit.partition(":")
    stage = stage or ("graph" if emit == "dot" else "")
    drawn = kind == "dot" and stage in DRAWN
    if not drawn and (kind != "ir" or stage not in STAGES):
        known = [*(f"ir:{s}" for s in STAGES), *(f"dot:{s}" for s in DRAWN)]
        raise click.BadParameter(f"{emit!r}: choose asm, {', '.join(known)}", param_hint="--emit")
    return kind, stage


def _emit_ir(
    loaded: Any, kind: str, stage: str, output: str, target: str | None, cores: int | None,
    mode: str, level: int, observers: list[Any],
) -> None:  # fmt: skip
    from snncc.compiler.driver.build import lower
    from snncc.compiler.driver.files import write_text
    from snncc.compiler.driver.machines import DEFAULT_TARGET, find_machine
    from snncc.compiler.ir.printer import print_module
    from snncc.compiler.ir.resources import write_module

    machine = find_machine(target or DEFAULT_TARGET, cores)
    module, sink = lower(
        loaded.graph, STAGES[stage], config=loaded.config, mode=mode, machine=machine, level=level,
        observers=observers,
    )  # fmt: skip
    from snncc.compiler.cli.commands.show import show_warnings

    show_warnings(sink.warnings)
    if kind == "dot":
        from snncc.compiler.ir.dot import dot

        write_text(output, dot(module))
    elif output == "-":
        write_text("-", print_module(module))
    else:
        write_module(module, Path(output))
