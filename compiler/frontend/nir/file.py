"""Reading NIR files: HDF5 into plain nodes and edges.

The HDF5 library can crash on damaged files, so it runs in a process of its own
(:mod:`snncc.compiler.frontend.nir.worker`) with a limit on time and memory.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.isa.files import lfs_pointer

Array: TypeAlias = npt.NDArray[Any]
WORKER = "worker.py"
SECONDS = 120.0


@dataclass(slots=True)
class NirNode:
    """A node: its type, its arrays and texts by name, or the graph that it stands for."""

    name: str
    kind: str
    values: dict[str, Array] = field(default_factory=dict[str, Array])
    texts: dict[str, str] = field(default_factory=dict[str, str])
    graph: NirGraph | None = None


@dataclass(slots=True)
class NirGraph:
    """Nodes by name (in natural order) and edges."""

    nodes: dict[str, NirNode] = field(default_factory=dict[str, NirNode])
    edges: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that counts: 2 before 10."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for c in name + "\0":
        if c.isascii() and c.isdigit() and len(digits) < 18:
            digits += c
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        parts.append((1, 0, c))
    return tuple(parts)


def read_nir(path: Path) -> tuple[NirGraph, str]:
    """Return the graph of a file and the version of NIR that wrote it."""
    if importlib.util.find_spec("h5py") is None:
        fail("E0026", "reading NIR files needs the package h5py", str(path),
             help='pip install h5py (or "snncc[nir]")')  # fmt: skip
    try:
        with path.open("rb") as stream:
            start = stream.read(1024)
    except OSError as error:
        fail("E0005", f"cannot read: {error.strerror}", str(path))
    pointed = lfs_pointer.pointed_size(start)
    if pointed is not None:
        fail("E0112", lfs_pointer.words(pointed), str(path), help=lfs_pointer.HELP)
    if start[:8] != b"\x89HDF\r\n\x1a\n":
        fail("E0112", "this is not an HDF5 file", str(path),
             help="write it with nir.write(...)")  # fmt: skip
    found, arrays = _work(path)
    if "error" in found:
        code, message, name = (str(part) for part in found["error"])
        fail(code, message, f"{path}:{name}" if name else str(path))
    if found["root"]["kind"] != "NIRGraph":
        fail("E0112", f"the root is a {found['root']['kind']}, not an NIRGraph", str(path))
    return _graph(found["root"], "", arrays), str(found["version"])


def _work(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Let the worker read the file; return its findings and the arrays by number."""
    command = [sys.executable, "-I", str(Path(__file__).with_name(WORKER)), str(path.resolve())]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, env=env)
    except subprocess.TimeoutExpired:
        fail("E0112", f"the file could not be read in {SECONDS:g} seconds", str(path))
    except OSError as error:
        fail("E0005", f"cannot start the reader of HDF5 files: {error.strerror}", str(path))
    if done.returncode:
        fail("E0112", "the file is damaged: the HDF5 library gave up on it", str(path))
    try:
        with np.load(io.BytesIO(done.stdout), allow_pickle=False) as z:
            arrays = {name: np.asarray(z[name]) for name in z.files}
        found = json.loads(arrays.pop("found").tobytes().decode())
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        fail("E0112", "the file is damaged: the HDF5 library gave up on it", str(path))
    return cast("dict[str, Any]", found), arrays


def _graph(table: dict[str, Any], name: str, arrays: dict[str, Array]) -> NirGraph:
    graph = NirGraph()
    for key in sorted(table["nodes"], key=natural):
        entry, inner = table["nodes"][key], f"{name}.{key}" if name else key
        node = NirNode(inner, entry["kind"])
        if node.kind == "NIRGraph":
            node.graph = _graph(entry, inner, arrays)
        else:
            node.values = {k: arrays[str(n)] for k, n in entry["values"].items()}
            node.texts = dict(entry["texts"])
        graph.nodes[key] = node
    ends = {(str(a), str(b)) for a, b in table["edges"]}
    graph.edges = sorted(ends, key=lambda e: (natural(e[0]), natural(e[1])))
    return graph
