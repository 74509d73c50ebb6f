"""Indices that are data: the greatest of several, one-hot vectors, reading and writing there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnx_models import Array, Graph, agree, load, run_file, run_module
from onnx_steps import B, K, T, agrees_with_pytorch
from pytorch_results import PyTorch
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver.build import Request, import_model

N = 5
"""Width of the layer whose greatest entry is chosen."""
INT = np.int64


def numbers(*values: int) -> Array:
    return np.array(values, INT)


def between_layers(
    path: Path, write: Callable[[Graph, str], str], ties: bool = True
) -> dict[str, Array]:
    """Save x W + b, with equal entries in two places, what ``write`` makes of it, times V."""
    rng = np.random.default_rng(8)
    arrays = {
        "x": np.round(rng.normal(size=(T, B, 4)), 3).astype(np.float32),
        "w": rng.normal(size=(4, N)).astype(np.float32),
        "b": rng.normal(size=N).astype(np.float32),
        "v": rng.normal(size=(N, K)).astype(np.float32),
    }
    if ties:
        arrays["w"][:, 3], arrays["b"][3] = arrays["w"][:, 1], arrays["b"][1]
    arrays["w"][:, 1] *= 2
    arrays["w"][:, 3] *= 2
    g = Graph()
    for name in ("w", "b", "v"):
        g.const(arrays[name], name)
    h = g.op("Add", g.op("MatMul", "x", "w"), "b")
    g.op("MatMul", write(g, h), "v", out="out")
    g.save(path, {"x": [T, B, 4]}, {"out": [T, B, K]}, opset=20)
    return arrays


def composed(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    return lambda torch, x, p: function(torch, x @ p["w"] + p["b"]) @ p["v"]


def winner(torch: Any, h: Any, last: bool = False) -> Any:
    """One-hot of the first or last maximum of the last axis."""
    most = (h == h.amax(-1, keepdim=True)).detach()
    places = torch.arange(h.shape[-1])
    key = places if last else -places
    index = torch.where(most, key, -99).argmax(-1)
    return torch.nn.functional.one_hot(index, h.shape[-1]).to(h.dtype)


def one_hot(g: Graph, index: str, depth: int = N, off: float = 0.0, on: float = 1.0) -> str:
    return g.op("OneHot", index, g.const(numbers(depth)), g.const(np.array([off, on], np.float32)))


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_only_the_greatest_passes(op: str, last: int, tmp_path: Path, pytorch: PyTorch) -> None:
    """h times one-hot at its first or last maximum (minimum): no gradient to the place."""

    def write(g: Graph, h: str) -> str:
        index = g.op(op, h, axis=-1, keepdims=0, select_last_index=last)
        return g.op("Mul", h, one_hot(g, index))

    def model(torch: Any, h: Any) -> Any:
        return h * winner(torch, h if op == "ArgMax" else -h, bool(last))

    path = tmp_path / "m.onnx"
    arrays = between_layers(path, write)
    agrees_with_pytorch(path, arrays, composed(model), pytorch)


def test_values_and_axis_of_one_hot(tmp_path: Path, pytorch: PyTorch) -> None:
    """-0.5 and 2 along axis 1, turned back; the index is kept as an axis first."""

    def write(g: Graph, h: str) -> str:
        index = g.op("Squeeze", g.op("ArgMax", h, axis=2, keepdims=1), g.const(numbers(2)))
        y = g.op(
            "OneHot", index, g.const(numbers(N)), g.const(np.array([-0.5, 2], np.float32)), axis=1
        )  # fmt: skip
        return g.op("Mul", h, g.op("Transpose", y, perm=[0, 2, 1]))

    def model(torch: Any, h: Any) -> Any:
        return h * (winner(torch, h) * 2.5 - 0.5)

    path = tmp_path / "m.onnx"
    arrays = between_layers(path, write)
    agrees_with_pytorch(path, arrays, composed(model), pytorch)


def test_the_entry_at_an_index(tmp_path: Path, pytorch: PyTorch) -> None:
    """GatherElements: another layer's entry where this one is greatest; both axes."""

    def write(g: Graph, h: str) -> str:
        index = g.op("ArgMax", h, axis=-1, keepdims=1)
        chosen = g.op("GatherElements", g.op("Tanh", h), index, axis=2)
        return g.op("Mul", h, chosen)

    def model(torch: Any, h: Any) -> Any:
        return h * (h.tanh() * winner(torch, h)).sum(-1, keepdim=True)

    path = tmp_path / "m.onnx"
    arrays = between_layers(path, write)
    agrees_with_pytorch(path, arrays, composed(model), pytorch)


