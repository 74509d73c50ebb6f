"""What a command reads and writes, looked at before it begins: nothing of the user's gets lost."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from snncc.compiler.diag import fail

Names: TypeAlias = Mapping[str, str | Path | None]
"""Flag (or argument) -> file; None where it was not given, `-` for stdin or stdout."""


def check_places(reads: Names, writes: Names) -> None:
    """Complain about outputs that cannot be written, are also read, or are the same file.

    An output in a folder that does not exist is found before the work, not after it.
    """
    _one_stream(reads, "read from stdin")
    _one_stream(writes, "written to stdout")
    taken = {
        key: (flag, False)
        for flag, name in _given(reads)
        if Path(name).is_file() and (key := _identity(Path(name))) is not None
    }
    for flag, name in _given(writes):
        path = Path(name)
        if path.is_dir():
            fail("E0005", "cannot be written: it is a folder", name)
        if not path.parent.is_dir():
            fail("E0005", f"cannot be written: there is no folder {path.parent}", name)
        key = _identity(path)
        if key is None:
            continue
        if key in taken:
            other, written = taken[key]
            what = "writes, too" if written else "reads"
            fail(
                "E0040",
                f"{flag} is the file that {other} {what}",
                name,
                help="give it another name",
            )
        taken[key] = (flag, True)


def unnamed(path: Path, ours: Callable[[bytes], bool], flag: str = "-o") -> str:
    """Return an output that the user did not name; it may replace only what snncc made.

    ``ours`` decides by the first bytes of what is there.
    """
    if path.exists():
        begin = b""
        if path.is_file():
            try:
                with open(path, "rb") as stream:
                    begin = stream.read(512)
            except OSError as error:
                fail("E0005", f"cannot be written: {(error.strerror or '').lower()}", str(path))
        if not ours(begin):
            fail(
                "E0040",
                "the output would go here, but this file was not made by snncc",
                str(path),
                help=f"name an output with {flag}",
            )
    return str(path)


def _given(names: Names) -> list[tuple[str, str]]:
    return [(flag, str(name)) for flag, name in names.items() if name and str(name) != "-"]


def _one_stream(names: Names, what: str) -> None:
    flags = [flag for flag, name in names.items() if name is not None and str(name) == "-"]
    if len(flags) > 1:
        fail("E0041", f"{flags[0]} and {flags[1]} cannot both be {what}", help="name a file")


def _identity(path: Path) -> object:
    """Return what is equal for two names of one file; None for devices and pipes."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
