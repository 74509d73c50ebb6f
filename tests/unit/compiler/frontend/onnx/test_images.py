"""Resizing, embeddings and operators over three axes, against onnxruntime and PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models import Graph, agree, load, run_file, run_module
from onnx_steps import B, K, T, agrees_with_pytorch
from pytorch_results import PyTorch
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver.build import Request, import_model

RNG = np.random.default_rng(12)
FORMS: list[tuple[str, str, tuple[float, ...]]] = [
    *(("linear", where, (1, 1, 2, 1.5)) for where in (
        "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")),
    ("linear", "half_pixel", (1, 1, 0.5, 0.7)),
    ("cubic", "half_pixel", (1, 1, 2, 1.5)),
    ("cubic", "align_corners", (1, 1, 1.5, 3)),
    ("nearest", "half_pixel", (1, 1, 1.5, 0.5)),
    ("nearest", "asymmetric", (1, 1, 2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "where", "scales"), FORMS)
def test_resize(mode: str, where: str, scales: tuple[float, ...], tmp_path: Path) -> None:
    g = Graph()
    factors = g.const(np.array(scales, np.float32))
    g.op("Resize", "x", "", factors, out="out", mode=mode, coordinate_transformation_mode=where)
    x = RNG.normal(size=(2, 3, 4, 6)).astype(np.float32)
    shape = [int(d * s) for d, s in zip(x.shape, scales, strict=True)]
    path = g.save(tmp_path / "m.onnx", {"x": list(x.shape)}, {"out": shape})
    config = parse_config("timesteps = 1\n")
    imported = import_model(path, Request(config))
    assert imported.verdict.validated
    agree(run_module(load(path, steps=1), x), run_file(path, x))


def test_the_gradient_of_enlarging(tmp_path: Path, pytorch: PyTorch) -> None:
    arrays = {
        "x": RNG.normal(size=(T, B, 2, 3, 3)).astype(np.float32),
        "w": RNG.normal(size=(K, 2, 2, 2)).astype(np.float32),
    }
    g = Graph()
    g.const(arrays["w"], "w")
    flat = g.op("Reshape", "x", g.const(np.array([T * B, 2, 3, 3])))
    small = g.op("Conv", flat, "w")
    wide = g.op("Resize", small, "", g.const(np.array([1, 1, 2, 2], np.float32)), mode="linear",
                coordinate_transformation_mode="half_pixel")  # fmt: skip
    y = g.op("GlobalAveragePool", g.op("Relu", g.op("Sub", wide, g.const(0.2))))
    g.op("Reshape", y, g.const(np.array([T, B, K])), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 2, 3, 3]}, {"out": [T, B, K]})

    def model(torch: Any, x: Any, p: Any) -> Any:
        small = torch.nn.functional.conv2d(x.flatten(0, 1), p["w"])
        wide = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
        return (wide - 0.2).relu().mean((2, 3)).reshape(T, B, K)

    agrees_with_pytorch(path, arrays, model, pytorch)


def embedding(path: Path, table: np.ndarray[Any, Any], axis: int = 0) -> Path:
    """Save a file whose input chooses rows of a table."""
    tensor = numpy_helper.from_array(table, "table")
    node = helper.make_node("Gather", ["table", "x"], ["out"], "/embedding", axis=axis)
    shape = [T, B, table.shape[1]]
    infos = [
        helper.make_tensor_value_info("x", TensorProto.INT64, [T, B]),
        helper.make_tensor_value_info("out", TensorProto.FLOAT, shape),
    ]
    graph = helper.make_graph([node], "g", infos[:1], infos[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    path.write_bytes(model.SerializeToString())
    return path


def test_an_embedding_and_the_gradient_of_its_table(tmp_path: Path, pytorch: PyTorch) -> None:
    table = RNG.normal(size=(7, K)).astype(np.float32)
    index = np.array([[0, 6, 3], [3, -1, 5]])
    path = embedding(tmp_path / "m.onnx", table)
    agrees_with_pytorch(
        path, {"x": index, "table": table}, lambda torch, x, p: p["table"][x.long()], pytorch
    )


@pytest.mark.parametrize(
    ("rows", "axis", "said"), [(2049, 0, "an embedding of 2049 rows"), (7, 1, "another axis")]
)
def test_embeddings_that_are_refused(rows: int, axis: int, said: str, tmp_path: Path) -> None:
    path = embedding(tmp_path / "m.onnx", np.ones((rows, K), np.float32), axis)
    with pytest.raises(CompileError, match=said) as caught:
        load(path, steps=T, time_axis=0)
    assert caught.value.diagnostics[0].code == "E0104"


def test_convolution_over_three_axes(tmp_path: Path, pytorch: PyTorch) -> None:
    """Groups, strides, dilations and uneven padding along all axes."""
    arrays = {
        "x": RNG.normal(size=(T, B, 4, 5, 4, 4)).astype(np.float32),
        "w": RNG.normal(size=(K, 2, 2, 3, 2)).astype(np.float32),
        "b": RNG.normal(size=K).astype(np.float32),
    }
    g = Graph()
    for name in ("w", "b"):
        g.const(arrays[name], name)
    flat = g.op("Reshape", "x", g.const(np.array([T * B, 4, 5, 4, 4])))
    y = g.op("Conv", flat, "w", "b", group=2, strides=[2, 1, 2], dilations=[2, 1, 1],
             pads=[1, 1, 0, 2, 1, 1])  # fmt: skip
    y = g.op("GlobalAveragePool", y)
    g.op("Reshape", y, g.const(np.array([T, B, K])), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 4, 5, 4, 4]}, {"out": [T, B, K]})

    def model(torch: Any, x: Any, p: Any) -> Any:
        padded = torch.nn.functional.pad(x.flatten(0, 1), (0, 1, 1, 1, 1, 2))
        y = torch.nn.functional.conv3d(
            padded, p["w"], p["b"], stride=(2, 1, 2), dilation=(2, 1, 1), groups=2
        )
        return y.mean((2, 3, 4)).reshape(T, B, K)

    agrees_with_pytorch(path, arrays, model, pytorch)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pooling_over_three_axes(op: str, tmp_path: Path) -> None:
    g = Graph()
    g.op(op, "x", out="out", kernel_shape=[2, 2, 3], strides=[1, 2, 1], pads=[0, 1, 1, 0, 0, 1])
    x = RNG.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    path = g.save(tmp_path / "m.onnx", {"x": list(x.shape)}, {"out": [2, 3, 3, 3, 6]})
    agree(run_module(load(path, steps=1), x), run_file(path, x))


def test_batch_norm_over_three_axes(tmp_path: Path) -> None:
    g = Graph()
    names = ("gain", "shift", "mean", "var")
    for name in names:
        g.const(RNG.uniform(0.5, 2, 3).astype(np.float32), name)
    g.op("BatchNormalization", "x", *names, out="out")
    x = RNG.normal(size=(2, 3, 2, 4, 3)).astype(np.float32)
    path = g.save(tmp_path / "m.onnx", {"x": list(x.shape)}, {"out": list(x.shape)})
    config = parse_config("timesteps = 1\n")
    assert import_model(path, Request(config)).verdict.validated
