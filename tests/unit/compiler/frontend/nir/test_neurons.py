"""NIR neurons against the equations, and the rule for the time step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nir_files import INPUT, OUTPUT, Array, Node, chain, load, port, run, run_chain, write
from snncc.compiler.diag import CompileError

RNG = np.random.default_rng(5)
X = RNG.normal(0.4, 1.0, size=(20, 2, 4))
DT = 1e-3


def euler(node: Node, x: Array, dt: float) -> Array:
    """Integrate a neuron with the forward Euler rule."""
    kind = str(node["type"])
    get = {k: np.asarray(v, np.float64) for k, v in node.items() if k != "type"}
    v, i = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    out: list[Array] = []
    for current in x:
        if kind.startswith("Cuba"):
            i = i + dt / get["tau_syn"] * (get.get("w_in", np.ones(())) * current - i)
            current = i
        if kind in ("I", "IF"):
            v = v + dt * get["r"] * current
        else:
            tau = get["tau_mem"] if kind.startswith("Cuba") else get["tau"]
            v = v + dt / tau * ((get["v_leak"] - v) + get["r"] * current)
        if "v_threshold" in get:
            s = v > get["v_threshold"]
            v = np.where(s, get.get("v_reset", np.zeros(())), v)
            out.append(s.astype(np.float64))
        else:
            out.append(v)
    return np.stack(out)


TAUS = np.asarray([5e-3, 4e-3, 8e-3, 2e-3])
LEAK: Node = {"tau": TAUS, "r": np.full(4, 1.7), "v_leak": np.asarray([0.1, 0, -0.2, 0])}
CUBA: Node = {"tau_mem": TAUS, "tau_syn": np.full(4, 4e-3), "r": np.ones(4), "v_leak": np.zeros(4),
              "w_in": np.asarray([1.0, 2.0, 3.0, 1.5])}  # fmt: skip
FIRE: Node = {"v_threshold": np.asarray([0.5, 0.4, 0.6, 0.3]), "v_reset": np.full(4, -0.1)}
NEURONS: dict[str, Node] = {
    "I": {"type": "I", "r": np.asarray([900.0, 100, 50, 1])},
    "IF": {"type": "IF", "r": np.full(4, 700.0), **FIRE},
    "LI": {"type": "LI", **LEAK},
    "LIF": {"type": "LIF", **LEAK, **FIRE},
    "CubaLI": {"type": "CubaLI", **CUBA},
    "CubaLIF": {"type": "CubaLIF", **CUBA, "r": 2 * np.ones(4), **FIRE},
    "scalars": {"type": "LIF", "tau": 4e-3, "r": 1.0, "v_leak": 0.3, "v_threshold": 0.5},
    "snntorch": {"type": "LIF", "tau": np.float32(5e-3), "r": np.float32(4.9999995),
                 "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0},
    "no w_in": {"type": "CubaLIF", "tau_mem": 4e-3, "tau_syn": 2e-3, "r": 1.0, "v_leak": 0.0,
                "v_threshold": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron(tmp_path: Path, name: str) -> None:
    node = NEURONS[name]
    got = run_chain(tmp_path, X, node, dt=DT)
    want = euler(node, X, DT)
    if "v_threshold" in node:
        assert 0.02 < want.mean() < 0.9
        assert np.array_equal(got, want)
    else:
        assert np.allclose(got, want, atol=1e-5)


def test_rates_of_float32_become_the_numbers_that_were_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nir", *chain([4], NEURONS["snntorch"]))
    module, _ = load(path, X, DT)
    neuron = next(op for op in module.walk() if op.name == "graph.neuron")
    assert neuron.attrs["beta"] == 0.8
    assert neuron.attrs["dynamics"] == "leaky"
    assert not any(op.name == "graph.mul" for op in module.walk())


@pytest.mark.parametrize(
    ("node", "dt"),
    [
        ({"type": "LIF", "tau": 1e-3, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0}, 1e-4),
        ({"type": "IF", "r": 1000.0, "v_threshold": 1.0}, 1e-3),
        ({"type": "IF", "r": 1.0, "v_threshold": 1.0}, 1.0),
        ({"type": "LI", "tau": 20.0, "r": 1.0, "v_leak": 0.0}, 1.0),
    ],
)
def test_the_time_step_is_found(tmp_path: Path, node: Node, dt: float) -> None:
    module, sink = load(write(tmp_path / "a.nir", *chain([4], node)), X)
    assert module.attrs["dt"] == pytest.approx(dt)
    assert bool(sink.warnings) == (node.get("r") != 1.0 or node["type"] == "LI")


def test_the_time_step_must_be_given(tmp_path: Path) -> None:
    node: Node = {"type": "LIF", "tau": 2.5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    path = write(tmp_path / "a.nir", *chain([4], node))
    with pytest.raises(CompileError, match="E0113"):
        load(path, X)
    with pytest.raises(CompileError, match="E0113"):
        load(path, X, dt=-1.0)
    assert load(path, X, dt=1e-4)[0].attrs["dt_origin"] == "flag"


# ---------------------------------------------------------------------- graphs
def lif(size: int) -> Node:
    return {"type": "LIF", "tau": np.full(size, 2.0), "r": np.full(size, 2.0),
            "v_leak": np.zeros(size), "v_threshold": np.ones(size)}  # fmt: skip


W = RNG.normal(size=(4, 4))
B = RNG.normal(size=4)


def recurrent(x: Array) -> Array:
    """Return the spikes of a layer that feeds itself through W, B one step late."""
    v, s, out = np.zeros(x.shape[1:]), np.zeros(x.shape[1:]), list[Array]()
    for current in x:
        v = 0.5 * v + current + s @ W.T + B
        s = (v > 1).astype(np.float64)
        v = np.where(s > 0, 0, v)
        out.append(s)
    return np.stack(out)


def test_cycles_take_a_step_whatever_the_order_of_edges(tmp_path: Path) -> None:
    nodes = {"9": lif(4), "10": {"type": "Affine", "weight": W, "bias": B},
             INPUT: port("Input", 1, 4), OUTPUT: port("Output", 1, 1, 4)}  # fmt: skip
    edges = [("10", "9"), ("9", "10"), ("9", OUTPUT), (INPUT, "9")]
    for order in (edges, edges[::-1]):
        got = run(write(tmp_path / "a.nir", nodes, order), X, 1.0)
        assert np.array_equal(got, recurrent(X))


def test_nested_graphs_are_inlined(tmp_path: Path) -> None:
    inner = {"input": port("Input", 4), "lif": lif(4), "output": port("Output", 4),
             "rec": {"type": "Affine", "weight": W, "bias": B}}  # fmt: skip
    inside = [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")]
    nodes = {INPUT: port("Input", 4), "sub": {"nodes": inner, "edges": inside},
             OUTPUT: port("Output", 4)}  # fmt: skip
    path = write(tmp_path / "a.nir", nodes, [(INPUT, "sub"), ("sub", OUTPUT)])
    assert np.array_equal(run(path, X, 1.0), recurrent(X))
    module, _ = load(path, X, 1.0)
    assert any(op.attrs.get("layer") == "sub.lif" for op in module.walk())


def test_several_edges_are_added(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {INPUT: port("Input", 4), OUTPUT: port("Output", 4)}
    nodes["a"] = {"type": "Scale", "scale": np.full(4, 2.0)}
    nodes["b"] = {"type": "Scale", "scale": np.full(4, 3.0)}
    edges = [(INPUT, "a"), (INPUT, "b"), ("a", OUTPUT), ("b", OUTPUT), (INPUT, OUTPUT)]
    assert np.allclose(run(write(tmp_path / "a.nir", nodes, edges), X), 6 * X)


def test_a_long_way_back_is_cut_at_the_last_neuron(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {INPUT: port("Input", 4), OUTPUT: port("Output", 4)}
    nodes |= {"l1": lif(4), "l2": lif(4)}
    nodes |= {name: {"type": "Linear", "weight": W} for name in ("up", "back")}
    edges = [(INPUT, "l1"), ("l1", "up"), ("up", "l2"), ("l2", "back"), ("back", "l1"),
             ("l2", OUTPUT)]  # fmt: skip
    module, _ = load(write(tmp_path / "a.nir", nodes, edges), X, 1.0)
    delays = [op for op in module.walk() if op.name == "graph.delay"]
    assert [op.attrs["state"] for op in delays] == ["l2"]
    assert delays[0].result.type.dtype == "bit"
