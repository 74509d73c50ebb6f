"""Networks that go out as ONNX: onnxruntime computes the same, and so do they when read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nir_files import Array
from snncc.compiler.export.onnx import export_onnx
from snncc.compiler.frontend.import_dsl import import_dsl
from snncc.compiler.frontend.import_onnx import import_onnx
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.verify import verify

NETWORKS = {
    "mlp": """input(6, steps=12) dense(8) lif(beta=0.7, surrogate=fast_sigmoid(slope=10))
        dense(5, bias=false) lif(tau=3, reset=hard, threshold=0.3, detach=false)
        dense(3) li output(mem)""",
    "static": "input(6, steps=8, static=true) dense(8) lif dense(4) lif(delay=true)",
    "cnn": """input(2x9x9, steps=6) conv(4, stride=2, padding=1) bn if(reset=hard, threshold=0.8)
        avgpool conv(6, kernel=1, groups=2) lif(beta=0.5, norm_input=true, threshold=0.2)
        maxpool flatten dense(20) lif vote(5)""",
    "options": """input(6, steps=12) dense(8) if(compare=multi) dense(8)
        lif(compare=non_strict, reset=none) dense(8) lif(beta=0.5, reset=hard, delay=true)
        dense(5) synaptic(alpha=0.6, beta=0.8, threshold=0.5)""",
    "branches": """input(3x6x6, steps=5) conv(4, padding=same) lif(beta=0.5)
        residual(mode=iand) { conv(4, padding=same) if } residual { conv(4, padding=same) if }
        concat { maxpool } { sumpool } globalpool dropout(0.1) dense(4) lif(threshold=0.3)""",
    "attention": """input(3x4x4, steps=3) conv(4, padding=same) bn lif(beta=0.5) tokens
        residual { attention(heads=2) { lif(tau=2, threshold=0.3) } } globalpool dense(3)""",
    "recurrent": """input(6, steps=10) dense(7) lif(beta=0.8, recurrent=true)
        dense(7) lif(beta=0.5, reset=hard, recurrent=true) output(a) dense(2) output(b)""",
}


def results(module: Module, x: Array, numerics: str = "float32") -> dict[str, Array]:
    name = module.func("main").body.args[0].name
    found = evaluate(module, "main", {name: x}, numerics)
    return {k.removeprefix("out/"): np.asarray(v) for k, v in found.items()}


def exported(folder: Path, text: str) -> tuple[Module, Path, Array]:
    path = folder / "net.snn"
    path.write_text(text + " init(seed=4, gain=2)")
    module = import_dsl(path, batch=3)[0]
    out = folder / "net.onnx"
    export_onnx(module, out)
    shape = module.func("main").body.args[0].type.shape
    x = (np.random.default_rng(2).random(shape) < 0.5).astype(np.float32)
    return module, out, x


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_computes_the_same(tmp_path: Path, name: str) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    module, path, x = exported(tmp_path, NETWORKS[name])
    checker: Any = onnx.checker
    checker.check_model(str(path), full_check=True)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x})
    want = results(module, x)
    for output, got in zip(session.get_outputs(), found, strict=True):
        assert np.abs(want[output.name]).max() > 0
        assert np.mean(np.abs(got - want[output.name]) > 1e-4) < 0.01, output.name


@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(tmp_path: Path, name: str) -> None:
    module, path, x = exported(tmp_path, NETWORKS[name])
    axis = None if name == "static" else 0
    again = import_onnx(path, steps=module.steps, time_axis=axis)
    verify(again)
    want, got = results(module, x, "float64"), results(again, x, "float64")
    assert want.keys() == got.keys()
    for key in want:
        assert np.allclose(want[key], got[key], atol=1e-5), key


def test_training_information_survives(tmp_path: Path) -> None:
    _, path, _ = exported(tmp_path, NETWORKS["mlp"])
    again = import_onnx(path, steps=12, time_axis=0)
    neurons = [op for op in again.walk() if op.name == "graph.neuron"]
    assert len(neurons) == 3
    assert neurons[0].attrs["surrogate"] == {"name": "fast_sigmoid", "slope": 10.0}
    assert neurons[1].attrs["reset_gradient"] == "attached"
    assert [n.attrs["layer"] for n in neurons] == ["lif1", "lif2", "li1"]
    names = [op.str_attr("name") for op in again.walk() if op.name == "graph.param"]
    assert {"dense1.weight", "dense1.bias", "dense2.weight", "dense3.weight"} <= set(names)
