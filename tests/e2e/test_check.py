"""`snncc check`: a verdict on every node of the file, and the warnings that save people days."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from e2e.common import CONFIG, DIGITS, refused, snncc
from onnx_models import Form, Graph, leaky_net
from snncc.compiler.cli.survey.survey import Survey, as_text

DATA = Path(__file__).parents[1] / "data" / "onnx"
SURROGATE = ("--surrogate", "atan:alpha=2")


def survey(path: Path, *words: object, exit_code: int = 0) -> Any:
    done = snncc("check", path, *words, "--json")
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


def warnings(path: Path, *words: object) -> dict[str, str]:
    """Return the messages of the warnings by code."""
    found = survey(path, *words)["diagnostics"]
    assert all(d["severity"] == "warning" for d in found)
    return {d["code"]: d["message"] for d in found}


def steps(path: Path, *words: object) -> tuple[Any, ...]:
    return (path, "--timesteps", "5", "--time-axis", "0", *words)


def edited(path: Path, source: Path, change: Any) -> Path:
    model = onnx.ModelProto()
    model.ParseFromString(source.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


# ---------------------------------------------------------------------- nodes
def names_of(path: Path) -> list[str]:
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    return [f"{path}:{n.name or n.output[0]}" for n in model.graph.node]


def test_every_node_of_the_file_has_a_line() -> None:
    found = survey(DIGITS, "--config", CONFIG)
    assert [n["place"] for n in found["nodes"]] == names_of(DIGITS)
    notes = [n["note"] for n in found["nodes"]]
    assert notes.count("linear fc1.weight") == 1  # the same input at every step
    steps_of_fc2 = [n for n in notes if n.startswith("linear fc2.weight, step ")]
    assert len(steps_of_fc2) == 10
    assert "neuron lif1, step 3 of 10" in notes
    assert "part of neuron lif2" in notes
    assert "part of output spk_rec" in notes
    assert all(n["ok"] for n in found["nodes"])
    text = snncc("check", DIGITS, "--config", CONFIG).stdout
    assert all(name.partition(":")[2] in text for name in names_of(DIGITS))
    short = snncc("check", DIGITS, "--config", CONFIG, "--short").stdout
    assert "node_linear_1 " not in short
    assert "node_linear_19" in short


def test_loops_constants_and_nodes_without_use(tmp_path: Path) -> None:
    found = survey(*steps(DATA / "recipe_loop_f32.onnx"))
    notes = {n["op"]: n["note"] for n in found["nodes"]}
    assert notes["Loop"] == "unrolled"
    assert any(n["place"].count("/") and "neuron" in n["note"] for n in found["nodes"])
    g = Graph()
    w = g.const(np.eye(4, dtype=np.float32), "w")
    twice = g.op("Mul", w, g.const(2.0))
    g.op("Relu", "x")
    g.op("MatMul", "x", twice, out="y")
    path = g.save(tmp_path / "net.onnx", {"x": [2, 4]}, {"y": [2, 4]})
    said = survey(path, "--timesteps", "1")
    notes = {n["op"]: n["note"] for n in said["nodes"]}
    assert notes["Relu"] == "not needed"
    assert notes["Mul"].startswith("mul")  # computed from a parameter: kept, and differentiated
    assert notes["MatMul"].startswith(("linear", "matmul"))


def test_all_unknown_operators_of_a_file_are_named(tmp_path: Path) -> None:
    g = Graph()
    a = g.op("Det", "x")
    b = g.op("Relu", a)
    g.op("NonZero", b, out="y")
    path = g.save(tmp_path / "net.onnx", {"x": [2, 4]}, {"y": [2, 4]})
    verdicts = [(n["op"], n["ok"]) for n in survey(path, exit_code=1)["nodes"]]
    assert verdicts == [("Det", False), ("Relu", True), ("NonZero", False)]
    said = snncc("check", path)
    refused(said, "E0104")
    assert said.stdout.count("ERROR") == 2


# ---------------------------------------------------------------------- warnings
def test_a_configured_model_has_no_warnings() -> None:
    assert warnings(DIGITS, "--config", CONFIG) == {}


def test_state_that_the_exporter_baked_in() -> None:
    words = ("--timesteps", "12", "--time-axis", "1", *SURROGATE)
    found = warnings(DATA / "sinabs_baked_state.T12.ts.onnx", *words)
    assert "baked in" in found["E0110"]


def test_silent_layers(tmp_path: Path) -> None:
    def no_bias(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name.endswith(".bias"):
                array = numpy_helper.to_array(tensor) * 0
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    path = edited(tmp_path / "plain.onnx", leaky_net(tmp_path / "net.onnx", Form()), no_bias)
    found = survey(*steps(path, *SURROGATE))
    assert set(found["density"]) == set(found["neurons"])
    assert found["diagnostics"] == []
    for name, size in (("zeros", 0.0), ("ones", 1.0)):
        np.savez(tmp_path / f"{name}.npz", x=np.full((5, 3, 6), size, np.float32))
    quiet = warnings(*steps(path, *SURROGATE, "--inputs", tmp_path / "zeros.npz"))
    assert "never fire on the given input" in quiet["E0374"]
    assert warnings(*steps(path, *SURROGATE, "--inputs", tmp_path / "ones.npz")) == {}

    def deafen(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == "fc1.weight":
                array = numpy_helper.to_array(tensor) * 1e-3
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    quiet = warnings(*steps(edited(tmp_path / "quiet.onnx", path, deafen), *SURROGATE))
    assert "random input" in quiet["E0374"]
    assert quiet["E0374"].startswith("neuron2 never fires")


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    path = leaky_net(tmp_path / "net.onnx", Form())
    np.savez(tmp_path / "y.npz", y=np.zeros(3))
    refused(snncc("check", *steps(path, "--inputs", tmp_path / "y.npz")), "E0021")
    np.savez(tmp_path / "x.npz", x=np.zeros((5, 3, 7), np.float32))
    refused(snncc("check", *steps(path, "--inputs", tmp_path / "x.npz")), "E0022")


def made_by(tmp_path: Path, name: str) -> Path:
    """Return a network whose nodes say that a framework's class made them."""

    def claim(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.metadata_props.add(key="pkg.torch.onnx.class_hierarchy", value=f"['{name}', '']")

    return edited(tmp_path / "named.onnx", leaky_net(tmp_path / "net.onnx", Form()), claim)


def test_guessed_surrogates(tmp_path: Path) -> None:
    path = leaky_net(tmp_path / "net.onnx", Form())
    pattern = warnings(*steps(path))["E0370"]
    assert "neuron1, neuron2 is not in the file" in pattern
    assert "look like those of" in pattern
    named = warnings(*steps(made_by(tmp_path, "norse.torch.module.lif.LIFCell")))["E0370"]
    assert "names norse" in named
    assert "super_spike(alpha=1)" in named
    assert "E0370" not in warnings(*steps(path, *SURROGATE))
    assert "E0370" not in warnings(*steps(DATA / "recipe_multi_f32.onnx"))


@pytest.mark.parametrize(
    ("factor", "message"), [(1e6, "fc0.weight holds"), (2e4, "a sum of linear may reach")]
)
def test_overflow_in_binary16(tmp_path: Path, factor: float, message: str) -> None:
    def enlarge(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == "fc0.weight":
                array = numpy_helper.to_array(tensor) * factor
                tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))

    path = edited(tmp_path / "big.onnx", leaky_net(tmp_path / "net.onnx", Form()), enlarge)
    found = survey(*steps(path, *SURROGATE))["diagnostics"]
    assert any(d["code"] == "E0371" and message in d["message"] for d in found)


