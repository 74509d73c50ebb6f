"""Side files of IR text: the arrays of a module, stored under their SHA-256 in an npz file.

A text ``net.snnir`` looks into ``net.snnir.npz``, ``net.npz`` and ``resources.npz`` beside it and
is written with the first, as ``net.npz`` is what people call their inputs.  Files are written with
fixed dates, so equal arrays give equal bytes.  What is read is not trusted: no pickles, shape and
dtype are compared with the text before any data is read, and the hash after.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from snncc.compiler.diag import Note, Span, fail
from snncc.compiler.ir.core import Array, Module, Type, sha256_of
from snncc.compiler.ir.parser import MAX_CHARACTERS, Parsed, parse_module
from snncc.compiler.ir.printer import DTYPE_NAMES, print_module
from snncc.isa.files.whole_file import open_whole, write_whole

SHARED = "resources.npz"


class HashCache:
    """Computes each array's hash once; resources do not change in place."""

    def __init__(self) -> None:
        self._hashes: dict[int, tuple[Array, str]] = {}

    def sha256(self, array: Array) -> str:
        """Return an array's hash."""
        known = self._hashes.get(id(array))
        if known is None:
            known = self._hashes[id(array)] = (array, sha256_of(array))
        return known[1]


class ResourceFile(HashCache):
    """An npz file of arrays by SHA-256; arrays are added once and never replaced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._present: set[str] = set()

    def add(self, arrays: Iterable[Array]) -> None:
        """Append the arrays that the file does not hold; the first call replaces an old file."""
        new: dict[str, Array] = {}
        for array in arrays:
            if (sha := self.sha256(array)) not in self._present:
                new[sha] = array
        if not new:
            return
        if self._present:
            with zipfile.ZipFile(self.path, "a") as archive:
                _append(archive, new)
        else:
            refuse_foreign(self.path)
            with open_whole(self.path) as file, zipfile.ZipFile(file, "w") as archive:
                _append(archive, new)
        self._present |= set(new)


def _append(archive: zipfile.ZipFile, arrays: Mapping[str, Array]) -> None:
    for sha, array in arrays.items():
        entry = zipfile.ZipInfo(f"{sha}.npy")
        with archive.open(entry, "w", force_zip64=True) as stream:
            contiguous = np.ascontiguousarray(array).reshape(array.shape)
            np.lib.format.write_array(stream, contiguous, allow_pickle=False)


def side_file(path: Path) -> Path:
    """Return the file that a text's arrays are written to."""
    return path.with_name(f"{path.name}.npz")


def refuse_foreign(path: Path) -> None:
    """Complain if a side file would replace a file that is none."""
    if path.exists() and not _is_side_file(path):
        fail(
            "E0040",
            "the arrays of the IR would go here, but this file holds something else",
            str(path),
            help="move it away, or write the IR under another name",
        )


def _is_side_file(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(re.fullmatch(r"[0-9a-f]{64}\.npy", name) for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


class ResourceReader:
    """Finds arrays in the side files of one text."""

    def __init__(self, candidates: Iterable[Path]) -> None:
        self.candidates = list(dict.fromkeys(candidates))

    def load(self, name: str, sha: str, type_: Type, where: Span) -> Array:
        """Return an array that fits what the text says about it."""
        files = [path for path in self.candidates if path.is_file()]
        for path in files:
            array = _load(path, name, sha, type_, where)
            if array is not None:
                return array
        wanted = " or ".join(path.name for path in self.candidates) or "a side file"
        fail(
            "E0154",
            f"resource @{name}: not found in {wanted}",
            where,
            notes=[Note("holds no array with this SHA-256", str(path)) for path in files]
            or [Note("no such file", str(path)) for path in self.candidates],
            help="keep the npz file beside the text, or name it with --resources",
        )


def _load(path: Path, name: str, sha: str, type_: Type, where: Span) -> Array | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{sha}.npy" not in archive.namelist():
                return None
            with archive.open(f"{sha}.npy") as stream:
                version = np.lib.format.read_magic(stream)
                read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                    version, np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(stream)
            found = f"{DTYPE_NAMES.get(dtype.str[1:], str(dtype))} {shape}"
            if dtype.hasobject or found != f"{type_.dtype} {type_.shape}":
                message = f"resource @{name} is {type_} here but {found} in {path.name}"
                fail("E0155", message, where)
            with archive.open(f"{sha}.npy") as stream:
                array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        fail("E0154", f"resource @{name}: {path.name} cannot be read: {error}", where)
    except (NotImplementedError, RuntimeError, MemoryError, SyntaxError) as error:
        fail("E0154", f"resource @{name}: {path.name} cannot be read: {error}", where)
    if sha256_of(array) != sha:
        fail("E0155", f"resource @{name} in {path.name} does not have the hash of its name", where)
    array.setflags(write=False)
    return array


def parse_text(text: str, name: str, resources: Iterable[Path] = ()) -> Parsed:
    """Read a module from a text, its arrays from the given side files."""
    return parse_module(text, name, ResourceReader(resources).load)


def read_module(path: Path, resources: Iterable[Path] = ()) -> Parsed:
    """Read ``path`` with the side files beside it, after those given."""
    try:
        if path.stat().st_size > MAX_CHARACTERS:
            fail("E0156", f"the file has more than {MAX_CHARACTERS} bytes", str(path))
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        fail("E0005", f"cannot read it: {error.strerror or error}", str(path))
    except UnicodeDecodeError as error:
        fail("E0150", f"not UTF-8 text: {error.reason} at byte {error.start}", str(path))
    beside = [side_file(path), path.with_suffix(".npz"), path.parent / SHARED]
    return parse_text(text, str(path), [*resources, *beside])


def write_module(module: Module, path: Path) -> None:
    """Write a module and, when it has arrays, its side file."""
    arrays = ResourceFile(side_file(path))
    try:
        arrays.add(module.resources.values())
        write_whole(path, [print_module(module, arrays.sha256).encode()])
    except OSError as error:
        fail("E0005", f"cannot write it: {error.strerror or error}", str(error.filename or path))
