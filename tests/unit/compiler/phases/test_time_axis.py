"""Ops on whole sequences, parameters of each step: values and gradients against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lowered import phased
from pytorch_results import Arrays, PyTorch, with_gradients
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Value
from strategies_networks import Net

T, B, N = 4, 2, 3
Build = Callable[[Net, Value, dict[str, Any]], Value]
"""From a tensor [T, B, N] to one of that shape."""
Same = Callable[[Any, Any, dict[str, Any]], Any]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray[Any, Any]:
    """Draw numbers that binary32 holds, as parameters are stored."""
    return rng.normal(size=shape).astype(np.float32).astype(np.float64)


def turned(net: Net, x: Value, inner: Callable[[Value], Value]) -> Value:
    """Apply an op to [B, N, T]."""
    y = inner(net.b.one("graph.transpose", x, perm=(1, 2, 0)))
    return net.b.one("graph.transpose", y, perm=(2, 0, 1))


def convolution(net: Net, x: Value, p: dict[str, Any]) -> Value:
    w = net.param("w", p["w"])
    return turned(net, x, lambda v: net.b.op(
        "graph.conv", v, w, attrs={"rank": 1, "padding": (2, 0)}).result)  # fmt: skip


def pooling(net: Net, x: Value, p: dict[str, Any]) -> Value:
    y = net.b.one("graph.mul", x, net.param("w", p["w"]))
    return turned(net, y, lambda v: net.b.one(
        "graph.pool", v, kind="max", kernel=(3,), stride=(1,), padding=(1, 1)))  # fmt: skip


def matrix(net: Net, x: Value, p: dict[str, Any]) -> Value:
    flat = net.b.one("graph.reshape", x, shape=(T, B * N))
    y = net.b.one("graph.matmul", net.param("w", p["w"]), flat)
    return net.b.one("graph.reshape", y, shape=(T, B, N))


def backwards(net: Net, x: Value, p: dict[str, Any]) -> Value:
    y = net.b.one("graph.mul", x, net.param("w", p["w"]))
    rows = [net.b.one("graph.slice", y, starts=(t, 0, 0), ends=(t + 1, B, N))
            for t in reversed(range(T))]  # fmt: skip
    return net.b.one("graph.concat", *rows, axis=0)


def softmax(net: Net, x: Value, p: dict[str, Any]) -> Value:
    return net.b.one("graph.softmax", net.b.one("graph.mul", x, net.param("w", p["w"])), axis=0)


CASES: dict[str, tuple[tuple[int, ...], Build, Same]] = {
    "convolution": ((N, N, 3), convolution, lambda torch, x, p: torch.nn.functional.conv1d(
        torch.nn.functional.pad(x.permute(1, 2, 0), (2, 0)), p["w"]).permute(2, 0, 1)),
    "pooling": ((N,), pooling, lambda torch, x, p: torch.nn.functional.max_pool1d(
        (x * p["w"]).permute(1, 2, 0), 3, 1, 1).permute(2, 0, 1)),
    "matrix": ((T, T), matrix, lambda torch, x, p: (p["w"] @ x.reshape(T, -1)).reshape(x.shape)),
    "backwards": ((N,), backwards, lambda torch, x, p: (x * p["w"]).flip(0)),
    "softmax": ((N,), softmax, lambda torch, x, p: (x * p["w"]).softmax(0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_whole_sequence_between_recurrences(case: str, pytorch: PyTorch) -> None:
    """A leaky sum, the op, another leaky sum: gradients flow through all steps of all three."""
    shape, build, same = CASES[case]
    rng = np.random.default_rng(3)
    x, head = rng.normal(size=(T, B, N)), normal(rng, N, 5)
    first, w = normal(rng, N, N), normal(rng, *shape)
    y = rng.integers(0, 5, B)
    net = Net(T, B)
    before, _ = net.neuron(net.linear(net.input((N,)), "fc", first), "li", compare="none")
    whole = build(net, net.b.one("graph.time_to_axis", before), {"w": w})
    after, _ = net.neuron(net.b.one("graph.axis_to_time", whole), "li2", compare="none")
    net.output(net.linear(after, "head", head))
    module = net.train(reduce="mean")
    found = evaluate(phased(module), "step", {"x": x, "y": y}, "float64")

    def autograd(torch: Any) -> Arrays:
        leaves = {"fc.weight": first, "w": w, "head.weight": head}
        t = {k: torch.tensor(v, requires_grad=True) for k, v in leaves.items()}

        def leaky(rows: Any) -> Any:
            v = torch.zeros_like(rows[0])
            out: list[Any] = []
            for row in rows:
                v = 0.9 * v + row
                out.append(v)
            return torch.stack(out)

        z = leaky(same(torch, leaky(torch.tensor(x) @ t["fc.weight"]), t))
        loss = torch.nn.functional.cross_entropy((z @ t["head.weight"]).mean(0), torch.tensor(y))
        return with_gradients(loss, t)

    want = pytorch({"x": x, "y": y, "w": w, "first": first, "head": head}, autograd)
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_one_normalisation_for_each_step(statistics: str, pytorch: PyTorch) -> None:
    rng = np.random.default_rng(4)
    x, head, y = rng.normal(size=(T, 5, N)), normal(rng, N, 4), rng.integers(0, 4, 5)
    roles = ("scale", "shift", "mean", "var")
    own = {f"{k}{t}": abs(normal(rng, N)) + 0.5 for t in range(T) for k in roles}
    net = Net(T, 5)
    b = net.b
    sequences: list[Value] = []
    for role in roles:
        each = [net.param(f"{role}{t}", own[f"{role}{t}"], role, role in roles[:2])
                for t in range(T)]  # fmt: skip
        rows = [b.one("graph.reshape", v, shape=(1, N)) for v in each]
        sequences.append(b.one("graph.axis_to_time", b.one("graph.concat", *rows, axis=0)))
    attrs: dict[str, Any] = {"eps": 1e-5, "axis": 1, "per_step": True, "momentum": 0.1}
    centred = b.op("graph.batchnorm", net.input((N,)), *sequences, attrs=attrs).result
    net.output(net.linear(centred, "head", head))
    sgd: dict[str, Any] = {"name": "sgd", "lr": 0.1}
    module = net.train(reduce="sum", optimizer=sgd, batchnorm={"statistics": statistics})
    found = evaluate(phased(module), "step", {"x": x, "y": y}, "float64")

    def autograd(torch: Any) -> Arrays:
        t = {k: torch.tensor(v, requires_grad=k[:2] in ("sc", "sh")) for k, v in own.items()}
        th = torch.tensor(head, requires_grad=True)
        total: Any = 0
        for step in range(T):
            total = total + torch.nn.functional.batch_norm(
                torch.tensor(x[step]), t[f"mean{step}"], t[f"var{step}"], t[f"scale{step}"],
                t[f"shift{step}"], training=statistics == "batch", momentum=0.1,
            ) @ th  # fmt: skip
        loss = torch.nn.functional.cross_entropy(total, torch.tensor(y))
        leaves = {k: v for k, v in t.items() if v.requires_grad}
        moved = {f"param/{k}": v for k, v in t.items() if not v.requires_grad}
        graded = with_gradients(loss, {**leaves, "head.weight": th})
        return {**graded, **(moved if statistics == "batch" else {})}

    want = pytorch({"x": x, "y": y, "head": head, **own}, autograd)
    assert sum(name.startswith("grad/") for name in want) == 2 * T + 1
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-8, err_msg=name)
    assert ("param/mean0" in found) == (statistics == "batch")
