"""An independent PyTorch model of the neuron equations and surrogates (DESIGN section 3)."""

from __future__ import annotations

import importlib
import math
from typing import Any

torch: Any = importlib.import_module("torch")  # it may be absent when types are checked


def slope(spec: dict[str, Any], h: Any, theta: Any) -> Any:
    u = h - theta
    size = u.abs()
    match spec["name"]:
        case "atan":
            a = spec["alpha"]
            return a / 2 / (1 + (math.pi / 2 * a * u) ** 2)
        case "fast_sigmoid":
            return 1 / (1 + spec["slope"] * size) ** 2
        case "super_spike":
            return 1 / (1 + spec["alpha"] * size) ** 2
        case "sigmoid":
            s = torch.sigmoid(spec["alpha"] * u)
            return spec["alpha"] * s * (1 - s)
        case "exponential":
            w = theta * spec["width"]
            return spec["scale"] / w * torch.exp(-size / w)
        case "periodic_exponential":
            n = h / theta - 0.5
            p = theta * (2 * (n - torch.floor(n)) - 1)
            p = torch.where(h >= theta, p, u)
            return spec["scale"] * torch.exp(-p.abs() / spec["width"])
        case "gaussian":
            s = spec["sigma"]
            e = torch.exp(-((u - spec["mu"]) ** 2) / (2 * s * s))
            return spec["scale"] * e / (s * math.sqrt(2 * math.pi))
        case "rectangular":
            return (size < spec["width"] / 2) / spec["width"]
        case "triangular":
            return spec["scale"] / spec["width"] * torch.relu(1 - size / spec["width"])
        case "window":
            return spec["scale"] * ((u >= spec["low"]) & (u <= spec["high"]))
        case "straight_through":
            return torch.ones_like(u)
        case _:
            raise AssertionError(f"no such surrogate: {spec['name']}")


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Any, theta: Any, compare: str, spec: dict[str, Any]) -> Any:
        ctx.save_for_backward(h, theta)
        ctx.spec = spec
        if compare == "strict":
            return (h > theta).to(h.dtype)
        if compare == "non_strict":
            return (h >= theta).to(h.dtype)
        return (h > 0) * torch.trunc(h / theta)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        h, theta = ctx.saved_tensors
        d = grads[0] * slope(ctx.spec, h, theta)
        to_theta = -d
        while to_theta.dim() > theta.dim():
            to_theta = to_theta.sum(0)
        for i, n in enumerate(theta.shape):
            if n == 1:
                to_theta = to_theta.sum(i, keepdim=True)
        return d, to_theta, None, None


Spike: Any = _Spike


def neuron(x: Any, attrs: dict[str, Any], constants: dict[str, Any]) -> tuple[Any, Any]:
    """Run a neuron layer over x [T, ...]; returns spikes and membranes stacked."""

    def get(name: str, default: float = 0.0) -> Any:
        if name in constants:
            return constants[name]
        return torch.as_tensor(attrs.get(name, default), dtype=x.dtype)

    spec, compare = attrs.get("surrogate"), attrs["compare"]
    theta = get("threshold")
    v = torch.zeros_like(x[0]) + get("v_init")
    i = torch.zeros_like(x[0]) + get("i_init")
    reset, delay = attrs.get("reset", "none"), attrs.get("delay", False)
    out: list[Any] = []
    membranes: list[Any] = []
    for xt in x:
        match attrs.get("synapse", "none"):
            case "before":
                i = get("a_syn") * i + xt
                c = i
            case "after":
                c = i + xt
                i = get("a_syn") * c
            case "scaled":
                i = get("a_syn") * (i + xt)
                c = i
            case _:
                c = xt
        if attrs.get("norm_input"):
            c = (1 - get("beta")) * c
        r = None
        if delay and reset != "none":
            r = Spike.apply(v, theta, compare, spec)
            if attrs["reset_gradient"] == "detached":
                r = r.detach()
            if reset == "hard":
                if compare == "multi":
                    v = torch.where(r == 0, v, get("reset_value"))
                else:
                    v = (1 - r) * v + r * get("reset_value")
        match attrs["dynamics"]:
            case "leaky":
                h = get("beta") * (v - get("v_rest")) + get("v_rest") + c
            case "decay_input":
                d = c - (v - get("v_rest"))
                rated = "rate" in attrs or "rate" in constants
                h = v + (d * get("rate") if rated else d / get("tau"))
            case _:
                h = v + c
        if r is not None and reset == "subtract":
            h = h - r * theta
        if compare == "none":
            v = h
            s = h
        else:
            s = Spike.apply(h, theta, compare, spec)
            fired = s.detach() if attrs["reset_gradient"] == "detached" else s
            if delay or reset == "none":
                v = h
            elif reset == "subtract":
                v = h - fired * theta
            elif compare == "multi":
                v = torch.where(s == 0, h, get("reset_value"))
            else:
                v = (1 - fired) * h + fired * get("reset_value")
        if attrs.get("v_min") is not None:
            v = torch.relu(v - attrs["v_min"]) + attrs["v_min"]
        out.append(s)
        membranes.append(v)
    return torch.stack(out), torch.stack(membranes)
