"""Truth values: questions about spikes, their complements, what is chosen by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx_models import Graph, run_file
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api

T, B, N, K = 4, 2, 6, 3
CONFIG = parse_config(f"timesteps = {T}\ntime_axis = 0\n[readout]\nreduce = 'sum'\n")
Write = Callable[[Graph, str, str], str]


def number(g: Graph, value: float) -> str:
    return g.const(value)


def cast(g: Graph, bit: str) -> str:
    return g.op("Cast", bit, to=1)


def above(g: Graph, v: str, level: float) -> str:
    return g.op("Greater", v, number(g, level))


def complement(g: Graph, s: str) -> str:
    return g.op("Sub", number(g, 1.0), s)


def tenth(g: Graph, v: str) -> str:
    return g.op("Mul", v, number(g, 0.1))


def top(g: Graph, v: str) -> str:
    return g.op("ReduceMax", v, g.const(np.array([1])), keepdims=1)


FORMS: dict[str, Write] = {
    "always": lambda g, v, s: g.op("Where", above(g, s, -0.5), v, tenth(g, v)),
    "never": lambda g, v, s: g.op("Where", above(g, s, 1.5), v, tenth(g, v)),
    "s > 0": lambda g, v, s: g.op("Where", above(g, s, 0.0), v, tenth(g, v)),
    "1-s > 0": lambda g, v, s: g.op("Where", above(g, complement(g, s), 0.5), v, tenth(g, v)),
    "s == 1": lambda g, v, s: cast(g, g.op("Equal", s, number(g, 1.0))),
    "s == 0": lambda g, v, s: cast(g, g.op("Equal", s, number(g, 0.0))),
    "s == 2": lambda g, v, s: g.op("Add", v, cast(g, g.op("Equal", s, number(g, 2.0)))),
    "not s, and": lambda g, v, s: cast(
        g, g.op("And", above(g, complement(g, s), 0.5), above(g, v, -0.4))
    ),
    "neither": lambda g, v, s: cast(
        g, g.op("And", g.op("Not", above(g, v, 0.4)), g.op("Not", above(g, v, 0.1)))
    ),
    "not s, or": lambda g, v, s: cast(
        g, g.op("Or", g.op("Less", s, number(g, 0.5)), above(g, v, 0.9))
    ),
    "between": lambda g, v, s: g.op(
        "Where", g.op("And", above(g, v, 0.1), g.op("Not", above(g, v, 0.9))), v, tenth(g, v)
    ),
    "not the greatest": lambda g, v, s: cast(g, g.op("Not", g.op("Equal", v, top(g, v)))),
    "half of the greatest": lambda g, v, s: g.op(
        "Where", g.op("GreaterOrEqual", v, g.op("Mul", top(g, v), number(g, 0.5))), v, tenth(g, v)
    ),
}  # fmt: skip


def network(path: Path, write: Write) -> Path:
    """A layer of leaky neurons; what ``write`` makes of membrane and spikes; a layer."""
    g, rng = Graph(), np.random.default_rng(0)
    h = g.op("MatMul", "x", g.const(rng.normal(size=(N, N)).astype(np.float32), "w.weight"))
    state, rows = "", list[str]()
    for t in range(T):
        v = g.op("Gather", h, g.const(np.array(t)), axis=0)
        if state:
            v = g.op("Add", g.op("Mul", state, number(g, 0.7)), v)
        s = cast(g, above(g, v, 0.3))
        rows.append(g.op("Unsqueeze", write(g, v, s), g.const(np.array([0]))))
        state = g.op("Sub", v, g.op("Mul", s, number(g, 0.3)))
    weight = g.const(rng.normal(size=(N, K)).astype(np.float32), "v.weight")
    g.op("MatMul", g.op("Concat", *rows, axis=0), weight, out="out")
    return g.save(path, {"x": [T, B, N]}, {"out": [T, B, K]}, opset=20)


@pytest.mark.parametrize("name", FORMS)
def test_values_and_gradients_are_the_files(name: str, tmp_path: Path) -> None:
    path = network(tmp_path / "m.onnx", FORMS[name])
    x = np.random.default_rng(1).normal(size=(T, B, N)).astype(np.float32)
    model = api.load(path, config=CONFIG)
    assert model.verdict.validated
    assert not model.verdict.other_gradients
    want = run_file(path, x)["out"]
    found = api.run(model, x, np.arange(B) % K, numerics="float32")["out/out"]
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_one_of_two_is_refused(tmp_path: Path) -> None:
    path = network(
        tmp_path / "m.onnx",
        lambda g, v, s: cast(g, g.op("Xor", above(g, v, 0.1), above(g, v, 0.5))),
    )
    with pytest.raises(CompileError) as caught:
        api.load(path, config=CONFIG)
    assert caught.value.diagnostics[0].code == "E0104"
