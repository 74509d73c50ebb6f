"""A weight and its transpose, which an exporter folded beside it: one parameter, and it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_models import Array, Graph
from snncc.compiler.config.config import parse_config
from snncc.compiler.driver.build import Imported, Request, import_model

T, B, N = 2, 3, 4
W = np.random.default_rng(3).normal(size=(N, N)).astype(np.float32)
UNIT = np.eye(N, dtype=np.float32)
OTHER = W.T + np.float32(1e-3)
CONFIG = parse_config(f"timesteps = {T}\ntime_axis = 0\n")


def imported(path: Path, weight: Array, copy: Array, name: str) -> Imported:
    """Import tanh(x @ copy) @ w."""
    g = Graph()
    g.const(weight, "w")
    h = g.op("Tanh", g.op("MatMul", "x", g.const(np.ascontiguousarray(copy), name)))
    g.op("MatMul", h, "w", out="out")
    g.save(path, {"x": [T, B, N]}, {"out": [T, B, N]})
    return import_model(path, Request(CONFIG))


@pytest.mark.parametrize(
    ("copy", "name", "one"),
    [
        (W.T, "onnx::MatMul_114", True), (W.T, "t", True), (W.T, "permute_2", True),
        (W.T, "decoder.weight", False),  # trained apart, and equal to begin with
        (OTHER, "onnx::MatMul_114", False), (UNIT, "onnx::MatMul_114", False),
    ],
)  # fmt: skip
def test_copies(copy: Array, name: str, one: bool, tmp_path: Path) -> None:
    weight = UNIT if copy is UNIT else W
    found = imported(tmp_path / "m.onnx", weight, copy, name)
    assert found.verdict.validated
    params = {op.str_attr("name") for op in found.module.walk() if op.name == "graph.param"}
    assert params == ({"w"} if one else {"w", name})
    told = [w.message for w in found.warnings if "taken for the same parameter" in w.message]
    assert told == ([f"{name} is the transpose of w: taken for the same parameter"] if one else [])


def test_a_parameter_may_be_called_t(tmp_path: Path) -> None:
    """A temperature that multiplies what a layer gives is trained, whatever it is called."""
    g = Graph()
    g.const(W, "w")
    g.const(1.5, "t")
    g.op("Mul", g.op("MatMul", "x", "w"), "t", out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, N]}, {"out": [T, B, N]})
    module = import_model(path, Request(CONFIG)).module
    trained = {op.str_attr("name") for op in module.walk() if op.attrs.get("train")}
    assert trained == {"w", "t"}
