"""Initial memory contents of an object file, as pieces to copy into memories."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from snncc.isa.numbers import fp16
from snncc.isa.program.container import MAX_FILE_BYTES, ObjectFileError
from snncc.isa.program.model import FileRef, InitialData


def fetch(ref: FileRef, folder: Path) -> bytes:
    """Return the bytes that a reference names; they must be those whose hash it carries."""
    path = folder / ref.path
    if ref.bytes > MAX_FILE_BYTES:
        raise ObjectFileError(f"{path}: {ref.bytes} bytes by reference; at most {MAX_FILE_BYTES}")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ObjectFileError(f"{path}: not a regular file")
        with path.open("rb") as stream:
            stream.seek(ref.offset)
            data = stream.read(ref.bytes)
    except (OSError, ValueError) as error:
        if isinstance(error, ObjectFileError):
            raise
        raise ObjectFileError(f"{path}: cannot be read: {error}") from None
    if len(data) != ref.bytes or hashlib.sha256(data).hexdigest() != ref.sha256:
        raise ObjectFileError(
            f"{path}: bytes {ref.offset}..{ref.offset + ref.bytes} are not those that the program "
            "was compiled with; compile it again"
        )
    return data


def contents(item: InitialData, folder: Path) -> bytes:
    """Return the memory contents of an item, before they are cut into rows."""
    data = item.data if item.ref is None else fetch(item.ref, folder)
    if item.convert == "raw":
        return data
    if len(data) % 4:
        raise ObjectFileError(f"initial data at {item.address}: no whole number of binary32 values")
    return fp16.to_bits(np.frombuffer(data, np.dtype("<f4")).astype(np.float32)).tobytes()


def pieces(item: InitialData, folder: Path) -> Iterator[tuple[int, bytes]]:
    """Yield ``(address, bytes)`` pieces of an item, rows apart as it says."""
    data = contents(item, folder)
    step = item.row_bytes or len(data)
    if step == 0:
        return
    if len(data) % step:
        raise ObjectFileError(f"initial data at {item.address}: no whole number of rows")
    if item.row_bytes == 0 or item.row_stride == item.row_bytes:
        yield item.address, data
        return
    for row in range(len(data) // step):
        yield item.address + row * item.row_stride, data[row * step : (row + 1) * step]
