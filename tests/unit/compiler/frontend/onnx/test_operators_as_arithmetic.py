"""Operators that the importer writes as arithmetic: values and gradients against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import Array, Graph, agree, load, run_file, run_module
from onnx_steps import B, K, T, agrees_with_pytorch
from pytorch_results import PyTorch
from snncc.compiler.diag import CompileError

Node = tuple[str, dict[str, Any], Callable[[Any, Any], Any]]
"""Operator, its attributes, and PyTorch's function of torch and x."""


def _where(torch: Any, x: Any, below: Any) -> Any:
    return torch.where(x > 0, x, below)


ACTIVATIONS: dict[str, Node] = {
    "gelu": ("Gelu", {}, lambda torch, x: torch.nn.functional.gelu(x)),
    "gelu-tanh": (
        "Gelu", {"approximate": "tanh"},
        lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
    ),
    "elu": ("Elu", {"alpha": 0.7}, lambda torch, x: torch.nn.functional.elu(x, 0.7)),
    "selu": ("Selu", {}, lambda torch, x: torch.selu(x)),
    "celu": ("Celu", {"alpha": 1.3}, lambda torch, x: torch.celu(x, 1.3)),
    "softplus": ("Softplus", {}, lambda torch, x: torch.nn.functional.softplus(x)),
    "softsign": ("Softsign", {}, lambda torch, x: torch.nn.functional.softsign(x)),
    "hard-sigmoid": (
        "HardSigmoid", {"alpha": 0.3, "beta": 0.4},
        lambda torch, x: (0.3 * x + 0.4).clamp(0, 1),
    ),
    "hard-swish": ("HardSwish", {}, lambda torch, x: torch.nn.functional.hardswish(x)),
    "mish": ("Mish", {}, lambda torch, x: torch.nn.functional.mish(x)),
    "erf": ("Erf", {}, lambda torch, x: torch.erf(x)),
    "sin": ("Sin", {}, lambda torch, x: x.sin()),
    "cos": ("Cos", {}, lambda torch, x: x.cos()),
    "leaky-relu": ("LeakyRelu", {"alpha": 0.2}, lambda torch, x: _where(torch, x, 0.2 * x)),
}  # fmt: skip
REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "ReduceL1": lambda torch, x: x.abs().sum(-1, keepdim=True),
    "ReduceL2": lambda torch, x: torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    "ReduceSumSquare": lambda torch, x: (x * x).sum(-1, keepdim=True),
    "ReduceLogSumExp": lambda torch, x: x.logsumexp(-1, keepdim=True),
    "ReduceMin": lambda torch, x: x.amin(-1, keepdim=True),
}
POWERS = (-2.0, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 3.0, 0.3)


def between_layers(
    path: Path, write: Callable[[Graph, str], str], opset: int = 20
) -> dict[str, Array]:
    """Save x W + b, what ``write`` adds, times V; return the arrays."""
    rng = np.random.default_rng(5)
    arrays = {
        "x": np.round(rng.normal(size=(T, B, 4)), 3).astype(np.float32),
        "w": rng.normal(size=(4, 5)).astype(np.float32),
        "b": rng.normal(size=5).astype(np.float32),
        "v": rng.normal(size=(5, K)).astype(np.float32),
    }
    arrays["x"][0, 0] = 0.0  # what is exactly 0 after the layer: b is 0 in one place
    arrays["b"][2] = 0.0
    g = Graph()
    for name in ("w", "b", "v"):
        g.const(arrays[name], name)
    h = g.op("Add", g.op("MatMul", "x", "w"), "b")
    g.op("MatMul", write(g, h), "v", out="out")
    g.save(path, {"x": [T, B, 4]}, {"out": [T, B, K]}, opset=opset)
    return arrays


def composed(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    return lambda torch, x, p: function(torch, x @ p["w"] + p["b"]) @ p["v"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Path, pytorch: PyTorch) -> None:
    op, attrs, function = ACTIVATIONS[name]
    opset = 22 if op == "Mish" else 20
    path = tmp_path / "m.onnx"
    arrays = between_layers(path, lambda g, h: g.op(op, h, **attrs), opset)
    agrees_with_pytorch(path, arrays, composed(function), pytorch)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op: str, tmp_path: Path, pytorch: PyTorch) -> None:
    def write(g: Graph, h: str) -> str:
        return g.op("Sub", h, g.op(op, h, g.const(np.array([-1]))))

    path = tmp_path / "m.onnx"
    arrays = between_layers(path, write)
    function = REDUCTIONS[op]
    agrees_with_pytorch(path, arrays, composed(lambda torch, x: x - function(torch, x)), pytorch)


@pytest.mark.parametrize("power", POWERS)
def test_powers(power: float, tmp_path: Path, pytorch: PyTorch) -> None:
    """Of 1 + |x|: powers of negative numbers are defined for whole exponents only."""
    path = tmp_path / "m.onnx"

    def write(g: Graph, h: str) -> str:
        return g.op("Pow", g.op("Add", g.op("Abs", h), g.const(1.0)), g.const(power))

    arrays = between_layers(path, write)
    agrees_with_pytorch(path, arrays, composed(lambda torch, x: (1 + x.abs()) ** power), pytorch)


