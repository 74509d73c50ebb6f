"""Reading npz files without trust: what one declares is checked before memory is taken for it."""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from typing import IO, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
LARGEST: Final = 1 << 33
"""Bytes of all arrays of a file together, on a computer that has twice as many."""
DEFLATE: Final = 1040
"""No byte of a compressed file stands for more bytes than this."""
_HEADER_BYTES: Final = 1 << 16
_READERS: Final = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
"""Bytes of the header's length and reader of the header, by version."""


class ArrayFileError(ValueError):
    """The file is no npz of plain numbers, or too large; the text says which array and why."""


def read_arrays(
    source: str | os.PathLike[str] | IO[bytes],
    wanted: Iterable[str] | None = None,
    largest: int | None = None,
) -> dict[str, Array]:
    """Return the wanted arrays (all if None); the others are not even looked at.

    ``largest``: bytes of all of them together; default: half of the computer's memory, at most
    ``LARGEST``.  ArrayFileError says what is wrong with the file, OSError that it cannot be read.
    """
    found: dict[str, Array] = {}
    left = largest if largest is not None else min(LARGEST, memory() // 2)
    name = ""
    try:
        with zipfile.ZipFile(source) as box:
            names = {i.filename.removesuffix(".npy"): i for i in box.infolist()}
            for name in names if wanted is None else wanted:
                if name in names:
                    left -= _size(names[name], left)
                    found[name] = _read(box, names[name])
            return found
    except zipfile.BadZipFile as error:
        raise ArrayFileError(f"this is no npz file, or a damaged one ({error})") from None
    except (
        ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, zlib.error, MemoryError
    ) as error:  # fmt: skip
        raise ArrayFileError(f"array {name!r} cannot be read: {error}") from None


def memory() -> int:
    """Return the bytes of the computer's memory, ``2 * LARGEST`` where it does not say."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 2 * LARGEST


def _size(item: zipfile.ZipInfo, left: int) -> int:
    """Return the bytes of an array, as declared; refuse what its part of the file cannot be."""
    there, size = item.compress_size, item.file_size
    if size > (there if item.compress_type == zipfile.ZIP_STORED else DEFLATE * there + DEFLATE):
        raise ValueError(f"{size} bytes are declared, which {there} in the file cannot hold")
    if size > left:
        raise ValueError(f"it has {size} bytes, and all arrays together may have {left} more")
    return size


def _read(box: zipfile.ZipFile, item: zipfile.ZipInfo) -> Array:
    with box.open(item) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _READERS:
            raise ValueError(f"npy version {version}")
        width, header = _READERS[version]
        if int.from_bytes(stream.read(width), "little") > _HEADER_BYTES:
            raise ValueError("its header is damaged")
    with box.open(item) as stream:
        np.lib.format.read_magic(stream)
        try:
            shape, _, dtype = header(stream)
        except (tokenize.TokenError, SyntaxError, TypeError, OverflowError, RecursionError):
            raise ValueError("its header is damaged") from None
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"shape {shape} is none")
        if dtype.hasobject or dtype.kind not in "biuf":
            raise ValueError(f"it holds {dtype}, not plain numbers")
        size = dtype.itemsize
        for length in shape:
            size *= length
        if size > item.file_size:
            raise ValueError(f"shape {shape} does not fit into the file")
    with box.open(item) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
