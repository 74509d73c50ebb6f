"""What shows a broken pass again: the IR that it was given, machine and configuration, one command.

Files are never replaced: a second failure of the same name gets a number.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path

from snncc.compiler.config.write import to_toml
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.printer import print_module
from snncc.compiler.ir.resources import ResourceFile, side_file
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.plan import Step, spec_of


def write_reproducer(
    folder: Path, stem: str, module: Module, steps: Sequence[Step], context: PassContext
) -> tuple[Path, str]:
    """Write ``STEM.snnir`` and what belongs to it; return its path and the command.

    Raises OSError where that cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = free_name(folder, stem, ".snnir")
    arrays = ResourceFile(side_file(path))
    made = [path, arrays.path]
    words: list[str] = ["-p", spec_of(steps)]
    local = list(words)
    try:
        for flag, text in _settings(context):
            side = path.with_suffix(f".{flag.removeprefix('--')}.toml")
            made.append(side)
            side.write_text(text, encoding="utf-8")
            words += [flag, str(side)]
            local += [flag, side.name]
        if context.mode != "train":
            words += ["--mode", context.mode]
            local += ["--mode", context.mode]
        head = f"// {shlex.join(['snncc', 'opt', path.name, *local])}\n"
        path.write_text(head + print_module(module, arrays.sha256), encoding="utf-8")
        arrays.add(module.resources.values())
    except BaseException:
        for each in made:
            each.unlink(missing_ok=True)
        raise
    return path, shlex.join(["snncc", "opt", str(path), *words])


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Create an empty file that was not there, named STEM, STEM-2, ..., and return its path."""
    for number in itertools.count(1):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("there are names without end")


def _settings(context: PassContext) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if context.machine is not None:
        found.append(("--target", context.machine.to_toml()))
    if context.config is not None and (text := to_toml(context.config)):
        found.append(("--config", text))
    return found
