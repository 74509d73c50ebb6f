"""Layers of .snn files by the table of docs/dsl.md, on values with or without a time axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from snncc.compiler.validate import array_layers
from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.array_layers import SlidingWindow
from snncc.compiler.validate.dsl.neurons import Leak, NeuronLayer
from snncc.compiler.validate.dsl.options import Meant


@dataclass(frozen=True, slots=True)
class Flow:
    """A value: ``[T, B, ...]`` where ``timed``, else ``[B, ...]``, the same at every step."""

    array: Array
    timed: bool

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.array.shape[1 + int(self.timed) :]

    def each(self, layer: Callable[[Array], Array]) -> Flow:
        """Apply a layer on ``[N, ...]``."""
        return Flow(array_layers.over_time(layer, self.array, self.timed), self.timed)

    def map(self, function: Callable[[Array], Array]) -> Flow:
        """Apply a function that leaves the leading axes alone."""
        return Flow(function(self.array), self.timed)

    def at(self, step: int) -> Array:
        """Return the value of a step."""
        return np.asarray(self.array[step]) if self.timed else self.array


class Network(Protocol):
    """What a layer needs of the evaluation."""

    @property
    def arithmetic(self) -> Arithmetic:
        """The arithmetic to compute in."""
        ...

    @property
    def steps(self) -> int:
        """The number of time steps."""
        ...

    def attached(self, meant: Meant) -> bool:
        """Whether the reset of a neuron passes a gradient."""
        ...

    def notice(self, name: str, array: Array) -> None:
        """Keep a value that is no layer's result, to say where a difference begins."""
        ...

    def parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        fan_in: int = 0,
        fill: float | None = None,
        bound: float | None = None,
    ) -> Array:
        """Return a parameter in the file's layout."""
        ...


Layer: TypeAlias = Callable[[Network, Meant, Flow, str], Flow]


def together(flows: Sequence[Flow]) -> list[Array]:
    """Return arrays that all have a time axis when one has."""
    steps = next((f.array.shape[0] for f in flows if f.timed), None)
    if steps is None:
        return [f.array for f in flows]
    return [f.array if f.timed else np.stack([f.array] * steps) for f in flows]


def added(a: Flow, b: Flow) -> Flow:
    """The sum of two values."""
    first, second = together([a, b])
    return Flow(first + second, a.timed or b.timed)


def side_by_side(flows: Sequence[Flow], axis: int) -> Flow:
    """Values joined along an axis; the channels are axis 1."""
    timed = any(f.timed for f in flows)
    return Flow(np.concatenate(together(flows), axis=axis + int(timed)), timed)


