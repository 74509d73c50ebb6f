"""Reads one NIR file in a process of its own: ``python worker.py FILE`` writes an npz.

A file may be cut off, half-written or hostile, so the links, types and sizes are looked at before
anything is read: no link may leave the file, and all arrays together may be :data:`GENEROUS` times
as large as the file at most.  What the HDF5 library does on top of that ends with this process,
which imports nothing of snncc.

The npz holds the arrays by number and ``found``, JSON: ``{"error": [code, message, node]}`` or
``{"root": graph, "version": text}`` with graphs ``{"kind", "nodes": {name: node}, "edges"}`` and
nodes ``{"kind", "values": {name: number of array}, "texts"}``.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from typing import Any, NoReturn

import numpy as np

SMALLEST_LIMIT = 1 << 26
GENEROUS = 32
"""How often the arrays may be larger than the file (compression, fill values)."""
MEMORY = 4 << 30
MAX_NODES = 20_000
MAX_EDGES = 200_000
MAX_DEPTH = 16
MAX_TEXT = 4096
BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


class Refused(Exception):
    """The file cannot be read: code, message, node."""


def refuse(code: str, message: str, name: str) -> NoReturn:
    """Give up with a message for the user."""
    raise Refused(code, message, name)


class Reader:
    """Reads groups and datasets and counts what it takes."""

    def __init__(self, h5: Any, limit: int) -> None:
        self.h5 = h5
        self.left = limit
        self.count = 0
        self.arrays: list[Any] = []

    def member(self, group: Any, name: str, where: str) -> Any:
        """Return a member of a group; None when there is none.  Only plain links are followed."""
        link = group.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, self.h5.HardLink):
            refuse("E0112", f"member {name!r} is a link to somewhere else", where)
        return group[name]

    def dataset(self, item: Any, where: str) -> Any:
        """Check that an object is a dataset of this file."""
        if not isinstance(item, self.h5.Dataset):
            refuse("E0112", "a group stands where a value is expected", where)
        if item.is_virtual or item.external:
            refuse("E0112", "the data lies in another file", where)
        return item

    def text(self, item: Any, where: str) -> str:
        """Read a text."""
        data = self.dataset(item, where)
        if data.shape != () or data.dtype.kind not in "OS":
            refuse("E0112", "a text is expected here", where)
        if data.dtype.kind == "S" and data.dtype.itemsize > MAX_TEXT:
            refuse("E0112", "the text is too long", where)
        value = data[()]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            refuse("E0112", "a text is expected here", where)
        return value

    def array(self, item: Any, where: str) -> int:
        """Read numbers, as far as the limit goes; return the number of the array."""
        data = self.dataset(item, where)
        if data.shape is None or data.dtype.kind not in "biuf":
            refuse("E0103", f"{data.dtype} instead of numbers", where)
        size = math.prod(int(d) for d in data.shape) * int(data.dtype.itemsize)
        self.left -= size
        if self.left < 0:
            shape = "x".join(map(str, data.shape))
            refuse("E0103", f"shape {shape} is absurd for a file of this size", where)
        array = np.asarray(data[()])
        if array.dtype.kind == "f":
            if not np.isfinite(array).all():
                refuse("E0103", "the array holds values that are not finite", where)
            if array.dtype.itemsize != 4:
                array = array.astype(np.float64)
        self.arrays.append(array)
        return len(self.arrays) - 1

    def node(self, group: Any, name: str, depth: int) -> dict[str, Any]:
        """Read a node and what is in it."""
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            refuse("E0109", "too many or too deeply nested nodes", name)
        kind = self.member(group, "type", name)
        if kind is None:
            refuse("E0112", "the node has no type; the file was written half", name)
        kind = self.text(kind, name)
        if kind == "NIRGraph":
            return self.graph(group, name, depth)
        values: dict[str, int] = {}
        texts: dict[str, str] = {}
        for key in group:
            if key in ("type", "metadata"):
                continue
            item = self.member(group, key, name)
            place = f"{name}.{key}"
            if isinstance(item, self.h5.Group):
                if key in ("input_type", "output_type"):
                    continue
                refuse("E0112", f"a group {key!r} in a {kind}", name)
            if self.dataset(item, place).dtype.kind in "OS":
                self.left -= MAX_TEXT
                if self.left < 0:
                    refuse("E0109", "too many texts", place)
                texts[key] = self.text(item, place)
            else:
                values[key] = self.array(item, place)
        return {"kind": kind, "values": values, "texts": texts}

    def graph(self, group: Any, name: str, depth: int) -> dict[str, Any]:
        """Read nodes and edges."""
        nodes = self.member(group, "nodes", name)
        edges = self.member(group, "edges", name)
        if not isinstance(nodes, self.h5.Group):
            refuse("E0112", "the graph has no nodes; the file was written half", name)
        found: dict[str, Any] = {}
        if len(nodes) > MAX_NODES:
            refuse("E0109", f"{len(nodes)} nodes", name)
        for key in map(str, nodes):
            inner = f"{name}.{key}" if name else key
            item = self.member(nodes, key, name)
            if not isinstance(item, self.h5.Group):
                refuse("E0112", "a node is no group", inner)
            found[key] = self.node(item, inner, depth + 1)
        if edges is None:
            refuse("E0112", "the graph has no edges; the file was written half", name)
        return {"kind": "NIRGraph", "nodes": found, "edges": self.edges(edges, name)}

    def edges(self, item: Any, name: str) -> list[list[str]]:
        """Read the edges."""
        data = self.dataset(item, name)
        if data.shape == (0,):
            return []
        if data.ndim != 2 or data.shape[1] != 2 or data.dtype.kind not in "OS":
            refuse("E0112", "edges are no list of pairs of names", name)
        if data.shape[0] > MAX_EDGES or data.dtype.itemsize > MAX_TEXT:
            refuse("E0109", f"{data.shape[0]} edges", name)
        found: list[list[str]] = []
        for pair in data[()]:
            ends = [e.decode("utf-8", "replace") if isinstance(e, bytes) else e for e in pair]
            if not all(isinstance(e, str) for e in ends):
                refuse("E0112", "edges are no list of pairs of names", name)
            found.append(ends)
        return found


def read(path: str) -> tuple[dict[str, Any], list[Any]]:
    """Return what is in a file, or what is wrong with it."""
    import h5py

    h5: Any = h5py
    try:
        reader = Reader(h5, max(SMALLEST_LIMIT, GENEROUS * os.stat(path).st_size))
        with h5.File(path, "r") as file:
            root = reader.member(file, "node", "")
            if not isinstance(root, h5.Group):
                refuse("E0112", "the file holds no NIR graph (group node)", "")
            found = reader.node(root, "", 0)
            version = reader.member(file, "version", "")
            text = "" if version is None else reader.text(version, "version")
    except Refused as error:
        return {"error": list(error.args)}, []
    except MemoryError:
        return {"error": ["E0032", f"its arrays need more than {MEMORY >> 30} GiB", ""]}, []
    except BROKEN as error:
        reason = (str(error).splitlines() or ["?"])[0][:200]
        return {"error": ["E0112", f"the file is damaged: {reason}", ""]}, []
    return {"root": found, "version": text}, reader.arrays


def bound_memory() -> None:
    """Let allocations fail beyond :data:`MEMORY`, where the system can do that."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """Read the file that the command line names."""
    bound_memory()
    found, arrays = read(sys.argv[1])
    out = io.BytesIO()
    named = {str(i): a for i, a in enumerate(arrays)}
    text = np.frombuffer(json.dumps(found).encode(), np.uint8)
    np.savez(out, found=text, **named)
    sys.stdout.buffer.write(out.getbuffer())


if __name__ == "__main__":
    main()
