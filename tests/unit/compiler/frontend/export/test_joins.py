"""Joins of values with and without time go out as ONNX joins of whole sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onnx_models import run_file
from snncc.compiler.export.onnx import export_onnx
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Block, Func, Module, seq, tensor


def test_a_constant_beside_a_sequence(tmp_path: Path) -> None:
    body = Block()
    x = body.add_arg(seq((3, 2, 3)), "x")
    b = Builder(body)
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    k = b.op("graph.const", types=[tensor((2, 4))], attrs={"resource": "k"}).result
    b.op("graph.output", b.one("graph.concat", x, k, axis=1), attrs={"name": "out"})
    attrs: dict[str, Attribute] = {
        "stage": "graph",
        "steps": 3,
        "batch": 2,
        "inputs": {"x": {"axis": 0}},
    }
    module = Module("m", attrs, {"k": values}, {"main": Func("main", body)})
    given = np.random.default_rng(0).normal(size=(3, 2, 3)).astype(np.float32)
    want = evaluate(module, "main", {"x": given}, "float32")["out/out"]
    path = tmp_path / "m.onnx"
    export_onnx(module, path)
    (found,) = run_file(path, given).values()
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(want[:, :, 3:], np.broadcast_to(values, (3, 2, 4)))
