"""Files whose parts look like something else: what they compute counts, never how they look.

Expected values come from onnxruntime on the file itself, or are worked out by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from lowered import phased
from onnx_models import Array, Graph, agree, load, neurons, run_file, run_module
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.flat.exporter_names import FileNames
from snncc.compiler.frontend.import_onnx import import_onnx
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Module, Op
from snncc.compiler.passes.graph.configure import configure

T, B, N = 4, 2, 3
RNG = np.random.default_rng(0)
W = RNG.normal(size=(N, N)).astype(np.float32)
Step = Callable[[Graph, str, str], tuple[str, str]]
"""Writes one step: current and state before it -> spikes and state after it."""


def integer(g: Graph, *values: int) -> str:
    return g.const(np.array(values, np.int64))


def plain(g: Graph, current: str, state: str) -> tuple[str, str]:
    """A leaky neuron with a reset by subtraction."""
    h = g.op("Add", g.op("Mul", state, g.const(0.75)), current)
    s = g.op("Cast", g.op("Greater", h, g.const(1.0)), to=TensorProto.FLOAT)
    return s, g.op("Sub", h, s)


def unrolled(
    g: Graph, path: Path, stacked: str, step: Step, shape: list[int], input_shape: list[int]
) -> Path:
    """Save a model that cuts the steps of a value out of axis 0 and unrolls a recurrence."""
    state = g.const(np.zeros(shape, np.float32), "c999")
    rows: list[str] = []
    for t in range(T):
        current = g.op("Gather", stacked, g.const(np.array(t, np.int64)), axis=0)
        s, state = step(g, current, state)
        rows.append(g.op("Unsqueeze", s, integer(g, 0)))
    g.op("Concat", *rows, out="out", axis=0)
    return g.save(path, {"x": input_shape}, {"out": [T, *shape]})


def same_as_the_file(path: Path, shape: tuple[int, ...] = (T, B, N), time_axis: int = 0) -> Module:
    module = load(path, steps=T, time_axis=time_axis)
    for scale in (0.4, 1.5, 6.0):
        x = (RNG.normal(size=shape) * scale).astype(np.float32)
        agree(run_module(module, x), run_file(path, x))
    return module


def params(module: Module) -> dict[str, Op]:
    return {op.str_attr("name"): op for op in module.walk() if op.name == "graph.param"}


def refused(path: Path, code: str, time_axis: int = 0) -> str:
    with pytest.raises(CompileError) as caught:
        import_onnx(path, steps=T, time_axis=time_axis)
    assert caught.value.diagnostics[0].code == code, str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------- axes
def test_reversed_features(tmp_path: Path) -> None:
    g = Graph()
    ends = integer(g, -(10**9))
    y = g.op("Slice", "x", integer(g, -1), ends, integer(g, 2), integer(g, -1))
    same_as_the_file(unrolled(g, tmp_path / "m.onnx", y, plain, [B, N], [T, B, N]))


def test_a_window_of_one_step_is_no_mixing(tmp_path: Path) -> None:
    g = Graph()
    w = g.const(RNG.normal(size=(N, N, 1)).astype(np.float32), "w")
    y = g.op("Transpose", g.op("Conv", "x", w), perm=[2, 0, 1])
    path = unrolled(g, tmp_path / "m.onnx", y, plain, [B, N], [B, N, T])
    same_as_the_file(path, (B, N, T), time_axis=2)


def test_one_step_with_a_time_axis(tmp_path: Path) -> None:
    g = Graph()
    x = g.op("Gather", "x", g.const(np.array(0, np.int64)), axis=0)
    s, _ = plain(g, g.op("MatMul", x, g.const(W, "w")), g.const(np.zeros((5, N), np.float32)))
    g.op("Unsqueeze", s, integer(g, 0), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [1, 5, N]}, {"out": [1, 5, N]})
    module = load(path, steps=1, time_axis=0)
    assert module.batch == 5
    x_ = RNG.normal(size=(1, 5, N)).astype(np.float32) * 2
    agree(run_module(module, x_), run_file(path, x_))


# ---------------------------------------------------------------------- parameters
@pytest.mark.parametrize(
    ("name", "made_up"),
    [("val_12", True), ("onnx::Mul_91", True), ("/l/Constant_3_output_0", True),
     ("l.lifted_tensor_0", True), ("scalar_tensor_default_3", True), ("clamp_2", True),
     ("block.alpha", False), ("fc1.weight", False), ("g", False), ("lif.beta", False)],
)  # fmt: skip
def test_names_that_exporters_make_up(name: str, made_up: bool) -> None:
    assert FileNames(onnx.ModelProto()).numbered(name) is made_up


def test_parameters_of_equal_elements_stay_parameters(tmp_path: Path) -> None:
    """A zero bias, a unit gain, a ReZero factor of 0: other values after the first update."""
    g = Graph()
    y = g.op("MatMul", "x", g.const(W, "fc.weight"))
    y = g.op("Add", y, g.const(np.zeros(N, np.float32), "fc.bias"))
    y = g.op("Mul", y, g.const(np.ones(N, np.float32), "gain"))
    branch = g.op("Mul", g.op("Tanh", y), g.const(np.zeros((), np.float32), "block.alpha"))
    path = unrolled(g, tmp_path / "m.onnx", g.op("Add", y, branch), plain, [B, N], [T, B, N])
    found = params(same_as_the_file(path))
    assert set(found) == {"fc.weight", "fc.bias", "gain", "block.alpha"}
    assert all(op.attrs["train"] is True for op in found.values())
    assert found["fc.bias"].result.type.shape == (N,)


def test_constants_of_neurons_that_differ_in_training_keep_their_shape(tmp_path: Path) -> None:
    g = Graph()
    beta = g.const(np.full(N, 0.5, np.float32), "lif.beta")
    theta = g.const(np.full(N, 0.5, np.float32), "lif.threshold")

    def step(g: Graph, current: str, state: str) -> tuple[str, str]:
        h = g.op("Add", g.op("Mul", state, beta), current)
        s = g.op("Cast", g.op("Greater", h, theta), to=TensorProto.FLOAT)
        return s, g.op("Sub", h, g.op("Mul", s, theta))

    found = params(same_as_the_file(unrolled(g, tmp_path / "m.onnx", "x", step, [B, N], [T, B, N])))
    assert {k: op.result.type.shape for k, op in found.items()} == {
        "lif.beta": (N,), "lif.threshold": (N,)
    }  # fmt: skip


def test_what_is_computed_from_a_parameter_is_trained(tmp_path: Path) -> None:
    """A weight normalised by its absolute values: d/dW goes through both uses."""
    g = Graph()
    w = g.const(W, "fc.weight")
    total = g.op("ReduceSum", g.op("Abs", w), integer(g, 0), keepdims=1)
    y = g.op("MatMul", "x", g.op("Div", w, total))
    path = unrolled(g, tmp_path / "m.onnx", y, plain, [B, N], [T, B, N])
    module = same_as_the_file(path)
    assert params(module)["fc.weight"].attrs["train"] is True
    assert [op for op in module.walk() if op.name == "graph.reduce"]


def gradients(module: Module, config: str, x: Array, y: Array) -> dict[str, Array]:
    configure(module, parse_config(config))
    found = evaluate(phased(module), "step", {"x": x, "y": y}, "float64")
    return {k: np.asarray(v) for k, v in found.items()}


MSE = '[loss]\nname = "mse"\nscale = 1.0\n[readout]\nreduce = "sum"\n'


def test_tied_weights_are_one_parameter(tmp_path: Path) -> None:
    """y = x W^T W with one W, used once as it is and once transposed; the gradient by hand."""
    g = Graph()
    w = g.const(W, "tied")
    h = g.op("Gemm", "x", w, transB=1)  # x W^T
    g.op("Gemm", h, w, out="out")  # x W^T W
    path = g.save(tmp_path / "m.onnx", {"x": [B, N]}, {"out": [B, N]})
    module = load(path, steps=1, time_axis=0)
    assert [op.str_attr("name") for op in module.walk() if op.name == "graph.param"] == ["tied"]
    x, y = RNG.normal(size=(1, B, N)), np.array([0, 2])
    found = gradients(module, MSE, x, y)
    w64, x0 = W.astype(np.float64), x[0]
    out = x0 @ w64.T @ w64
    d = 2 * (out - np.eye(N)[y]) / out.size
    expected = (x0 @ w64.T).T @ d + (d @ w64.T).T @ x0
    kept = params(module)["tied"].attrs.get("transpose")
    np.testing.assert_allclose(found["grad/tied"], expected.T if kept else expected, rtol=1e-6)


def test_equal_tensors_that_an_exporter_merged_are_two_parameters(tmp_path: Path) -> None:
    g = Graph()
    zero = g.const(np.zeros(N, np.float32), "fc1.bias")
    h = g.op("Gemm", "x", g.const(W, "fc1.weight"), zero)
    g.op("Gemm", h, g.const(W + 1, "fc2.weight"), zero, out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [B, N]}, {"out": [B, N]})
    found = params(load(path, steps=1, time_axis=0))
    assert set(found) == {"fc1.weight", "fc2.weight", "fc1.bias", "fc1.bias#2"}


# ---------------------------------------------------------------------- values of each step
def test_constants_of_steps_that_the_exporter_simplified(tmp_path: Path) -> None:
    """The first step lacks the decay of a zero state; its threshold on the input is its own."""
    g = Graph()
    levels = iter((0.1, 0.3, 0.5, 0.9))
    first = iter((True, *[False] * (T - 1)))

    def step(g: Graph, current: str, state: str) -> tuple[str, str]:
        bits = g.op("Cast", g.op("Greater", current, g.const(next(levels))), to=TensorProto.FLOAT)
        h = g.op("MatMul", bits, g.const(W, "w"))
        if not next(first):
            h = g.op("Add", g.op("Mul", state, g.const(0.75)), h)
        s = g.op("Cast", g.op("Greater", h, g.const(0.4)), to=TensorProto.FLOAT)
        return s, g.op("Sub", h, s)

    same_as_the_file(unrolled(g, tmp_path / "m.onnx", "x", step, [B, N], [T, B, N]))


# ---------------------------------------------------------------------- recurrences
def bent(kind: str) -> Step:
    """A recurrence that is a leaky neuron or integrator only near zero, or at some values."""

    def step(g: Graph, current: str, state: str) -> tuple[str, str]:
        kept = state
        if kind in ("Relu", "Abs", "LeakyRelu"):
            kept = g.op(kind, state)
        elif kind == "ceiling":
            kept = g.op("Clip", state, "", g.const(2.0))
        h = g.op("Add", g.op("Mul", kept, g.const(0.75)), current)
        if kind.startswith("readout"):
            after = g.op("Relu", h) if kind == "readout relu" else g.op("Tanh", h)
            return after, after
        if kind == "band":
            h = g.op("Clip", h, g.const(-2.0), g.const(1.5))
        s = g.op("Cast", g.op("Greater", h, g.const(1.0)), to=TensorProto.FLOAT)
        return (h, h) if kind == "Abs" else (s, g.op("Sub", h, s))

    return step


@pytest.mark.parametrize(
    "kind", ["Relu", "Abs", "LeakyRelu", "ceiling", "band", "readout relu", "readout tanh"]
)
def test_bent_recurrences_are_no_plain_neurons(tmp_path: Path, kind: str) -> None:
    same_as_the_file(unrolled(Graph(), tmp_path / "m.onnx", "x", bent(kind), [B, N], [T, B, N]))


def spiking(kind: str) -> Step:
    """The same leaky neuron with its spikes written in another way."""

    def step(g: Graph, current: str, state: str) -> tuple[str, str]:
        h = g.op("Add", g.op("Mul", state, g.const(0.75)), current)
        u, one, zero = g.op("Sub", h, g.const(1.0)), g.const(1.0), g.const(0.0)
        if kind == "not less":
            below = g.op("Cast", g.op("Less", u, zero), to=TensorProto.FLOAT)
            s = g.op("Sub", one, below)
        elif kind == "sign":
            s = g.op("Div", g.op("Add", g.op("Sign", u), one), g.const(2.0))
        elif kind == "turned":
            s = g.op("Cast", g.op("Less", one, h), to=TensorProto.FLOAT)
        elif kind == "ternary":
            down = g.op("Greater", g.op("Neg", h), one)
            up = g.op("Cast", g.op("Greater", h, one), to=TensorProto.FLOAT)
            s = g.op("Sub", up, g.op("Cast", down, to=TensorProto.FLOAT))
        else:
            ratio = g.op("Sub", g.op("Div", h, g.const(0.5)), one)
            s = g.op("Cast", g.op("Greater", ratio, zero), to=TensorProto.FLOAT)
        return s, g.op("Sub", h, g.op("Mul", s, g.const(0.5 if kind == "ratio" else 1.0)))

    return step


@pytest.mark.parametrize("kind", ["not less", "sign", "turned", "ternary", "ratio"])
def test_spikes_written_in_another_way(tmp_path: Path, kind: str) -> None:
    path = unrolled(Graph(), tmp_path / "m.onnx", "x", spiking(kind), [B, N], [T, B, N])
    module = same_as_the_file(path)
    if kind in ("not less", "turned"):
        assert len(neurons(module)) == 1


def test_the_surrogate_sees_what_the_file_compares(tmp_path: Path) -> None:
    """``h/theta - 1`` is compared with 0: the threshold is 1, in units of theta."""
    path = unrolled(Graph(), tmp_path / "m.onnx", "x", spiking("ratio"), [B, N], [T, B, N])
    for op in load(path, steps=T, time_axis=0).walk():
        if op.name == "graph.neuron":
            assert op.float_attr("threshold") == 1.0
