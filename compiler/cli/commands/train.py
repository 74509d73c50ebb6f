"""`snncc train`: epochs of training on the simulated chip."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from snncc.compiler.cli.commands.options import (
    CORES,
    ENGINE,
    MODEL,
    NO_VALIDATE,
    TARGET,
    config_options,
    read_config,
)


def say(text: str) -> None:
    """Print a line to stderr."""
    print(text, file=sys.stderr, flush=True)


@click.command(short_help="Train a model on the simulated chip.")
@MODEL
@click.option("--data", "data_name", required=True, help="A data set (digits) or FILE.npz.")
@config_options
@TARGET
@CORES
@ENGINE
@click.option("--epochs", type=click.IntRange(1), required=True, help="Epochs in total.")
@click.option("--batch", type=click.IntRange(1), help="Samples per step.")
@click.option("-o", "--output", help="Folder for checkpoint, metrics.jsonl and weights.npz.")
@click.option("--resume", help="Go on from the checkpoint in this folder.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line per epoch on stdout.")
@NO_VALIDATE
def train(
    model: str, data_name: str, config: str | None, target: str | None, cores: int | None,
    engine: str, epochs: int, batch: int | None, output: str | None, resume: str | None,
    overwrite: bool, as_json: bool, no_validate: bool, **flags: Any,
) -> None:  # fmt: skip
    """Train MODEL for some epochs, every step simulated bit by bit.

    \b
      snncc train net.onnx --config net.toml --data digits --epochs 20 -o runs/1
      snncc train net.onnx --config net.toml --data digits --epochs 40 --resume runs/1

    FILE.npz holds x, y and perhaps x_test, y_test, samples first. An epoch takes whole batches; the
    rest is left out, other samples each time. The folder gets a checkpoint after every epoch; a
    resumed run ends with the same bits as one that was never interrupted. It may have another --lr,
    --cores or --target; model, data, seed and configuration must be the same.
    """
    if resume and overwrite:
        raise click.UsageError("--resume goes on with a run, --overwrite begins anew")
    if resume and output and Path(resume) != Path(output):
        raise click.UsageError("--resume goes on in its own folder; leave -o out")
    from snncc.compiler.cli.commands.progress import TrainProgress
    from snncc.compiler.cli.commands.show import show_warnings
    from snncc.compiler.driver import api
    from snncc.compiler.driver.files import npz_bytes, write_bytes
    from snncc.compiler.driver.resuming import telling_how_to_go_on
    from snncc.compiler.driver.trainer import WEIGHTS, Metrics, refuse_earlier_run

    if output and not resume and not overwrite:
        refuse_earlier_run(Path(output))  # before the time that compiling takes

    settings = read_config(config, flags)
    given = batch or settings.integer("training.batch")
    loaded = api.load(model, config=settings, batch=given, validate=not no_validate)
    if batch is None and not settings.said("training.batch"):
        loaded = loaded.with_batch(loaded.config.integer("training.batch") or loaded.batch)
    show_warnings(loaded.warnings, loaded.verdict.as_json())
    run = api.prepare_training(
        loaded, data_name, epochs=epochs, target=target or "", cores=cores, engine=engine
    )
    show_warnings(run.warnings)
    folder = resume or output
    trained: list[Metrics] = []
    with (
        telling_how_to_go_on(click.get_current_context(), folder),
        TrainProgress(epochs, run.steps_per_epoch) as progress,
    ):

        def on_epoch(metrics: Metrics) -> None:
            progress.on_epoch(metrics)
            trained.append(metrics)
            if as_json:
                print(json.dumps(asdict(metrics)), flush=True)

        history, weights = run.fit(
            out=folder, resume=resume is not None, overwrite=overwrite, on_step=progress.on_step,
            on_epoch=on_epoch, on_note=say,
        )  # fmt: skip
        if folder:
            arrays = {f"param/{name}": value for name, value in weights.items()}
            write_bytes(str(Path(folder) / WEIGHTS), npz_bytes(arrays))
    done = len(history.epochs)
    if resume and not trained:
        say(f"nothing to do: {done} epochs are done; --epochs {done + 1} or more goes on")
    costs = history.costs
    print(
        f"{costs.cycles} cycles ({costs.seconds * 1e3:.4g} ms on the chip), "
        f"{costs.energy_pj / 1e9:.4g} mJ, DRAM {costs.dram_bytes / 1e6:.4g} MB"
        + (f", results in {folder}" if folder else ""),
        file=sys.stderr,
    )
