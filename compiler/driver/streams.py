"""Standard streams that cannot be misused, and that fail as files do.

Whatever a command prints passes :class:`PlainText`: characters of a file's names that would steer
the terminal are shown as escapes.  A stream that is closed or full is an error of the outside.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, TextIO

from snncc.isa.diagnostics.printable import LINES, printable

OUTSIDE = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EBADF, errno.ENXIO,
        errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EAGAIN, errno.ETIMEDOUT,
        errno.ENODEV, errno.ESTALE, errno.EISDIR, errno.ENOTCONN, errno.ECONNRESET,
    }
)  # fmt: skip
"""Why a stream or file cannot be used although the program is right."""


class PlainText:
    """A text stream whose writers cannot steer a terminal; everything else is the stream's."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self.stream = stream
        """The stream itself, for what may draw (a progress bar)."""
        self.name = name

    def write(self, text: str) -> int:
        """Write a text of one or more lines."""
        with naming(self.name):
            return self.stream.write(printable(text, LINES))

    def flush(self) -> None:
        """Write what is buffered."""
        with naming(self.name):
            self.stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Return what the stream has."""
        return getattr(self.stream, name)


class _Closed(PlainText):
    """What stands for a stream that the caller closed: nobody would see what is written."""

    def __init__(self) -> None:
        super().__init__(open(os.devnull, "w", encoding="utf-8"), "stdout")

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.name)

    @property
    def buffer(self) -> Any:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.name)


def stdout_bytes(data: bytes) -> None:
    """Write data to stdout as they are."""
    with naming("stdout"):
        sys.stdout.flush()  # what was printed before
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextmanager
def naming(name: str) -> Generator[None]:
    """Say in an OSError which stream it is about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error


@contextmanager
def guarded_streams() -> Generator[None]:
    """Guard stdout and stderr; what is still buffered is written before they are given back."""
    before = sys.stdout, sys.stderr
    _occupy()
    out = PlainText(before[0], "stdout") if before[0] is not None else _Closed()
    said = PlainText(before[1] if before[1] is not None else open(os.devnull, "w"), "stderr")
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # names that the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = out, said
    try:
        yield
        out.flush()
    finally:
        sys.stdout, sys.stderr = before


def drop_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter ends without a word."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            _to_nowhere(stream)


def _to_nowhere(stream: Any) -> None:
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return  # no file behind it
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _occupy() -> None:
    """Open what the caller closed: a file must not become stdin, stdout or stderr by chance."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
