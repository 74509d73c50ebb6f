"""Surrogate derivatives: against the frameworks' own code, and their behaviour in binary16."""

import importlib
import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from pytorch_results import Compute, PyTorch
from snncc.compiler.interp.numerics import numerics_of
from snncc.compiler.interp.region import Elementwise
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Block, Value, tensor
from snncc.compiler.ir.surrogate import SURROGATES, Formula, derivative, normal, surrogate

U = np.concatenate([np.linspace(-3, 3, 241), [-1e-3, 0.0, 1e-3]])


def value(
    spec: Attribute, u: Any, theta: float = 1.0, numerics: str = "float64"
) -> np.ndarray[Any, Any]:
    """Evaluate the emitted ops at h = theta + u."""
    num = numerics_of(numerics)
    block = Block()
    h, t = block.add_arg(tensor((len(u),)), "h"), block.add_arg(tensor(()), "theta")
    out = derivative(Builder(block), h, t, spec)
    env: dict[Value, Any] = {
        h: num.value(np.asarray(u, np.float64) + theta, "f16"),
        t: num.value(np.float64(theta), "f16"),
    }
    ew = Elementwise(num, 0)
    with np.errstate(all="ignore"):
        for op in block.ops:
            env[op.result] = ew(op, [env[v] for v in op.operands], 0)
    return np.broadcast_to(env[out], (len(u),))


def _slope(torch: Any, spike: Any) -> dict[str, Any]:
    """The gradient of a framework's spike function at U."""
    x = torch.tensor(U, dtype=torch.float64, requires_grad=True)
    spike(x).sum().backward()
    return {"slope": x.grad}


SNNTORCH: dict[str, dict[str, Attribute]] = {
    "atan(alpha=2.0)": {"name": "atan", "alpha": 2.0},
    "atan(alpha=0.7)": {"name": "atan", "alpha": 0.7},
    "fast_sigmoid(slope=25)": {"name": "fast_sigmoid", "slope": 25.0},
    "sigmoid(slope=5)": {"name": "sigmoid", "slope": 5.0},
    "straight_through_estimator()": {"name": "straight_through"},
}
SPIKINGJELLY: dict[str, dict[str, Attribute]] = {
    "ATan(alpha=2.0)": {"name": "atan", "alpha": 2.0},
    "Sigmoid(alpha=4.0)": {"name": "sigmoid", "alpha": 4.0},
    "Rect(alpha=2.0)": {"name": "rectangular", "width": 0.5},
    "SuperSpike(alpha=1.0)": {"name": "super_spike"},
    "PiecewiseQuadratic(alpha=2.0)": {"name": "triangular", "width": 0.5},
    "PiecewiseExp(alpha=2.0)": {"name": "exponential", "width": 0.5, "scale": 0.5},
}
SINABS: dict[str, dict[str, Attribute]] = {
    "SingleExponential(0.4, 1.5)": {"name": "exponential", "width": 0.4, "scale": 1.5},
    "PeriodicExponential(0.4, 1.5)": {"name": "periodic_exponential", "width": 0.4, "scale": 1.5},
    "Gaussian(0.1, 0.6, 2.0)": {"name": "gaussian", "mu": 0.1, "sigma": 0.6, "scale": 2.0},
}


def _call(module: Any, text: str) -> Any:
    name, _, rest = text.partition("(")
    words = [w for w in rest[:-1].split(", ") if w]
    keyed = dict(w.split("=") for w in words if "=" in w)
    return getattr(module, name)(
        *(float(w) for w in words if "=" not in w), **{k: float(v) for k, v in keyed.items()}
    )


def _framework(module: str, text: str) -> Compute:
    """What PyTorch is asked for: the gradient of a framework's function."""

    def slope(torch: Any) -> dict[str, Any]:
        return _slope(torch, _call(importlib.import_module(module), text))

    return slope


