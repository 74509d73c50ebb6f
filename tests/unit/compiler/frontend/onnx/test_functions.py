"""The functions of ai.snncc: docs/onnx-functions.md, run as it stands there."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from guards import tree
from onnx_models import Array, agree, load, neurons, run_file, run_module
from pytorch_results import PyTorch
from snncc.compiler.diag import CompileError
from snncc.compiler.export.onnx_functions import (
    COMPARES,
    DYNAMICS,
    RESETS,
    Neuron,
    add_functions,
    named,
)
from snncc.compiler.ir.core import Module

STEPS, BATCH = 5, 2
LATE = ("none", True)  # a reset that is not there is not late
PAGE = (tree.ROOT / "docs/onnx-functions.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def sequence(path: Path, kind: Neuron, dtype: int = TensorProto.FLOAT) -> Path:
    """Write Linear and a neuron over all steps."""
    kinds = np.float32 if dtype == TensorProto.FLOAT else np.float16
    rng = np.random.default_rng(4)
    weight = numpy_helper.from_array(rng.normal(size=(6, 4)).astype(kinds), "fc.weight")
    zero = numpy_helper.from_array(np.zeros((BATCH, 4), kinds), "v")
    attributes: dict[str, Any] = {**kind.attributes()}
    nodes = [
        helper.make_node("MatMul", ["x", "fc.weight"], ["c"]),
        helper.make_node(
            kind.name(step=False), ["c", "v"], ["out", "end"], "lif", domain="ai.snncc",
            **attributes,
        ),
    ]  # fmt: skip
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", dtype, [STEPS, BATCH, 6])],
        [info("out", dtype, [STEPS, BATCH, 4])], [weight, zero],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    add_functions(model)
    check(model)
    path.write_bytes(model.SerializeToString())
    return path


def check(model: onnx.ModelProto | Path) -> None:
    checker: Any = onnx.checker  # its types are partly unknown
    checker.check_model(model, full_check=True)


def drive() -> Array:
    return np.random.default_rng(5).random((STEPS, BATCH, 6), np.float32)


@pytest.mark.parametrize(
    ("dynamics", "reset", "compare", "delay"),
    [each for each in product(DYNAMICS, RESETS, COMPARES, (False, True)) if each[1::2] != LATE],
)
def test_every_function(
    tmp_path: Path, dynamics: str, reset: str, compare: str, delay: bool
) -> None:
    kind = Neuron(0.75, 0.5, dynamics, reset, compare, delay, "sigmoid", 3.0, delay)
    path = sequence(tmp_path / "net.onnx", kind)
    module = load(path, steps=STEPS, time_axis=0)
    agree(run_module(module, drive()), run_file(path, drive()))
    (op,) = neurons(module)
    expected = {"dynamics": dynamics, "reset": reset, "compare": compare, "threshold": 0.5}
    assert {k: op.attrs[k] for k in expected} == expected
    assert op.attrs["surrogate"] == {"name": "sigmoid", "alpha": 3.0}
    if reset != "none":
        assert op.attrs["reset_gradient"] == ("detached" if delay else "attached")
    if dynamics == "leaky" and reset == "subtract":  # elsewhere a late reset is an early one
        assert op.attrs["delay"] is delay
    origin = op.attrs["origin"]
    assert isinstance(origin, dict)
    assert origin["surrogate"] == "metadata"


def test_names() -> None:
    assert named("LIFStep") == (Neuron(), True)
    assert named("IF_hard_ge") == (
        Neuron(dynamics="integrate", reset="hard", compare="non_strict"),
        False,
    )
    assert named("LIFStepper") is None
    with pytest.raises(ValueError, match="subtract, hard, none"):
        Neuron(reset="soft").name()


def test_half_precision(tmp_path: Path) -> None:
    path = sequence(tmp_path / "net.onnx", Neuron(0.5, 0.5), TensorProto.FLOAT16)
    (op,) = neurons(load(path, steps=STEPS, time_axis=0))
    assert op.attrs["beta"] == 0.5


def test_an_unknown_function_is_not_made_up() -> None:
    node = helper.make_node("Izhikevich", ["x"], ["y"], "soma", domain="ai.snncc")
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    with pytest.raises(CompileError) as caught:
        add_functions(model)
    assert caught.value.diagnostics[0].code == "E0106"


# ---------------------------------------------------------------------- from PyTorch
def recipe(number: int) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": f"recipe{number}"}
    exec(compile(RECIPES[number], f"docs/onnx-functions.md[{number}]", "exec"), scope)
    return scope


def excited(net: Any) -> Any:
    """Return a network whose weights are all positive: its layers fire."""
    for each in net.parameters():
        each.data.abs_()
    return net


def as_trained(module: Module) -> None:
    ops = neurons(module)
    assert len(ops) == 2
    for op, beta in zip(ops, (0.9, 0.8), strict=True):
        assert op.float_attr("beta") == pytest.approx(beta)
        assert op.attrs["surrogate"] == {"name": "atan", "alpha": 2.0}
        assert op.attrs["reset_gradient"] == "detached"
        assert op.attrs["framework"] == "ai.snncc"


def question(number: int) -> dict[str, Any]:
    """What an export depends on: the page's text and the input."""
    text = "".join(RECIPES[: number + 1]).encode()
    return {"recipe": np.frombuffer(text, np.uint8), "x": drive()}


def exported(tmp_path: Path, want: dict[str, Any]) -> Path:
    """Write the file that PyTorch exported."""
    path = tmp_path / "net.onnx"
    path.write_bytes(want["file"].astype(np.uint8).tobytes())
    check(path)
    assert 0 < want["out"].mean() < 1
    return path


def test_the_recipe_for_the_newer_exporter(tmp_path: Path, pytorch: PyTorch) -> None:
    def export(torch: Any) -> dict[str, Any]:
        torch.manual_seed(3)
        page, path = recipe(0), tmp_path / "made.onnx"
        net, x = excited(page["Net"]()), torch.from_numpy(drive())
        out = net(x)
        page["export"](net, x, path)
        return {"out": out, "file": np.frombuffer(path.read_bytes(), np.uint8)}

    want = pytorch(question(0), export)
    path = exported(tmp_path, want)
    (found,) = run_file(path, drive()).values()
    np.testing.assert_array_equal(found, want["out"])
    module = load(path, steps=STEPS, time_axis=0)
    (read,) = run_module(module, drive()).values()
    np.testing.assert_array_equal(read, want["out"])
    as_trained(module)


def test_the_recipe_for_the_older_exporter(tmp_path: Path, pytorch: PyTorch) -> None:
    def export(torch: Any) -> dict[str, Any]:
        torch.manual_seed(3)
        page, path = recipe(1), tmp_path / "made.onnx"
        step = page["Step"]
        net, x = excited(recipe(0)["Net"]()), torch.from_numpy(drive())

        def forward(kind: Neuron) -> Any:
            def run(x: Any, v: Any) -> Any:
                return step.apply(x, v, kind)

            return run

        for layer in (net.lif1, net.lif2):
            layer.forward = forward(layer.kind)
        out = net(x)
        page["export_old"](net, x, path)
        return {"out": out, "file": np.frombuffer(path.read_bytes(), np.uint8)}

    want = pytorch(question(1), export)
    path = exported(tmp_path, want)
    (found,) = run_file(path, drive()).values()
    np.testing.assert_array_equal(found, want["out"])
    as_trained(load(path, steps=STEPS, time_axis=0))
