"""A training run that is cut off says how to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from click.core import ParameterSource

from snncc.compiler.diag import CompileError
from snncc.compiler.driver.trainer import CHECKPOINT


@contextmanager
def telling_how_to_go_on(context: click.Context, folder: str | None) -> Generator[None]:
    """Print the command that resumes the run if anything ends it early (an interrupt, a full disk).

    Without a folder or before the first checkpoint there is nothing to go on from.
    """
    try:
        yield
    except BaseException as error:
        refused = isinstance(error, CompileError) and error.diagnostics[0].code != "E0005"
        if folder and not refused:
            if Path(folder, CHECKPOINT).exists():
                text = f"to go on: {resuming_command(context, folder)}"
            else:
                text = f"no epoch was finished; {folder} holds no checkpoint"
            with suppress(OSError):
                print(text, file=sys.stderr, flush=True)
        raise


def resuming_command(context: click.Context, folder: str) -> str:
    """Return the command line that goes on with the run in ``folder``."""
    words = ["snncc", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        value = context.params.get(name)
        if name in ("output", "resume", "overwrite") or value is None:
            continue
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            words += [max(parameter.opts, key=len), str(value)]
    return shlex.join([*words, "--resume", folder])
