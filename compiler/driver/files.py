"""Files of the user: npz arrays read without trust, everything written whole or not at all."""

from __future__ import annotations

import io
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.compiler.driver.streams import stdout_bytes
from snncc.isa.files.whole_file import open_whole

Array: TypeAlias = npt.NDArray[Any]
MAX_ARRAY_BYTES = 1 << 33


MODEL_SUFFIXES = (".onnx", ".nir", ".snn")


def is_model(path: Path) -> bool:
    """Whether a path names a model (not a program)."""
    return path.suffix.lower() in MODEL_SUFFIXES


def read_bytes(path: str) -> bytes:
    """Return a file's contents; `-` is stdin."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        fail("E0005", f"cannot be read: {(error.strerror or str(error)).lower()}", path)


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
        source = io.BytesIO(read_bytes(path))
    found: dict[str, Array] = {}
    name = ""
    try:
        with zipfile.ZipFile(source) as box:
            names = {i.filename.removesuffix(".npy"): i for i in box.infolist()}
            for name in names if wanted is None else wanted:
                if name in names:
                    found[name] = _read_array(box, names[name])
            return found
    except zipfile.BadZipFile:
        fail("E0020", "this is no npz file, or a damaged one", path, help=_HOW)
    except OSError as error:
        fail("E0005", f"cannot be read: {(error.strerror or str(error)).lower()}", path)
    except (ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, zlib.error) as error:
        fail("E0020", f"array {name!r} cannot be read: {error}", path, help=_HOW)


_HOW = "write it with numpy.savez(FILE, x=..., y=...)"


def _read_array(box: zipfile.ZipFile, item: zipfile.ZipInfo) -> Array:
    with box.open(item) as stream:
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ValueError(f"npy version {version}")
        try:
            shape, _, dtype = readers[version](stream)
        except (tokenize.TokenError, SyntaxError, TypeError, OverflowError, RecursionError):
            raise ValueError("its header is damaged") from None
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"shape {shape} is none")
        if dtype.hasobject or dtype.kind not in "biuf":
            raise ValueError(f"it holds {dtype}, not plain numbers")
        size = dtype.itemsize
        for length in shape:
            size *= length
        if size > item.file_size or size > MAX_ARRAY_BYTES:
            raise ValueError(f"shape {shape} does not fit into the file")
    with box.open(item) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
