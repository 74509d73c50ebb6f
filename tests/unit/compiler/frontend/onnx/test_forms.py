"""The same network in the many forms that exporters give it: always the same module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from examples import examples
from onnx_models import BETA, THETA, Form, agree, leaky_net, load, neurons, run_file, run_module

FORMS = st.builds(
    Form,
    steps=st.sampled_from([3, 4, 5, 8]),
    reset=st.sampled_from(["subtract", "zero", "none", "hard"]),
    strict=st.booleans(),
    per_step_input=st.booleans(),
    fold_first=st.booleans(),
    share_spike=st.booleans(),
    times_one=st.booleans(),
    minus_threshold=st.booleans(),
    per_neuron=st.booleans(),
    swap=st.booleans(),
    output=st.sampled_from(["stack", "sum", "last", "mean"]),
    scalar_shape=st.sampled_from([(), (1,)]),
)


def check(form: Form, path: Path, seed: int | None) -> None:
    leaky_net(path, form, seed)
    axis = 0 if form.per_step_input else None
    module = load(path, steps=form.steps, time_axis=axis)
    rng = np.random.default_rng(0)
    shape = (form.steps, 3, 6) if form.per_step_input else (3, 6)
    x = (rng.normal(size=shape) * 1.5).astype(np.float32)
    agree(run_module(module, x), run_file(path, x))
    found = neurons(module)
    assert len(found) == 2
    for i, op in enumerate(found):
        assert op.attrs["compare"] == ("strict" if form.strict else "non_strict")
        assert op.float_attr("threshold") == THETA[i]
        if form.per_neuron:
            assert op.attrs["params"] == ("beta",)
        else:
            assert op.float_attr("beta") == pytest.approx(BETA[i])
        expected = {"zero": "hard"}.get(form.reset, form.reset)
        assert op.attrs["reset"] == expected
        if form.reset == "subtract":
            assert op.attrs["delay"] is True


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=FORMS, seed=st.one_of(st.none(), st.integers(0, 1000)))
def test_every_form(tmp_path: Path, form: Form, seed: int | None) -> None:
    # with the same input at every step and the last spikes alone, three steps show nothing to roll
    assume(form.steps > 3 or form.per_step_input or form.output != "last")
    check(form, tmp_path / "m.onnx", seed)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none", "hard"])
def test_two_steps(tmp_path: Path, reset: str) -> None:
    check(Form(steps=2, reset=reset), tmp_path / "m.onnx", None)


def test_parameters_keep_their_names_and_layout(tmp_path: Path) -> None:
    module = load(leaky_net(tmp_path / "m.onnx", Form()), steps=5, time_axis=0)
    params = {op.str_attr("name"): op for op in module.walk() if op.name == "graph.param"}
    assert set(params) == {"fc0.weight", "fc0.bias", "fc1.weight", "fc1.bias"}
    weight = params["fc0.weight"]
    assert weight.attrs["transpose"] is True
    assert weight.result.type.shape == (6, 5)
    assert weight.attrs["train"] is True


@pytest.mark.parametrize("per_step", [True, False])
def test_another_batch(tmp_path: Path, per_step: bool) -> None:
    path = leaky_net(tmp_path / "m.onnx", Form(per_step_input=per_step, fold_first=True))
    module = load(path, steps=5, time_axis=0 if per_step else None, batch=7)
    assert module.batch == 7
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, 7, 6) if per_step else (7, 6)).astype(np.float32) * 2
    got = run_module(module, x)["out"]
    for first in (0, 4):
        part = x[:, first : first + 3] if per_step else x[first : first + 3]
        np.testing.assert_array_equal(
            got[:, first : first + 3], run_file(path, np.ascontiguousarray(part))["out"]
        )


def test_other_steps_than_the_file(tmp_path: Path) -> None:
    form = Form(per_step_input=False, fold_first=True)
    short = load(leaky_net(tmp_path / "a.onnx", form), steps=9)
    path = leaky_net(tmp_path / "b.onnx", Form(steps=9, per_step_input=False))
    x = np.random.default_rng(3).normal(size=(3, 6)).astype(np.float32) * 2
    agree(run_module(short, x), run_file(path, x))
