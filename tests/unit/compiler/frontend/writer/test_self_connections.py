"""Recurrent weights that norse keeps free of self-connections: these, and no others, are masked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_models import Array, Graph, run_file, run_module
from snncc.compiler.diag import DiagnosticSink
from snncc.compiler.frontend.import_onnx import import_onnx
from snncc.compiler.ir.core import Module, Op

T, B = 4, 2


def write(path: Path, inside: Array, back: Array, *, norse: bool) -> Path:
    """Write a layer of recurrent neurons behind an addition.

    ``norse``: the membrane moves towards the input, which no other framework's neurons with such
    spikes do; else it leaks, and the spikes fall at the threshold itself.
    """
    n = back.shape[0]
    g = Graph()
    g.const(inside, "inside")
    g.const(back, "back")
    k, theta = g.const(0.25), g.const(0.5)
    shift, axes = g.const(np.ones(n, np.float32) / 8), g.const(np.array([0]))
    v = s = g.const(np.zeros((B, n), np.float32))
    rows: list[str] = []
    for t in range(T):
        x = g.op("Add", g.op("Gather", "x", g.const(np.array(t)), axis=0), shift)
        total = g.op("Add", g.op("MatMul", x, "inside"), g.op("MatMul", s, "back"))
        if norse:
            h = g.op("Add", v, g.op("Mul", g.op("Sub", total, v), k))
        else:
            h = g.op("Add", g.op("Mul", v, k), total)
        s = g.op("Cast", g.op("Greater" if norse else "GreaterOrEqual", h, theta), to=1)
        v = g.op("Sub", h, g.op("Mul", h, s))
        rows.append(g.op("Unsqueeze", s, axes))
    g.op("Concat", *rows, out="y", axis=0)
    return g.save(path, {"x": [T, B, n]}, {"y": [T, B, n]})


def masked(module: Module) -> list[str]:
    """Return the weights that are multiplied by a constant before they are used."""
    found: list[str] = []
    for op in module.walk():
        owners = [v.owner for v in op.operands]
        if op.name == "graph.mul":
            found += [o.str_attr("name") for o in owners
                      if isinstance(o, Op) and o.name == "graph.param"]  # fmt: skip
    return found


def hollow(n: int, seed: int, diagonal: float = 0.0) -> Array:
    """Return a matrix without self-connections, or with some."""
    full = np.random.default_rng(seed).normal(size=(n, n)) * (1 - np.eye(n))
    full[0, 0] = diagonal
    return full.astype(np.float32)


def sparse(n: int) -> Array:
    """Return a matrix so empty that its diagonal says nothing."""
    made = np.zeros((n, n), np.float32)
    made[0, 1] = made[1, 2] = 1.0
    return made


@pytest.mark.parametrize(
    ("back", "norse", "wanted"),
    [
        (hollow(5, 1), True, ["back"]),
        (hollow(3, 1), True, ["back"]),
        (hollow(2, 1), True, []),
        (hollow(5, 1, 0.5), True, []),
        (sparse(5), True, []),
        (hollow(5, 1), False, []),
    ],
    ids=["five", "three", "two", "with one", "sparse", "of others"],
)
def test_weights_without_self_connections(
    back: Array, norse: bool, wanted: list[str], tmp_path: Path
) -> None:
    """The weights of the inputs are square and hollow, too, but nothing comes back there."""
    n = back.shape[0]
    path = write(tmp_path / "m.onnx", hollow(n, 2), back, norse=norse)
    sink = DiagnosticSink()
    module = import_onnx(path, steps=T, time_axis=0, sink=sink)
    assert masked(module) == wanted
    said = [d for d in sink.warnings if "self-connections" in d.message]
    assert [d.code for d in said] == ["E0111"] * len(wanted)
    x = np.random.default_rng(5).normal(size=(T, B, n)).astype(np.float32) * 8
    got, want = run_module(module, x)["y"], run_file(path, x)["y"]
    assert want.any()
    np.testing.assert_array_equal(got, want)
