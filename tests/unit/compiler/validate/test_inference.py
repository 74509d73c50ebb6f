"""An import with right results and other gradients may infer, and not train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from onnx_models import Graph
from planted_misreadings import put_behind
from snncc.compiler.cli.main import cli
from snncc.compiler.config.config import Config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api
from snncc.compiler.driver.build import Reading
from snncc.compiler.frontend import import_onnx as onnx_import
from snncc.compiler.ir.core import Module
from snncc.compiler.validate import compare as comparison
from snncc.compiler.validate.onnx.reference import OnnxReference

STEPS, BATCH, INS, OUTS = 3, 2, 4, 5
CONFIG = Config().override({"timesteps": STEPS, "time_axis": 0})
FLAGS = ["--timesteps", str(STEPS), "--time-axis", "0"]
X = np.random.default_rng(2).normal(size=(STEPS, BATCH, INS)).astype(np.float32)


def network(path: Path, gain: bool = False) -> Path:
    """A layer of leaky neurons behind a linear layer with a bias of equal elements."""
    g = Graph()
    rng = np.random.default_rng(0)
    weight = g.const(rng.standard_normal((INS, OUTS)).astype(np.float32), "fc.weight")
    bias = g.const(np.full(OUTS, 0.25, np.float32), "fc.bias")
    theta, beta = g.const(0.7, "val_1"), g.const(0.8, "val_2")
    v = g.const(np.zeros((BATCH, OUTS), np.float32), "val_3")
    rows: list[str] = []
    opened = g.op("Sigmoid", g.const(0.4, "gain")) if gain else ""
    for t in range(STEPS):
        x = g.op("Gather", "x", g.const(np.array(t), f"val_1{t}"), axis=0)
        current = g.op("Add", g.op("MatMul", x, weight), bias)
        if gain:
            current = g.op("Mul", current, opened)
        h = g.op("Add", g.op("Mul", v, beta), current)
        s = g.op("Cast", g.op("Greater", h, theta), to=1)
        v = g.op("Sub", h, g.op("Mul", s, theta))
        rows.append(g.op("Unsqueeze", s, g.const(np.array([0]), f"val_2{t}")))
    g.op("Concat", *rows, out="out", axis=0)
    return g.save(path, {"x": [STEPS, BATCH, INS]}, {"out": [STEPS, BATCH, OUTS]})


def stopped(module: Module) -> None:
    """The gradient does not reach the weights."""
    for op in list(module.walk()):
        if op.name == "graph.linear":
            put_behind(op, lambda b, v: b.op("graph.stop_gradient", v, types=[v.type]).result)


def frozen(module: Module) -> None:
    """The bias is taken for a number."""
    for op in list(module.walk()):
        if op.name == "graph.param" and op.str_attr("name") == "fc.bias":
            op.attrs.update(name="val_9", train=False)


def other_threshold(module: Module) -> None:
    """Results differ, though only at the threshold."""
    for op in module.walk():
        if op.name in ("graph.neuron", "graph.spike"):
            op.attrs["compare"] = "non_strict"


def other_leak(module: Module) -> None:
    for op in module.walk():
        if op.name == "graph.neuron":
            op.attrs["beta"] = 0.75
        elif op.attrs.get("value") == float(np.float32(0.8)):
            op.attrs["value"] = 0.75  # where the neuron is left as arithmetic


Change = Callable[[Module], None]


def misread(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    right = onnx_import.import_onnx

    def wrong(*args: object, **kw: object) -> Module:
        module = right(*args, **kw)  # type: ignore[arg-type]
        change(module)
        return module

    monkeypatch.setattr(onnx_import, "import_onnx", wrong)


@pytest.mark.parametrize("change", [stopped, frozen])
def test_other_gradients_are_told_in_inference_and_refused_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    path = network(tmp_path / "net.onnx")
    wanted = api.run(api.load(path, config=CONFIG, training=False), X)["out/out"]
    misread(monkeypatch, change)
    with pytest.raises(CompileError) as raised:
        api.load(path, config=CONFIG)
    assert raised.value.diagnostics[0].code == "E0114"
    model = api.load(path, config=CONFIG, training=False)
    (told,) = [w for w in model.warnings if w.code == "E0116"]
    assert "validated for inference only" in told.message
    assert raised.value.diagnostics[0].message in told.message
    np.testing.assert_array_equal(api.run(model, X)["out/out"], wanted)
    for numerics in ("fp16", "float32"):
        with pytest.raises(CompileError, match="it can infer, and not train") as raised:
            api.run(model, X, np.zeros(BATCH, np.int64), numerics=numerics)
        assert raised.value.diagnostics[0].code == "E0114"


@pytest.mark.parametrize("change", [other_threshold, other_leak])
def test_other_results_are_refused_in_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    path = network(tmp_path / "net.onnx")
    misread(monkeypatch, change)
    with pytest.raises(CompileError) as raised:
        api.load(path, config=CONFIG, training=False)
    assert raised.value.diagnostics[0].code == "E0114"


def test_a_neuron_that_is_none_is_left_as_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the neuron gets wrong, the file's own operators do not."""

    def other_neuron(module: Module) -> None:
        for op in module.walk():
            if op.name == "graph.neuron":
                op.attrs["beta"] = 0.75

    path = network(tmp_path / "net.onnx")
    wanted = api.run(api.load(path, config=CONFIG), X)["out/out"]
    misread(monkeypatch, other_neuron)
    model = api.load(path, config=CONFIG)
    (told,) = [w for w in model.warnings if w.code == "E0117"]
    assert "left as arithmetic" in told.message
    assert any("the file gives" in str(note) for note in told.notes)
    assert not any(op.name == "graph.neuron" for op in model.graph.walk())
    np.testing.assert_array_equal(api.run(model, X)["out/out"], wanted)
    again = model.with_batch(1)  # read once more, and not compared
    np.testing.assert_array_equal(api.run(again, X[:, :1])["out/out"], wanted[:, :1])


