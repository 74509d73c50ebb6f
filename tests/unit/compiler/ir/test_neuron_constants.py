"""Constants of neurons become parameters when the configuration trains them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onnx_models import Form, leaky_net, load, neurons, run_module
from snncc.compiler.config.config import load_config
from snncc.compiler.ir.neuron_constants import constants, promote
from snncc.compiler.ir.verify import verify
from snncc.compiler.passes.graph.configure import configure


def test_promotion_changes_no_value(tmp_path: Path) -> None:
    path = leaky_net(tmp_path / "m.onnx", Form())
    module = load(path, steps=5, time_axis=0)
    x = np.random.default_rng(0).normal(size=(5, 3, 6)).astype(np.float32) * 2
    before = run_module(module, x)["out"]
    assert {name for name, _, _ in constants(module)} >= {"lif0.beta", "lif1.beta"}
    made = promote(module, lambda name: name.endswith(".beta"))
    verify(module)
    assert [op.str_attr("name") for op in made] == ["lif0.beta", "lif1.beta"]
    assert all(op.attrs["params"] == ("beta",) for op in neurons(module))
    np.testing.assert_array_equal(before, run_module(module, x)["out"])


def test_configuration_trains_a_constant(tmp_path: Path) -> None:
    module = load(leaky_net(tmp_path / "m.onnx", Form()), steps=5, time_axis=0)
    file = tmp_path / "c.toml"
    file.write_text('timesteps = 5\ntime_axis = 0\n[parameters]\ntrain = ["lif1.beta"]\n')
    configure(module, load_config(file))
    params = {op.str_attr("name"): op for op in module.walk() if op.name == "graph.param"}
    assert params["lif1.beta"].attrs["train"] is True
    assert "lif0.beta" not in params


def test_names_that_serve_several_are_numbered_in_graph_order(tmp_path: Path) -> None:
    """Parameters of the graph count first: ``beta``, ``beta#2``, then the neurons' constants."""
    module = load(leaky_net(tmp_path / "m.onnx", Form()), steps=5, time_axis=0)
    first, second = neurons(module)
    first.attrs["sources"] = {"beta": "beta", "threshold": "theta", "tau": "no such constant"}
    second.attrs["sources"] = {"beta": "beta"}
    assert list(constants(module)) == [
        ("beta", first, "beta"), ("theta", first, "threshold"), ("beta#2", second, "beta")
    ]  # fmt: skip
    weights = [op for op in module.walk() if op.name == "graph.param"]
    weights[0].attrs["name"] = "beta"
    assert [name for name, _, _ in constants(module)] == ["beta#2", "theta", "beta#3"]
    weights[1].attrs["name"] = "beta#2"
    assert [name for name, _, _ in constants(module)] == ["beta#3", "theta", "beta#4"]
    made = promote(module, lambda name: name in ("beta#4", "theta"))
    assert [op.attrs["name"] for op in made] == ["theta", "beta#4"]
    assert (first.attrs["params"], second.attrs["params"]) == (("threshold",), ("beta",))
    assert "beta" in first.attrs
    assert "beta" not in second.attrs
