"""Layers of the network language without memory (docs/dsl.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from snncc.compiler.diag import fail
from snncc.compiler.frontend.dsl.args import Args, Par
from snncc.compiler.frontend.dsl.net import Net
from snncc.compiler.ir.core import Attribute, Value

Emit: TypeAlias = Callable[[Net, Value, Args, str], Value]


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of the language: arguments, meaning, and what it emits."""

    pars: tuple[Par, ...]
    doc: str
    emit: Emit


def bound(fan_in: int) -> float:
    """Return the range of first weights: variance 1/fan_in."""
    return math.sqrt(3 / max(1, fan_in))


def spatial(x: Value, a: Args) -> int:
    """Return the number of spatial axes behind batch and channels."""
    rank = len(x.type.step_shape) - 2
    if rank not in (1, 2):
        text = f"{a.call.name} needs channels and one or two spatial axes"
        fail("E0124", f"{text}, not a sample of shape {sample(x)}", a.span())
    return rank


def sample(x: Value) -> str:
    """Return a sample's shape as it is written."""
    return "x".join(map(str, x.type.step_shape[1:])) or "nothing"


def dense(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a fully connected layer over the last axis."""
    shape = x.type.step_shape
    if not 2 <= len(shape) <= 3:
        fail("E0124", f"dense takes flat samples, not {sample(x)}", a.span(), help="flatten first")
    b, out, fan = net.builder(a.span(), name), a.whole("out"), shape[len(shape) - 1]
    weight = net.param(b, a.span(), f"{name}.weight", (out, fan), "weight", bound=bound(fan),
                       swap=True)  # fmt: skip
    operands = [x, weight]
    if a.flag("bias"):
        operands.append(net.param(b, a.span(), f"{name}.bias", (out,), "bias", fill=0.0))
    return b.one("graph.linear", *operands, hint=name)


def _window(a: Args, rank: int) -> dict[str, Attribute]:
    return {
        "rank": rank,
        "stride": a.ints("stride", rank),
        "dilation": a.ints("dilation", rank),
        "groups": a.whole("groups"),
    }


def conv(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a convolution over one or two spatial axes."""
    rank, b, out = spatial(x, a), net.builder(a.span(), name), a.whole("out")
    kernel, groups, channels = a.ints("kernel", rank), a.whole("groups"), x.type.step_shape[1]
    attrs = _window(a, rank)
    if a.get("padding") == "same":
        total = [d * (k - 1) for d, k in zip(a.ints("dilation", rank), kernel, strict=True)]
        attrs["padding"] = (*(t // 2 for t in total), *(t - t // 2 for t in total))
    else:
        attrs["padding"] = a.ints("padding", rank) * 2
    if channels % groups or out % groups:
        fail("E0124", f"{groups} groups do not divide {channels} and {out} channels", a.span())
    fan = channels // groups * math.prod(kernel)
    shape = (out, channels // groups, *kernel)
    operands = [x, net.param(b, a.span(), f"{name}.weight", shape, "weight", bound=bound(fan))]
    if a.flag("bias"):
        operands.append(net.param(b, a.span(), f"{name}.bias", (out,), "bias", fill=0.0))
    return b.op("graph.conv", *operands, attrs=attrs, names=(name,)).result


def deconv(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a transposed convolution."""
    rank, b, out = spatial(x, a), net.builder(a.span(), name), a.whole("out")
    kernel, channels = a.ints("kernel", rank), x.type.step_shape[1]
    attrs = _window(a, rank)
    attrs["padding"] = a.ints("padding", rank) * 2
    attrs["output_padding"] = a.ints("output_padding", rank)
    groups = a.whole("groups")
    if channels % groups or out % groups:
        fail("E0124", f"{groups} groups do not divide {channels} and {out} channels", a.span())
    shape, fan = (channels, out // groups, *kernel), channels // groups * math.prod(kernel)
    operands = [x, net.param(b, a.span(), f"{name}.weight", shape, "weight", bound=bound(fan))]
    if a.flag("bias"):
        operands.append(net.param(b, a.span(), f"{name}.bias", (out,), "bias", fill=0.0))
    return b.op("graph.conv_transpose", *operands, attrs=attrs, names=(name,)).result


def _pool(kind: str) -> Emit:
    def emit(net: Net, x: Value, a: Args, name: str) -> Value:
        rank = spatial(x, a)
        kernel = a.ints("kernel", rank)
        attrs: dict[str, Attribute] = {
            "kind": kind,
            "kernel": kernel,
            "stride": a.ints("stride", rank) if a.said("stride") else kernel,
            "padding": a.ints("padding", rank) * 2,
        }
        if kind == "avg":
            attrs["count_pad"] = True
        return net.builder(a.span()).op("graph.pool", x, attrs=attrs, names=(name,)).result

    return emit


def globalpool(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit the mean (or sum, max) over the spatial axes."""
    axes = tuple(range(2, len(x.type.step_shape)))
    if not axes:
        fail("E0124", f"there are no spatial axes in {sample(x)}", a.span())
    return net.builder(a.span()).one("graph.reduce", x, kind=a.word("kind"), axes=axes)


def bn(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit batch normalisation over channels."""
    b, size = net.builder(a.span(), name), x.type.step_shape[1]
    starts = {"scale": ("weight", 1.0), "shift": ("bias", 0.0), "mean": ("running_mean", 0.0),
              "var": ("running_var", 1.0)}  # fmt: skip
    operands = [
        net.param(b, a.span(), f"{name}.{label}", (size,), role, fill=fill)
        for role, (label, fill) in starts.items()
    ]
    return b.one("graph.batchnorm", x, *operands, hint=name, axis=1, eps=a.float("eps"),
                 momentum=a.float("momentum"))  # fmt: skip


def _reshaped(net: Net, x: Value, a: Args, shape: tuple[int, ...]) -> Value:
    return net.builder(a.span()).one("graph.reshape", x, shape=(x.type.step_shape[0], *shape))


def flatten(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a reshape to one axis."""
    return _reshaped(net, x, a, (math.prod(x.type.step_shape[1:]),))


def tokens(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a reshape CxHxW -> CxN."""
    spatial(x, a)
    return _reshaped(net, x, a, (x.type.step_shape[1], math.prod(x.type.step_shape[2:])))


def reshape(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a reshape of the samples."""
    shape = a.get("shape")
    return _reshaped(net, x, a, shape if isinstance(shape, tuple) else ())


def dropout(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit dropout with a random stream of its own."""
    net.streams += 1
    if not a.float("rate") < 1:
        fail("E0122", "rate must be below 1", a.span("rate"))
    return net.builder(a.span()).one("graph.dropout", x, rate=a.float("rate"), stream=net.streams)


def relu(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit max(x, 0)."""
    return net.builder(a.span()).one("graph.relu", x)


def scale(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a multiplication with a number."""
    b = net.builder(a.span())
    return b.one("graph.mul", x, net.number(b, a.float("factor")))


def position(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit a learned summand, one number for each element of a sample."""
    b, shape = net.builder(a.span(), name), x.type.step_shape[1:]
    width = a.float("std") * math.sqrt(3)
    return b.one("graph.add", x, net.param(b, a.span(), f"{name}.weight", shape, "bias",
                                           bound=width))  # fmt: skip


def vote(net: Net, x: Value, a: Args, name: str) -> Value:
    """Emit the mean over groups of neighbours."""
    shape, group = x.type.step_shape, a.whole("group")
    if len(shape) != 2 or shape[1] % group:
        fail("E0124", f"groups of {group} do not divide a sample of shape {sample(x)}", a.span())
    grouped = _reshaped(net, x, a, (shape[1] // group, group))
    return net.builder(a.span()).one("graph.reduce", grouped, kind="mean", axes=(2,))


OUT = Par("out", "int", needed=True, low=1, doc="the number of outputs")
KERNEL = Par("kernel", "ints", 3, low=1)
BIAS = Par("bias", "bool", True)
STRIDE, PADDING = Par("stride", "ints", 1, low=1), Par("padding", "padding", 0, low=0)
DILATION, GROUPS = Par("dilation", "ints", 1, low=1), Par("groups", "int", 1, low=1)
POOL = (Par("kernel", "ints", 2, low=1), Par("stride", "ints", low=1, doc="default: the kernel"),
        Par("padding", "ints", 0, low=0))  # fmt: skip
KIND = Par("kind", "word", "mean", choices=("mean", "sum", "max"))

LAYERS: dict[str, Layer] = {
    "dense": Layer((OUT, BIAS), "fully connected, over the last axis", dense),
    "conv": Layer(
        (OUT, KERNEL, STRIDE, PADDING, DILATION, GROUPS, BIAS),
        "convolution over one or two spatial axes; `padding=same` keeps the size",
        conv,
    ),
    "deconv": Layer(
        (OUT, KERNEL, STRIDE, Par("padding", "ints", 0, low=0),
         Par("output_padding", "ints", 0, low=0), DILATION, GROUPS, BIAS),
        "transposed convolution", deconv,
    ),
    "maxpool": Layer(POOL, "largest value of each window", _pool("max")),
    "avgpool": Layer(POOL, "mean of each window", _pool("avg")),
    "sumpool": Layer(POOL, "sum of each window", _pool("sum")),
    "globalpool": Layer((KIND,), "over all positions", globalpool),
    "bn": Layer(
        (Par("eps", "float", 1e-5, low=0), Par("momentum", "float", 0.1, low=0)),
        "batch normalisation per channel", bn,
    ),
    "flatten": Layer((), "a sample becomes one axis", flatten),
    "reshape": Layer((Par("shape", "shape", needed=True, low=1),), "a sample's shape", reshape),
    "tokens": Layer((), "CxHxW becomes CxN", tokens),
    "dropout": Layer((Par("rate", "float", 0.5, low=0),), "in training only", dropout),
    "relu": Layer((), "max(x, 0)", relu),
    "scale": Layer((Par("factor", "float", needed=True),), "times a number", scale),
    "position": Layer((Par("std", "float", 0.02, low=0),), "plus a learned array", position),
    "vote": Layer((Par("group", "int", 10, low=1),), "mean over groups of neighbours", vote),
}  # fmt: skip
