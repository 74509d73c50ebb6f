"""Gradients of every neuron option against PyTorch autograd of the written equations, float64."""

import itertools
from typing import Any

import numpy as np
import pytest

from examples import sampled
from lowered import phased
from pytorch_results import Arrays, PyTorch, with_gradients
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.surrogate import SURROGATES
from strategies_networks import Net

T, B, N, C = 6, 3, 5, 4

DYNAMICS: tuple[dict[str, Any], ...] = (
    {"dynamics": "leaky", "beta": 0.85},
    {"dynamics": "leaky", "beta": 0.7, "v_rest": 0.2},
    {"dynamics": "decay_input", "tau": 2.0},
    {"dynamics": "decay_input", "rate": 0.3, "v_rest": -0.1},
    {"dynamics": "integrate"},
)
RESETS: tuple[dict[str, Any], ...] = (
    *(
        {"reset": reset, "delay": delay, "reset_gradient": gradient, "reset_value": 0.1}
        for reset, delay, gradient in itertools.product(
            ("subtract", "hard"), (False, True), ("attached", "detached")
        )
    ),
    {"reset": "none", "delay": False, "reset_gradient": "detached"},
)
SYNAPSES: tuple[dict[str, Any], ...] = (
    {"synapse": "none"},
    {"synapse": "before", "a_syn": 0.6},
    {"synapse": "after", "a_syn": 0.6},
    {"synapse": "scaled", "a_syn": 0.6},
)
ASKED: tuple[dict[str, Any], ...] = (
    {"name": "atan", "alpha": 2.0},
    {"name": "fast_sigmoid", "slope": 25.0},
    {"name": "super_spike", "alpha": 1.0},
    {"name": "sigmoid", "alpha": 4.0},
    {"name": "exponential", "width": 0.5, "scale": 1.0},
    {"name": "periodic_exponential", "width": 0.5, "scale": 1.0},
    {"name": "gaussian", "mu": 0.1, "sigma": 0.5, "scale": 2.0},
    {"name": "rectangular", "width": 0.8},
    {"name": "triangular", "width": 0.7, "scale": 0.5},
    {"name": "straight_through"},
    {"name": "window", "low": -0.4, "high": 0.7, "scale": 1.5},
)
COMPARES = ("strict", "non_strict", "multi")


def check(pytorch: PyTorch, attrs: dict[str, Any], constants: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(T, B, N))
    w1, b1 = rng.normal(size=(N, C)) * 0.9, rng.normal(size=C) * 0.5
    w2 = rng.normal(size=(C, 3))
    y = rng.integers(0, 3, B)

    net = Net(T, B)
    made = {k: net.param(k, v, role=k) for k, v in constants.items()}
    current = net.linear(net.input((N,)), "fc1", w1, b1)
    spikes, membrane = net.neuron(current, "lif", made, **attrs)
    both = net.b.one("graph.add", spikes, membrane)  # gradients through both outputs
    net.output(net.linear(both, "fc2", w2))
    step = phased(net.train(reduce="sum"))
    found = evaluate(step, "step", {"x": x, "y": y}, "float64")

    def autograd(torch: Any) -> Arrays:
        from unit.compiler.phases.torch_neuron import neuron

        def leaf(a: Any) -> Any:
            return torch.tensor(np.float64(np.float32(a)), requires_grad=True)

        tw1, tb1, tw2 = leaf(w1), leaf(b1), leaf(w2)
        named = {k: leaf(v) for k, v in constants.items()}
        out, v = neuron(torch.tensor(x) @ tw1 + tb1, attrs, named)
        logits = ((out + v) @ tw2).sum(0)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
        leaves = {"fc1.weight": tw1, "fc1.bias": tb1, "fc2.weight": tw2, **named}
        return with_gradients(loss, leaves)

    want = pytorch({"x": x, "y": y, "w1": w1, "b1": b1, "w2": w2, **constants}, autograd)
    assert want.keys() == {
        "loss", *(f"grad/{k}" for k in ("fc1.weight", "fc1.bias", "fc2.weight", *constants))
    }  # fmt: skip
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


def _base(**more: Any) -> dict[str, Any]:
    return {"threshold": 0.8, "surrogate": {"name": "atan", "alpha": 2.0}, **more}


@pytest.mark.parametrize("reset", RESETS, ids=lambda r: "-".join(map(str, r.values())))
@pytest.mark.parametrize(
    "dynamics", sampled(DYNAMICS, 2), ids=lambda d: "-".join(map(str, d.values()))
)
def test_dynamics_resets_compares_synapses(
    dynamics: dict[str, Any], reset: dict[str, Any], pytorch: PyTorch
) -> None:
    for n, (compare, synapse) in enumerate(itertools.product(COMPARES, SYNAPSES)):
        check(pytorch, _base(compare=compare, **dynamics, **reset, **synapse), {}, n)


def test_every_surrogate_is_asked_for() -> None:
    assert {each["name"] for each in ASKED} == set(SURROGATES)


@pytest.mark.parametrize("gradient", ["attached", "detached"])
@pytest.mark.parametrize("index", range(len(ASKED)))
def test_surrogates(index: int, gradient: str, pytorch: PyTorch) -> None:
    for compare in COMPARES:
        attrs = _base(compare=compare, **DYNAMICS[0], reset="subtract", delay=False)
        attrs |= {"surrogate": ASKED[index], "reset_gradient": gradient}
        check(pytorch, attrs, {}, index)


@pytest.mark.parametrize("shape", [(), (C,), (B, C)])
@pytest.mark.parametrize("gradient", ["attached", "detached"])
@pytest.mark.parametrize(
    "dynamics", sampled(DYNAMICS, 2), ids=lambda d: "-".join(map(str, d.values()))
)
def test_constants_as_trained_operands(
    dynamics: dict[str, Any], gradient: str, shape: tuple[int, ...], pytorch: PyTorch
) -> None:
    rng = np.random.default_rng(7)
    for n, (reset, delay, compare) in enumerate(
        itertools.product(("subtract", "hard"), (False, True), ("strict", "multi"))
    ):
        attrs = _base(compare=compare, **dynamics, reset=reset, delay=delay, synapse="before",
                      a_syn=0.5, reset_gradient=gradient, reset_value=0.1)  # fmt: skip
        values: dict[str, Any] = {
            k: attrs.pop(k) for k in ("beta", "tau", "rate", "v_rest") if k in attrs
        }
        values |= {k: attrs.pop(k) for k in ("threshold", "a_syn")}
        if reset == "hard":
            values["reset_value"] = attrs.pop("reset_value")
        values |= {"v_init": 0.3, "i_init": 0.2}
        constants = {k: v * rng.uniform(0.8, 1.2, shape) for k, v in values.items()}
        check(pytorch, attrs, constants, n)


@pytest.mark.parametrize("synapse", SYNAPSES, ids=lambda s: s["synapse"])
def test_leaky_integrator_bounds_and_normalised_input(
    synapse: dict[str, Any], pytorch: PyTorch
) -> None:
    for dynamics in DYNAMICS:
        check(pytorch, {**dynamics, **synapse, "compare": "none"}, {}, 3)
    for compare in COMPARES:
        attrs = _base(compare=compare, reset="subtract", reset_gradient="attached", v_min=-0.4)
        check(pytorch, {**attrs, **DYNAMICS[0], **synapse, "norm_input": True}, {}, 4)
