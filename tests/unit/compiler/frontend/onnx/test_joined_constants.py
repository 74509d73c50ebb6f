"""Constant entries joined to the steps: recordings that begin with the state before the first step.

A recording ``torch.stack([zeros] + outs)`` is longer than the model has steps; its constant entries
count in a readout as all others do.  The import computes what onnxruntime computes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from onnx_models import Graph, agree, load, neurons, run_file, run_module
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.ir.core import Module
from snncc.compiler.validate.onnx.check import check_onnx

T, B, N = 4, 2, 3
RNG = np.random.default_rng(5)
W = RNG.normal(size=(N, N)).astype(np.float32)
FILLED = {"zeros": 0.0, "halves": 0.5}
NUMBERS = RNG.normal(size=(B, N)).astype(np.float32)


def ints(g: Graph, *values: int) -> str:
    return g.const(np.array(values, np.int64))


def entry(g: Graph, kind: str) -> str:
    """A constant entry [B, N]: one number that fills it, or a parameter."""
    if kind == "numbers":
        return g.const(NUMBERS, "numbers")
    number = numpy_helper.from_array(np.array([FILLED[kind]], np.float32))
    return g.op("ConstantOfShape", ints(g, B, N), value=number)


def recording(
    g: Graph, before: list[str], after: list[str], axis: int, *, join: str = "Unsqueeze"
) -> str:
    """Membranes of leaky neurons, [T, B, N] stacked along an axis, between constant entries."""
    state = g.const(np.zeros((B, N), np.float32))
    steps: list[str] = []
    for t in range(T):
        x = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        current = g.op("MatMul", x, g.const(W, "w"))
        h = g.op("Add", g.op("Mul", state, g.const(0.75)), current)
        s = g.op("Cast", g.op("Greater", h, g.const(1.0)), to=1)
        state = g.op("Sub", h, s)
        steps.append(state)
    entries = [*(entry(g, k) for k in before), *steps, *(entry(g, k) for k in after)]
    if join == "Concat":
        return g.op("Concat", *entries, axis=axis)
    return g.op("Concat", *(g.op(join, e, ints(g, axis)) for e in entries), axis=axis)


def saved(g: Graph, y: str, path: Path, shape: list[int]) -> Path:
    g.op("Identity", y, out="out")
    return g.save(path, {"x": [T, B, N]}, {"out": shape})


def same(path: Path) -> None:
    """The import agrees with the file, values and gradients, and rolls the recurrence up."""
    module = load(path, steps=T, time_axis=0)
    assert len(neurons(module)) == 1
    for scale in (0.4, 2.0):
        x = (RNG.normal(size=(T, B, N)) * scale).astype(np.float32)
        agree(run_module(module, x), run_file(path, x))

    def again(batch: int | None, steps: int | None) -> Module:
        return load(path, steps=steps or T, time_axis=0, batch=batch)

    text = f'timesteps = {T}\ntime_axis = 0\n[reset]\ngradient = "attached"\n'
    settings = parse_config(text)
    assert check_onnx(module, path, settings, again).validated


CASES: list[tuple[list[str], list[str]]] = [
    (["zeros"], []),
    ([], ["zeros"]),
    (["zeros", "zeros"], []),
    (["halves"], ["zeros"]),
    (["numbers", "zeros"], ["halves"]),
]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("before", "after"), CASES)
def test_recordings(tmp_path: Path, before: list[str], after: list[str], axis: int) -> None:
    g = Graph()
    y = recording(g, before, after, axis)
    shape = [B, N]
    shape.insert(axis, T + len(before) + len(after))
    same(saved(g, y, tmp_path / "m.onnx", shape))


@pytest.mark.parametrize("reduce", ["ReduceSum", "ReduceMax", "ReduceMean"])
def test_readouts_count_the_constant_entries(tmp_path: Path, reduce: str) -> None:
    g = Graph()
    y = g.op(reduce, recording(g, ["halves"], [], 0), ints(g, 0), keepdims=0)
    same(saved(g, y, tmp_path / "m.onnx", [B, N]))


@pytest.mark.parametrize(("first", "end"), [(1, T + 1), (0, T), (1, T), (2, T + 1)])
def test_slices_of_recordings(tmp_path: Path, first: int, end: int) -> None:
    """``rec[1:]`` and ``rec[:-1]``: without the constant entry, or without the last step."""
    g = Graph()
    y = g.op("Slice", recording(g, ["zeros"], [], 0), ints(g, first), ints(g, end), ints(g, 0))
    same(saved(g, y, tmp_path / "m.onnx", [end - first, B, N]))


def test_another_batch(tmp_path: Path) -> None:
    """A constant entry that holds one number is as wide as the batch that is asked for."""
    g = Graph()
    path = saved(g, recording(g, ["halves"], [], 0), tmp_path / "m.onnx", [T + 1, B, N])
    wide = load(path, steps=T, time_axis=0, batch=B + 3)
    x = RNG.normal(size=(T, B + 3, N)).astype(np.float32) * 2
    (found,) = run_module(wide, x).values()
    parts = [run_file(path, np.roll(x, -i, 1)[:, :B])["out"][:, :1] for i in range(B + 3)]
    np.testing.assert_allclose(found, np.concatenate(parts, 1), rtol=1e-5, atol=1e-5)


def test_constants_along_the_axis_of_samples_are_refused_at_another_batch(tmp_path: Path) -> None:
    g = Graph()
    y = recording(g, ["zeros"], [], 0, join="Concat")
    path = saved(g, y, tmp_path / "m.onnx", [(T + 1) * B, N])
    same(path)
    with pytest.raises(CompileError, match="--batch"):
        load(path, steps=T, time_axis=0, batch=B + 3)