def test_the_gradient_scale(tmp_path: Path) -> None:
    path = leaky_net(tmp_path / "net.onnx", Form())
    found = warnings(*steps(path, *SURROGATE, "--loss-scale", "16384"))
    assert "loss.scale x steps = 8.192e+04" in found["E0371"]
    assert "E0371" not in warnings(*steps(path, *SURROGATE, "--loss-scale", "8192"))


def conv_net(path: Path, weight: str) -> Path:
    g = Graph()
    w = g.const(np.random.default_rng(2).random((3, 1, 3, 3), np.float32), weight)
    h = g.op("Conv", "x", w, kernel_shape=[3, 3])
    g.op("Cast", g.op("Greater", h, g.const(1.0)), to=TensorProto.FLOAT, out="y")
    return g.save(path, {"x": [2, 1, 5, 5]}, {"y": [2, 3, 3, 3]})


def test_batch_norm_that_was_folded(tmp_path: Path) -> None:
    words = ("--timesteps", "1", *SURROGATE)
    assert "E0372" not in warnings(conv_net(tmp_path / "a.onnx", "conv.weight"), *words)
    folded = warnings(conv_net(tmp_path / "b.onnx", "onnx::Conv_12"), *words)
    assert "onnx::Conv_12" in folded["E0372"]
    config = tmp_path / "c.toml"
    config.write_text('[batchnorm]\nstatistics = "batch"\n')
    asked = warnings(tmp_path / "a.onnx", *words, "--config", config)
    assert "batchnorm.statistics is batch" in asked["E0372"]


