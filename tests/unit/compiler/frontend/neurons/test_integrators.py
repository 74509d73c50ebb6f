"""Leaky integrators however the file writes them: one neuron whose membrane is what is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx_models import Graph, load, neurons, run_file, run_module

T, B, N = 4, 3, 6
Step = Callable[[Graph, str, str], str]
"""Adds a step to a graph: the membrane from the one before and the input."""
SHIFT = np.array([0.5, -0.25, 0.125, 1.0, -1.0, 2.0], np.float32)

FORMS: dict[str, tuple[Step, str, float]] = {
    "leaky": (lambda g, v, x: g.op("Add", g.op("Mul", v, "beta"), x), "leaky", 0.75),
    "shifted": (
        lambda g, v, x: g.op("Add", g.op("Add", g.op("Mul", v, "beta"), x), "c"), "leaky", 0.75
    ),
    "towards the input": (
        lambda g, v, x: g.op("Add", v, g.op("Mul", g.op("Sub", x, v), "k")), "decay_input", 0.125
    ),
    "negative": (lambda g, v, x: g.op("Sub", g.op("Mul", v, "beta"), x), "leaky", 0.75),
    "scaled": (  # two products in the loop: the outer one is read
        lambda g, v, x: g.op("Mul", g.op("Sub", g.op("Mul", v, "beta"), x), "k"), "leaky", 0.09375
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_is_the_membrane(form: str, tmp_path: Path) -> None:
    step, dynamics, rate = FORMS[form]
    g = Graph()
    rng = np.random.default_rng(2)
    g.const(rng.normal(size=(N, N)).astype(np.float32), "w")
    g.const(0.75, "beta")
    g.const(0.125, "k")
    g.const(SHIFT, "c")
    v, axes = g.const(np.zeros((B, N), np.float32)), g.const(np.array([0]))
    rows: list[str] = []
    for t in range(T):
        x = g.op("MatMul", g.op("Gather", "x", g.const(np.array(t)), axis=0), "w")
        v = step(g, v, x)
        rows.append(g.op("Unsqueeze", v, axes))
    g.op("Concat", *rows, out="y", axis=0)
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, N]}, {"y": [T, B, N]})
    module = load(path, steps=T, time_axis=0)
    (found,) = neurons(module)
    (output,) = (op for op in module.walk() if op.name == "graph.output")
    assert output.operands[0] is found.result
    assert found.attrs["dynamics"] == dynamics
    assert found.attrs["compare"] == "none"
    assert found.float_attr("beta" if dynamics == "leaky" else "rate") == pytest.approx(rate)
    given = rng.normal(size=(T, B, N)).astype(np.float32)
    got, want = run_module(module, given)["y"], run_file(path, given)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
