"""`snncc check`: what snncc makes of a model, and where each value came from."""

from __future__ import annotations

import json
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


@click.command(short_help="Say what snncc makes of a model, node by node.")
@MODEL
@config_options
@TARGET
@CORES
@click.option("--batch", type=click.IntRange(1), help="Samples per step.")
@click.option("--inputs", "-i", help="IN.npz: find silent layers with its x; - is stdin.")
@click.option("--short", is_flag=True, help="Ops of the graph instead of nodes of the file.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on stdout.")
@click.option("--dt", type=float, help="Time step of a .nir file, in its unit.")
@NO_VALIDATE
def check(
    model: str, config: str | None, target: str | None, cores: int | None, batch: int | None,
    inputs: str | None, short: bool, as_json: bool, dt: float | None, no_validate: bool, **flags:
    Any,
) -> None:  # fmt: skip
    """Import MODEL and try to compile its training step; exit 1 if that cannot work.

    The import is compared with the file first, values and gradients (docs/design/validation.md).
    Prints one line per node of the file and what it became, then a table of the neurons and one of
    the training, with the origin of each value: flag, config, metadata (of the file), pattern (what
    the nodes compute), default. Warns of what compiles and yet may cost days: state baked into the
    file, layers that never fire, guessed surrogates, numbers that overflow binary16, batch
    normalisation that the exporter folded, comparisons that differ between frameworks.

    \b
      snncc check net.onnx --config net.toml
      snncc check net.onnx --config net.toml --inputs batch.npz --short
      snncc check net.onnx --timesteps 25 --json | jq '.diagnostics'
    """
    from snncc.compiler.cli.survey import survey
    from snncc.compiler.driver.machines import find_machine

    settings = read_config(config, flags)
    machine = find_machine(target or settings.text("machine.target"), cores)
    found = survey.survey(model, settings, machine, batch, dt, inputs, not no_validate)
    if as_json:
        click.echo(json.dumps(survey.as_json(found), indent=1))
    else:
        click.echo(survey.as_text(found, short))
    for each in found.errors:
        if not as_json:
            click.echo(str(each), err=True)
    if found.errors:
        raise click.exceptions.Exit(1)
