"""Files are written whole or not at all: a reader sees the old file or the new one.

The new contents go to a hidden file beside the target, ``.NAME.xxxxxxxx``, which is then renamed.
Whoever writes holds a lock on it, so what a killed process left behind is known by its missing lock
and taken away when the same target is written again.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

try:
    import fcntl
except ImportError:  # no locks on this system: nothing is taken away
    fcntl = None  # type: ignore[assignment]

_NAME_KEPT: Final = 50  # characters; a name may have 255 bytes


@contextmanager
def open_whole(path: Path, keep: tuple[type[BaseException], ...] = ()) -> Generator[BinaryIO]:
    """Open a file to write piece by piece; it appears when all is written.

    An exception leaves what was there before; those in ``keep`` do not.  Links are followed,
    devices and pipes written directly, the rights of a file that is replaced stay.  Every fault of
    the system is an OSError that names ``path``.
    """
    body: list[BaseException] = []  # what was raised by whoever writes, not by the writing
    try:
        with _opened(path, keep) as stream:
            try:
                yield stream
            except BaseException as error:
                body.append(error)
                raise
    except OSError as error:
        if error in body and error.filename is not None:
            raise  # it is about another file
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _opened(path: Path, keep: tuple[type[BaseException], ...]) -> Generator[BinaryIO]:
    mode = _replaceable(path)
    if mode is None:
        with open(path, "wb") as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    remove_orphans(target.parent, re.escape(target.name[:_NAME_KEPT]))
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:_NAME_KEPT]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            _lock(handle)
            kept: BaseException | None = None
            try:
                yield stream
            except keep as error:
                kept = error
            stream.flush()  # a full disk may show only here
            os.chmod(name, mode)
            os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if kept is not None:
        raise kept


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file; an OSError names it."""
    with open_whole(path) as stream:
        for piece in pieces:
            stream.write(piece)


def remove_orphans(folder: Path, names: str) -> None:
    """Take away what killed processes left when they were writing files of such names (a regex)."""
    if fcntl is None:
        return
    pattern = re.compile(rf"\.({names})\.[a-z0-9_]{{8}}")
    for entry in os.scandir(folder):
        if not pattern.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
            continue
        try:
            handle = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # of another user, or gone in the meantime
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(entry.path)
        except OSError:
            continue  # somebody is writing it
        finally:
            os.close(handle)


def _replaceable(target: Path) -> int | None:
    """Return the rights that the new file gets; None where there is a device or a pipe."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "Is a directory", str(target))
    if not os.access(target, os.W_OK):
        raise PermissionError(13, "Permission denied", str(target))
    return stat.S_IMODE(found.st_mode)


def _lock(handle: int) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # a file system without locks; then orphans stay


def read_at_most(path: Path, count: int) -> bytes:
    """Return a file's contents, or its first ``count + 1`` bytes where it has more than ``count``.

    The file may be endless, or a hole of many gigabytes.
    """
    with path.open("rb") as stream:
        return stream.read(count + 1)
