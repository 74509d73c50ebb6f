"""Operators without attributes mean what ONNX says by default; against onnxruntime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import Graph, agree, load, run_file, run_module

RNG = np.random.default_rng(3)


def real(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


X = (2, 4, 5, 6)
CASES: dict[str, tuple[str, list[np.ndarray[Any, Any]], dict[str, Any], tuple[int, ...]]] = {
    "Conv": ("Conv", [real(3, 4, 2, 3)], {}, (2, 3, 4, 4)),
    "ConvTranspose": ("ConvTranspose", [real(4, 3, 2, 3)], {}, (2, 3, 6, 8)),
    "ConvTranspose, bias": ("ConvTranspose", [real(4, 3, 2, 3), real(3)], {}, (2, 3, 6, 8)),
    "ConvTranspose, groups": ("ConvTranspose", [real(4, 3, 2, 3)], {"group": 2}, (2, 6, 6, 8)),
    "ConvTranspose, strides": (
        "ConvTranspose", [real(4, 3, 2, 3)], {"strides": [2, 1], "output_padding": [1, 0]},
        (2, 3, 11, 8),
    ),
    "MaxPool": ("MaxPool", [], {"kernel_shape": [2, 3]}, (2, 4, 4, 4)),
    "AveragePool": ("AveragePool", [], {"kernel_shape": [2, 3]}, (2, 4, 4, 4)),
    "Flatten": ("Flatten", [], {}, (2, 120)),
    "Softmax": ("Softmax", [], {}, X),
    "LeakyRelu": ("LeakyRelu", [], {}, X),
    "Elu": ("Elu", [], {}, X),
    "HardSigmoid": ("HardSigmoid", [], {}, X),
    "Clip": ("Clip", [], {}, X),
    "ReduceSum, axes": ("ReduceSum", [np.array([2, 3])], {}, (2, 4, 1, 1)),
    "MatMul": ("MatMul", [real(6, 3)], {}, (2, 4, 5, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_out(name: str, tmp_path: Path) -> None:
    op, constants, attrs, shape = CASES[name]
    g = Graph()
    y = g.op(op, "x", *(g.const(c) for c in constants), out="out", **attrs)
    g.op("Flatten", y, out="rows")  # it asks for the shape
    flat = [shape[0], math.prod(shape[1:])]
    path = g.save(tmp_path / "m.onnx", {"x": list(X)}, {"out": list(shape), "rows": flat})
    x = real(*X)
    found = run_module(load(path, steps=1), x)
    agree(found, run_file(path, x))
    assert (found["out"].shape, found["rows"].shape) == (shape, tuple(flat))