def test_whole_powers_of_negative_numbers(tmp_path: Path, pytorch: PyTorch) -> None:
    path = tmp_path / "m.onnx"
    arrays = between_layers(path, lambda g, h: g.op("Pow", h, g.const(3.0)))
    agrees_with_pytorch(path, arrays, composed(lambda torch, x: x**3), pytorch)


def test_the_norm_of_nothing_has_no_gradient(tmp_path: Path, pytorch: PyTorch) -> None:
    """x / max(norm(x), eps) where x is all zeros, as PyTorch's: 0, not a quotient of zeros."""
    arrays = {"x": np.zeros((T, B, 4), np.float32), "w": np.ones((4, K), np.float32)}
    g = Graph()
    g.const(arrays["w"], "w")
    h = g.op("MatMul", "x", "w")
    size = g.op("ReduceL2", h, g.const(np.array([-1])))
    g.op("Div", h, g.op("Clip", size, g.const(1e-3)), out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 4]}, {"out": [T, B, K]})
    agrees_with_pytorch(
        path, arrays,
        lambda torch, x, p: torch.nn.functional.normalize(x @ p["w"], dim=-1, eps=1e-3), pytorch,
    )  # fmt: skip


@pytest.mark.parametrize(("opset", "scales"), [(18, 2), (21, 4)])
def test_group_normalization(opset: int, scales: int, tmp_path: Path, pytorch: PyTorch) -> None:
    """Scale and shift per group (opset 18) or per channel (opset 21)."""
    rng = np.random.default_rng(8)
    arrays = {"x": rng.normal(size=(T * B, 4, 3)).astype(np.float32)}
    arrays |= {n: rng.normal(size=scales).astype(np.float32) for n in ("scale", "shift")}
    g = Graph()
    for name in ("scale", "shift"):
        g.const(arrays[name], name)
    y = g.op("GroupNormalization", "x", "scale", "shift", num_groups=2, epsilon=1e-4)
    y = g.op("ReduceSum", y, g.const(np.array([2])), keepdims=0)
    g.op("Identity", y, out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [T * B, 4, 3]}, {"out": [T * B, 4]}, opset=opset)
    agree(
        run_module(load(path, steps=1, time_axis=0), arrays["x"][None]), run_file(path, arrays["x"])
    )


EQUATIONS: dict[str, tuple[str, tuple[tuple[int, ...], ...]]] = {
    "linear": ("abc,cd->abd", ((4, K),)),
    "ellipsis": ("...c,cd->...d", ((4, K),)),
    "transposed": ("abc,dc->abd", ((K, 4),)),
    "implicit": ("abc,cz", ((4, K),)),
    "chain": ("abc,c,cd->abd", ((4,), (4, K))),
    "outer": ("abc,d->abd", ((K,),)),
    "bilinear": ("abc,cde,e->abd", ((4, K, 5), (5,))),
    "per-step-axes": ("abc,bcd->abd", ((B, 4, K),)),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_einsum(name: str, tmp_path: Path, pytorch: PyTorch) -> None:
    equation, shapes = EQUATIONS[name]
    rng = np.random.default_rng(6)
    arrays = {"x": rng.normal(size=(T, B, 4)).astype(np.float32)}
    arrays |= {f"w{i}": rng.normal(size=s).astype(np.float32) for i, s in enumerate(shapes)}
    g = Graph()
    for n in list(arrays)[1:]:
        g.const(arrays[n], n)
    g.op("Einsum", *arrays, out="out", equation=equation)
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 4]}, {"out": [T, B, K]})
    agrees_with_pytorch(
        path, arrays, lambda torch, x, p: torch.einsum(equation, x, *p.values()), pytorch
    )


@pytest.mark.parametrize(
    ("equation", "code"), [("abb->ab", "E0104"), ("abc,cd->abd", "E0105"), ("ab->ab", "E0105")]
)
def test_equations_that_are_refused(equation: str, code: str, tmp_path: Path) -> None:
    g = Graph()
    g.op("Einsum", "x", out="out", equation=equation)
    path = g.save(tmp_path / "m.onnx", {"x": [T, 4, 4]}, {"out": [T, 4]})
    with pytest.raises(CompileError) as caught:
        load(path, steps=T, time_axis=0)
    assert caught.value.diagnostics[0].code == code


def test_a_power_that_is_no_product_says_so(tmp_path: Path) -> None:
    between_layers(tmp_path / "m.onnx", lambda g, h: g.op("Pow", h, g.const(40.0)))
    with pytest.raises(CompileError, match="Pow with the exponent 40") as caught:
        load(tmp_path / "m.onnx", steps=T, time_axis=0)
    assert caught.value.diagnostics[0].code == "E0104"


