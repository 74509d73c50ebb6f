"""Random networks over all layer types; every choice comes from one generator."""

from __future__ import annotations

import numpy as np

from snncc.compiler.ir.core import Module, Value, tensor
from strategies_networks import RandomNetwork


class RichNetwork(RandomNetwork):
    """Adds grouped, dilated, transposed and 1-D convolutions, SEW, concatenation, attention, ..."""

    def convolution(self, x: Value) -> Value:
        """A convolution of any kind that fits."""
        net, shape = self.net, x.type.step_shape
        channels, size = shape[1], shape[2:]
        rank = len(size)
        groups = int(self.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        out = groups * int(self.rng.integers(1, 4))
        kernel = [int(self.rng.integers(1, min(3, d) + 1)) for d in size]
        dilation = [
            2 if k > 1 and 2 * (k - 1) < d and self.chance(0.3) else 1
            for k, d in zip(kernel, size, strict=True)
        ]
        stride = [int(self.rng.integers(1, 3)) for _ in size]
        padding = [int(self.rng.integers(0, 2)) for _ in range(2 * rank)]
        bias = self.rng.normal(size=out) * 0.3 if self.chance(0.5) else None
        return net.conv(
            x, self.name("conv"), self.weights(out, channels // groups, *kernel), bias,
            padding=tuple(padding), stride=tuple(stride), dilation=tuple(dilation), groups=groups,
        )  # fmt: skip

    def transposed(self, x: Value) -> Value:
        """A transposed convolution."""
        net, name = self.net, self.name("up")
        channels, rank = x.type.step_shape[1], len(x.type.step_shape) - 2
        out = int(self.rng.integers(1, 4))
        net.b.common["layer"] = name
        w = net.param(f"{name}.weight", self.weights(channels, out, *(2,) * rank))
        operands = [x, w]
        if self.chance(0.5):
            operands.append(net.param(f"{name}.bias", self.rng.normal(size=out) * 0.3, "bias"))
        stride = (int(self.rng.integers(1, 3)),) * rank
        return net.b.op(
            "graph.conv_transpose", *operands, attrs={"rank": rank, "stride": stride}
        ).result

    def pooled(self, x: Value) -> Value:
        """Pooling of any kind."""
        rank = len(x.type.step_shape) - 2
        if min(x.type.step_shape[2:]) < 2:
            return x
        kind = str(self.pick("max", "avg", "sum"))
        stride = int(self.rng.integers(1, 3))
        pad = int(self.chance(0.3))
        return self.net.b.op(
            "graph.pool",
            x,
            attrs={
                "kind": kind,
                "kernel": (2,) * rank,
                "stride": (stride,) * rank,
                "padding": (pad,) * (2 * rank),
            },
        ).result

    def spiking(self, x: Value) -> Value:
        """A neuron layer that gives spikes."""
        attrs = {**self.neuron_attrs(), "compare": str(self.pick("strict", "non_strict"))}
        return self.net.neuron(x, self.name("lif"), None, **attrs)[0]

    def residual(self, x: Value) -> Value:
        """A SEW block: two spike tensors of one shape joined by add, and, iand."""
        channels, rank = x.type.step_shape[1], len(x.type.step_shape) - 2
        w = self.weights(channels, channels, *(1,) * rank)
        other = self.spiking(self.net.conv(x, self.name("sew"), w))
        if x.type.dtype != "bit":
            return self.net.b.one("graph.add", other, x)
        return self.net.b.one(f"graph.{self.pick('add', 'and', 'iand')}", other, x)

    def doubled(self, x: Value) -> Value:
        """Two branches joined along the channels."""
        channels, rank = x.type.step_shape[1], len(x.type.step_shape) - 2
        other = self.net.conv(
            x, self.name("branch"), self.weights(int(self.rng.integers(1, 4)), channels,
                                                 *(1,) * rank)
        )  # fmt: skip
        first = x if x.type.dtype == "f16" else self.net.b.op("graph.cast", x, to="f16").result
        return self.net.b.op("graph.concat", first, other, attrs={"axis": 1}).result

    def number(self, value: float) -> Value:
        """A constant."""
        return self.net.b.op("graph.const", types=[tensor(())], attrs={"value": value}).result

    def scaled(self, x: Value) -> Value:
        """ReLU and a factor, or a positional term."""
        b = self.net.b
        if self.chance(0.5):
            x = b.one("graph.relu", x)
        if self.chance(0.5):
            return b.one("graph.mul", x, self.number(1.5))
        position = self.net.param(
            self.name("position"), self.rng.normal(size=(1, *x.type.step_shape[1:])) * 0.2
        )
        return b.one("graph.add", x, position)

    def attention(self, x: Value) -> Value:
        """Spiking self-attention over positions: [B, C, ...] to tokens [B, N, C]."""
        b, (batch, channels, *size) = self.net.b, x.type.step_shape
        tokens = b.one("graph.reshape", x, shape=(batch, channels, int(np.prod(size))))
        tokens = b.one("graph.transpose", tokens, perm=(0, 2, 1))
        width = int(self.rng.integers(1, 5))
        q, k, v = (self.spiking(self.dense(tokens, width)) for _ in range(3))
        scores = b.one("graph.matmul", q, k, transpose_b=True)
        scores = b.one("graph.mul", scores, self.number(0.25))
        mixed = self.spiking(b.one("graph.matmul", scores, v))
        return b.one("graph.reduce", mixed, kind=str(self.pick("mean", "sum")), axes=(1,))

    def head(self, x: Value) -> Value:
        """From images to features."""
        b, shape = self.net.b, x.type.step_shape
        choice = self.pick("flat", "pool", "attention")
        if choice == "attention":
            return self.attention(x)
        if choice == "pool":
            axes = tuple(range(2, len(shape)))
            return b.one("graph.reduce", x, kind=str(self.pick("mean", "sum")), axes=axes)
        return b.one("graph.reshape", x, shape=(shape[0], int(np.prod(shape[1:]))))

    def build(self, training: bool) -> Module:
        """Draw the network."""
        rank = int(self.pick(1, 2, 2))  # type: ignore[arg-type]
        size = [int(self.rng.integers(2, 7)) for _ in range(rank)]
        static = self.chance(0.2)
        dtype = "f16" if static else str(self.pick("f16", "bit"))
        x = self.net.input((int(self.rng.integers(1, 5)), *size), static=static, dtype=dtype)
        blocks = (
            self.convolution, self.convolution, self.transposed, self.pooled, self.residual,
            self.doubled, self.scaled,
        )  # fmt: skip
        for _ in range(int(self.rng.integers(1, 5))):
            x = blocks[int(self.rng.integers(len(blocks)))](x)
            if self.chance(0.3):
                x = self.normalised(x)
            if self.chance(0.6):
                x = self.spiking(x) if self.chance(0.5) else self.neuron(x)
            if self.chance(0.15):
                x = self.net.b.op(
                    "graph.dropout", x, attrs={"rate": 0.25, "stream": self.layer + 100}
                ).result
        x = self.head(x)
        x = self.neuron(self.dense(x, int(self.rng.integers(2, 6))))
        self.net.output(x)
        return self.finish(training)


def rich_network(seed: int, *, training: bool = True) -> Module:
    """Return a random network over all layer types as a graph module."""
    return RichNetwork(seed).build(training)
