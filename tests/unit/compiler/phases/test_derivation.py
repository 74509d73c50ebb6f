"""What the passes make: what is saved, what is pruned, and an independent derivation in NumPy."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from lowered import phased, stages
from snncc.compiler.diag import CompileError
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Attribute, Module, Op
from strategies_networks import Net


def network(constants: tuple[str, ...] = (), **attrs: Attribute) -> Module:
    rng = np.random.default_rng(0)
    net = Net(5, 3)
    x = net.input((4,))
    made = {k: net.param(k, float(v), k) for k, v in attrs.items() if k in constants
            and isinstance(v, float)}  # fmt: skip
    s, _ = net.neuron(net.linear(x, "fc1", rng.normal(size=(4, 6))), "lif1", made, **attrs)
    s, _ = net.neuron(net.linear(s, "fc2", rng.normal(size=(6, 3))), "lif2", None)
    net.output(s)
    return net.train()


def scans(module: Module, layer: str) -> list[Op]:
    return [o for o in module.walk() if o.name == "phase.scan" and o.attrs.get("layer") == layer]


def ew_names(op: Op) -> list[str]:
    return [o.name for o in op.regions[0].ops]


@pytest.mark.parametrize("delay", [False, True])
@pytest.mark.parametrize("gradient", ["attached", "detached"])
def test_one_sequence_is_saved_per_layer(gradient: str, delay: bool) -> None:
    """The membrane before the reset; where spikes before it matter too, the carried membrane."""
    module = phased(network(reset_gradient=gradient, delay=delay))
    forward, backward = scans(module, "lif1")
    assert len(forward.results) == 1 + 1 + 1  # final state, spikes, saved
    assert backward.attrs["reverse"] is True
    assert backward.int_attr("carried") == 1


def test_spikes_of_an_undelayed_reset_are_recomputed_not_read() -> None:
    module = phased(network(reset="hard", reset_gradient="attached"))
    _, backward = scans(module, "lif1")
    assert "ew.gt" in ew_names(backward)
    assert all(v.type.dtype != "bit" for v in backward.operands)


def test_a_learned_decay_needs_the_carried_membrane() -> None:
    module = phased(network(("beta",), beta=0.9))
    forward, backward = scans(module, "lif1")
    assert len(forward.results) == 1 + 1 + 1
    assert "grad/beta" in {o.str_attr("name", "") for o in module.walk()}
    assert backward.int_attr("carried") == 2  # dv, and the f32 sum of the decay's gradient


def test_frozen_parameters_get_nothing() -> None:
    module = network()
    for op in module.walk():
        if op.attrs.get("name") == "fc1.weight":
            op.attrs["train"] = False
    step = phased(module)
    names = {o.str_attr("name") for o in step.walk() if o.name == "phase.output"}
    assert names == {"out/out", "logits", "loss", "grad/fc2.weight"}
    assert len(scans(step, "lif1")) == 1, "nothing to differentiate below"


def test_no_training_only_leaves_forward_ops() -> None:
    module = network()
    module.attrs["training"] = {"mode": "infer"}
    step = phased(module)
    assert {o.str_attr("phase") for o in step.func("step").body.ops} == {"fp"}
    assert [a.name for a in step.func("step").body.args] == ["x"]


def test_everything_is_a_micro_operation_at_the_end() -> None:
    for name, module in stages(network(compare="multi", reset_gradient="detached")):
        names = {o.name for o in module.walk()}
        if name == "legalize-ew":
            assert not names & {"ew.spike", "ew.stop_gradient", "phase.batchnorm"}
        if name == "split-forward":
            assert names >= {"ew.spike", "ew.stop_gradient"}


def test_phases_and_layers_are_marked() -> None:
    step = phased(network())
    ops = step.func("step").body.ops
    assert all(isinstance(o.attrs.get("phase"), str) for o in ops)
    phase = {o.name: o.attrs["phase"] for o in ops}
    assert phase["phase.linear_dx"] == "bp"
    assert phase["phase.linear_dw"] == "wg"
    assert {o.str_attr("layer") for o in ops if o.name == "phase.linear_dw"} == {"fc1", "fc2"}


def test_an_unknown_readout_is_an_error_of_the_user() -> None:
    module = network()
    training = module.attrs["training"]
    assert isinstance(training, dict)
    training["readout"] = {"output": "spk", "reduce": "sum"}
    with pytest.raises(CompileError, match="no output 'spk'"):
        phased(module)


def numpy_bptt(p: dict[str, Any], x: Any, y: Any, delay: bool, attached: bool) -> dict[str, Any]:
    """Two leaky layers with subtracting reset, atan surrogate, spike-count readout: by hand."""
    beta, theta, alpha = 0.9, 1.0, 2.0

    def layer(current: Any) -> tuple[Any, Any]:
        v, r = np.zeros_like(current[0]), np.zeros_like(current[0])
        hs: list[Any] = []
        ss: list[Any] = []
        for c in current:
            h = beta * v + c - (r * theta if delay else 0)
            s = (h > theta) * 1.0
            v, r = (h, s) if delay else (h - s * theta, r)
            hs.append(h)
            ss.append(s)
        return np.stack(hs), np.stack(ss)

    def slope(h: Any) -> Any:
        return alpha / 2 / (1 + (math.pi / 2 * alpha * (h - theta)) ** 2)

    def back(hs: Any, gs: Any) -> Any:
        out = np.zeros_like(hs)
        dh = np.zeros_like(hs[0])  # adjoint of h at t + 1
        for t in reversed(range(len(hs))):
            dv = beta * dh
            ds = gs[t] + 0.0
            if attached:
                ds = ds - theta * (dh if delay else dv)
            dh = dv + ds * slope(hs[t])
            out[t] = dh
        return out

    h1, s1 = layer(x @ p["w1"])
    h2, s2 = layer(s1 @ p["w2"])
    z = s2.sum(0)
    e = np.exp(z - z.max(1, keepdims=True))
    q: Any = np.asarray(e / e.sum(1, keepdims=True), np.float64)
    own: Any = q[np.arange(len(y)), y]
    loss = -float(np.log(own).mean())
    q[np.arange(len(y)), y] -= 1
    g2 = back(h2, np.broadcast_to(q / len(y), h2.shape))
    g1 = back(h1, g2 @ p["w2"].T)
    return {
        "loss": loss,
        "grad/fc1.weight": np.einsum("tbi,tbo->io", x, g1),
        "grad/fc2.weight": np.einsum("tbi,tbo->io", s1, g2),
    }


@pytest.mark.parametrize(("delay", "attached"), list(itertools.product((False, True), repeat=2)))
def test_against_a_derivation_by_hand(delay: bool, attached: bool) -> None:
    module = network(delay=delay, reset_gradient="attached" if attached else "detached")
    second = [o for o in module.walk() if o.name == "graph.neuron"][1]
    second.attrs.update(delay=delay, reset_gradient="attached" if attached else "detached")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(5, 3, 4)) * 2, rng.integers(0, 3, 3)
    p = {k: np.float64(module.resources[f"fc{k[1]}.weight"]) for k in ("w1", "w2")}
    want = numpy_bptt(p, x, y, delay, attached)
    found = evaluate(phased(module), "step", {"x": x, "y": y}, "float64")
    for key, value in want.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-12, err_msg=key)


def test_finite_differences_of_a_smooth_network() -> None:
    """Leaky integrators and a smooth activation have true derivatives."""
    rng = np.random.default_rng(2)
    net = Net(4, 2)
    h = net.linear(net.input((3,)), "fc1", rng.normal(size=(3, 5)), rng.normal(size=5))
    beta = net.param("beta", rng.uniform(0.3, 0.9, 5), "beta")
    v, _ = net.neuron(h, "li", {"beta": beta}, compare="none", synapse="before", a_syn=0.5)
    h = net.b.one("graph.unary", v, fn="tanh")
    net.output(net.linear(h, "fc2", rng.normal(size=(5, 3))))
    step = phased(net.train(reduce="mean"))
    inputs = {"x": rng.normal(size=(4, 2, 3)), "y": rng.integers(0, 3, 2)}
    found = evaluate(step, "step", inputs, "float64")
    for name in ("fc1.weight", "fc1.bias", "beta", "fc2.weight"):
        start: Any = np.asarray(step.resources[name], np.float64)
        for index in np.ndindex(*start.shape):
            values: list[float] = []
            for sign in (1, -1):
                moved = start.copy()
                moved[index] += sign * 1e-5
                out = evaluate(step, "step", inputs, "float64", state={name: moved})
                values.append(float(out["loss"]))
            numeric = (values[0] - values[1]) / 2e-5
            assert found[f"grad/{name}"][index] == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_training_in_binary16_learns() -> None:
    rng = np.random.default_rng(3)
    net = Net(6, 16)
    s, _ = net.neuron(net.linear(net.input((8,)), "fc1", rng.normal(size=(8, 20)) * 0.5), "l1")
    s, _ = net.neuron(net.linear(s, "fc2", rng.normal(size=(20, 3)) * 0.5), "l2")
    net.output(s)
    step = phased(net.train(scale=64.0, optimizer={"name": "adam", "lr": 0.02}))
    y = rng.integers(0, 3, 16)
    x = rng.normal(size=(6, 16, 8)) * 0.3 + np.eye(3, 8)[y] * 1.5
    state: dict[str, Any] = {}
    losses: list[float] = []
    for _ in range(30):
        found = evaluate(step, "step", {"x": x, "y": y}, "fp16", state=state)
        state = {
            k.partition("/")[2]: v for k, v in found.items() if k.startswith(("param/", "state/"))
        }
        losses.append(float(found["loss"]))
    assert losses[-1] < 0.3 * losses[0]
