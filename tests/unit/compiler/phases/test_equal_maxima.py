"""The gradient of a maximum of which several entries are the largest, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowered import phased
from snncc.compiler.config.config import Config, parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Attribute, Module
from snncc.compiler.passes.graph.configure import configure
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import PassManager
from snncc.compiler.pipeline.plan import plan
from strategies_networks import Net

T, B = 2, 1
X = np.array([[[[1, 3, 3], [0, 0, 0]]], [[[2, 1, 2], [5, 4, 5]]]], np.float64)  # [T, B, 2, 3]
EVEN = np.array([[[[0, 0.5, 0.5], [1 / 3] * 3]], [[[0.5, 0, 0.5], [0.5, 0, 0.5]]]])
FIRST = np.array([[[[0, 1, 0], [1, 0, 0]]], [[[1, 0, 0], [1, 0, 0]]]], np.float64)


def config(mode: str, reduce: str = "sum") -> Config:
    """Return a configuration: the loss is the squared error of a readout over time."""
    loss = f'[loss]\nname = "mse"\nscale = 1.0\n[readout]\nreduce = "{reduce}"\n'
    return parse_config(f'[gradient]\nmaximum = "{mode}"\n{loss}')


def weights_of(module: Module, mode: str, name: str = "grad/b") -> np.ndarray[Any, Any]:
    """Return dL/db where L is the squared error, divided by that of the maxima it sums."""
    configure(module, config(mode))
    found = evaluate(phased(module), "step", {"x": X, "y": np.array([0])}, "float64")
    logits = np.asarray(found["logits"])
    d = 2 * (logits - np.eye(logits.shape[1])[[0]]) / logits.size
    return np.asarray(found[name]) / d.reshape(-1, 1)


def reduced(**attrs: Attribute) -> Module:
    net = Net(T, B)
    b = net.param("b", np.zeros((2, 3)), "bias")
    y = net.b.one("graph.add", net.input((2, 3)), b)
    net.output(net.b.op("graph.reduce", y, attrs={"kind": "max", **attrs}).result)
    return net.module


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("mode", "expected"), [("even", EVEN), ("first", FIRST)])
def test_along_one_axis(mode: str, expected: np.ndarray[Any, Any], keepdims: bool) -> None:
    found = weights_of(reduced(axes=(2,), keepdims=keepdims), mode)
    np.testing.assert_allclose(found, expected.sum((0, 1)), rtol=1e-9)


def test_several_axes_share() -> None:
    """Maxima 3 (twice) and 5 (twice), each half of the gradient of its step."""
    net = Net(T, B)
    b = net.param("b", np.zeros((2, 3)), "bias")
    y = net.b.one("graph.add", net.input((2, 3)), b)
    y = net.b.op("graph.reduce", y, attrs={"kind": "max", "axes": (1, 2)}).result
    net.output(net.b.one("graph.reshape", y, shape=(B, 1)))
    for mode in ("even", "first"):
        found = weights_of(net.module, mode)
        np.testing.assert_allclose(found, [[0, 0.5, 0.5], [0.5, 0, 0.5]], rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 5, 9, 33])
def test_the_first_of_many(size: int) -> None:
    """Whatever the length: one entry, the first of the largest, has all of the gradient."""
    x = np.random.default_rng(size).integers(0, 2, (T, B, 1, size)).astype(np.float64)
    net = Net(T, B)
    y = net.b.one("graph.add", net.input((1, size)), net.param("b", np.zeros((1, size)), "bias"))
    net.output(net.b.op("graph.reduce", y, attrs={"kind": "max", "axes": (2,)}).result)
    configure(net.module, config("first"))
    found = evaluate(phased(net.module), "step", {"x": x, "y": np.array([0])}, "float64")
    expected = np.zeros(size)
    for t in range(T):
        expected[int(np.argmax(x[t, 0, 0]))] += 2 * (float(np.asarray(found["logits"])[0, 0]) - 1)
    np.testing.assert_allclose(np.asarray(found["grad/b"])[0], expected, rtol=1e-9)


@pytest.mark.parametrize(("mode", "slope"), [("even", 1.5), ("first", 1.0)])
def test_over_time(mode: str, slope: float) -> None:
    """w*x + z is 3 at both steps, with x = 1 and then 2: dw is 1, or their mean."""
    net = Net(T, B)
    both = net.input((2,))
    x = net.b.one("graph.slice", both, starts=(0, 0), ends=(B, 1))
    z = net.b.one("graph.slice", both, starts=(0, 1), ends=(B, 2))
    y = net.b.one("graph.add", net.b.one("graph.mul", x, net.param("w", [1.0], "scale")), z)
    net.output(net.b.op("graph.reduce_time", y, attrs={"kind": "max"}).result)
    configure(net.module, config(mode, "none"))
    data = np.array([[[1.0, 2.0]], [[2.0, 1.0]]])
    found = evaluate(phased(net.module), "step", {"x": data, "y": np.array([0])}, "float64")
    np.testing.assert_allclose(np.asarray(found["grad/w"]), [2 * (3 - 1) * slope], rtol=1e-9)


def test_two_equal_operands_have_half_each() -> None:
    net = Net(T, B)
    a, b = net.param("a", np.zeros(3), "bias"), net.param("b", np.zeros(3), "bias")
    x = net.b.one("graph.reduce", net.input((2, 3)), kind="sum", axes=(1,))
    y = net.b.one("graph.max", net.b.one("graph.add", x, a), net.b.one("graph.add", x, b))
    net.output(y)
    configure(net.module, config("even"))
    found = evaluate(phased(net.module), "step", {"x": X, "y": np.array([0])}, "float64")
    d = 2 * (np.asarray(found["logits"])[0] - [1, 0, 0]) / 3
    np.testing.assert_allclose(np.asarray(found["grad/a"]), d * T / 2, rtol=1e-9)
    np.testing.assert_allclose(np.asarray(found["grad/b"]), d * T / 2, rtol=1e-9)


def test_the_readout_takes_the_first() -> None:
    """``[readout] reduce = "max"`` is torch's ``max(0)``, whatever the key says."""
    net = Net(T, B)
    x = net.b.one("graph.reshape", net.input((2, 3)), shape=(B, 6))
    net.output(net.b.one("graph.mul", x, net.param("w", np.ones(6), "scale")))
    configure(net.module, config("even", "max"))
    data = np.array([[[[1, 1, 1], [1, 1, 1]]], [[[1, 1, 1], [1, 1, 1]]]], np.float64)
    step = phased(net.module)
    assert [op for op in step.walk() if op.name == "phase.argmax_time"]
    found = evaluate(step, "step", {"x": data, "y": np.array([0])}, "float64")
    d = 2 * (np.asarray(found["logits"])[0] - np.eye(6)[0]) / 6
    np.testing.assert_allclose(np.asarray(found["grad/w"]), d, rtol=1e-9)


def spikes() -> Module:
    net = Net(T, B)
    s, _ = net.neuron(net.linear(net.input((4,)), "fc", np.ones((4, 6))), "lif")
    s = net.b.one("graph.reshape", s, shape=(B, 2, 3))
    net.output(net.b.op("graph.reduce", s, attrs={"kind": "max", "axes": (2,)}).result)
    return net.module


@pytest.mark.parametrize(
    ("text", "warned"), [("", True), ('[gradient]\nmaximum = "even"\n', False)]
)
def test_a_maximum_of_spikes_is_told(text: str, warned: bool) -> None:
    context = PassContext(config=parse_config(text))
    PassManager(plan("configure", "graph"), context).run(spikes())
    assert ("E0377" in [w.code for w in context.diagnostics.warnings]) is warned


def test_other_words_are_no_value() -> None:
    with pytest.raises(CompileError) as caught:
        parse_config('[gradient]\nmaximum = "all"\n')
    assert caught.value.diagnostics[0].code == "E0352"
