"""Operators that mix the steps of a sequence: the import computes what onnxruntime computes.

The operator stands before, between and behind recurrences, on a time axis at any place, and on one
that samples share with steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from onnx_models import Graph, agree, load, neurons, run_file, run_module
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.ir.core import Module
from snncc.compiler.passes.graph.configure import configure
from snncc.compiler.validate.onnx.check import check_onnx

T, B, N = 4, 2, 3
RNG = np.random.default_rng(0)
W = RNG.normal(size=(N, N)).astype(np.float32)
TIME = RNG.normal(size=(T, T)).astype(np.float32)
LONG = 10**9
Operator = Callable[[Graph, str], str]
"""Writes an operator on a value; returns its result, of the same shape."""


def ints(g: Graph, *values: int) -> str:
    return g.const(np.array(values, np.int64))


def leaky(g: Graph, current: str, state: str) -> tuple[str, str]:
    """One step: spikes and the membrane after the reset."""
    h = g.op("Add", g.op("Mul", state, g.const(0.75)), current)
    s = g.op("Cast", g.op("Greater", h, g.const(1.0)), to=TensorProto.FLOAT)
    return s, g.op("Sub", h, s)


def layer(g: Graph, sequence: str, axis: int = 0) -> str:
    """Leaky neurons, unrolled over an axis of a sequence: spikes [T, B, N]."""
    state = g.const(np.zeros((B, N), np.float32))
    rows: list[str] = []
    for t in range(T):
        current = g.op("Gather", sequence, g.const(np.array(t, np.int64)), axis=axis)
        s, state = leaky(g, current, state)
        rows.append(g.op("Unsqueeze", s, ints(g, 0)))
    return g.op("Concat", *rows, axis=0)


def finish(g: Graph, value: str, path: Path, x: list[int], y: list[int]) -> Path:
    g.op("Identity", value, out="out")
    return g.save(path, {"x": x}, {"out": y})


def same(path: Path, shape: tuple[int, ...], time_axis: int = 0, **options: Any) -> Module:
    module = load(path, steps=T, time_axis=time_axis, **options)
    for scale in (0.4, 1.5, 6.0):
        x = (RNG.normal(size=shape) * scale).astype(np.float32)
        agree(run_module(module, x), run_file(path, x))
    return module


# ---------------------------------------------------------------------- along axis 0: [T, B, N]
def flip(g: Graph, x: str) -> str:
    return g.op("Slice", x, ints(g, -1), ints(g, -LONG), ints(g, 0), ints(g, -1))


def roll(g: Graph, x: str) -> str:
    last = g.op("Slice", x, ints(g, T - 1), ints(g, T), ints(g, 0))
    return g.op("Concat", last, g.op("Slice", x, ints(g, 0), ints(g, T - 1), ints(g, 0)), axis=0)


def padded(g: Graph, x: str) -> str:
    longer = g.op("Pad", x, ints(g, 1, 0, 0, 0, 0, 0))
    return g.op("Slice", longer, ints(g, 0), ints(g, T), ints(g, 0))


def reflected(g: Graph, x: str) -> str:
    longer = g.op("Pad", x, ints(g, 2, 0, 0, 1, 0, 0), mode="reflect")
    return g.op("Slice", longer, ints(g, 1), ints(g, T + 1), ints(g, 0))


def centred(g: Graph, x: str) -> str:
    return g.op("Sub", x, g.op("ReduceMean", x, ints(g, 0), keepdims=1))


def shuffled(g: Graph, x: str) -> str:
    return g.op("Gather", x, ints(g, 2, 0, 3, 1), axis=0)


def matrix(g: Graph, x: str) -> str:
    """A matrix over time, as in parallel spiking neurons."""
    m = g.const(RNG.normal(size=(T, T)).astype(np.float32), "mix")
    bias = g.const(RNG.normal(size=(T, 1)).astype(np.float32), "mix_bias")
    flat = g.op("Gemm", m, g.op("Reshape", x, ints(g, T, B * N)), bias)
    return g.op("Reshape", flat, ints(g, T, B, N))


def attention(g: Graph, x: str) -> str:
    """Every step attends to all steps of its sample."""
    q = g.op("Transpose", g.op("MatMul", x, g.const(W, "q")), perm=[1, 0, 2])
    k = g.op("Transpose", g.op("MatMul", x, g.const(W.T.copy(), "k")), perm=[1, 2, 0])
    v = g.op("Transpose", x, perm=[1, 0, 2])
    weights = g.op("Softmax", g.op("MatMul", q, k), axis=-1)
    return g.op("Transpose", g.op("MatMul", weights, v), perm=[1, 0, 2])


def excitation(g: Graph, x: str) -> str:
    """Steps weighed by a small network of their means (TA, TCSA and their like)."""
    mean = g.op("ReduceMean", x, ints(g, 2), keepdims=0)
    w = g.const(RNG.normal(size=(T, T)).astype(np.float32), "squeeze")
    scores = g.op("Sigmoid", g.op("Gemm", mean, w, transA=1))
    scores = g.op("Unsqueeze", g.op("Transpose", scores, perm=[1, 0]), ints(g, 2))
    return g.op("Mul", x, scores)


def summed(**attrs: Any) -> Operator:
    return lambda g, x: g.op("CumSum", x, g.const(np.array(0, np.int64)), **attrs)


ALONG_FIRST: dict[str, Operator] = {
    "softmax": lambda g, x: g.op("Softmax", x, axis=0),
    "flip": flip, "roll": roll, "pad": padded, "reflect": reflected, "centre": centred,
    "shuffle": shuffled, "matrix": matrix, "attention": attention, "excitation": excitation,
    "cumsum": summed(), "cumsum before": summed(exclusive=1), "cumsum back": summed(reverse=1),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALONG_FIRST)
def test_before_neurons(tmp_path: Path, kind: str) -> None:
    g = Graph()
    y = layer(g, ALONG_FIRST[kind](g, "x"))
    module = same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, N]), (T, B, N))
    assert len(neurons(module)) == 1


@pytest.mark.parametrize("kind", ALONG_FIRST)
def test_between_neurons(tmp_path: Path, kind: str) -> None:
    g = Graph()
    first = layer(g, g.op("MatMul", "x", g.const(W, "w")))
    mixed = ALONG_FIRST[kind](g, g.op("Mul", first, g.const(2.0)))
    y = layer(g, g.op("MatMul", mixed, g.const(W, "w2")))
    module = same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, N]), (T, B, N))
    assert len(neurons(module)) == 2


@pytest.mark.parametrize("kind", ALONG_FIRST)
def test_behind_neurons_and_at_another_batch(tmp_path: Path, kind: str) -> None:
    g = Graph()
    y = ALONG_FIRST[kind](g, layer(g, "x"))
    path = finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, N])
    same(path, (T, B, N))
    if kind == "matrix":
        return  # the file holds the batch in a shape
    wide = load(path, steps=T, time_axis=0, batch=B + 3)
    x = RNG.normal(size=(T, B + 3, N)).astype(np.float32) * 2
    (found,) = run_module(wide, x).values()
    parts = [run_file(path, np.roll(x, -i, 1)[:, :B])["out"][:, :1] for i in range(B + 3)]
    np.testing.assert_allclose(found, np.concatenate(parts, 1), rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------- [B, N, T] and its like
def conv(g: Graph, x: str) -> str:
    w = g.const(RNG.normal(size=(N, N, 3)).astype(np.float32), "kernel")
    return g.op("Conv", x, w, pads=[1, 1])


def causal(g: Graph, x: str) -> str:
    """A convolution that sees the past only, by what it pads."""
    w = g.const(RNG.normal(size=(N, 1, 2)).astype(np.float32), "kernel")
    return g.op("Conv", x, w, pads=[2, 0], dilations=[2], group=N)


def norm(g: Graph, x: str) -> str:
    scale = g.const(np.ones((N, T), np.float32), "scale")
    return g.op("LayerNormalization", x, scale, axis=1)


ALONG_LAST: dict[str, Operator] = {
    "conv": conv, "causal": causal, "layer norm": norm,
    "max pool": lambda g, x: g.op("MaxPool", x, kernel_shape=[3], pads=[1, 1]),
    "average": lambda g, x: g.op("AveragePool", x, kernel_shape=[3], pads=[1, 1]),
    "instance norm": lambda g, x: g.op("InstanceNormalization", x, *(
        g.const(np.full(N, v, np.float32), n) for n, v in (("s", 2.0), ("b", 0.5)))),
    "reduce": lambda g, x: g.op("Sub", x, g.op("ReduceMax", x, ints(g, 2), keepdims=1)),
    "linear": lambda g, x: g.op("MatMul", x, g.const(TIME, "m")),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALONG_LAST)
def test_windows_over_time(tmp_path: Path, kind: str) -> None:
    g = Graph()
    y = layer(g, ALONG_LAST[kind](g, "x"), axis=2)
    path = finish(g, y, tmp_path / "m.onnx", [B, N, T], [T, B, N])
    assert len(neurons(same(path, (B, N, T), time_axis=2))) == 1


@pytest.mark.parametrize("kind", ALONG_LAST)
def test_windows_over_time_between_neurons(tmp_path: Path, kind: str) -> None:
    g = Graph()
    first = g.op("Transpose", layer(g, "x"), perm=[1, 2, 0])
    y = layer(g, ALONG_LAST[kind](g, first), axis=2)
    path = finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, N])
    assert len(neurons(same(path, (T, B, N)))) == 2


def test_time_as_one_of_two_spatial_axes(tmp_path: Path) -> None:
    """A spectrogram: [B, 1, T, F], convolved over time and frequency."""
    g = Graph()
    w = g.const(RNG.normal(size=(2, 1, 3, 3)).astype(np.float32), "kernel")
    y = g.op("Conv", "x", w, pads=[1, 1, 1, 1])
    state = g.const(np.zeros((B, 2, N), np.float32))
    rows: list[str] = []
    for t in range(T):
        s, state = leaky(g, g.op("Gather", y, g.const(np.array(t, np.int64)), axis=2), state)
        rows.append(g.op("Unsqueeze", s, ints(g, 0)))
    path = finish(g, g.op("Concat", *rows, axis=0), tmp_path / "m.onnx", [B, 1, T, N], [T, B, 2, N])
    same(path, (B, 1, T, N), time_axis=2)


def test_steps_that_share_an_axis_with_samples(tmp_path: Path) -> None:
    """[B*T, N], viewed as [B, T, N] where the steps are mixed; another batch, too."""
    g = Graph()
    y = g.op("MatMul", "x", g.const(W, "w"))
    y = g.op("Softmax", g.op("Reshape", y, ints(g, -1, T, N)), axis=1)
    y = g.op("Mul", g.op("Reshape", y, ints(g, -1, N)), "x")
    path = finish(g, y, tmp_path / "m.onnx", [B * T, N], [B * T, N])
    for batch in (None, B + 3):
        module = load(path, steps=T, time_axis=0, batch_in_time_axis=True, batch=batch)
        x = RNG.normal(size=((batch or B) * T, N)).astype(np.float32)
        value = (x @ W).reshape(-1, T, N)
        soft = np.exp(value) / np.exp(value).sum(1, keepdims=True)
        (found,) = run_module(module, x).values()
        np.testing.assert_allclose(found, soft.reshape(-1, N) * x, rtol=1e-4, atol=1e-5)


def test_all_steps_of_a_sample_in_one_layer(tmp_path: Path) -> None:
    """Spikes over time, flattened, decide together."""
    g = Graph()
    flat = g.op("Reshape", g.op("Transpose", layer(g, "x"), perm=[1, 0, 2]), ints(g, B, T * N))
    w = g.const(RNG.normal(size=(T * N, 5)).astype(np.float32), "head")
    path = finish(g, g.op("MatMul", flat, w), tmp_path / "m.onnx", [T, B, N], [B, 5])
    module = same(path, (T, B, N))
    (out,) = [op for op in module.walk() if op.name == "graph.output"]
    assert out.operands[0].type.kind == "tensor"


def test_another_number_of_steps_is_refused(tmp_path: Path) -> None:
    g = Graph()
    path = finish(g, layer(g, flip(g, "x")), tmp_path / "m.onnx", [T, B, N], [T, B, N])
    with pytest.raises(CompileError) as caught:
        load(path, steps=T + 2, time_axis=0)
    assert caught.value.diagnostics[0].code in ("E0104", "E0107", "E0108")
    assert f"timesteps = {T}" in str(caught.value)


# ---------------------------------------------------------------------- single steps
def spikes(g: Graph) -> list[str]:
    """Spikes of every step, [B, N] each."""
    stacked = layer(g, g.op("MatMul", "x", g.const(W, "w")))
    return [g.op("Gather", stacked, g.const(np.array(t, np.int64)), axis=0) for t in range(T)]


@pytest.mark.parametrize("picked", [[0], [2], [2, 3], [0, 3], [1, 2]])
def test_results_of_some_steps(tmp_path: Path, picked: list[int]) -> None:
    """A first part of the sequence does not count (burn-in), or one step alone does."""
    g = Graph()
    steps = spikes(g)
    total = steps[picked[0]]
    for t in picked[1:]:
        total = g.op("Add", total, steps[t])
    y = g.op("MatMul", total, g.const(W.T.copy(), "head"))
    module = same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [B, N]), (T, B, N))
    assert len(neurons(module)) == 1


def test_a_layer_that_runs_every_other_step(tmp_path: Path) -> None:
    g = Graph()
    steps = spikes(g)
    state = g.const(np.zeros((B, N), np.float32))
    rows: list[str] = []
    for t in range(0, T, 2):
        both = g.op("Add", steps[t], steps[t + 1])
        s, state = leaky(g, g.op("MatMul", both, g.const(W * 2, f"slow{t}")), state)
        rows.append(g.op("Unsqueeze", s, ints(g, 0)))
    y = g.op("Concat", *rows, axis=0)
    same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [T // 2, B, N]), (T, B, N))


def test_a_second_pass_from_the_last_step_to_the_first(tmp_path: Path) -> None:
    g = Graph()
    there = spikes(g)
    state = g.const(np.zeros((B, N), np.float32))
    back: dict[int, str] = {}
    for t in reversed(range(T)):
        current = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        back[t], state = leaky(g, current, state)
    rows = [g.op("Concat", there[t], back[t], axis=1) for t in range(T)]
    y = g.op("Concat", *[g.op("Unsqueeze", r, ints(g, 0)) for r in rows], axis=0)
    same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, 2 * N]), (T, B, N))


# ---------------------------------------------------------------------- parameters of each step
def test_one_parameter_for_all_steps(tmp_path: Path) -> None:
    g = Graph()
    gain = g.const(np.linspace(0.5, 2.0, T).reshape(T, 1, 1).astype(np.float32), "gain")
    y = layer(g, g.op("MatMul", g.op("Mul", "x", gain), g.const(W, "w")))
    module = same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, N]), (T, B, N))
    found = {op.str_attr("name"): op for op in module.walk() if op.name == "graph.param"}
    assert set(found) == {"gain", "w"}
    assert found["gain"].result.type.shape == (T, 1, 1)
    assert all(op.attrs["train"] is True for op in found.values())


def test_one_normalisation_for_each_step(tmp_path: Path) -> None:
    g = Graph()
    state = g.const(np.zeros((B, N), np.float32))
    rows: list[str] = []
    for t in range(T):
        current = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        four = [g.const(RNG.uniform(0.5, 1.5, N).astype(np.float32), f"bn.{t}.{k}")
                for k in ("weight", "bias", "mean", "var")]  # fmt: skip
        s, state = leaky(g, g.op("BatchNormalization", current, *four), state)
        rows.append(g.op("Unsqueeze", s, ints(g, 0)))
    y = g.op("Concat", *rows, axis=0)
    module = same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, N]), (T, B, N))
    trained = {op.str_attr("name"): op.attrs["train"] for op in module.walk()
               if op.name == "graph.param"}  # fmt: skip
    assert trained == {
        f"bn.{t}.{k}": k in ("weight", "bias")
        for t in range(T)
        for k in ("weight", "bias", "mean", "var")
    }
    assert len(neurons(module)) == 1


@pytest.mark.parametrize("folded", [False, True])
def test_an_initial_state_is_also_called_v0(tmp_path: Path, folded: bool) -> None:
    """What a state starts from keeps its parameter, and answers to the name that the model gave."""
    g = Graph()
    start = RNG.uniform(0.1, 0.9, size=(1, N)).astype(np.float32)
    if folded:
        state = g.const(np.repeat(start * 0.75, B, 0), "mul")
    else:
        wide = g.op("Expand", g.const(start, "onnx::Expand_84"), ints(g, B, N))
        state = g.op("Mul", wide, g.const(0.75))
    rows: list[str] = []
    for t in range(T):
        current = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        h = g.op("Add", state, g.op("MatMul", current, g.const(W, "w")))
        s = g.op("Cast", g.op("Greater", h, g.const(1.0)), to=TensorProto.FLOAT)
        state = g.op("Mul", g.op("Sub", h, s), g.const(0.75))
        rows.append(g.op("Unsqueeze", s, ints(g, 0)))
    path = finish(g, g.op("Concat", *rows, axis=0), tmp_path / "m.onnx", [T, B, N], [T, B, N])
    module = same(path, (T, B, N))
    configure(module, parse_config('[parameters]\ntrain = ["*v0*"]'))
    trained = [op.str_attr("name") for op in module.walk() if op.attrs.get("train") is True]
    assert len(trained) == 2
    assert folded or "onnx::Expand_84" in trained
    with pytest.raises(CompileError, match="names no parameter"):
        configure(module, parse_config('[parameters]\ntrain = ["*v7*"]'))


def test_pieces_in_any_order(tmp_path: Path) -> None:
    """Frames that are held for two steps, and a layer that looks one step ahead."""
    g = Graph()
    state = g.const(np.zeros((B, N), np.float32))
    rows: list[str] = []
    for held, ahead in ((0, 1), (0, 2), (2, 3), (2, 3)):
        parts = [g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0) for t in (held, ahead)]
        s, state = leaky(g, g.op("Add", *parts), state)
        rows.append(g.op("Unsqueeze", s, ints(g, 0)))
    y = g.op("Concat", *rows, axis=0)
    module = same(finish(g, y, tmp_path / "m.onnx", [T, B, N], [T, B, N]), (T, B, N))
    assert len(neurons(module)) == 1


def test_thresholds_of_each_step_keep_their_gradient_in_a_detached_reset(tmp_path: Path) -> None:
    """Only the spike is cut out of s*theta; the comparison with the file sees derivatives."""
    g = Graph()
    levels = g.const(RNG.uniform(0.3, 1.3, size=(T, N)).astype(np.float32), "theta")
    state = g.const(np.zeros((B, N), np.float32))
    rows: list[str] = []
    for t in range(T):
        at = g.const(np.array(t, np.int64))
        theta = g.op("Gather", levels, at, axis=0)
        h = g.op("Add", g.op("Mul", state, g.const(0.75)), g.op("Gather", "x", at, axis=0))
        s = g.op("Cast", g.op("Greater", h, theta), to=TensorProto.FLOAT)
        state = g.op("Sub", h, g.op("Mul", s, theta))
        rows.append(g.op("Unsqueeze", g.op("MatMul", s, g.const(W, f"w{t}")), ints(g, 0)))
    path = finish(g, g.op("Concat", *rows, axis=0), tmp_path / "m.onnx", [T, B, N], [T, B, N])
    module = same(path, (T, B, N))
    text = f'timesteps = {T}\ntime_axis = 0\n[reset]\ngradient = "detached"\n'

    def again(batch: int | None, steps: int | None) -> Module:
        return load(path, steps=steps or T, time_axis=0, batch=batch)

    verdict = check_onnx(module, path, parse_config(text), again)
    assert verdict.validated
