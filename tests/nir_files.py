"""NIR files made by hand: every type, and what writers do wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from snncc.compiler.diag import DiagnosticSink
from snncc.compiler.frontend.import_nir import import_nir
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.verify import verify

Node: TypeAlias = Mapping[str, Any]
Edges: TypeAlias = Sequence[tuple[str, str]]
Array: TypeAlias = npt.NDArray[Any]
INPUT, OUTPUT = "input", "output"


def write(path: Path, nodes: Mapping[str, Node], edges: Edges, version: str = "1.0.4") -> Path:
    """Write a graph; a node with ``nodes`` and ``edges`` is a nested one."""
    h5 = pytest.importorskip("h5py")
    with h5.File(path, "w") as file:
        file["version"] = version
        _graph(file.create_group("node"), nodes, edges)
    return path


def _graph(group: Any, nodes: Mapping[str, Node], edges: Edges) -> None:
    group["type"] = "NIRGraph"
    inner = group.create_group("nodes")
    for name, node in nodes.items():
        made = inner.create_group(name)
        if "nodes" in node:
            _graph(made, node["nodes"], node["edges"])
            continue
        for key, value in node.items():
            made[key] = value
    group["edges"] = [[a.encode(), b.encode()] for a, b in edges]


def port(kind: str, *shape: int) -> Node:
    """Return an Input or Output."""
    return {"type": kind, "shape": np.asarray(shape)}


def chain(shape: Sequence[int], *middle: Node) -> tuple[dict[str, Node], Edges]:
    """Return input -> 0 -> 1 ... -> output."""
    nodes: dict[str, Node] = {INPUT: port("Input", *shape)}
    nodes |= {str(i): n for i, n in enumerate(middle)}
    nodes[OUTPUT] = port("Output", 1)
    names = list(nodes)
    return nodes, list(pairwise(names))


def load(path: Path, x: Array, dt: float | None = None) -> tuple[Module, DiagnosticSink]:
    """Import a file for an input and verify the module."""
    sink = DiagnosticSink()
    module = import_nir(path, x_shape=x.shape, dt=dt, sink=sink)
    verify(module)
    return module, sink


def run(path: Path, x: Array, dt: float | None = None) -> Array:
    """Evaluate a file in float64; return the only output."""
    module, _ = load(path, x, dt)
    found = evaluate(module, "main", {INPUT: x}, "float64")
    return np.asarray(found["out/output"])


def run_chain(path: Path, x: Array, *middle: Node, dt: float | None = None) -> Array:
    """Write a chain and evaluate it."""
    return run(write(path / "net.nir", *chain(x.shape[2:], *middle)), x, dt)