@pytest.mark.parametrize("text", SNNTORCH)
def test_snntorch(text: str, pytorch: PyTorch) -> None:
    want = pytorch({"u": U}, _framework("snntorch.surrogate", text))["slope"]
    np.testing.assert_allclose(value(SNNTORCH[text], U), want, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("text", SPIKINGJELLY)
def test_spikingjelly(text: str, pytorch: PyTorch) -> None:
    module = "spikingjelly.activation_based.surrogate"
    want = pytorch({"u": U}, _framework(module, text))["slope"]
    edge = np.isclose(np.abs(U), 0.25) if text.startswith("Rect") else np.zeros(len(U), bool)
    np.testing.assert_allclose(
        value(SPIKINGJELLY[text], U)[~edge], want[~edge], rtol=1e-7, atol=1e-12
    )


def test_norse(pytorch: PyTorch) -> None:
    name = "norse.torch.functional.threshold"

    def super_spike(torch: Any) -> dict[str, Any]:
        spike = importlib.import_module(name).superspike_fn
        return _slope(torch, partial(spike, alpha=torch.as_tensor(100.0)))

    def triangle(torch: Any) -> dict[str, Any]:
        spike = importlib.import_module(name).triangle_fn
        return _slope(torch, partial(spike, alpha=0.3))

    want = pytorch({"u": U}, super_spike)["slope"]
    np.testing.assert_allclose(value({"name": "super_spike"}, U), want, rtol=1e-7)
    spec: dict[str, Attribute] = {"name": "triangular", "width": 1.0, "scale": 0.3}
    want = pytorch({"u": U}, triangle)["slope"]
    np.testing.assert_allclose(value(spec, U), want, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("theta", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("text", SINABS)
def test_sinabs(text: str, theta: float, pytorch: PyTorch) -> None:
    h = U + theta + 1e-9  # off the jumps of the periodic one

    def slope(torch: Any) -> dict[str, Any]:
        module = importlib.import_module("sinabs.activation.surrogate_gradient_fn")
        return {"slope": _call(module, text)(torch.tensor(h), theta)}

    want = pytorch({"h": h}, slope)["slope"]
    np.testing.assert_allclose(value(SINABS[text], h - theta, theta), want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SURROGATES)
def test_binary16_is_close_and_never_overflows(name: str) -> None:
    spec: dict[str, Attribute] = {"name": name}
    exact, half = value(spec, U), value(spec, U, numerics="fp16")
    np.testing.assert_allclose(half, exact, rtol=0.03, atol=0.03)
    far = value(spec, np.array([-60000.0, -300.0, -3.6, 3.6, 300.0, 60000.0]), numerics="fp16")
    assert np.isfinite(far).all(), "the sigmoid of snnTorch is NaN here"


def test_names_and_synonyms() -> None:
    assert normal("fast-sigmoid") == {"name": "fast_sigmoid", "slope": 25.0}
    assert normal({"name": "sigmoid", "slope": 25.0}) == {"name": "sigmoid", "alpha": 25.0}
    assert math.isclose(float(value("atan", [0.0])[0]), 1.0)
    with pytest.raises(ValueError, match="unknown surrogate 'atanh'"):
        normal("atanh")


BROKEN: tuple[tuple[tuple[Any, ...], str], ...] = (
    (("", {"alpha": 1.0}), "it needs a formula and a docstring"),
    (("u", {"alpha": 1.0}, {"slope": "beta"}), "there is no parameter beta"),
    (("u", {"alpha": 1.0}, {}, ("mu",)), "there is no parameter mu"),
    (("u", {"alpha": 1.0}, {"alpha": "alpha"}), "alpha is a parameter, not a synonym"),
    (("u", {"mu": 0.0}), "the default of mu must be above 0, or the parameter is signed"),
)


@pytest.mark.parametrize(("row", "message"), BROKEN)
def test_a_row_that_is_not_whole_is_refused(row: tuple[Any, ...], message: str) -> None:
    def linear(x: Formula) -> Value:
        """u."""
        return x.u

    with pytest.raises(ValueError, match=f"surrogate linear: {message}"):
        surrogate(*row)(linear)
    assert "linear" not in SURROGATES


def test_a_name_is_taken_once() -> None:
    def atan(x: Formula) -> Value:
        """u."""
        return x.u

    with pytest.raises(ValueError, match="surrogate atan: there is one of this name already"):
        surrogate("u", {})(atan)
