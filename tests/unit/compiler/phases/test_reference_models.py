"""Hand-built graphs of reference models: outputs, loss and gradients of the frameworks."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowered import phased
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Attribute, Value
from strategies_networks import Net

pytestmark = pytest.mark.needs_corpus

Params = Mapping[str, Any]
ATAN: dict[str, Attribute] = {"name": "atan", "alpha": 2.0}
FAST: dict[str, Attribute] = {"name": "fast_sigmoid", "slope": 25.0}
SUPER: dict[str, Attribute] = {"name": "super_spike"}
EXP: dict[str, Attribute] = {"name": "exponential", "width": 0.5, "scale": 1.0}
SNN: dict[str, Attribute] = {"delay": True, "surrogate": ATAN}
NORSE: dict[str, Attribute] = {
    "dynamics": "decay_input", "rate": 0.1, "synapse": "after", "a_syn": 0.8, "reset": "hard",
    "reset_gradient": "attached", "surrogate": SUPER,
}  # fmt: skip
SINABS: dict[str, Attribute] = {
    "compare": "multi", "reset": "subtract", "reset_gradient": "attached", "surrogate": EXP,
    "norm_input": True, "beta": math.exp(-1 / 20),
}  # fmt: skip


def _dense(net: Net, x: Value, name: str, p: Params) -> Value:
    bias = p.get(f"param/{name}.bias")
    return net.linear(x, name, p[f"param/{name}.weight"].T, bias)


def _mlp(static: bool, layers: tuple[str, str], **attrs: Attribute) -> Callable[..., None]:
    def build(net: Net, p: Params) -> None:
        x = net.input(p["x"].shape[1:] if static else p["x"].shape[2:], static=static)
        s, _ = net.neuron(_dense(net, x, layers[0], p), "lif1", None, **attrs)
        s, v = net.neuron(_dense(net, s, layers[1], p), "lif2", None, **attrs)
        net.output(s, "spk")
        net.output(v, "mem")

    return build


def _learn(net: Net, p: Params) -> None:
    x = net.input((784,), static=True)
    for i in ("1", "2"):
        constants = {
            k: net.param(f"lif{i}.{k}", p[f"param/lif{i}.{k}"], k) for k in ("beta", "threshold")
        }
        x, v = net.neuron(_dense(net, x, f"fc{i}", p), f"lif{i}", constants, **SNN)
        if i == "2":
            net.output(x, "spk")
            net.output(v, "mem")


def _leaky_recurrent(net: Net, p: Params) -> None:
    current = _dense(net, net.input((64,)), "fc1", p)
    back = net.b.one("graph.delay", state="s", shape=(4, 100), dtype="bit", steps=net.steps)
    total = net.b.one("graph.add", current, _dense(net, back, "lif1.recurrent", p))
    s, _ = net.neuron(total, "lif1", None, beta=0.9, **SNN)
    net.b.op("graph.delay_next", s, state="s")
    s, _ = net.neuron(_dense(net, s, "fc2", p), "lif2", None, beta=0.9, **SNN)
    net.output(s, "spk")


def _norse_recurrent(net: Net, p: Params) -> None:
    """LIFRecurrentCell uses the spikes of the step before; no self-connections."""
    detached: dict[str, Attribute] = {**NORSE, "reset_gradient": "detached"}
    current = net.linear(net.input((32,)), "rec.in", p["param/rec.input_weights"].T)
    back = net.b.one("graph.delay", state="s", shape=(4, 40), dtype="bit", steps=net.steps)
    w = p["param/rec.recurrent_weights"].T * (1 - np.eye(40))
    total = net.b.one("graph.add", current, net.linear(back, "rec.rec", w))
    s, _ = net.neuron(total, "rec", None, **detached)
    net.b.op("graph.delay_next", s, state="s")
    out = net.linear(s, "out", p["param/out.input_weights"].T)
    lin = {k: v for k, v in NORSE.items() if k in ("dynamics", "rate", "synapse", "a_syn")}
    v, _ = net.neuron(out, "li", None, compare="none", **lin)
    net.output(v, "v")


def _norse_box(net: Net, p: Params) -> None:
    box: dict[str, Attribute] = {**NORSE, "synapse": "none", "threshold": 0.3}
    s, _ = net.neuron(_dense(net, net.input((64,)), "0", p), "1", None, **box)
    v, _ = net.neuron(_dense(net, s, "2", p), "3", None, compare="none", **NORSE)
    net.output(v, "v")


def _sinabs(net: Net, p: Params) -> None:
    s, _ = net.neuron(_dense(net, net.input((64,)), "0", p), "1", None, **SINABS)
    leak: dict[str, Attribute] = {"beta": math.exp(-1 / 10)}
    v, _ = net.neuron(_dense(net, s, "2", p), "3", None, compare="none", **leak)
    net.output(v, "spk")


def _conv(net: Net, p: Params) -> None:
    attrs: dict[str, Attribute] = {"beta": 0.5, "delay": True, "surrogate": FAST}
    x = net.input((1, 28, 28), static=True)
    for conv, lif in (("0", "2"), ("3", "5")):
        h = net.conv(x, conv, p[f"param/{conv}.weight"], p[f"param/{conv}.bias"])
        h = net.b.one("graph.pool", h, kind="max", kernel=(2, 2), stride=(2, 2))
        x, _ = net.neuron(h, lif, None, **attrs)
    flat = net.b.one("graph.reshape", x, shape=(net.batch, 1024))
    s, v = net.neuron(_dense(net, flat, "7", p), "8", None, **attrs)
    net.output(s, "spk")
    net.output(v, "mem")


def _jelly(net: Net, p: Params) -> None:
    x = net.b.one("graph.reshape", net.input((1, 28, 28), static=True), shape=(net.batch, 784))
    attrs: dict[str, Attribute] = {
        "dynamics": "decay_input", "tau": 2.0, "compare": "non_strict", "reset": "hard",
        "reset_gradient": "attached", "surrogate": ATAN,
    }  # fmt: skip
    s, _ = net.neuron(_dense(net, x, "1", p), "2", None, **attrs)
    net.output(s, "out")


FC = ("fc1", "fc2")
MODELS: dict[str, tuple[Callable[..., None], str, str]] = {
    "snntorch/mlp_leaky": (_mlp(True, FC, beta=0.95, **SNN), "spk", "sum"),
    "snntorch/mlp_leaky_zero": (_mlp(True, FC, beta=0.95, reset="hard", **SNN), "spk", "sum"),
    "snntorch/mlp_leaky_learn": (_learn, "spk", "sum"),
    "snntorch/mlp_synaptic": (
        _mlp(False, FC, beta=0.8, synapse="before", a_syn=0.9, delay=True, surrogate=FAST),
        "spk", "sum",
    ),
    "snntorch/rnn_rleaky": (_leaky_recurrent, "spk", "sum"),
    "snntorch/csnn": (_conv, "spk", "sum"),
    "norse/mlp_lif": (_mlp(False, ("0", "2"), **NORSE), "spk", "sum"),
    "norse/mlp_lifbox": (_norse_box, "v", "last"),
    "norse/rnn_lifrec": (_norse_recurrent, "v", "max"),
    "sinabs/mlp_lif": (_sinabs, "spk", "mean"),
    "spikingjelly/fc_lif_stepmode_s.train": (_jelly, "out", "mean"),
}  # fmt: skip
RENAMED = {
    "rec.in.weight": "rec.input_weights", "rec.rec.weight": "rec.recurrent_weights",
    "out.weight": "out.input_weights",
}  # fmt: skip


def load(corpus: Path, model: str) -> tuple[Net, dict[str, Any], Any]:
    with np.load(corpus / "onnx" / f"{model}.npz", allow_pickle=False) as file:
        p = {k: file[k] for k in file}
    ref = corpus / "onnx" / f"{model}.ref.json"
    steps = {"spikingjelly/fc_lif_stepmode_s.train": 8}.get(model)
    if steps is None:
        steps = json.loads(ref.read_text())["T"]
    net = Net(steps, p["y"].shape[0])
    MODELS[model][0](net, p)
    x = p["x"]
    if model.startswith("sinabs"):
        x = np.swapaxes(x, 0, 1)  # batch first in the file
        p["out/spk"] = np.swapaxes(p["out/spk"], 0, 1)
    return net, p, x


@pytest.mark.parametrize("model", MODELS)
def test_float32_reproduces_the_framework(model: str, corpus: Path) -> None:
    net, p, x = load(corpus, model)
    _, output, reduce = MODELS[model]
    step = phased(net.train(output=output, reduce=reduce))
    found = evaluate(step, "step", {"x": x, "y": p["y"]}, "float32")
    np.testing.assert_allclose(found["loss"], p["loss"], rtol=1e-5)
    for name in [k for k in found if k.startswith("out/") and k in p]:
        if found[name].dtype == np.bool_:
            np.testing.assert_array_equal(found[name], p[name] > 0, err_msg=name)
        else:
            np.testing.assert_allclose(found[name], p[name], rtol=1e-4, atol=1e-5, err_msg=name)
    _gradients(found, p, "grad/")


@pytest.mark.parametrize("model", ["snntorch/mlp_leaky_zero", "snntorch/csnn"])
def test_loss_per_step_on_the_membrane(model: str, corpus: Path) -> None:
    net, p, x = load(corpus, model)
    step = phased(net.train(output="mem", reduce="per-step"))
    found = evaluate(step, "step", {"x": x, "y": p["y"]}, "float32")
    np.testing.assert_allclose(found["loss"], p["memloss/loss"], rtol=1e-5)
    _gradients(found, p, "memloss/grad/")


def _gradients(found: Mapping[str, Any], p: Params, prefix: str) -> None:
    names = [k.removeprefix("grad/") for k in found if k.startswith("grad/")]
    assert names
    for name in names:
        want = p[prefix + RENAMED.get(name, name)]
        got = found[f"grad/{name}"]
        if got.ndim == 2:
            got = got.T
        if name == "rec.rec.weight":
            got = got * (1 - np.eye(40))
        error = np.linalg.norm(got - want) / max(float(np.linalg.norm(want)), 1e-12)
        assert error < 2e-5, f"{name}: relative error {error}"


def test_binary16_is_close(corpus: Path) -> None:
    net, p, x = load(corpus, "snntorch/mlp_leaky")
    step = phased(net.train(output="spk", scale=256.0))
    found = evaluate(step, "step", {"x": x, "y": p["y"]}, "fp16")
    assert np.mean(found["out/spk"] != (p["out/spk"] > 0)) < 0.01
    for name in ("fc1.weight", "fc2.weight"):
        want, got = p[f"grad/{name}"], found[f"grad/{name}"].T
        cosine = np.sum(want * got) / np.linalg.norm(want) / np.linalg.norm(got)
        assert cosine > 0.999, name
