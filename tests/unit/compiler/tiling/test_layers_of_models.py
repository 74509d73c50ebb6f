"""Layers as real models combine them, with all their gradients: the same bits at every stage."""

from typing import Any

import numpy as np
import pytest

from lowered import phased
from snncc.compiler.ir.core import Attribute, Value, seq, tensor
from strategies_networks import LEAKY, Net, random_inputs
from whole_stack import check_fitting

SIZES = ((1, 0), (4, 4096), (20, 0))


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).normal(0, 1, shape).astype(np.float32)


def trained(net: Net, value: Value) -> None:
    """Flatten, classify, and train; compare everywhere."""
    features = int(np.prod(value.type.step_shape[1:]))
    flat = net.b.one("graph.reshape", value, shape=(net.batch, features))
    out, _ = net.neuron(net.linear(flat, "head", weights(features, 3)), "out")
    net.output(out)
    net.train(scale=128.0)
    step, given = phased(net.module), random_inputs(net.module, 1)
    inputs = {a.name: given[a.name] for a in step.func("step").body.args}
    for cores, scratchpad in SIZES:
        check_fitting(step, inputs, cores, scratchpad or 1 << 16)


def spiking(net: Net, *shape: int) -> Value:
    return net.neuron(net.input(shape), "first", threshold=0.25)[0]


def test_transposed_convolution_of_spikes() -> None:
    net = Net(3, 2)
    spikes = spiking(net, 5, 4, 4)
    w = net.param("up.weight", weights(5, 6, 3, 3))
    up = net.b.op(
        "graph.conv_transpose", spikes, w,
        attrs={"rank": 2, "stride": (2, 2), "padding": (1, 1, 1, 1), "output_padding": (1, 1)},
    ).result  # fmt: skip
    trained(net, net.neuron(up, "second")[0])


@pytest.mark.parametrize("spikes", [False, True])
def test_averages_of_what_lies_inside(spikes: bool) -> None:
    net = Net(2, 3)
    x = spiking(net, 4, 7, 7) if spikes else net.neuron(net.input((4, 7, 7)), "first")[1]
    attrs: dict[str, Any] = {
        "kernel": (3, 3),
        "stride": (2, 2),
        "padding": (1, 1, 1, 1),
        "count_pad": False,
    }
    trained(net, net.b.one("graph.pool", x, kind="avg", **attrs))


def test_a_frame_of_a_number() -> None:
    net = Net(2, 3)
    x = net.neuron(net.input((4, 5, 5)), "first")[1]
    trained(net, net.b.one("graph.pad", x, low=(0, 0, 1, 0), high=(0, 0, 1, 2), value=0.5))


def test_signs() -> None:
    net = Net(2, 3)
    x = net.neuron(net.input((9,)), "first")[1]
    trained(net, net.b.one("graph.mul", net.b.one("graph.unary", x, fn="sign"), x))


def test_a_carried_value_that_becomes_another_one() -> None:
    """The current of step t is used again two steps later, inside a recurrent layer."""
    net = Net(4, 3)
    x, w = net.input((6,)), net.param("loop.weight", weights(6, 6))
    b = net.b

    def delay(name: str) -> Value:
        attrs: dict[str, Attribute] = {
            "state": name,
            "shape": (3, 6),
            "steps": 4,
            "dtype": "f16",
            "init": 0.0,
        }
        return b.op("graph.delay", types=[seq((4, 3, 6))], attrs=attrs).result

    once, twice = delay("once"), delay("twice")
    h = b.one("graph.add", x, b.one("graph.linear", once, w))
    h = b.one("graph.sub", h, twice)
    theta = b.op("graph.const", types=[tensor(())], value=0.5).result
    s = b.one("graph.spike", h, theta, compare="strict", surrogate=LEAKY["surrogate"])
    b.op("graph.delay_next", h, state="once")
    b.op("graph.delay_next", once, state="twice")
    trained(net, s)


@pytest.mark.parametrize("axis", [1, 2])
def test_spikes_that_are_joined_and_cut_within_words(axis: int) -> None:
    net = Net(2, 3)
    first = spiking(net, 5, 19)
    second = net.neuron(first, "second", threshold=0.5)[0]
    joined = net.b.one("graph.concat", first, second, axis=axis)
    size = joined.type.step_shape
    starts = tuple(3 if a == axis else 0 for a in range(3))
    ends = tuple(d - 1 if a == axis else d for a, d in enumerate(size))
    cut = net.b.one("graph.slice", joined, starts=starts, ends=ends)
    low = tuple(1 if a == axis else 0 for a in range(3))
    trained(net, net.b.one("graph.pad", cut, low=low, high=(0, 0, 0)))


def test_spikes_joined_with_numbers() -> None:
    net = Net(2, 3)
    spikes, membrane = net.neuron(net.input((5, 3, 3)), "first", threshold=0.25)
    trained(net, net.b.one("graph.concat", spikes, membrane, axis=1))


