"""Machine code kept in files for later processes, where nothing in a file is believed unchecked.

An entry is one file: a mark, the digest of its key, the length and the digest of its payload, the
payload.  What is not exactly that (cut off, overwritten, another entry's file, a folder in its
place, unreadable) is as if it were not there: the caller compiles again and writes a new file in
its place, and the user gets one note per process.  A file appears whole or not at all, so any
number of processes may write the same entry at once.  A folder that cannot be written is no error
either.

The checks are against damage, not against somebody who may write to the user's own cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO, Final

_MARK: Final = b"snncc machine code 1\n"
_HEADER: Final = struct.Struct(f"<{len(_MARK)}s32s32sQ")
SUFFIX: Final = ".code"
"""The end of the name of every entry."""


class _Damaged(Exception):
    """A file is not what was written."""


class CodeStore:
    """A folder of entries; ``folder`` None keeps nothing.  ``notice`` is told what is wrong."""

    def __init__(self, folder: Path | None, notice: Callable[[str], None]) -> None:
        self.folder = folder
        self.damaged: list[str] = []
        """What could not be read, one text for each entry."""
        self._notice = notice
        self._told = False

    def read(self, name: str, key: str) -> bytes | None:
        """Return the payload written under this name and key; None where there is no such one."""
        if self.folder is None:
            return None
        place = self._place(name, key)
        try:
            with open(place, "rb", opener=_without_waiting) as file:
                return _checked(file, _digest(key.encode()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.refuse(place.name, _reason(error))
        except _Damaged as error:
            self.refuse(place.name, str(error))
        return None

    def refuse(self, name: str, why: str) -> None:
        """Take an entry for missing; the first one is worth a note."""
        self.damaged.append(f"{name}: {why}")
        self._note(f"damaged kernel cache: {self.folder}/{name} ({why}); compiling again")

    def write(self, name: str, key: str, payload: bytes) -> bool:
        """Keep a payload; return False where that is not possible, which is worth a note."""
        if self.folder is None:
            return False
        place = self._place(name, key)
        header = _HEADER.pack(_MARK, _digest(key.encode()), _digest(payload), len(payload))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _spare(self.folder) as spare:
                spare.write_bytes(header + payload)
                spare.replace(place)
        except OSError as error:
            self._unwritable(f"{place}: {_reason(error)}")
            return False
        return True

    def ready(self) -> bool:
        """Make the folder; return whether files can be written to it, which is worth a note."""
        if self.folder is None:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _spare(self.folder) as spare:
                spare.write_bytes(_MARK)
        except OSError as error:
            self._unwritable(f"{self.folder}: {_reason(error)}")
            return False
        return True

    def names(self) -> list[str]:
        """Return the names of the files of all entries."""
        if self.folder is None:
            return []
        try:
            return sorted(n for n in os.listdir(self.folder) if n.endswith(SUFFIX))
        except OSError:
            return []  # read() and write() say what is wrong with the folder

    def _place(self, name: str, key: str) -> Path:
        """Return the file of an entry; keys have their own, so machines may share a folder."""
        assert self.folder is not None
        return self.folder / f"{name}-{_digest(key.encode()).hex()[:16]}{SUFFIX}"

    def _unwritable(self, what: str) -> None:
        self._note(f"compiled kernels cannot be kept for later processes: {what}")

    def _note(self, text: str) -> None:
        if not self._told:
            self._told = True
            self._notice(text)


@contextlib.contextmanager
def _spare(folder: Path) -> Generator[Path]:
    """Give a new file's name; whatever is there in the end is taken away."""
    spare = folder / f".{os.getpid()}-{uuid.uuid4().hex}"
    try:
        yield spare
    finally:
        with contextlib.suppress(OSError):  # it has its final name now, or was never made
            spare.unlink()


def _checked(file: BinaryIO, owner: bytes) -> bytes:
    """Return the payload of an entry whose key has the digest ``owner``."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise _Damaged("not a file")
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise _Damaged("cut off")
    mark, key, digest, size = _HEADER.unpack(header)
    if mark != _MARK:
        raise _Damaged("not an entry of this cache")
    if key != owner:
        raise _Damaged("the code of something else")
    if status.st_size != _HEADER.size + size:
        raise _Damaged("cut off or too long")
    payload = file.read()
    if digest != _digest(payload):
        raise _Damaged("its checksum differs")
    return payload


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for a writer, as a pipe would."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
