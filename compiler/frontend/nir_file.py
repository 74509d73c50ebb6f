"""Reading NIR files: HDF5 into plain nodes and edges.

A file may be cut off, half-written or hostile, so the links, types and sizes are looked at before
anything is read: no link may leave the file, and all arrays together may be :data:`GENEROUS` times
as large as the file at most.  ``h5py`` is an optional package and imported late.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import CompileError, fail

Array: TypeAlias = npt.NDArray[Any]

SMALLEST_LIMIT = 1 << 26
GENEROUS = 32
"""How often an array may be larger than the file (compression, fill values)."""
MAX_NODES = 20_000
MAX_EDGES = 200_000
MAX_DEPTH = 16
MAX_TEXT = 4096
BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


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
    try:
        import h5py
    except ImportError:
        fail("E0026", "reading NIR files needs the package h5py", str(path),
             help='pip install h5py (or "snncc[nir]")')  # fmt: skip
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            magic = stream.read(8)
    except OSError as error:
        fail("E0005", f"cannot read: {error.strerror}", str(path))
    if magic != b"\x89HDF\r\n\x1a\n":
        fail("E0112", "this is not an HDF5 file", str(path),
             help="write it with nir.write(...)")  # fmt: skip
    h5: Any = h5py
    try:
        with h5.File(str(path), "r", locking=False) as file:
            reader = _Reader(str(path), h5, max(SMALLEST_LIMIT, GENEROUS * size))
            root = reader.member(file, "node", "")
            if not isinstance(root, h5.Group):
                fail("E0112", "the file holds no NIR graph (group node)", str(path))
            node = reader.node(root, "", 0)
            version = reader.member(file, "version", "")
            text = "" if version is None else reader.text(version, "version")
    except CompileError:
        raise
    except BROKEN as error:
        reason = (str(error).splitlines() or ["?"])[0][:200]
        fail("E0112", f"the file is damaged: {reason}", str(path))
    if node.graph is None:
        fail("E0112", f"the root is a {node.kind}, not an NIRGraph", str(path))
    return node.graph, text


class _Reader:
    def __init__(self, file: str, h5: Any, limit: int) -> None:
        self.file = file
        self.h5 = h5
        self.left = limit
        self.count = 0

    def where(self, name: str) -> str:
        return f"{self.file}:{name}" if name else self.file

    def member(self, group: Any, name: str, where: str) -> Any:
        """Return a member of a group; None when there is none.  Only plain links are followed."""
        link = group.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, self.h5.HardLink):
            fail("E0112", f"member {name!r} is a link to somewhere else", self.where(where))
        return group[name]

    def dataset(self, item: Any, where: str) -> Any:
        """Check that an object is a dataset of this file."""
        if not isinstance(item, self.h5.Dataset):
            fail("E0112", "a group stands where a value is expected", self.where(where))
        if item.is_virtual or item.external:
            fail("E0112", "the data lies in another file", self.where(where))
        return item

    def text(self, item: Any, where: str) -> str:
        """Read a text."""
        data = self.dataset(item, where)
        if data.shape != () or data.dtype.kind not in "OS":
            fail("E0112", "a text is expected here", self.where(where))
        if data.dtype.kind == "S" and data.dtype.itemsize > MAX_TEXT:
            fail("E0112", "the text is too long", self.where(where))
        value = data[()]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            fail("E0112", "a text is expected here", self.where(where))
        return value

    def array(self, item: Any, where: str) -> Array:
        """Read numbers, as far as the limit goes."""
        data = self.dataset(item, where)
        if data.shape is None or data.dtype.kind not in "biuf":
            fail("E0103", f"{data.dtype} instead of numbers", self.where(where))
        size = math.prod(int(d) for d in data.shape) * int(data.dtype.itemsize)
        self.left -= size
        if self.left < 0:
            shape = "x".join(map(str, data.shape))
            fail("E0103", f"shape {shape} is absurd for a file of this size", self.where(where))
        array = np.asarray(data[()])
        if array.dtype.kind == "f":
            if not np.isfinite(array).all():
                fail("E0103", "the array holds values that are not finite", self.where(where))
            if array.dtype.itemsize != 4:
                return array.astype(np.float64)
        return array

    def node(self, group: Any, name: str, depth: int) -> NirNode:
        """Read a node and what is in it."""
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            fail("E0109", "too many or too deeply nested nodes", self.where(name))
        kind = self.member(group, "type", name)
        if kind is None:
            fail("E0112", "the node has no type; the file was written half", self.where(name))
        node = NirNode(name, self.text(kind, name))
        if node.kind == "NIRGraph":
            node.graph = self.graph(group, name, depth)
            return node
        for key in group:
            if key in ("type", "metadata"):
                continue
            item = self.member(group, key, name)
            place = f"{name}.{key}"
            if isinstance(item, self.h5.Group):
                if key in ("input_type", "output_type"):
                    continue
                fail("E0112", f"a group {key!r} in a {node.kind}", self.where(name))
            if self.dataset(item, place).dtype.kind in "OS":
                node.texts[key] = self.text(item, place)
            else:
                node.values[key] = self.array(item, place)
        return node

    def graph(self, group: Any, name: str, depth: int) -> NirGraph:
        """Read nodes and edges."""
        nodes = self.member(group, "nodes", name)
        edges = self.member(group, "edges", name)
        if not isinstance(nodes, self.h5.Group):
            fail("E0112", "the graph has no nodes; the file was written half", self.where(name))
        graph = NirGraph()
        if len(nodes) > MAX_NODES:
            fail("E0109", f"{len(nodes)} nodes", self.where(name))
        for key in sorted(map(str, nodes), key=natural):
            inner = f"{name}.{key}" if name else key
            item = self.member(nodes, key, name)
            if not isinstance(item, self.h5.Group):
                fail("E0112", "a node is no group", self.where(inner))
            graph.nodes[key] = self.node(item, inner, depth + 1)
        if edges is None:
            fail("E0112", "the graph has no edges; the file was written half", self.where(name))
        graph.edges = self.edges(edges, name)
        return graph

    def edges(self, item: Any, name: str) -> list[tuple[str, str]]:
        """Read the edges, each once, in an order of our own."""
        data = self.dataset(item, name)
        if data.shape == (0,):
            return []
        if data.ndim != 2 or data.shape[1] != 2 or data.dtype.kind not in "OS":
            fail("E0112", "edges are no list of pairs of names", self.where(name))
        if data.shape[0] > MAX_EDGES or data.dtype.itemsize > MAX_TEXT:
            fail("E0109", f"{data.shape[0]} edges", self.where(name))
        found: set[tuple[str, str]] = set()
        for pair in data[()]:
            ends = [e.decode("utf-8", "replace") if isinstance(e, bytes) else e for e in pair]
            if not all(isinstance(e, str) for e in ends):
                fail("E0112", "edges are no list of pairs of names", self.where(name))
            found.add((ends[0], ends[1]))
        return sorted(found, key=lambda e: (natural(e[0]), natural(e[1])))


def number(values: Mapping[str, Array], key: str) -> float | None:
    """Return a scalar of a node, None when it is absent or no scalar."""
    array = values.get(key)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
