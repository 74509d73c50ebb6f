"""Spikes written with roundings: comparisons, integer spikes, and what is neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx_models import Graph
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api
from snncc.compiler.ir.core import Op

B, N = 2, 9
X = np.linspace(-2, 6, B * N, dtype=np.float32).reshape(B, N) + np.float32(0.0137)
W = 1.25

Write = Callable[[Graph, str], str]
"""From a membrane to spikes."""


def clipped(kind: str, low: float, high: float, less: float = 0.0, by: float = 1.0) -> Write:
    """Return KIND(clip(h/by - less, low, high))."""

    def write(g: Graph, h: str) -> str:
        if by != 1:
            h = g.op("Div", h, g.const(by))
        if less:
            h = g.op("Sub", h, g.const(less))
        return g.op(kind, g.op("Clip", h, g.const(low), g.const(high)))

    return write


def integer(top: float) -> Write:
    """Return round(clip(h, 0, top)) with the gradient of clip, as exporters leave it."""

    def write(g: Graph, h: str) -> str:
        count = clipped("Round", 0, top)(g, h)
        inside = g.op("And", g.op("GreaterOrEqual", h, g.const(0.0)),
                      g.op("LessOrEqual", h, g.const(top)))  # fmt: skip
        mask = g.op("Cast", inside, to=1)
        return g.op("Add", count, g.op("Mul", mask, g.op("Sub", h, h)))

    return write


def run(folder: Path, write: Write, config: str = "") -> tuple[list[Op], dict[str, np.ndarray]]:
    """Import spikes of w*x, and run one step of training towards 0 (the loss: their square)."""
    g = Graph()
    h = g.op("Mul", "x", g.const(np.full(N, W, np.float32), "w"))
    g.op("Identity", write(g, h), out="out")
    path = g.save(folder / "m.onnx", {"x": [B, N]}, {"out": [B, N]})
    text = f'timesteps = 1\ntime_axis = 0\n{config}\n[loss]\nname = "mse"\nscale = 1.0\n'
    x, y = X[None], np.zeros((B, N), np.float32)
    model = api.load(path, config=parse_config(text + '[readout]\nreduce = "sum"\n'),
                     x_shape=x.shape)  # fmt: skip
    spikes = [op for op in model.graph.walk() if op.name == "graph.spike"]
    found = dict(api.run(model, x, y, numerics="float64"))
    chip = api.run(model, x, y)
    for name in ("logits", "grad/w"):
        assert np.allclose(found[name], chip[name], atol=2e-3, rtol=2e-3), name
    return spikes, found


STEPS: list[tuple[str, Write, Callable[[np.ndarray], np.ndarray], float, str]] = [
    ("ceil", clipped("Ceil", 0, 1, 1.0), lambda h: h > 1, 1.0, "strict"),
    ("ceil_scaled", clipped("Ceil", 0, 1, 1.0, 2.0), lambda h: h > 2, 0.5, "strict"),
    ("floor", clipped("Floor", 0, 1), lambda h: h >= 1, 1.0, "non_strict"),
    ("round", clipped("Round", 0, 1), lambda h: h > 0.5, 1.0, "strict"),
]


@pytest.mark.parametrize(("name", "write", "meaning", "slope", "compare"), STEPS)
def test_one_step_is_a_comparison(
    tmp_path: Path, name: str, write: Write, meaning: Callable[[np.ndarray], np.ndarray],
    slope: float, compare: str,
) -> None:  # fmt: skip
    """The surrogate's argument is what the file rounds: for h/2 - 1 the gradient is halved."""
    surrogate = '[surrogate]\nname = "straight-through"\n'
    spikes, found = run(tmp_path, write, surrogate)
    assert [op.attrs["compare"] for op in spikes] == [compare]
    s = meaning(X * np.float32(W)).astype(np.float64)
    np.testing.assert_array_equal(found["logits"].reshape(B, N), s)
    want = (2 * s / s.size * slope * X).sum(0)
    np.testing.assert_allclose(found["grad/w"], want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("top", [1.0, 2.0, 4.0, 8.0])
def test_integer_spikes_have_the_gradient_that_the_file_says(tmp_path: Path, top: float) -> None:
    spikes, found = run(tmp_path, integer(top), '[surrogate]\nname = "atan"\n')
    h = (X * np.float32(W)).astype(np.float64)
    count = np.rint(np.clip(h, 0, top))
    np.testing.assert_array_equal(found["logits"].reshape(B, N), count)
    inside = ((h >= 0) & (h <= top)).astype(np.float64)
    want = (2 * count / count.size * inside * X).sum(0)
    np.testing.assert_allclose(found["grad/w"], want, rtol=1e-6, atol=1e-9)
    assert all(op.attrs.get("reset") == "none" for op in spikes)


@pytest.mark.parametrize("kind", ["Round", "Floor", "Ceil"])
def test_stairs_without_a_gradient_have_the_surrogate_of_their_first_step(
    tmp_path: Path, kind: str
) -> None:
    first = {"Round": 0.5, "Floor": 1.0, "Ceil": 0.0}[kind]
    text = '[surrogate]\nname = "rectangular"\nwidth = 1.0\n'
    spikes, found = run(tmp_path, clipped(kind, 0, 3), text)
    assert [op.attrs["compare"] for op in spikes] == ["stairs"]
    h = (X * np.float32(W)).astype(np.float64)
    count = {"Round": np.rint, "Floor": np.floor, "Ceil": np.ceil}[kind](np.clip(h, 0, 3))
    near = (np.abs(h - first) < 0.5).astype(np.float64)
    np.testing.assert_array_equal(found["logits"].reshape(B, N), count)
    want = (2 * count / count.size * near * X).sum(0)
    np.testing.assert_allclose(found["grad/w"], want, rtol=1e-6, atol=1e-9)


def test_what_is_no_staircase_is_refused(tmp_path: Path) -> None:
    def squared(g: Graph, h: str) -> str:
        return g.op("Round", g.op("Mul", h, h))

    def steep(g: Graph, h: str) -> str:
        return g.op("Mul", clipped("Round", 0, 3)(g, h), g.op("Round", h))

    for write in (squared, steep):
        with pytest.raises(CompileError, match="Round"):
            run(tmp_path, write)


def test_at_a_level_itself() -> None:
    """Round goes to even: 0.5 is still 0, 1.5 is 2, 2.5 is 2."""
    from snncc.compiler.frontend.neurons import pieces

    clip = pieces.apply("Clip", {"min": 0.0, "max": 3.0}, [pieces.IDENTITY])
    found = pieces.apply("Round", {}, [clip])
    kept = dict(zip(found.bounds, found.values, strict=True))
    assert [kept[t] for t in (0.5, 1.5, 2.5)] == [0.0, 2.0, 2.0]
    assert [s.c for s in found.spans] == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_a_gain_that_is_trained_is_no_number(gain: float, tmp_path: Path) -> None:
    """ceil(clip(h, 0, 1)) * g + mask*(h - h): with g = 1 it would be a spike of its own."""

    def write(g: Graph, h: str) -> str:
        steps = clipped("Ceil", 0.0, 1.0)(g, h)
        scaled = g.op("Mul", steps, g.const(np.full(N, gain, np.float32), "gain"))
        inside = g.op("Cast", g.op("GreaterOrEqual", h, g.const(0.0)), to=1)
        return g.op("Add", scaled, g.op("Mul", inside, g.op("Sub", h, h)))

    _, found = run(tmp_path, write)
    spikes = (X * W > 0).astype(np.float32)
    want = (2 * gain * spikes * spikes).sum(axis=0) / (B * N)
    np.testing.assert_allclose(found["grad/gain"], want, rtol=1e-5, atol=1e-6)
