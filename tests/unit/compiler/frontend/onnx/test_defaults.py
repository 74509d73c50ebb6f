"""What a file leaves out has the value that ONNX says; compared with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_models import Graph, load, run_file, run_module
from snncc.compiler.diag import CompileError

T, B = 3, 2
RNG = np.random.default_rng(3)


def agrees(path: Path, shape: tuple[int, ...]) -> None:
    x = RNG.normal(size=shape).astype(np.float32)
    (want,) = run_file(path, x).values()
    found = run_module(load(path, steps=T), x)["out"]
    np.testing.assert_allclose(np.asarray(found), np.asarray(want), rtol=1e-4, atol=1e-5)


def images(g: Graph, y: str, path: Path, shape: tuple[int, ...], out: tuple[int, ...]) -> Path:
    """Save a file that gives the images of all steps to what wrote ``y``."""
    g.op("Reshape", y, g.const(np.array((T, B, *out), np.int64)), out="out")
    return g.save(path, {"x": [T, B, *shape]}, {"out": [T, B, *out]})


def test_a_transposed_convolution_without_groups(tmp_path: Path) -> None:
    g = Graph()
    x = g.op("Reshape", "x", g.const(np.array((T * B, 2, 3, 3), np.int64)))
    w = g.const(RNG.normal(size=(2, 4, 2, 2)).astype(np.float32), "w")
    y = g.op("ConvTranspose", x, w)
    agrees(images(g, y, tmp_path / "m.onnx", (2, 3, 3), (4, 4, 4)), (T, B, 2, 3, 3))


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_padding_of_unequal_axes(tmp_path: Path, auto: str) -> None:
    """Rows of 5 with kernel 4 and stride 2, columns of 6 with kernel 3 and stride 1."""
    g = Graph()
    x = g.op("Reshape", "x", g.const(np.array((T * B, 2, 5, 6), np.int64)))
    w = g.const(RNG.normal(size=(3, 2, 4, 3)).astype(np.float32), "w")
    y = g.op("Conv", x, w, auto_pad=auto, strides=[2, 1])
    agrees(images(g, y, tmp_path / "m.onnx", (2, 5, 6), (3, 3, 6)), (T, B, 2, 5, 6))


def test_exponents_that_differ(tmp_path: Path) -> None:
    """Powers of positive numbers: x^1, x^2 and x^0.5 side by side."""
    g = Graph()
    y = g.op("Add", g.op("Abs", "x"), g.const(0.5))
    g.op("Pow", y, g.const(np.array([1, 2, 0.5], np.float32), "k"), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 3]}, {"out": [T, B, 3]})
    agrees(path, (T, B, 3))


def function(path: Path, domain: str, kind: str, *ins: str) -> list[str]:
    """Import a file with one neuron function; return the operations."""
    node = helper.make_node(kind, list(ins), ["out", "last"], "/n", domain=domain)
    shapes = {"x": [T, B, 3], "v": [B, 3], "out": [T, B, 3]}
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    graph = helper.make_graph([node], "g", [values[n] for n in ins], [values["out"]])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(domain, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return [op.name for op in load(path, steps=T).walk()]


def test_a_neuron_without_a_state_starts_at_zero(tmp_path: Path) -> None:
    names = function(tmp_path / "m.onnx", "ai.snncc", "LIF", "x")
    assert "graph.neuron" in names


def test_a_neuron_with_a_learnt_leak_that_is_left_out(tmp_path: Path) -> None:
    """PLIF without its third input has the leak of its attribute, as LIF."""
    found = [function(tmp_path / f"{kind}.onnx", "ai.snncc.spikingjelly", kind, "x")
             for kind in ("LIF", "PLIF")]  # fmt: skip
    assert found[0] == found[1]
    assert "graph.neuron" in found[0]


def test_an_equation_whose_sizes_do_not_fit(tmp_path: Path) -> None:
    g = Graph()
    w = g.const(RNG.normal(size=(3, 4)).astype(np.float32), "w")
    g.op("Einsum", "x", w, equation="tbi,ij->tbj", out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 2]}, {"out": [T, B, 4]})
    with pytest.raises(CompileError, match="does not fit"):
        load(path, steps=T)
