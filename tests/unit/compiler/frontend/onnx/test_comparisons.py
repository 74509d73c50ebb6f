"""A spike written in every way that algebra allows: signs of thresholds, divisors, directions.

Every form is run by onnxruntime and by the import; where a neuron is found, its threshold is right,
and it is found in the forms that exporters write.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from examples import sampled
from onnx_models import Graph, load, neurons, run_file, run_module

STEPS, BATCH, WIDTH = 5, 3, 4
Write = Callable[[Graph, str, Any], str]
"""Writes the comparison of a membrane with a threshold (a number or one for each neuron)."""


def f32(value: Any) -> Any:
    return np.asarray(value, np.float32)


def over(kind: str, d: Any, *, flip: bool = False) -> Write:
    """Compare h / d with theta / d."""

    def write(g: Graph, h: str, theta: Any) -> str:
        left, right = g.op("Div", h, g.const(f32(d))), g.const(f32(theta) / f32(d))
        return g.op(kind, right, left) if flip else g.op(kind, left, right)

    return write


def minus(kind: str, d: float, *, flip: bool = False) -> Write:
    """Compare (h - theta) / d with zero."""

    def write(g: Graph, h: str, theta: Any) -> str:
        left = g.op("Div", g.op("Sub", h, g.const(f32(theta))), g.const(f32(d)))
        zero = g.const(f32(0.0))
        return g.op(kind, zero, left) if flip else g.op(kind, left, zero)

    return write


# name: (how it is written, how a neuron op says it; other: ordinary ops may do it as well)
FORMS: dict[str, tuple[Write, str]] = {
    "h > t": (lambda g, h, t: g.op("Greater", h, g.const(f32(t))), "strict"),
    "t < h": (lambda g, h, t: g.op("Less", g.const(f32(t)), h), "strict"),
    "h >= t": (lambda g, h, t: g.op("GreaterOrEqual", h, g.const(f32(t))), "non_strict"),
    "t <= h": (lambda g, h, t: g.op("LessOrEqual", g.const(f32(t)), h), "non_strict"),
    "not h < t": (lambda g, h, t: g.op("Not", g.op("Less", h, g.const(f32(t)))), "other"),
    "not h <= t": (lambda g, h, t: g.op("Not", g.op("LessOrEqual", h, g.const(f32(t)))), "other"),
    "-h < -t": (lambda g, h, t: g.op("Less", g.op("Neg", h), g.const(-f32(t))), "other"),
    "-t > -h": (lambda g, h, t: g.op("Greater", g.const(-f32(t)), g.op("Neg", h)), "other"),
    "t - h < 0": (
        lambda g, h, t: g.op("Less", g.op("Sub", g.const(f32(t)), h), g.const(f32(0.0))), "other",
    ),
    "h + 3 > t + 3": (
        lambda g, h, t: g.op("Greater", g.op("Add", h, g.const(f32(3.0))), g.const(f32(t) + 3)),
        "strict",
    ),
    "3 + h > t + 3": (
        lambda g, h, t: g.op("Greater", g.op("Add", g.const(f32(3.0)), h), g.const(f32(t) + 3)),
        "strict",
    ),
    "h / 2 > t / 2": (over("Greater", 2.0), "strict"),
    "t / 2 <= h / 2": (over("LessOrEqual", 2.0, flip=True), "non_strict"),
    "h / -2 < t / -2": (over("Less", -2.0), "other"),
    "(h - t) / 2 > 0": (minus("Greater", 2.0), "strict"),
    "(h - t) / -2 < 0": (minus("Less", -2.0), "other"),
    "0 >= (h - t) / -2": (minus("GreaterOrEqual", -2.0, flip=True), "other"),
    # the other way round: it spikes below the threshold
    "h < t": (lambda g, h, t: g.op("Less", h, g.const(f32(t))), "other"),
    "not h >= t": (
        lambda g, h, t: g.op("Not", g.op("GreaterOrEqual", h, g.const(f32(t)))), "other",
    ),
    "h / -2 > t / -2": (over("Greater", -2.0), "other"),
    "(h - t) / -2 > 0": (minus("Greater", -2.0), "other"),
    "h / [2 -2 1 -1] > t / [2 -2 1 -1]": (over("Greater", [2.0, -2.0, 1.0, -1.0]), "other"),
}  # fmt: skip
PLAIN = ("h > t", "t < h", "h >= t", "t <= h")  # there is no reason not to see the neuron
THRESHOLDS: dict[str, Any] = {
    "0.5": 0.5, "-0.25": -0.25, "0": 0.0, "mixed": [0.5, -0.25, 0.0, 1.0],
}  # fmt: skip


def network(path: Path, write: Write, theta: Any, reset: bool) -> Path:
    """Write x -> Linear -> leaky neurons; the reset, if there is one, takes 0.5 away."""
    g, rng = Graph(), np.random.default_rng(3)
    weight = g.const(rng.normal(size=(6, WIDTH)).astype(np.float32), "w")
    beta, half = g.const(f32(0.75)), g.const(f32(0.5))
    zero = g.const(np.zeros((BATCH, WIDTH), np.float32))
    membrane, rows = zero, list[str]()
    axes = g.const(np.array([0], np.int64))
    for t in range(STEPS):
        x = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        h = g.op("Add", g.op("Mul", beta, membrane), g.op("MatMul", x, weight))
        spike = g.op("Cast", write(g, h, theta), to=TensorProto.FLOAT)
        membrane = g.op("Sub", h, g.op("Mul", spike, half)) if reset else h
        rows.append(g.op("Unsqueeze", spike, axes))
    g.op("Concat", *rows, out="out", axis=0)
    return g.save(path, {"x": [STEPS, BATCH, 6]}, {"out": [STEPS, BATCH, WIDTH]})


@pytest.mark.parametrize("reset", [False, True], ids=["free", "reset"])
@pytest.mark.parametrize("threshold", sampled(THRESHOLDS, 2))
@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_write_a_spike(tmp_path: Path, form: str, threshold: str, reset: bool) -> None:
    write, kind = FORMS[form]
    theta = THRESHOLDS[threshold]
    path = network(tmp_path / "m.onnx", write, theta, reset)
    x = np.random.default_rng(0).normal(size=(STEPS, BATCH, 6)).astype(np.float32)
    (wanted,) = run_file(path, x).values()
    assert 0 < wanted.mean() < 1
    module = load(path, steps=STEPS, time_axis=0)
    (found,) = run_module(load(path, steps=STEPS, time_axis=0), x).values()
    np.testing.assert_array_equal(found, wanted)
    ops = [op for op in neurons(module) if op.attrs["compare"] != "none"]
    if form in PLAIN and isinstance(theta, float) and (not reset or theta == 0.5):
        assert len(ops) == 1
    for op in ops:
        assert kind == "other" or op.attrs["compare"] == kind
        if kind != "other" and isinstance(theta, float):
            assert op.float_attr("threshold") == pytest.approx(theta, abs=1e-12)


@pytest.mark.parametrize("theta", [0.5, 0.8])
def test_spikes_that_are_counted(tmp_path: Path, theta: float) -> None:
    """floor(h / theta) above zero, taken off again: as many spikes as thresholds were passed."""
    g, rows, v = Graph(), list[str](), ""
    axes = g.const(np.array([0], np.int64))
    for t in range(STEPS):
        x = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        h = g.op("Add", g.op("Mul", g.const(f32(0.75)), v), x) if v else x
        s = g.op("Floor", g.op("Div", g.op("Relu", h), g.const(f32(theta))))
        v = g.op("Sub", h, g.op("Mul", s, g.const(f32(theta))))
        rows.append(g.op("Unsqueeze", s, axes))
    g.op("Concat", *rows, out="y", axis=0)
    shape = [STEPS, BATCH, WIDTH]
    path = g.save(tmp_path / "m.onnx", {"x": shape}, {"y": shape})
    drawn = 2 * np.random.default_rng(5).normal(size=shape).astype(np.float32)
    wanted = run_file(path, drawn)["y"]
    assert wanted.max() > 2
    (found,) = run_module(load(path, steps=STEPS, time_axis=0), drawn).values()
    np.testing.assert_array_equal(found, wanted)