def test_layers_that_share_a_weight() -> None:
    net = Net(3, 2)
    w = net.param("both.weight", weights(8, 8))
    first = net.neuron(net.b.one("graph.linear", net.input((8,)), w), "first")[0]
    trained(net, net.neuron(net.b.one("graph.linear", first, w), "second")[0])


@pytest.mark.parametrize(
    ("kind", "spikes"),
    [("convolution", True), ("matrix", False), ("softmax", True), ("backwards", True),
     ("joined", False)],
)  # fmt: skip
def test_whole_sequences(kind: str, spikes: bool) -> None:
    """An op over all steps between two layers of neurons."""
    steps, batch, width = 5, 2, 18
    net = Net(steps, batch)
    b = net.b
    fired, membrane = net.neuron(net.linear(net.input((7,)), "fc", weights(7, width)), "first")
    whole = b.one("graph.time_to_axis", fired if spikes else membrane)
    if kind == "convolution":
        y = b.one("graph.transpose", whole, perm=(1, 2, 0))
        y = net.conv(y, "conv", weights(width, width, 3), padding=(1, 1))
        y = b.one("graph.transpose", y, perm=(2, 0, 1))
    elif kind == "matrix":
        y = b.one("graph.reshape", whole, shape=(steps, batch * width))
        y = b.one("graph.matmul", net.param("mix", weights(steps, steps)), y)
        y = b.one("graph.reshape", y, shape=whole.type.shape)
    elif kind == "softmax":
        y = b.one("graph.softmax", whole, axis=0)
    elif kind == "backwards":
        rows = [b.one("graph.slice", whole, starts=(t, 0, 0), ends=(t + 1, batch, width))
                for t in reversed(range(steps))]  # fmt: skip
        y = b.one("graph.concat", *rows, axis=0)
    else:
        gains = [net.param(f"gain{t}", weights(width)) for t in range(steps)]
        rows = [b.one("graph.reshape", v, shape=(1, 1, width)) for v in gains]
        y = b.one("graph.mul", whole, b.one("graph.concat", *rows, axis=0))
    trained(net, net.neuron(b.one("graph.axis_to_time", y), "second")[0])


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), (2, 3), (1, 3)])
def test_reductions_of_spikes(kind: str, axes: tuple[int, ...]) -> None:
    """Over packed rows, beside them and across them."""
    net = Net(2, 2)
    reduced = net.b.one("graph.reduce", spiking(net, 3, 4, 5), kind=kind, axes=axes, keepdims=True)
    trained(net, reduced)


@pytest.mark.parametrize("width", [5, 16])
def test_moves_inside_a_recurrence(width: int) -> None:
    """A cell that joins its input with its own spikes, and takes its gates apart."""
    net = Net(3, 2)
    x = net.input((width,))
    b = net.b
    before = b.op(
        "graph.delay", attrs={"state": "s", "shape": (2, width), "steps": 3, "dtype": "bit"}
    ).result
    joined = b.one("graph.concat", x, before, axis=1)
    gates = net.linear(joined, "gates", weights(2 * width, 2 * width))
    parts = [
        b.one("graph.slice", gates, starts=(0, k * width), ends=(2, (k + 1) * width))
        for k in range(2)
    ]
    gated = b.one("graph.mul", b.one("graph.unary", parts[0], fn="sigmoid"), parts[1])
    spikes = b.op(
        "graph.spike", gated, b.op("graph.const", types=[tensor(())], attrs={"value": 0.25}).result,
        attrs={"compare": "strict", "layer": "cell"},
    ).result  # fmt: skip
    b.op("graph.delay_next", spikes, attrs={"state": "s"})
    trained(net, spikes)


@pytest.mark.parametrize("channels", [3, 16, 21])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_kernel_computed_from_a_parameter(channels: int, rank: int) -> None:
    """A kernel less its mean, times a gain for each output: its elements move, there and back."""
    net = Net(2, 2)
    b = net.b
    size = (5, 4)[:rank]
    spikes = spiking(net, channels, *size)
    w = net.param("w", weights(6, channels, *(3,) * rank))
    gain = net.param("gain", weights(6, 1, *(1,) * rank))
    axes = tuple(range(1, rank + 2))
    centred = b.one("graph.sub", w, b.one("graph.reduce", w, kind="mean", axes=axes, keepdims=True))
    kernel = b.one("graph.mul", centred, gain)
    y = b.op("graph.conv", spikes, kernel, attrs={"rank": rank, "padding": (1,) * (2 * rank)})
    trained(net, net.neuron(y.result, "second")[0])


def test_a_kernel_that_is_reshaped() -> None:
    net = Net(2, 2)
    w = net.param("w", weights(6, 3, 9))
    kernel = net.b.one("graph.reshape", w, shape=(6, 3, 3, 3))
    spikes = spiking(net, 3, 5, 4)
    y = net.b.op("graph.conv", spikes, kernel, attrs={"rank": 2, "padding": (1, 1, 1, 1)}).result
    trained(net, net.neuron(y, "second")[0])
