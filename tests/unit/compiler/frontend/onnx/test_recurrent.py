"""RNN, GRU and LSTM operators: unrolled over time, against PyTorch's modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnx_models import Array, Graph, load, run_file, run_module
from onnx_steps import B, K, T, agrees_with_pytorch
from pytorch_results import PyTorch
from snncc.compiler.diag import CompileError

FEATURES, H = 4, K
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""The gates as PyTorch has them: places in ONNX's order."""
OUTPUTS = {"RNN": 2, "GRU": 2, "LSTM": 3}


def arrays_of(op: str, directions: int = 1) -> dict[str, Array]:
    rng = np.random.default_rng(4)
    n = GATES[op] * H
    return {
        "x": rng.normal(size=(T, B, FEATURES)).astype(np.float32),
        "w": rng.normal(size=(directions, n, FEATURES)).astype(np.float32) / 2,
        "r": rng.normal(size=(directions, n, H)).astype(np.float32) / 2,
        "b": rng.normal(size=(directions, 2 * n)).astype(np.float32),
    }


def write(
    path: Path, op: str, arrays: dict[str, Array], more: tuple[str, ...] = (), **attrs: Any
) -> Path:
    """Save a recurrent operator; its states [T, B, D*H] are the output."""
    g = Graph()
    for name in list(arrays)[1:]:
        g.const(arrays[name], name)
    outs = ["y", "y_h", "y_c"][: OUTPUTS[op]]
    ins = ["x", "w", "r", "b", *more]
    g.nodes.append(helper.make_node(op, ins, outs, "/cell", hidden_size=H, **attrs))
    d = arrays["w"].shape[0]
    turned = g.op("Transpose", "y", perm=[0, 2, 1, 3])
    g.op("Reshape", turned, g.const(np.array([T, B, d * H])), out="out")
    return g.save(path, {"x": [T, B, FEATURES]}, {"out": [T, B, d * H]})


def module_of(torch: Any, op: str, p: dict[str, Any], x: Any, **options: Any) -> Any:
    """Run PyTorch's module with ONNX's weights, of one direction."""

    def gates(v: Any) -> Any:
        parts = v.split(H)
        return torch.cat([parts[k] for k in ORDER[op]])

    cell = getattr(torch.nn, op)(FEATURES, H, **options).double()
    half = GATES[op] * H
    weights = {
        "weight_ih_l0": gates(p["w"][0]), "weight_hh_l0": gates(p["r"][0]),
        "bias_ih_l0": gates(p["b"][0, :half]), "bias_hh_l0": gates(p["b"][0, half:]),
    }  # fmt: skip
    return torch.func.functional_call(cell, weights, (x,))[0]


CELLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "rnn": ("RNN", {}, {}),
    "rnn-relu": ("RNN", {"activations": ["Relu"]}, {"nonlinearity": "relu"}),
    "gru": ("GRU", {"linear_before_reset": 1}, {}),
    "lstm": ("LSTM", {}, {}),
}


@pytest.mark.parametrize("name", CELLS)
def test_values_and_gradients(name: str, tmp_path: Path, pytorch: PyTorch) -> None:
    op, attrs, options = CELLS[name]
    arrays = arrays_of(op)
    path = write(tmp_path / "m.onnx", op, arrays, **attrs)
    agrees_with_pytorch(
        path, arrays, lambda torch, x, p: module_of(torch, op, p, x, **options), pytorch
    )


def test_a_gru_that_resets_before_the_product(tmp_path: Path, pytorch: PyTorch) -> None:
    """linear_before_reset = 0, which PyTorch's module does not have."""
    arrays = arrays_of("GRU")
    path = write(tmp_path / "m.onnx", "GRU", arrays)

    def model(torch: Any, x: Any, p: Any) -> Any:
        w, r, b = (p[n][0] for n in "wrb")
        h = torch.zeros(B, H).double()
        rows: list[Any] = []
        for t in range(T):
            i = x[t] @ w.T + b[: 3 * H]
            z = torch.sigmoid(i[:, :H] + h @ r[:H].T + b[3 * H : 4 * H])
            q = torch.sigmoid(i[:, H : 2 * H] + h @ r[H : 2 * H].T + b[4 * H : 5 * H])
            n = torch.tanh(i[:, 2 * H :] + (q * h) @ r[2 * H :].T + b[5 * H :])
            h = (1 - z) * n + z * h
            rows.append(h)
        return torch.stack(rows)

    agrees_with_pytorch(path, arrays, model, pytorch)


@pytest.mark.parametrize("op", GATES)
def test_initial_states(op: str, tmp_path: Path) -> None:
    arrays = arrays_of(op)
    rng = np.random.default_rng(9)
    more = ["", "h0", "c0"][: 1 + OUTPUTS[op] - 1]
    for name in more[1:]:
        arrays[name] = rng.normal(size=(1, B, H)).astype(np.float32)
    path = write(tmp_path / "m.onnx", op, arrays, tuple(more))
    module = load(path, steps=T, time_axis=0)
    got, want = run_module(module, arrays["x"])["out"], run_file(path, arrays["x"])["out"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("attrs", "more", "said"),
    [
        ({"clip": 3.0}, (), "RNN with clip"),
        ({"layout": 1}, (), "RNN with layout = 1"),
        ({"activations": ["Affine"]}, (), "RNN with the activations affine"),
        ({}, ("lens",), "RNN with sequence_lens"),
    ],
)
def test_what_is_refused(
    attrs: dict[str, Any], more: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    arrays = arrays_of("RNN")
    if more:
        arrays["lens"] = np.array([1, 2, 2], np.int32)
    path = write(tmp_path / "m.onnx", "RNN", arrays, more, **attrs)
    with pytest.raises(CompileError, match=said) as caught:
        load(path, steps=T, time_axis=0)
    assert caught.value.diagnostics[0].code == "E0104"


@pytest.mark.parametrize("op", GATES)
def test_against_time_over_the_steps(op: str, tmp_path: Path) -> None:
    arrays = arrays_of(op)
    path = write(tmp_path / "m.onnx", op, arrays, direction="reverse")
    module = load(path, steps=T, time_axis=0)
    got, want = run_module(module, arrays["x"])["out"], run_file(path, arrays["x"])["out"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
