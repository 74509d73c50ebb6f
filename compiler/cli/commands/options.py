"""Options that several commands share: configuration and its overrides, target, cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from snncc.compiler.config.config import Config

F = TypeVar("F", bound=Callable[..., Any])

MODEL = click.argument("model", type=click.Path(exists=False), metavar="MODEL")
CONFIG = click.option("--config", "-c", type=click.Path(), help="Training configuration (TOML).")
TARGET = click.option("--target", "-t", help="Machine: a name of `snncc targets`, or FILE.toml.")
CORES = click.option("--cores", type=click.IntRange(1), help="Use only so many cores.")
NO_VALIDATE = click.option(
    "--no-validate", is_flag=True, help="Do not compare the import with the file; outputs say so."
)
ENGINE = click.option(
    "--engine",
    type=click.Choice(["fast", "reference"]),
    default="fast",
    show_default=True,
    help="Simulator kernels; both give the same bits.",
)


def number_or_word(text: str) -> float | str:
    """Return a number where the text is one; the configuration checks the words."""
    try:
        return float(text)
    except ValueError:
        return text


# flag -> (key of the configuration, type, help)
_FLAGS: dict[str, tuple[str, Any, str]] = {
    "--timesteps": ("timesteps", int, "Number of time steps."),
    "--time-axis": ("time_axis", int, "Position of the time axis in x."),
    "--readout": ("readout.output", str, "The output that is read."),
    "--reduce": ("readout.reduce", str, "sum, mean, max, last or none over time."),
    "--loss": ("loss.name", str, "A loss of docs/config.md."),
    "--loss-scale": (
        "loss.scale",
        number_or_word,
        "Factor on the loss before the backward pass, or dynamic.",
    ),
    "--optimizer": ("optimizer.name", str, "One of docs/config.md, or none."),
    "--lr": ("optimizer.lr", float, "Learning rate."),
    "--momentum": ("optimizer.momentum", float, "Momentum of sgd."),
    "--weights": ("weights.format", str, "fp16 or fp32-master."),
    "--rounding": ("weights.rounding", str, "nearest or stochastic."),
    "--microbatch": ("training.microbatch", int, "Samples per micro-batch."),
    "--seed": ("training.seed", int, "Seed of the shuffling."),
}


def config_options(command: F) -> F:
    """Add ``--config`` and a flag for each key that is often overridden."""
    for flag, (key, kind, text) in reversed(_FLAGS.items()):
        name = "cfg_" + key.replace(".", "__")
        command = click.option(flag, name, type=kind, help=text)(command)
    command = click.option(
        "--surrogate", "cfg_surrogate", metavar="NAME[:P=V,...]", help="Surrogate of all layers."
    )(command)
    command = click.option(
        "--reset-gradient",
        "cfg_reset",
        type=click.Choice(["attached", "detached"]),
        help="Gradient through the reset.",
    )(command)
    return CONFIG(command)


def read_config(config: str | None, flags: dict[str, Any]) -> Config:
    """Return the configuration of a command: the file, then the flags."""
    from snncc.compiler.config.config import Config, load_config  # it loads the IR's rows

    found = load_config(Path(config)) if config else Config()
    surrogate, reset = flags.pop("cfg_surrogate"), flags.pop("cfg_reset")
    values = {
        name.removeprefix("cfg_").replace("__", "."): flags.pop(name)
        for name in list(flags)
        if name.startswith("cfg_")
    }
    found = found.override(values)
    if surrogate:
        found = found.with_surrogate(surrogate)
    return found.with_reset_gradient(reset) if reset else found
