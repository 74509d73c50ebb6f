"""Faults of files that were once called bugs of snncc: coded errors, with place and values."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Array]]:
    """A program and the recording of a run of it."""
    folder = tmp_path_factory.mktemp("recorded")
    program, recording = folder / "p.snnx", folder / "r.npz"
    words = ("compile", DIGITS, "--config", CONFIG, "--cores", "2", "-o", program)
    assert snncc(*words).exit_code == 0
    assert snncc("run", program, "-i", BATCH, "--record", recording).exit_code == 0
    with np.load(recording) as found:
        return program, dict(found)


WRONG: dict[str, Array] = {
    "object": np.array([None, 1], object),
    "text": np.array("a"),
    "complex": np.array(1j),
    "date": np.array(np.datetime64("2020-01-01")),
    "infinite": np.array(np.inf),
    "vector": np.array([1]),
    "cube": np.zeros((2, 3, 4), np.int64),
    "huge": np.full((4, 6), 2**63, np.uint64),
    "record": np.zeros(3, [("a", "f4")]),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", ["places", "activity", "format", "program"])
def test_recordings_of_wrong_types(
    tmp_path: Path, recorded: tuple[Path, dict[str, Array]], name: str, kind: str
) -> None:
    program, good = recorded
    if (name, kind) == ("program", "vector"):
        pytest.skip("bytes are a vector")
    out = io.BytesIO()
    np.savez(out, allow_pickle=True, **{**good, name: WRONG[kind]})
    path = tmp_path / "r.npz"
    path.write_bytes(out.getvalue())
    refused(snncc("run", program, "--timing-only", "--activity", path), "E0033")


@pytest.mark.parametrize("fault", ["a\0b", "a\nb", "\x1b"])
def test_names_of_files_that_are_none(tmp_path: Path, fault: str) -> None:
    model = onnx.load_model_from_string(DIGITS.read_bytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=fault)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    refused(snncc("check", tmp_path / "m.onnx"), "E0102")


def test_a_file_of_one_batch_size_at_another(tmp_path: Path) -> None:
    """A constant holds the batch of the export: 4 samples cannot become 3."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 5])
    state = np.arange(20, dtype=np.float32).reshape(4, 5)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "state"], ["y"], name="/lif/Add")], "g", [x], [y],
        [onnx.numpy_helper.from_array(state, "state")],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    said = refused(snncc("compile", path, "--mode", "infer", "--batch", "3", "-o", "-"), "E0105")
    assert f"{path}:/lif/Add: " in said
    assert "--batch" in said


def test_a_node_that_lacks_an_input(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(DIGITS.read_bytes())
    node = next(n for n in model.graph.node if n.op_type == "Sub")
    del node.input[1]
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    said = refused(snncc("check", path), "E0105")
    assert "Sub: it has 1 inputs, and needs 2" in said


@pytest.mark.parametrize("pipeline", ["default", "frontend,phases"])
def test_ir_without_main(tmp_path: Path, pipeline: str) -> None:
    path = tmp_path / "m.snnir"
    assert snncc("opt", DIGITS, "--config", CONFIG, "-o", path).exit_code == 0
    path.write_text(path.read_text().replace("func @main", "func @other"))
    words = ("opt", path, "--config", CONFIG, "-p", pipeline, "--target", "small")
    assert "no function @main" in refused(snncc(*words), "E0261")
