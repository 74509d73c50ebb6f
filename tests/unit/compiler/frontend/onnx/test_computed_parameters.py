"""What a file computes from its parameters alone is kept and differentiated, never folded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import Array, Graph
from onnx_steps import B, K, T, agrees_with_pytorch
from pytorch_results import PyTorch

RNG = np.random.default_rng(11)
WEIGHT = RNG.normal(size=(4, K)).astype(np.float32)
Weight = tuple[Callable[[Graph], str], Callable[[Any, Any], Any]]
"""Writes what is computed of the initializer w, and PyTorch's function of torch and w."""


def _axis(g: Graph, *axes: int) -> str:
    return g.const(np.array(axes, np.int64))


WEIGHTS: dict[str, Weight] = {
    "absolute": (lambda g: g.op("Abs", "w"), lambda torch, w: w.abs()),
    "normalised": (
        lambda g: g.op("Div", "w", g.op("ReduceL2", "w", _axis(g, 0))),
        lambda torch, w: w / w.norm(dim=0, keepdim=True),
    ),
    "softplus": (
        lambda g: g.op("Softplus", "w"),
        lambda torch, w: torch.nn.functional.softplus(w),
    ),
    "masked": (
        lambda g: g.op("Mul", "w", g.const((WEIGHT > 0).astype(np.float32), "onnx::Mul_7")),
        lambda torch, w: w * torch.tensor(WEIGHT > 0),
    ),
    "clipped": (
        lambda g: g.op("Clip", "w", g.const(-3.0), g.const(3.0)),
        lambda torch, w: w.clamp(-3, 3),
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name: str, tmp_path: Path, pytorch: PyTorch) -> None:
    write, function = WEIGHTS[name]
    arrays = {"x": RNG.normal(size=(T, B, 4)).astype(np.float32), "w": WEIGHT}
    g = Graph()
    g.const(WEIGHT, "w")
    g.op("MatMul", "x", write(g), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 4]}, {"out": [T, B, K]})
    agrees_with_pytorch(path, arrays, lambda torch, x, p: x @ function(torch, p["w"]), pytorch)


def test_a_standardised_kernel(tmp_path: Path, pytorch: PyTorch) -> None:
    """Convolution with (w - mean(w)) / (root of var(w) + eps), as weight standardisation has it."""
    arrays: dict[str, Array] = {
        "x": RNG.normal(size=(T, B, 2, 4, 4)).astype(np.float32),
        "w": RNG.normal(size=(K, 2, 3, 3)).astype(np.float32),
    }
    g = Graph()
    g.const(arrays["w"], "w")
    d = g.op("Sub", "w", g.op("ReduceMean", "w", _axis(g, 1, 2, 3)))
    var = g.op("ReduceMean", g.op("Mul", d, d), _axis(g, 1, 2, 3))
    kernel = g.op("Div", d, g.op("Sqrt", g.op("Add", var, g.const(1e-3))))
    x = g.op("Reshape", "x", _axis(g, T * B, 2, 4, 4))
    y = g.op("GlobalAveragePool", g.op("Conv", x, kernel, pads=[1, 1, 1, 1]))
    g.op("Reshape", y, _axis(g, T, B, K), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 2, 4, 4]}, {"out": [T, B, K]})

    def model(torch: Any, x: Any, p: Any) -> Any:
        d = p["w"] - p["w"].mean((1, 2, 3), keepdim=True)
        kernel = d / ((d * d).mean((1, 2, 3), keepdim=True) + 1e-3).sqrt()
        y = torch.nn.functional.conv2d(x.flatten(0, 1), kernel, padding=1)
        return y.mean((2, 3)).reshape(T, B, K)

    agrees_with_pytorch(path, arrays, model, pytorch)


def test_a_leak_computed_from_a_time_constant(tmp_path: Path, pytorch: PyTorch) -> None:
    """v = exp(-1/tau) v + x w, tau one for each neuron and kept above 1 by a Clip."""
    arrays = {
        "x": RNG.normal(size=(T, B, 4)).astype(np.float32),
        "w": WEIGHT,
        "tau": np.linspace(1.5, 4.0, K).astype(np.float32),
    }
    g = Graph()
    for name in ("w", "tau"):
        g.const(arrays[name], name)
    kept = g.op("Clip", "tau", g.const(1.0))
    beta = g.op("Exp", g.op("Mul", g.op("Reciprocal", kept), g.const(-1.0)))
    v = g.const(np.zeros((B, K), np.float32), "onnx::Mul_9")
    rows: list[str] = []
    for t in range(T):
        current = g.op("MatMul", g.op("Gather", "x", g.const(np.array(t))), "w")
        v = g.op("Add", g.op("Mul", beta, v), current)
        rows.append(g.op("Unsqueeze", v, _axis(g, 0)))
    g.op("Concat", *rows, out="out", axis=0)
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 4]}, {"out": [T, B, K]})

    def model(torch: Any, x: Any, p: Any) -> Any:
        beta, v = torch.exp(-1 / p["tau"].clamp(min=1)), torch.zeros(B, K).double()
        rows: list[Any] = []
        for t in range(T):
            v = beta * v + x[t] @ p["w"]
            rows.append(v)
        return torch.stack(rows)

    agrees_with_pytorch(path, arrays, model, pytorch)
