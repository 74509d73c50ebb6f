"""Layers in a recurrent connection: what is computed there, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowered import phased
from snncc.compiler.diag import CompileError
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Module
from strategies_networks import Net
from whole_stack import check_fitting

T, B, N = 4, 3, 5
ROLES = ("scale", "shift", "mean", "var")


def network(statistics: str) -> tuple[Module, dict[str, Any]]:
    """h[t] = norm(x[t] + h[t-1] @ w)."""
    rng = np.random.default_rng(4)
    arrays: dict[str, Any] = {"x": rng.normal(size=(T, B, N)), "w": rng.normal(size=(N, N)) * 0.5}
    arrays |= {r: rng.uniform(0.5, 1.5, N) for r in ROLES}
    arrays = {k: v.astype(np.float16).astype(np.float64) for k, v in arrays.items()}
    net = Net(T, B)
    x = net.input((N,))
    back = net.b.one("graph.delay", state="h", shape=(B, N), dtype="f16", steps=T)
    total = net.b.one("graph.add", x, net.linear(back, "rec", arrays["w"]))
    parts = [net.param(r, arrays[r], r, train=r in ("scale", "shift")) for r in ROLES]
    h = net.b.one("graph.batchnorm", total, *parts, eps=1e-5, axis=1, momentum=0.1, per_step=True)
    net.b.op("graph.delay_next", h, state="h")
    net.output(h)
    return net.train(batchnorm={"statistics": statistics}), arrays


def test_normalisation_with_running_statistics() -> None:
    module, a = network("running")
    step = phased(module)
    y = np.zeros(B, np.int32)
    found = evaluate(step, "step", {"x": a["x"], "y": y}, "float64")
    h = np.zeros((B, N))
    want: list[Any] = []
    for x in a["x"]:
        h = (x + h @ a["w"] - a["mean"]) / np.sqrt(a["var"] + 1e-5) * a["scale"] + a["shift"]
        want.append(h)
    np.testing.assert_allclose(found["out/out"], np.stack(want), rtol=1e-9)
    check_fitting(step, {"x": a["x"].astype(np.float16), "y": y}, 3, 4096, 0)


def test_gradients_are_finite_differences() -> None:
    module, a = network("running")
    step = phased(module)
    inputs = {"x": a["x"], "y": np.zeros(B, np.int32)}
    found = evaluate(step, "step", inputs, "float64")
    for name in ("rec.weight", "scale", "shift"):
        array = step.resources[name]
        losses: list[float] = []
        for delta in (1e-6, -1e-6):
            moved = array.astype(np.float64)
            moved.reshape(-1)[2] += delta
            step.resources[name] = moved
            losses.append(float(evaluate(step, "step", inputs, "float64")["loss"]))
        step.resources[name] = array
        slope = (losses[0] - losses[1]) / 2e-6
        np.testing.assert_allclose(found[f"grad/{name}"].reshape(-1)[2], slope, rtol=1e-5)


def test_batch_statistics_are_refused() -> None:
    with pytest.raises(CompileError, match="E0375") as caught:
        phased(network("batch")[0])
    assert 'statistics = "running"' in str(caught.value)


def test_a_layer_without_a_step_form_is_refused() -> None:
    net = Net(T, B)
    x = net.input((N,))
    back = net.b.one("graph.delay", state="h", shape=(B, N), dtype="f16", steps=T)
    h = net.b.one("graph.softmax", net.b.one("graph.add", x, back), axis=1)
    net.b.op("graph.delay_next", h, state="h")
    net.output(net.linear(h, "out", np.ones((N, 2))))
    with pytest.raises(CompileError, match="softmax") as caught:
        phased(net.train())
    assert caught.value.diagnostics[0].code == "E0375"