def test_a_file_may_need_both_second_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gain that is sigmoid of one number, before a neuron that gets its leak wrong."""

    def other_neuron(module: Module) -> None:
        for op in module.walk():
            if op.name == "graph.neuron":
                op.attrs["beta"] = 0.75

    path = network(tmp_path / "net.onnx", gain=True)
    misread(monkeypatch, other_neuron)
    model = api.load(path, config=CONFIG)
    assert model.request.reading == Reading(("gain",), as_arithmetic=True)
    assert "gain" in {op.str_attr("name") for op in model.graph.walk() if op.attrs.get("train")}


def test_commands_say_that_a_program_only_infers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, program = network(tmp_path / "net.onnx"), tmp_path / "net.snnx"
    misread(monkeypatch, stopped)
    x, stats = tmp_path / "x.npz", tmp_path / "stats.json"
    np.savez(x, x=X)

    def said(*words: object) -> str:
        done = CliRunner().invoke(cli, list(map(str, words)))
        assert done.exit_code == 0, done.output
        return done.output

    made = CliRunner().invoke(cli, ["compile", str(path), "-o", str(program), *FLAGS])
    assert made.exit_code == 1
    assert "E0114" in made.stderr
    assert "E0116" in said("compile", path, "-o", program, "--mode", "infer", *FLAGS)
    assert "inference only" in said("run", program, "-i", x, "--stats", stats)
    assert json.loads(stats.read_text())["validation"]["other_gradients"]
    assert "validated for inference only" in said("report", stats, "-o", "-")
    assert "inference only" in said("run", path, "-i", x, "--numerics", "float32", *FLAGS)


@pytest.mark.parametrize(("undecided", "accepted"), [(0, True), (2, True), (3, False), (6, False)])
def test_values_must_be_compared_at_most_scales(
    undecided: int, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six scales of inputs, eight draws each: where all of them are ties nothing is compared."""
    ties = 8 * undecided
    truly = getattr(comparison, "_evaluate")  # noqa: B009

    def evaluate(*args: object, or_tie: bool = False) -> bool:
        nonlocal ties
        if or_tie and ties:
            ties -= 1
            return False
        return bool(truly(*args, or_tie=or_tie))

    path = network(tmp_path / "net.onnx")
    module = onnx_import.import_onnx(path, steps=STEPS, time_axis=0)
    stopped(module)
    reference = OnnxReference(path, module, batch_statistics=False)
    monkeypatch.setattr(comparison, "_evaluate", evaluate)
    settings = comparison.Settings(gradients=False)
    if accepted:
        report = comparison.compare(module, reference, settings)
        assert report.hard == 6 - undecided
        assert len(report.remarks) == undecided
        assert "derivative" in report.other_gradients
    else:
        with pytest.raises(CompileError) as raised:
            comparison.compare(module, reference, settings)
        assert raised.value.diagnostics[0].code == "E0114"
    assert not ties
