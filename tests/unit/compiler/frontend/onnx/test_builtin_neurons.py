"""Neuron functions without a body, of ai.snncc and SpikingJelly: their formulas, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import Graph, load, run_module

Array = np.ndarray[Any, Any]
T, B, N = 6, 2, 5
X = np.random.default_rng(4).uniform(-0.5, 1.8, size=(T, B, N)).astype(np.float32)
START = np.full((B, N), 0.3, np.float32)
JELLY = "ai.snncc.spikingjelly"


def after(kind: str, h: Array, s: Array, theta: float, rest: float) -> Array:
    """Return the membrane after a spike."""
    if kind in ("subtract", "soft"):
        return h - theta * s
    return h if kind == "none" else np.where(s > 0, rest, h)


def leaky(x: Array, v: Array, at: dict[str, Any]) -> tuple[Array, Array]:
    """One step of ai.snncc's LIF."""
    theta = at.get("threshold", 1.0)
    h = at.get("beta", 0.9) * v + x
    s = (h > theta if at.get("compare") == "gt" else h >= theta) * 1.0
    return s, after(at.get("reset", "subtract"), h, s, theta, at.get("v_reset", 0.0))


def jelly(
    x: Array, v: Array, at: dict[str, Any], op: str, rate: float | None
) -> tuple[Array, Array]:
    """One step of SpikingJelly's IF, LIF and PLIF."""
    theta, kind = at.get("v_threshold", 1.0), at.get("reset", "hard")
    rest = at.get("v_reset", 0.0) if kind == "hard" else 0.0
    leak = 1 / at.get("tau", 2.0) if rate is None else rate
    if op == "IF":
        h = v + x
    elif at.get("decay_input", 1):
        h = v + (x - (v - rest)) * leak
    else:
        h = v - (v - rest) * leak + x
    s = (h >= theta) * 1.0
    return s, after(kind, h, s, theta, rest)


def imported(
    folder: Path, op: str, domain: str, at: dict[str, Any], *more: Array
) -> dict[str, Array]:
    """Save a file of one node and run its import."""
    g = Graph()
    g.op(op, "x", *(g.const(m) for m in more), out="out", domain=domain, **at)
    path = g.save(folder / "m.onnx", {"x": [T, B, N]}, {"out": [T, B, N]})
    return run_module(load(path, steps=T, time_axis=0), X)


LEAKY: list[dict[str, Any]] = [
    {}, {"beta": 0.5, "threshold": 0.75}, {"reset": "zero"}, {"reset": "zero", "v_reset": 0.25},
    {"reset": "none", "beta": 0.25}, {"compare": "gt", "threshold": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("given", [(), (START,)])
@pytest.mark.parametrize("at", LEAKY, ids=str)
def test_leaky_neurons_of_snncc(
    at: dict[str, Any], given: tuple[Array, ...], tmp_path: Path
) -> None:
    v: Array = given[0] if given else np.zeros((B, N))
    spikes = np.zeros(X.shape)
    for t, x in enumerate(X.astype(np.float64)):
        spikes[t], v = leaky(x, v, at)
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(imported(tmp_path, "LIF", "ai.snncc", at, *given)["out"], spikes)


JELLIES: list[tuple[str, dict[str, Any]]] = [
    ("IF", {}), ("IF", {"reset": "soft", "v_threshold": 0.5}), ("IF", {"v_reset": 0.2}),
    ("LIF", {"v_threshold": 0.5}), ("LIF", {"tau": 4.0, "v_threshold": 0.25}),
    ("LIF", {"decay_input": 0, "v_threshold": 0.75}),
    ("LIF", {"decay_input": 0, "v_reset": -0.2, "tau": 1.5}),
    ("LIF", {"v_reset": 0.2, "v_threshold": 0.6}), ("LIF", {"reset": "soft", "v_threshold": 0.5}),
    ("PLIF", {"v_threshold": 0.5}), ("PLIF", {"decay_input": 0, "v_threshold": 0.75}),
]  # fmt: skip


@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize(("op", "at"), JELLIES, ids=str)
def test_neurons_of_spikingjelly(op: str, at: dict[str, Any], inputs: int, tmp_path: Path) -> None:
    """Sequence, first membrane, and the parameter of PLIF whose sigmoid is the rate."""
    weight = np.array(-0.4, np.float32)
    given = (START, weight)[: inputs - 1]
    rate = 1 / (1 + np.exp(0.4)) if op == "PLIF" and inputs == 3 else None
    v: Array = START if given else np.zeros((B, N))
    spikes = np.zeros(X.shape)
    for t, x in enumerate(X.astype(np.float64)):
        spikes[t], v = jelly(x, v, at, op, rate)
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(imported(tmp_path, op, JELLY, at, *given)["out"], spikes)