@pytest.mark.parametrize("exponents", [[2.0, 3.0, 0.5, -1.0, 1.5], [2.0, 2.0, 2.0, 2.0, 3.0]])
def test_an_exponent_of_its_own_for_every_column(exponents: list[float], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"

    def write(g: Graph, h: str) -> str:
        positive = g.op("Add", g.op("Abs", h), g.const(1.0))
        return g.op("Pow", positive, g.const(np.array(exponents, np.float32)))

    x = between_layers(path, write)["x"]
    agree(run_module(load(path, steps=T, time_axis=0), x), run_file(path, x))


def test_an_exponent_that_is_computed(tmp_path: Path) -> None:
    """Number to the power of an activation: there is no constant exponent."""
    path = tmp_path / "m.onnx"
    x = between_layers(path, lambda g, h: g.op("Pow", g.const(1.5), h))["x"]
    agree(run_module(load(path, steps=T, time_axis=0), x), run_file(path, x))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_letters_of_an_equation_have_one_size(size: int, tmp_path: Path) -> None:
    """4 meets 4, or 1, which is repeated."""
    g = Graph()
    g.const(np.arange(1.0, 1 + 3 * size, dtype=np.float32).reshape(size, 3), "w")
    g.op("Einsum", "x", "w", out="out", equation="abc,cd->abd")
    path = g.save(tmp_path / "m.onnx", {"x": [T, B, 4]}, {"out": [T, B, 3]})
    x = np.random.default_rng(2).normal(size=(T, B, 4)).astype(np.float32)
    if size in (1, 4):
        found = run_module(load(path, steps=T, time_axis=0), x)["out"]
        w = np.broadcast_to(np.arange(1.0, 1 + 3 * size).reshape(size, 3), (4, 3))
        np.testing.assert_allclose(found, x @ w, rtol=1e-5, atol=1e-6)
        return
    with pytest.raises(CompileError) as caught:
        load(path, steps=T, time_axis=0)
    assert caught.value.diagnostics[0].code == "E0105"


def test_a_narrow_value_with_wide_and_narrow_uses(tmp_path: Path, pytorch: PyTorch) -> None:
    """m = mean(h) of every row: h - m is wide, m*m*u narrow; both gradients meet in m."""
    path = tmp_path / "m.onnx"
    arrays = between_layers(path, lambda g, h: h)
    arrays["u"] = np.array([[0.3, -0.7, 1.1, 0.2, 0.9]], np.float32)
    g = Graph()
    for name in ("w", "b", "v", "u"):
        g.const(arrays[name], name)
    h = g.op("Add", g.op("MatMul", "x", "w"), "b")
    m = g.op("ReduceMean", h, g.const(np.array([-1])), keepdims=1)
    wide = g.op("Sub", h, m)
    narrow = g.op("MatMul", g.op("Mul", m, m), "u")
    g.op("MatMul", g.op("Add", wide, narrow), "v", out="out")
    g.save(path, {"x": [T, B, 4]}, {"out": [T, B, K]})

    def model(torch: Any, x: Any, p: Any) -> Any:
        h = x @ p["w"] + p["b"]
        m = h.mean(-1, keepdim=True)
        return (h - m + (m * m) @ p["u"]) @ p["v"]

    agrees_with_pytorch(path, arrays, model, pytorch)


def test_one_state_for_a_whole_layer(tmp_path: Path, pytorch: PyTorch) -> None:
    """A trace of [B, 1], fed by the sum of the layer's values, is subtracted from all of them."""
    steps = 4
    rng = np.random.default_rng(4)
    arrays = {
        "x": rng.normal(size=(steps, B, 4)).astype(np.float32),
        "w": rng.normal(size=(4, K)).astype(np.float32),
        "k": rng.uniform(0.1, 0.4, size=K).astype(np.float32),
    }
    g = Graph()
    for name in ("w", "k"):
        g.const(arrays[name], name)
    v, trace, outs = "", g.const(np.zeros((B, 1), np.float32)), list[str]()
    for t in range(steps):
        x = g.op("Gather", "x", g.const(np.array(t)), axis=0)
        i = g.op("MatMul", x, "w")
        v = g.op("Sub", g.op("Add", g.op("Mul", v, g.const(0.8)), i) if v else i, trace)
        y = g.op("Tanh", v)
        total = g.op("ReduceSum", g.op("Mul", y, "k"), g.const(np.array([1])), keepdims=1)
        trace = g.op("Add", g.op("Mul", trace, g.const(0.5)), total)
        outs.append(g.op("Unsqueeze", y, g.const(np.array([0]))))
    g.op("Concat", *outs, axis=0, out="out")
    path = g.save(tmp_path / "m.onnx", {"x": [steps, B, 4]}, {"out": [steps, B, K]})

    def model(torch: Any, x: Any, p: Any) -> Any:
        v, trace = 0.0, torch.zeros(B, 1)
        found = list[Any]()
        for t in range(steps):
            v = 0.8 * v + x[t] @ p["w"] - trace
            y = torch.tanh(v)
            trace = 0.5 * trace + (y * p["k"]).sum(1, keepdim=True)
            found.append(y)
        return torch.stack(found)

    agrees_with_pytorch(path, arrays, model, pytorch, steps)
