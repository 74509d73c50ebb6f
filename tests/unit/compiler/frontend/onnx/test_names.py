"""What a name may say: a number is a setting only where the file shows whose it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_models import Graph, load
from snncc.compiler.config.config import parse_config
from snncc.compiler.frontend.flat.exporter_names import FileNames
from snncc.compiler.ir.core import Module
from snncc.compiler.passes.graph.configure import configure
from snncc.compiler.validate.onnx.check import check_onnx

DATA = Path(__file__).parents[4] / "data" / "onnx"
N = 3
W = np.random.default_rng(5).normal(size=(N, N)).astype(np.float32)


def file(
    *names: str,
    producer: str = "pytorch",
    merged: tuple[str, ...] = (),
    function: str = "",
    uniform: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """A file that holds scalars, ``uniform`` arrays, Identities of the first one and a function."""
    held = [numpy_helper.from_array(np.array(1.0, np.float32), n) for n in names]
    held += [numpy_helper.from_array(np.ones(4, np.float32), n) for n in uniform]
    nodes = [helper.make_node("Identity", [names[0]], [m]) for m in merged]
    graph = helper.make_graph(nodes, "g", [], [], held)
    functions = [helper.make_function(function, "LIF", [], [], [], [])] if function else []
    return helper.make_model(graph, producer_name=producer, functions=functions)


LEAKY = ("net.lif.threshold", "net.lif.graded_spikes_factor", "net.lif.beta")


@pytest.mark.parametrize(
    ("name", "names", "merged", "is_setting"),
    [
        ("net.lif.graded_spikes_factor", LEAKY, (), True),
        ("net.lif.R", (*LEAKY, "net.lif.R"), (), True),
        ("net.lif.time_step", ("net.lif.time_step",), LEAKY, True),  # equal ones were merged
        ("net.lif.threshold", LEAKY, (), False),
        ("net.lif.beta", LEAKY, (), False),
        ("net.other.R", (*LEAKY, "net.other.R"), (), False),  # another layer's
        ("net.lif.inner.R", (*LEAKY, "net.lif.inner.R"), (), False),
        ("circuit.R", ("circuit.R", "circuit.C", "circuit.time_step"), (), False),
        ("cell.R", ("cell.R", "cell.threshold", "cell.beta"), (), False),
        ("l.graded_spikes_factor", ("l.graded_spikes_factor",), (), False),
        ("l.reset_mechanism_val", ("l.reset_mechanism_val", "l.beta"), (), False),
        ("R", ("R", "threshold", "graded_spikes_factor"), (), False),  # of no layer
    ],
)
def test_settings_are_known_by_what_lies_beside_them(
    name: str, names: tuple[str, ...], merged: tuple[str, ...], is_setting: bool
) -> None:
    found = FileNames(file(*names, merged=merged))
    assert found.setting(name) is is_setting
    assert (name in found.doubtful()) is is_setting


def test_the_configuration_wins() -> None:
    found = FileNames(file(*LEAKY), trained=["net.lif.graded_spikes_factor", "c3"])
    assert not found.setting("net.lif.graded_spikes_factor")
    assert not found.numbered("c3")
    assert found.numbered("c4")


@pytest.mark.parametrize("name", ["number_3", "lif.v.first", "first.first"])
@pytest.mark.parametrize(
    ("producer", "function", "ours"),
    [("snncc", "", True), ("other", "ai.snncc", True), ("pytorch", "", False),
     ("pytorch", "ai.other", False), ("", "", False)],
)  # fmt: skip
def test_only_our_own_exports_have_our_names(
    name: str, producer: str, function: str, ours: bool
) -> None:
    found = FileNames(file(name, producer=producer, function=function))
    assert found.numbered(name) is ours
    assert (name in found.doubtful()) is (ours and producer != "snncc")


def test_what_only_an_exporter_writes_is_not_listed() -> None:
    found = FileNames(file("val_3", "/lif/Constant_output_0", "onnx::Mul_7", "fc.weight", "mean_1"))
    assert found.doubtful() == ("mean_1",)


def own_model(tmp_path: Path, *scalars: str, producer: str = "pytorch") -> Path:
    """Somebody's model: a linear layer, scaled by scalars of his own, and a rectifier."""
    g = Graph()
    y = g.op("MatMul", "x", g.const(W, "fc.weight"))
    for i, name in enumerate(scalars):
        y = g.op("Mul", y, g.const(1.0 + i / 4, name))
    g.op("Tanh", y, out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [2, N]}, {"out": [2, N]})
    model = onnx.ModelProto.FromString(path.read_bytes())
    model.producer_name = producer
    path.write_bytes(model.SerializeToString())
    return path


def trained(path: Path, config: str = "") -> set[str]:
    """Names of the parameters that training changes; the import is compared with the file."""
    settings = parse_config(config)

    def build(batch: int | None, steps: int | None) -> Module:
        return load(path, batch=batch, steps=steps, trained=settings.texts("parameters.train"))

    module = load(path, trained=settings.texts("parameters.train"))
    assert check_onnx(module, path, settings, build).validated
    configure(module, settings)
    return {
        op.str_attr("name")
        for op in module.walk()
        if op.name == "graph.param" and op.attrs["train"] is True
    }


SCALARS = ("cell.R", "cell.time_step", "cell.reset_mechanism_val", "cell.graded_spikes_factor")


def test_scalars_of_somebodys_own_model_are_trained(tmp_path: Path) -> None:
    path = own_model(tmp_path, *SCALARS, "number_1", "gate.first")
    assert trained(path) == {"fc.weight", *SCALARS, "number_1", "gate.first"}
    assert "not_trained" not in load(path).attrs


def test_a_scalar_that_looks_made_up_is_listed_and_can_be_trained(tmp_path: Path) -> None:
    path = own_model(tmp_path, "c1")
    assert load(path).attrs["not_trained"] == ("c1",)
    assert trained(path) == {"fc.weight"}
    assert trained(path, '[parameters]\ntrain = ["c1"]') == {"fc.weight", "c1"}
    assert "not_trained" not in load(path, trained=["c1"]).attrs


def test_settings_of_snntorch_are_listed_and_can_be_trained() -> None:
    path = DATA / "snntorch_alpha.T8.ts.onnx"
    module = load(path)
    names = {op.str_attr("name") for op in module.walk() if op.name == "graph.param"}
    assert not names & {"n2.R", "n2.time_step"}
    listed = module.attrs["not_trained"]
    assert isinstance(listed, tuple)
    assert {"n2.R", "n2.time_step", "n1.graded_spikes_factor"} <= set(listed)
    again = load(path, trained=["n2.R"])
    assert "n2.R" in {op.str_attr("name") for op in again.walk() if op.name == "graph.param"}


def test_a_pattern_makes_no_parameter_of_a_setting(tmp_path: Path) -> None:
    """``*`` means all parameters, not all numbers of the file."""
    path = own_model(tmp_path, "c1")
    assert trained(path, '[parameters]\ntrain = ["*"]') == {"fc.weight"}
