"""Damaged and hostile files: one clear error each, in bounded time and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_models import Form, Graph, leaky_net
from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.import_onnx import import_onnx


def refused(path: Path, code: str, steps: int | None = None, time_axis: int | None = None) -> str:
    with pytest.raises(CompileError) as caught:
        import_onnx(path, steps=steps, time_axis=time_axis)
    assert caught.value.diagnostics[0].code == code, str(caught.value)
    return str(caught.value)


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    assert "is empty" in refused(path, "E0101")


def test_renamed_text(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("timesteps = 5\n" * 20)
    refused(path, "E0101")


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "no.onnx", "E0005")


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_truncated(tmp_path: Path, keep: float) -> None:
    path = leaky_net(tmp_path / "m.onnx", Form())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    refused(path, "E0101")


def edit(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def external(path: Path, location: str) -> Path:
    def change(model: onnx.ModelProto) -> None:
        t = model.graph.initializer[0]
        t.ClearField("raw_data")
        t.data_location = TensorProto.EXTERNAL
        entry = t.external_data.add()
        entry.key, entry.value = "location", location

    return edit(path, change)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", "a/../../b"])
def test_external_data_outside(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    path = external(leaky_net(folder / "m.onnx", Form()), location)
    assert "outside" in refused(path, "E0102")


def test_external_data_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    (folder / "w.bin").symlink_to(tmp_path / "secret.bin")
    refused(external(leaky_net(folder / "m.onnx", Form()), "w.bin"), "E0102")


def test_external_data_missing_or_short(tmp_path: Path) -> None:
    path = external(leaky_net(tmp_path / "m.onnx", Form()), "w.bin")
    refused(path, "E0102")
    (tmp_path / "w.bin").write_bytes(b"123")
    refused(path, "E0102")
    (tmp_path / "w.bin").write_bytes(bytes(4 * 30))
    import_onnx(path, steps=5, time_axis=0)


@pytest.mark.parametrize("dims", [[1 << 40, 1 << 20], [-3, 6], [1 << 31]])
def test_absurd_initializer(tmp_path: Path, dims: list[int]) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    refused(edit(leaky_net(tmp_path / "m.onnx", Form()), change), "E0103")


def test_absurd_input(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 40

    refused(edit(leaky_net(tmp_path / "m.onnx", Form()), change), "E0103")


def test_absurd_constant(tmp_path: Path) -> None:
    g = Graph()
    big = g.op("ConstantOfShape", g.const(np.array([1 << 20, 1 << 20], np.int64)))
    g.op("Add", "x", g.op("ReduceSum", big), out="y")
    refused(g.save(tmp_path / "m.onnx", {"x": [2, 3]}, {"y": [2, 3]}), "E0109")


def test_endless_loop(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c2"]),
            helper.make_node("Add", ["v", "v"], ["v2"]),
        ],
        "b",
        [helper.make_tensor_value_info("t", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v2", TensorProto.FLOAT, [2, 3])],
    )  # fmt: skip
    g = Graph()
    trips = g.const(np.array(1 << 60, np.int64))
    g.nodes.append(helper.make_node("Loop", [trips, "", "x"], ["y"], body=body))
    refused(g.save(tmp_path / "m.onnx", {"x": [2, 3]}, {"y": [2, 3]}), "E0109")


def test_undefined_value_and_cycle(tmp_path: Path) -> None:
    g = Graph()
    g.op("Add", "x", "nowhere", out="y")
    refused(g.save(tmp_path / "a.onnx", {"x": [2, 3]}, {"y": [2, 3]}), "E0105")
    g = Graph()
    g.op("Add", "x", "b", out="a")
    g.op("Add", "a", "x", out="b")
    g.op("Add", "a", "b", out="y")
    refused(g.save(tmp_path / "b.onnx", {"x": [2, 3]}, {"y": [2, 3]}), "E0105")


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    g = Graph()
    g.op("MatMul", "x", g.const(np.zeros((5, 2), np.float32)), out="y")
    text = refused(g.save(tmp_path / "m.onnx", {"x": [2, 3]}, {"y": [2, 2]}), "E0105")
    assert "/n" in text


def test_unsupported_operator_names_the_node(tmp_path: Path) -> None:
    g = Graph()
    g.op("Det", "x", out="y")
    text = refused(g.save(tmp_path / "m.onnx", {"x": [3, 3]}, {"y": []}), "E0104")
    assert "Det" in text
    assert "supported" in text


def test_unknown_function(tmp_path: Path) -> None:
    g = Graph()
    g.op("Leaky", "x", out="y", domain="my.neurons")
    assert "my.neurons::Leaky" in refused(
        g.save(tmp_path / "m.onnx", {"x": [2, 3]}, {"y": [2, 3]}), "E0106"
    )


def test_recursive_function(tmp_path: Path) -> None:
    call = helper.make_node("F", ["x"], ["y"], domain="d")
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]
    function = helper.make_function("d", "F", ["x"], ["y"], [call], imports)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "y")]
    graph = helper.make_graph([call], "g", info[:1], info[1:])
    model = helper.make_model(graph, functions=[function], opset_imports=imports)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    refused(path, "E0106")


def test_open_time_axis_needs_steps(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "time"

    path = edit(leaky_net(tmp_path / "m.onnx", Form()), change)
    assert "timesteps" in refused(path, "E0108")


def test_resizing_in_other_ways(tmp_path: Path) -> None:
    for option, value in (("antialias", 1), ("exclude_outside", 1)):
        g = Graph()
        scales = g.const(np.array([1, 1, 2, 2], np.float32))
        g.op("Resize", "x", "", scales, out="y", mode="cubic", **{option: value})
        path = g.save(tmp_path / "m.onnx", {"x": [2, 3, 4, 4]}, {"y": [2, 3, 8, 8]})
        assert "Resize of a region, antialiased" in refused(path, "E0104")