def test_comparison_that_is_not_the_framework_s(tmp_path: Path) -> None:
    usual = warnings(*steps(made_by(tmp_path, "snntorch._neurons.leaky.Leaky"), *SURROGATE))
    assert usual == {}
    other = made_by(tmp_path, "spikingjelly.activation_based.neuron.lif.LIFNode")
    assert "spikingjelly uses >=" in warnings(*steps(other, *SURROGATE))["E0373"]


def test_layers_that_compare_differently(tmp_path: Path) -> None:
    def mixed(model: onnx.ModelProto) -> None:
        for i, node in enumerate(n for n in model.graph.node if n.op_type == "Greater"):
            if i % 2:
                node.op_type = "GreaterOrEqual"

    form = Form(fold_first=True)
    path = edited(tmp_path / "mixed.onnx", leaky_net(tmp_path / "net.onnx", form), mixed)
    found = warnings(*steps(path, *SURROGATE))
    assert "neuron1 fire above the threshold (>), neuron2 also at it (>=)" in found["E0373"]


def test_the_domain_of_a_function_without_body(tmp_path: Path) -> None:
    node = helper.make_node("Soma", ["x"], ["y"], "soma", domain="my.lab")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 4]) for n in "xy"]
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("my.lab", 1)]
    path = tmp_path / "net.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    (line,) = survey(path, exit_code=1)["nodes"]
    assert line["note"].startswith("E0106")


# ---------------------------------------------------------------------- what is not trained
def test_what_was_taken_for_a_setting_is_listed() -> None:
    path = DATA / "snntorch_alpha.T8.ts.onnx"
    found = survey(path, *SURROGATE)
    assert {"n2.R", "n2.time_step"} <= set(found["not_trained"])
    text = snncc("check", path, *SURROGATE).stdout
    line = next(row for row in text.splitlines() if "not trained:" in row)
    assert line.startswith("taken for settings or for numbers of the exporter")
    assert found["not_trained"][0] in line


@pytest.mark.parametrize("count", [1, 5, 6, 9])
def test_a_long_list_of_settings_is_cut(count: int) -> None:
    """Five are shown, of more four and how many there are besides."""
    names = tuple(f"n{number}.time_step" for number in range(count))
    lines = as_text(Survey("net.onnx", not_trained=names)).splitlines()
    (line,) = (row for row in lines if "not trained:" in row)
    more = f" and {count - 4} more (--json lists them)" if count > 5 else ""
    assert line.endswith(f"not trained: {', '.join(names[: 4 if more else 5])}{more}")