@pytest.mark.parametrize("kind", ["zeros-ones", "data-constant", "data-data"])
@pytest.mark.parametrize("axis", [1, 2])
def test_writing_at_an_index(kind: str, axis: int, tmp_path: Path, pytorch: PyTorch) -> None:
    """ScatterElements into zeros or the layer itself, numbers or what was computed."""
    size = [T, B, N]
    size[axis] = 1

    def write(g: Graph, h: str) -> str:
        index = g.op("ArgMax", h, axis=axis)
        if kind == "zeros-ones":
            zeros, ones = np.zeros((T, B, N), np.float32), np.ones(size, np.float32)
            y = g.op("ScatterElements", g.const(zeros), index, g.const(ones), axis=axis)
            return g.op("Mul", h, y)
        new = g.op("ReduceSum", h, g.const(numbers(axis)))
        if kind == "data-constant":
            new = g.const(np.full(size, 0.25, np.float32))
        return g.op("ScatterElements", h, index, new, axis=axis)

    def model(torch: Any, h: Any) -> Any:
        at = winner(torch, h.transpose(axis, 2)).transpose(axis, 2)
        if kind == "zeros-ones":
            return h * at
        new = 0.25 if kind == "data-constant" else h.sum(axis, keepdim=True)
        return h * (1 - at) + new * at

    path = tmp_path / "m.onnx"
    arrays = between_layers(path, write)
    agrees_with_pytorch(path, arrays, composed(model), pytorch)


def columns(g: Graph, index: str, order: str = "tb", count: int = B) -> str:
    """``[T*B, 3]``: step, sample, and the index that is data."""
    t, b = np.indices((T, B)).reshape(2, -1)
    b = b % count
    fixed = g.const(np.stack([t, b] if order == "tb" else [b, t], 1))
    flat = g.op("Reshape", index, g.const(numbers(T * B, 1)))
    return g.op("Concat", fixed, flat, axis=1)


def test_writing_at_places_that_are_data(tmp_path: Path, pytorch: PyTorch) -> None:
    """``z[t, b, argmax] = 1`` is ScatterND: what inhibits all but the winner."""

    def write(g: Graph, h: str) -> str:
        at = columns(g, g.op("ArgMax", h, axis=2, keepdims=0))
        zeros, ones = np.zeros((T, B, N), np.float32), np.ones(T * B, np.float32)
        return g.op("Mul", h, g.op("ScatterND", g.const(zeros), at, g.const(ones)))

    path = tmp_path / "m.onnx"
    arrays = between_layers(path, write)
    agrees_with_pytorch(path, arrays, composed(lambda t, h: h * winner(t, h)), pytorch)


def refused(path: Path, write: Callable[[Graph, str], str], said: str) -> None:
    between_layers(path, write)
    with pytest.raises(CompileError, match=said) as caught:
        load(path, steps=T, time_axis=0)
    assert caught.value.diagnostics[0].code == "E0104"


def test_places_that_may_meet_are_refused(tmp_path: Path) -> None:
    def write(g: Graph, h: str) -> str:
        at = columns(g, g.op("ArgMax", h, axis=2, keepdims=0), count=1)  # sample 0 twice
        zeros, ones = np.zeros((T, B, N), np.float32), np.ones(T * B, np.float32)
        return g.op("Mul", h, g.op("ScatterND", g.const(zeros), at, g.const(ones)))

    refused(tmp_path / "m.onnx", write, "ScatterND at indices that are data and may meet")


def test_an_index_of_another_size_is_refused(tmp_path: Path) -> None:
    def write(g: Graph, h: str) -> str:
        index = g.op("ArgMax", h, axis=1)  # [T, 1, N]
        return g.op("Mul", h, g.op("GatherElements", h, index, axis=2))

    refused(tmp_path / "m.onnx", write, r"GatherElements of an index \[2, 1, 5\]")


