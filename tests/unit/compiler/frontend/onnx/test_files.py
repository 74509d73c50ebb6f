"""Files of real exporters, shipped in tests/data/onnx: the imported module computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_models import agree, load, neurons, run_file, run_module, run_steps
from snncc.compiler.diag import DiagnosticSink
from snncc.compiler.frontend.import_onnx import import_onnx

DATA = Path(__file__).parents[4] / "data" / "onnx"
WHOLE = {
    "norse_lifrec.T10.ts": (10, 0, (10, 4, 32)),
    "snntorch_synaptic.T8.ts": (8, 0, (8, 4, 64)),
    "snntorch_alpha.T8.ts": (8, 0, (8, 4, 64)),
    "sinabs_recurrent.T12.ts": (12, 1, (4, 12, 64)),
    "sinabs_baked_state.T12.ts": (12, 1, (4, 12, 64)),
    "recipe_loop_f32": (5, 0, (5, 2, 6)),
    "recipe_scan_f32": (5, 0, (5, 2, 6)),
    "recipe_multi_f32": (5, 0, (5, 2, 6)),
    "recipe_unrolled_f32": (5, 0, (5, 2, 6)),
    "r5_scripted_loop.ts": (6, 0, (6, 4, 16)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files(name: str) -> None:
    steps, axis, shape = WHOLE[name]
    path = DATA / f"{name}.onnx"
    module = load(path, steps=steps, time_axis=axis)
    x = (np.random.default_rng(5).random(shape) < 0.4).astype(np.float32) * 1.5
    agree(run_module(module, x), run_file(path, x))


STEPS = {
    "norse_lif.step.ts": ((4, 64), {"v1": "v1o", "i1": "i1o", "v2": "v2o", "i2": "i2o"}),
    "spikingjelly_lif.step.dyn": ((4, 1, 28, 28), {"v": "v_out"}),
    "r6_snntorch_module_functions.ts": ((4, 64), {"m1": "56", "m2": "58"}),
}


@pytest.mark.parametrize("name", STEPS)
def test_step_graphs(name: str) -> None:
    shape, pairs = STEPS[name]
    path = DATA / f"{name}.onnx"
    module = load(path, steps=6, time_axis=0)
    xs = np.random.default_rng(6).random((6, *shape)).astype(np.float32) * 2
    agree(run_module(module, xs), run_steps(path, xs, pairs))


def test_training_attributes_of_functions() -> None:
    op = neurons(load(DATA / "recipe_multi_f32.onnx", steps=5, time_axis=0))[0]
    assert op.attrs["surrogate"] == {"name": "fast_sigmoid", "slope": 25.0}
    assert op.attrs["reset_gradient"] == "detached"


def test_nested_functions_without_body() -> None:
    module = load(DATA / "r6.ts.onnx", steps=4)
    assert neurons(module)[0].attrs["compare"] == "non_strict"


def test_synapse_and_decay() -> None:
    first = neurons(load(DATA / "norse_lif.step.ts.onnx", steps=3, time_axis=0))[0]
    assert first.attrs["dynamics"] == "decay_input"
    assert first.attrs["synapse"] == "before"
    assert first.float_attr("rate") == pytest.approx(0.1)
    assert first.float_attr("a_syn") == pytest.approx(0.8)
    assert first.attrs["reset"] == "hard"


def test_baked_state_is_kept() -> None:
    sink = DiagnosticSink()
    module = import_onnx(DATA / "sinabs_baked_state.T12.ts.onnx", steps=12, time_axis=1, sink=sink)
    params = neurons(module)[0].attrs["params"]
    assert isinstance(params, tuple)
    assert "v_init" in params
    assert {d.code for d in sink.warnings} == {"E0110"}
    assert len(sink.warnings) == len(neurons(module))
    assert "membrane" in sink.warnings[0].message


def test_step_graph_without_steps_warns() -> None:
    sink = DiagnosticSink()
    import_onnx(DATA / "norse_lif.step.ts.onnx", sink=sink)
    assert [d.code for d in sink.warnings] == ["E0111"]
