"""Storage orders of operands and results of different ranks: the chip and the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from onnx_models import Graph, run_file
from snncc.compiler.driver import api
from snncc.compiler.ir.orders import KERNEL, narrowed, widened


def number(g: Graph, *values: int) -> str:
    return g.const(np.array(values, np.int64))


def kernel(g: Graph) -> str:
    return g.const(np.random.default_rng(1).normal(size=(3, 2, 3, 3)).astype(np.float32), "w")


def repeated(g: Graph) -> str:
    return g.op("Relu", g.op("Expand", g.op("Conv", "x", kernel(g)), number(g, 2, 4, 3, 3, 4)))


def broadcast(g: Graph) -> str:
    wide = g.const(np.random.default_rng(2).normal(size=(2, 1, 3, 3, 4)).astype(np.float32), "p")
    return g.op("Add", wide, g.op("Conv", "x", kernel(g)))


def turned(g: Graph) -> str:
    rows = g.op("ReduceSum", g.op("Relu", "x"), number(g, 0, 1), keepdims=0)
    wide = g.op("Relu", g.op("Transpose", "x", perm=[0, 1, 3, 2]))
    return g.op("Add", wide, g.op("Transpose", rows, perm=[1, 0]))


@pytest.mark.parametrize(
    ("make", "shape"),
    [(repeated, [2, 4, 3, 3, 4]), (broadcast, [2, 4, 3, 3, 4]), (turned, [4, 2, 6, 5])],
)
def test_ranks_that_differ(tmp_path: Path, make: Callable[[Graph], str], shape: list[int]) -> None:
    g = Graph()
    g.op("Identity", make(g), out="y")
    model = api.load(g.save(tmp_path / "m.onnx", {"x": [4, 2, 5, 6]}, {"y": shape}))
    x = np.random.default_rng(3).normal(size=(4, 2, 5, 6)).astype(np.float32)
    want = api.run(model, x, numerics="float64")["out/y"]
    found = api.run(model, x, engine="reference")["out/y"]
    assert found.shape == tuple(shape)
    np.testing.assert_allclose(found, want, rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize("perm", [[0, 1, 3, 2], [0, 2, 3, 1], [0, 3, 1, 2], [0, 2, 1, 3]], ids=str)
def test_spikes_in_any_order_are_flattened(tmp_path: Path, perm: list[int]) -> None:
    """Axes of images of spikes change places, then each image becomes one row."""
    g = Graph()
    spikes = g.op("Cast", g.op("Greater", "x", g.const(0.3)), to=TensorProto.FLOAT)
    rows = g.op("Reshape", g.op("Transpose", spikes, perm=perm), number(g, 4, 60))
    w = g.const(np.random.default_rng(4).normal(size=(60, 7)).astype(np.float32), "w")
    g.op("MatMul", rows, w, out="y")
    model = api.load(g.save(tmp_path / "m.onnx", {"x": [4, 2, 5, 6]}, {"y": [4, 7]}))
    x = np.random.default_rng(3).normal(size=(4, 2, 5, 6)).astype(np.float32)
    values = np.random.default_rng(4).normal(size=(60, 7)).astype(np.float16).astype(np.float32)
    want = (x > 0.3).transpose(perm).reshape(4, 60) @ values
    np.testing.assert_allclose(api.run(model, x)["out/y"], want, rtol=2e-3, atol=2e-2)


def test_a_kernel_that_is_moved(tmp_path: Path) -> None:
    g = Graph()
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(3, 18)).astype(np.float32)
    g.op("Conv", "x", g.op("Reshape", g.const(flat, "w"), number(g, 3, 2, 3, 3)), out="y")
    path = g.save(tmp_path / "m.onnx", {"x": [4, 2, 5, 6]}, {"y": [4, 3, 3, 4]})
    x = rng.normal(size=(4, 2, 5, 6)).astype(np.float32)
    found = api.run(api.compile(api.load(path), mode="infer"), x)["out/y"]
    np.testing.assert_allclose(found, run_file(path, x)["y"], rtol=5e-3, atol=5e-2)


def test_orders_of_other_ranks() -> None:
    assert widened((0, 2, 3, 1), 4, 6) == (0, 1, 2, 4, 5, 3)
    assert narrowed((0, 1, 2, 4, 5, 3), 6, 4) == (0, 2, 3, 1)
    for same in ((), KERNEL):
        assert widened(same, 4, 5) == narrowed(same, 5, 4) == same