def test_the_greatest_of_the_steps(tmp_path: Path) -> None:
    """ArgMax over time sees all steps together."""
    g = Graph()
    index = g.op("ArgMax", "x", axis=0, keepdims=0)
    g.op("Cast", index, out="out", to=1)
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, N]}, {"out": [B, N]})
    x = np.random.default_rng(2).integers(-2, 3, (T, B, N)).astype(np.float32)
    agree(run_module(load(path, steps=T, time_axis=0), x), run_file(path, x))


def test_an_index_chooses_a_row(tmp_path: Path, pytorch: PyTorch) -> None:
    """The embedding of the winner."""

    def write(g: Graph, h: str) -> str:
        return g.op("Gather", "w2", g.op("ArgMax", h, axis=-1, keepdims=0))

    rng = np.random.default_rng(8)
    arrays = {
        "x": rng.normal(size=(T, B, 4)).astype(np.float32),
        "w2": rng.normal(size=(4, K)).astype(np.float32),
    }
    g = Graph()
    g.const(arrays["w2"], "w2")
    g.op("Add", write(g, "x"), g.const(0.0), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 4]}, {"out": [T, B, K]})
    agrees_with_pytorch(
        path, arrays, lambda torch, x, p: p["w2"][x.argmax(-1)], pytorch
    )  # fmt: skip


def test_lateral_inhibition(tmp_path: Path) -> None:
    """Only the neuron that is farthest above its threshold fires; the threshold stays a setting.

    It is subtracted in the recurrence (the reset) and outside (what ArgMax sees): one number.
    """
    steps = 4
    g = Graph()
    g.const(1.0, "lif.threshold")
    beta, zero = g.const(0.5), g.const(0.0)
    v, spikes, outs = "", "", list[str]()
    for t in range(steps):
        current = g.op("Gather", "x", g.const(np.array(t, INT)), axis=0)
        if v:
            current = g.op("Add", g.op("Mul", v, beta), current)
            current = g.op("Sub", current, g.op("Mul", spikes, "lif.threshold"))
        v = current
        above = g.op("Sub", v, "lif.threshold")
        spikes = g.op("Cast", g.op("Greater", above, zero), to=1)
        at = g.op("ArgMax", above, axis=1, keepdims=0)
        winners = g.op("Mul", spikes, one_hot(g, at))
        outs.append(g.op("Unsqueeze", winners, g.const(numbers(0))))
    g.op("Concat", *outs, axis=0, out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [steps, B, N]}, {"out": [steps, B, N]})
    x = np.random.default_rng(3).normal(0.5, 1.0, size=(steps, B, N)).astype(np.float32)
    imported = import_model(path, Request(parse_config(f"timesteps = {steps}\ntime_axis = 0")))
    module, want = imported.module, run_file(path, x)
    assert 0 < want["out"].sum() < steps * B
    agree(run_module(module, x), want)
    (neuron,) = (op for op in module.walk() if op.name == "graph.neuron")
    assert neuron.attrs["threshold"] == 1.0
    assert not any(op.attrs["train"] for op in module.walk() if op.name == "graph.param")
    told = module.attrs["not_trained"]
    assert isinstance(told, tuple)
    assert "lif.threshold" in told
    assert imported.verdict.validated


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("axis", [1, 2])
def test_the_first_of_several(
    axis: int, count: int, largest: int, tmp_path: Path, pytorch: PyTorch
) -> None:
    """TopK: its values get a gradient; its places are read, and written with tanh of the values."""

    def write(g: Graph, h: str) -> str:
        values, places = "top.values", "top.places"
        g.nodes.append(
            helper.make_node("TopK", [h, g.const(numbers(count))], [values, places], "/top",
                             axis=axis, largest=largest)
        )  # fmt: skip
        read = g.op("GatherElements", g.op("Sigmoid", h), places, axis=axis)
        new = g.op("Add", g.op("Tanh", values), read)
        return g.op("ScatterElements", h, places, new, axis=axis)

    def model(torch: Any, h: Any) -> Any:
        found = torch.topk(h.detach(), count, dim=axis, largest=bool(largest)).indices
        new = torch.tanh(h.gather(axis, found)) + torch.sigmoid(h).gather(axis, found)
        return h.scatter(axis, found, new)

    path = tmp_path / "m.onnx"
    arrays = between_layers(path, write, ties=False)
    agrees_with_pytorch(path, arrays, composed(model), pytorch)
