"""The `snncc` command.  Only click is imported here: `snncc --help` must be quick."""

from __future__ import annotations

import gc

import click

from snncc.compiler.cli.roof import Roof

_COMMANDS = "snncc.compiler.cli.commands."
GC_THRESHOLD = (200_000, 20, 50)
"""Cycles are collected more rarely than Python does: a module's ops refer to one another, and the
collector would look at all of them again and again."""
COMMANDS = {
    "demo": (_COMMANDS + "demo", "demo", "Train a small network on a simulated chip (start here)."),
    "check": (_COMMANDS + "check", "check", "Say what snncc makes of a model, node by node."),
    "compile": (_COMMANDS + "compile", "compile_", "Turn a model into a program (.snnx)."),
    "run": (_COMMANDS + "run", "run", "Simulate one step of a program or model."),
    "train": (_COMMANDS + "train", "train", "Train a model on the simulated chip."),
    "export": (_COMMANDS + "export", "export", "Write a model as NIR or ONNX."),
    "opt": (_COMMANDS + "opt", "opt", "Run named passes on textual IR."),
    "asm": (_COMMANDS + "assembly", "asm", "Assemble a program by hand."),
    "dis": (_COMMANDS + "assembly", "dis", "Show a program as assembly text."),
    "isa": (_COMMANDS + "reference", "isa", "Show the instruction set."),
    "targets": (_COMMANDS + "reference", "targets", "List the machines, or show one."),
    "report": (_COMMANDS + "report", "report", "Show where a run's time and energy went (HTML)."),
    "selftest": ("snncc.compiler.cli.selftest.command", "selftest", "Check this installation."),
    "completion": (_COMMANDS + "reference", "completion", "Print a shell completion script."),
}

HELP = """Compile spiking neural networks for chips that train them, and simulate those chips.

\b
  snncc demo                                    a first look, in two minutes
  snncc check net.onnx --config net.toml        what is understood, what is missing
  snncc compile net.onnx -o net.snnx            a program for the default machine
  snncc run net.snnx --inputs batch.npz -o out.npz --stats stats.json
  snncc train net.onnx --data digits --epochs 20 -o runs/1

Data goes to stdout or files, talk to stderr; `-` is stdin or stdout.
Exit codes: 0 ok, 1 the input is wrong, 2 usage, 3 trap, 4 limit, 5 deadlock, 70 internal error.
"""


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"snncc {version('snncc')}")
        ctx.exit()


@click.group(
    cls=Roof,
    lazy=COMMANDS,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Hold the commands."""


def main() -> None:
    """Run the command line; the console script's entry point."""
    gc.set_threshold(*GC_THRESHOLD)
    cli(prog_name="snncc")


if __name__ == "__main__":
    main()