def _dense(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    out, fan = m.whole("out"), x.sample[-1]
    weight = net.parameter(f"{label}.weight", (out, fan), fan_in=fan)
    bias = net.parameter(f"{label}.bias", (out,), fill=0.0) if m.options["bias"] else None
    return x.map(lambda a: array_layers.affine(a, weight, bias))


def _window(m: Meant, rank: int, low: Sequence[int], high: Sequence[int]) -> SlidingWindow:
    dilation = m.axes("dilation", rank) if "dilation" in m.options else (1,) * rank
    groups = m.whole("groups") if "groups" in m.options else 1
    return SlidingWindow(m.axes("stride", rank), tuple(low), tuple(high), dilation, groups)


def _conv(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    rank = len(x.sample) - 1
    out, kernel = m.whole("out"), m.axes("kernel", rank)
    if m.options["padding"] == "same":
        reach = [d * (k - 1) for d, k in zip(m.axes("dilation", rank), kernel, strict=True)]
        low, high = [r // 2 for r in reach], [r - r // 2 for r in reach]
    else:
        low = high = list(m.axes("padding", rank))
    window = _window(m, rank, low, high)
    inner = x.sample[0] // window.groups
    weight = net.parameter(
        f"{label}.weight", (out, inner, *kernel), fan_in=inner * math.prod(kernel)
    )
    bias = net.parameter(f"{label}.bias", (out,), fill=0.0) if m.options["bias"] else None
    return x.each(lambda a: array_layers.convolution(a, weight, bias, window))


def _deconv(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    rank, channels = len(x.sample) - 1, x.sample[0]
    out, kernel = m.whole("out"), m.axes("kernel", rank)
    around = m.axes("padding", rank)
    window = _window(m, rank, around, around)
    fan = channels // window.groups * math.prod(kernel)
    shape = (channels, out // window.groups, *kernel)
    weight = net.parameter(f"{label}.weight", shape, fan_in=fan)
    bias = net.parameter(f"{label}.bias", (out,), fill=0.0) if m.options["bias"] else None
    more = m.axes("output_padding", rank)
    return x.each(lambda a: array_layers.transposed_convolution(a, weight, bias, window, more))


def _pool(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    rank = len(x.sample) - 1
    kernel, around = m.axes("kernel", rank), m.axes("padding", rank)
    stride = kernel if m.options["stride"] is None else m.axes("stride", rank)
    window = SlidingWindow(stride, around, around, (1,) * rank)
    kind = m.kind.removesuffix("pool")
    return x.each(lambda a: array_layers.pooling(net.arithmetic, a, kind, kernel, window))


def _global_pool(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    kind = m.options["kind"]

    def layer(a: Array) -> Array:
        flat = a.reshape(*a.shape[:2], -1)
        if kind == "max":
            return array_layers.largest(
                net.arithmetic, [flat[..., i] for i in range(flat.shape[2])]
            )
        total: Array = flat.sum(axis=2)
        return total / flat.shape[2] if kind == "mean" else total

    return x.each(layer)


def _batch_norm(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    """Normalise by the running statistics."""
    size = (x.sample[0],)
    scale = net.parameter(f"{label}.weight", size, fill=1.0)
    shift = net.parameter(f"{label}.bias", size, fill=0.0)
    mean = net.parameter(f"{label}.running_mean", size, fill=0.0)
    variance = net.parameter(f"{label}.running_var", size, fill=1.0)
    return x.each(
        lambda a: array_layers.normalised(
            net.arithmetic, a, scale, shift, mean, variance, m.number("eps")
        )
    )


def _flatten(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    return x.each(lambda a: a.reshape(a.shape[0], -1))


def _tokens(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    return x.each(lambda a: a.reshape(*a.shape[:2], -1))


def _reshape(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    shape = m.options["shape"]
    assert isinstance(shape, tuple)
    return x.each(lambda a: a.reshape(a.shape[0], *shape))


def _same(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    return x


def _relu(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    return x.map(net.arithmetic.relu)


def _scale(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    return x.map(lambda a: a * m.number("factor"))


def _position(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    bound = m.number("std") * math.sqrt(3)
    place = net.parameter(f"{label}.weight", x.sample, bound=bound)
    return x.map(lambda a: a + place)


def _vote(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    group = m.whole("group")
    return x.each(lambda a: a.reshape(a.shape[0], -1, group).sum(axis=2) / group)


def neurons(net: Network, m: Meant, x: Flow, label: str) -> Flow:
    """A neuron layer over all steps: its spikes, or the membrane of a leaky integrator."""
    shape = x.array.shape[int(x.timed) :]
    zeros = np.zeros(shape)
    layer = NeuronLayer(
        net.arithmetic, m, _leak(net, m, label), not net.attached(m), zeros, zeros, zeros
    )
    if m.options.get("recurrent") is True:
        size = shape[-1]
        back = net.parameter(f"{label}.recurrent", (size, size), fan_in=size)
        layer.feedback = lambda spikes: array_layers.affine(spikes, back)
    given: list[Array] = []
    membranes: list[Array] = []
    for t in range(x.array.shape[0] if x.timed else net.steps):
        given.append(layer.step(x.at(t)))
        membranes.append(layer.membrane)
    net.notice(f"membrane of {label}", np.stack(membranes))
    return Flow(np.stack(given), True)


def _leak(net: Network, m: Meant, label: str) -> Leak:
    if m.kind == "if":
        return Leak()
    key = "tau" if "tau" in m.given else "beta"
    value = m.number(key)
    number = np.asarray(value)
    if m.options["learn"] is True:
        number = net.parameter(f"{label}.{key}", (), fill=value)
    return Leak(tau=number) if key == "tau" else Leak(beta=number)


LAYERS: Mapping[str, Layer] = {
    "dense": _dense, "conv": _conv, "deconv": _deconv,
    "maxpool": _pool, "avgpool": _pool, "sumpool": _pool, "globalpool": _global_pool,
    "bn": _batch_norm, "flatten": _flatten, "tokens": _tokens, "reshape": _reshape,
    "dropout": _same, "relu": _relu, "scale": _scale, "position": _position, "vote": _vote,
}  # fmt: skip
