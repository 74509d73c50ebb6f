"""Files of the user: npz arrays read without trust, everything written whole or not at all."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.compiler.driver.streams import stdout_bytes
from snncc.isa.files.array_file import LARGEST, ArrayFileError, read_arrays
from snncc.isa.files.whole_file import open_whole, read_at_most

Array: TypeAlias = npt.NDArray[Any]
MAX_BYTES = 1 << 28
"""Bytes of a text or a recording; arrays may have more."""
MODEL_SUFFIXES = (".onnx", ".nir", ".snn")


def is_model(path: Path) -> bool:
    """Whether a path names a model (not a program)."""
    return path.suffix.lower() in MODEL_SUFFIXES


def read_bytes(path: str, largest: int = MAX_BYTES) -> bytes:
    """Return a file's contents; `-` is stdin.  More than ``largest`` bytes are an error."""
    try:
        data = (
            sys.stdin.buffer.read(largest + 1) if path == "-" else read_at_most(Path(path), largest)
        )
    except OSError as error:
        fail("E0005", f"cannot be read: {(error.strerror or str(error)).lower()}", path)
    if len(data) > largest:
        fail("E0005", f"has more than {largest >> 20} MiB, which no such file has", path)
    return data


def write_bytes(path: str, data: bytes) -> None:
    """Write a file in one step (a reader sees the old or the new one); `-` is stdout."""
    if path == "-":
        stdout_bytes(data)
        return
    with writing(path) as stream:
        stream.write(data)


@contextmanager
def writing(path: str, keep: tuple[type[BaseException], ...] = ()) -> Generator[BinaryIO]:
    """Open a file to write piece by piece; it appears when all is written.

    An error or an interrupt leaves what was there before; the errors in ``keep`` do not.
    """
    try:
        with open_whole(Path(path), keep) as stream:
            yield stream
    except OSError as error:
        if error.filename != path:
            raise  # it is about another file
        fail("E0005", f"cannot be written: {(error.strerror or str(error)).lower()}", path)


def write_text(path: str, text: str) -> None:
    """Write a text file in one step; `-` is stdout."""
    if path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def make_folder(path: Path) -> None:
    """Create a folder with its parents."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail("E0005", f"cannot be created: {(error.strerror or str(error)).lower()}", str(path))


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Return an npz file; equal arrays give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as box:
        for name, array in arrays.items():
            item = io.BytesIO()
            np.lib.format.write_array(item, np.asanyarray(array), allow_pickle=False)
            box.writestr(zipfile.ZipInfo(f"{name}.npy"), item.getvalue())
    return out.getvalue()


def read_npz(path: str, wanted: Iterable[str] | None = None) -> dict[str, Array]:
    """Return the wanted arrays of an npz file (all if None); the others are not even looked at.

    Nothing in the file is trusted: pickled objects, false sizes and damage are errors.
    """
    source: IO[bytes] | str = path
    if path == "-":
        source = io.BytesIO(read_bytes(path, LARGEST))
    try:
        return read_arrays(source, wanted)
    except OSError as error:
        fail("E0005", f"cannot be read: {(error.strerror or str(error)).lower()}", path)
    except ArrayFileError as error:
        fail("E0020", str(error), path, help=_HOW)


_HOW = "write it with numpy.savez(FILE, x=..., y=...)"
