"""Buffers that a file fills one step after the other (``out[t] = y``), in the forms it may take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import Array, Graph, load, run_file, run_module
from snncc.compiler.diag import CompileError

STEPS, BATCH, WIDTH = 4, 3, 5
SHAPE = [STEPS, BATCH, WIDTH]


def step(t: int) -> tuple[str, Array, list[int], dict[str, Any]]:
    """``out[t] = y``: one index of axis 0."""
    return "ScatterND", np.array([[t]], np.int64), [1, BATCH, WIDTH], {}


def from_the_end(t: int) -> tuple[str, Array, list[int], dict[str, Any]]:
    return "ScatterND", np.array([[t - STEPS]], np.int64), [1, BATCH, WIDTH], {}


def rows(t: int) -> tuple[str, Array, list[int], dict[str, Any]]:
    """``out[t, :] = y``: two indices for each sample."""
    at = np.array([[t, b] for b in range(BATCH)], np.int64)
    return "ScatterND", at, [BATCH, WIDTH], {}


def elements(t: int) -> tuple[str, Array, list[int], dict[str, Any]]:
    """``out.scatter(0, index, y)``: an index for each element."""
    return "ScatterElements", np.full([1, BATCH, WIDTH], t, np.int64), [1, BATCH, WIDTH], {}


def other_axis(t: int) -> tuple[str, Array, list[int], dict[str, Any]]:
    """The same index, but of the samples."""
    at = np.full([1, BATCH, WIDTH], min(t, BATCH - 1), np.int64)
    return "ScatterElements", at, [1, BATCH, WIDTH], {"axis": 1}


def part(t: int) -> tuple[str, Array, list[int], dict[str, Any]]:
    """Two of the three samples."""
    return "ScatterND", np.array([[t, 0], [t, 1]], np.int64), [2, WIDTH], {}


def added(t: int) -> tuple[str, Array, list[int], dict[str, Any]]:
    return "ScatterND", np.array([[t]], np.int64), [1, BATCH, WIDTH], {"reduction": "add"}


def write(path: Path, form: Any, order: list[int]) -> Path:
    """A leak over time, kept in a buffer of zeros; part of the samples where the form says so."""
    g = Graph()
    buffer = g.const(np.zeros(SHAPE, np.float32))
    state = ""
    states: list[str] = []
    for t in range(STEPS):
        x = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        state = g.op("Add", x, g.op("Mul", g.const(0.5), state)) if state else x
        states.append(state)
    for k, t in enumerate(order):
        kind, at, shape, attributes = form(t)
        y = states[t]
        if math.prod(shape) < BATCH * WIDTH:
            y = g.op("Gather", y, g.const(np.array([0, 1], np.int64)), axis=0)
        y = g.op("Reshape", y, g.const(np.array(shape, np.int64)))
        out = "y" if k == len(order) - 1 else ""
        buffer = g.op(kind, buffer, g.const(at), y, out=out, **attributes)
    return g.save(path, {"x": SHAPE}, {"y": SHAPE})


@pytest.mark.parametrize("form", [step, from_the_end, rows, elements], ids=lambda f: f.__name__)
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]], ids=str)
def test_a_written_buffer_is_a_stack(tmp_path: Path, form: Any, order: list[int]) -> None:
    path = write(tmp_path / "m.onnx", form, order)
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    (found,) = run_module(load(path, steps=STEPS, time_axis=0), x).values()
    np.testing.assert_allclose(found, run_file(path, x)["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [other_axis, part, added], ids=lambda f: f.__name__)
def test_other_writes_are_refused(tmp_path: Path, form: Any) -> None:
    path = write(tmp_path / "m.onnx", form, [0, 1, 2, 3])
    with pytest.raises(CompileError, match="does not write whole time steps") as caught:
        load(path, steps=STEPS, time_axis=0)
    assert caught.value.diagnostics[0].code == "E0104"
