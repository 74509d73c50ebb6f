"""Random NIR graphs over all node types, with branches, loops and nested graphs."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.frontend.nir.file import NirGraph, NirNode

Array: TypeAlias = npt.NDArray[Any]
DT = 0.01


def node(kind: str, name: str = "", texts: dict[str, str] | None = None, **values: Any) -> NirNode:
    """Return a node; numbers become float32, as files carry them."""
    arrays = {k: np.asarray(v) for k, v in values.items()}
    kept = {
        k: a.astype(np.float32) if a.dtype.kind == "f" else a.astype(np.int64)
        for k, a in arrays.items()
    }
    return NirNode(name, kind, kept, texts or {})


class RandomNir:
    """Draws a graph; every choice comes from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = NirGraph()
        self.shape: tuple[int, ...] = ()
        self.last = "input"

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *choices: str) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def normal(self, *shape: int) -> Array:
        return self.rng.normal(size=shape) / math.sqrt(max(1, math.prod(shape[1:])))

    def place(self, made: NirNode) -> str:
        """Put a node behind the last one."""
        made.name = f"n{len(self.graph.nodes)}"
        self.graph.nodes[made.name] = made
        self.graph.edges.append((self.last, made.name))
        self.last = made.name
        return made.name

    def constants(self, low: float, high: float) -> Array:
        """Return one number for all neurons, or for each its own."""
        if self.chance(0.6):
            return np.full(self.shape, np.round(self.rng.uniform(low, high), 2))
        return self.rng.uniform(low, high, self.shape)

    # ------------------------------------------------------------------ nodes
    def neuron(self) -> NirNode:
        kind = self.pick("LIF", "LIF", "IF", "LI", "I", "CubaLIF", "CubaLI", "Threshold")
        if kind == "Threshold":
            return node(kind, threshold=self.constants(0.1, 0.6))
        values: dict[str, Any] = {}
        if kind in ("I", "IF"):
            values["r"] = self.constants(30, 120)
        else:
            tau = self.constants(0.02, 0.2)
            free = np.ones(self.shape) if self.chance(0.4) else self.constants(1, 20)
            values["r"] = tau / DT if self.chance(0.4) else free
            values["v_leak"] = (
                np.zeros(self.shape) if self.chance(0.5) else self.constants(-0.3, 0.3)
            )
            if kind.startswith("Cuba"):
                values["tau_mem"], values["tau_syn"] = tau, self.constants(0.02, 0.1)
                if self.chance(0.7):
                    values["w_in"] = self.constants(0.5, 8)
            else:
                values["tau"] = tau
        if kind.endswith("IF"):
            values["v_threshold"] = self.constants(0.2, 1)
            if self.chance(0.6):
                values["v_reset"] = self.constants(-0.3, 0.1)
        return node(kind, **values)

    def dense(self, out: int) -> NirNode:
        fan = self.shape[-1]
        self.shape = (*self.shape[:-1], out)
        if self.chance(0.5):
            return node("Linear", weight=self.normal(out, fan))
        return node("Affine", weight=self.normal(out, fan), bias=self.rng.normal(size=out) * 0.3)

    def convolution(self) -> NirNode:
        channels, *size = self.shape
        rank = len(size)
        groups = int(self.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        out, kernel = groups * self.whole(1, 3), self.whole(1, min(3, *size))
        texts: dict[str, str] = {}
        values: dict[str, Any] = {
            "weight": self.normal(out, channels // groups, *(kernel,) * rank),
            "groups": groups, "input_shape": np.asarray(size),
        }  # fmt: skip
        if self.chance(0.7):
            values["bias"] = self.rng.normal(size=out) * 0.3
        stride, pad, dilation = self.whole(1, 2), self.whole(0, 1), 1
        if self.chance(0.3):
            texts["padding"], stride, dilation = "same", 1, self.whole(1, 2)
            self.shape = (out, *size)
        else:
            values["padding"] = pad if self.chance(0.5) else np.full(rank, pad)
            self.shape = (out, *((s + 2 * pad - kernel) // stride + 1 for s in size))
        values["stride"] = stride if self.chance(0.5) else np.full(rank, stride)
        values["dilation"] = np.full(rank, dilation)
        return node(f"Conv{rank}d", texts=texts, **values)

    def pool(self) -> NirNode:
        stride, pad = self.whole(1, 2), int(self.chance(0.3))
        self.shape = (self.shape[0], *((s + 2 * pad - 2) // stride + 1 for s in self.shape[1:]))
        return node(
            self.pick("SumPool2d", "AvgPool2d"), kernel_size=np.asarray([2, 2]),
            stride=np.asarray([stride, stride]), padding=np.asarray([pad, pad]),
        )  # fmt: skip

    def layer(self) -> NirNode:
        kinds = ["Scale", "Delay", "dense"]
        if len(self.shape) > 1:
            kinds += ["convolution"] * 3
        if len(self.shape) == 3 and min(self.shape[1:]) >= 2:
            kinds += ["pool"] * 2
        match self.pick(*kinds):
            case "Scale":
                return node("Scale", scale=self.constants(-1, 2))
            case "Delay":
                return node("Delay", delay=np.round(self.constants(0, 0.034), 2))
            case "convolution":
                return self.convolution()
            case "pool":
                return self.pool()
            case _:
                return self.dense(self.whole(1, 5))

    def loop(self) -> None:
        """A neuron layer that hears itself through weights, one step late."""
        spiking = self.place(self.neuron())
        size = self.shape[-1]
        back = node("Affine", weight=self.normal(size, size), bias=self.rng.normal(size=size) * 0.2)
        name = f"{self.pick('a', 'z')}{spiking}"
        self.graph.nodes[name] = NirNode(name, back.kind, back.values)
        self.graph.edges += [(spiking, name), (name, spiking)]

    def branch(self) -> None:
        """Two ways that are added."""
        before, shape = self.last, self.shape
        self.place(self.neuron())
        first, self.last, self.shape = self.last, before, shape
        self.place(node("Scale", scale=self.constants(-1, 1)))
        second = self.last
        self.place(self.neuron())
        self.graph.edges.append((self.pick(first, second), self.last))
        if self.graph.edges[-1][0] == second:
            self.graph.edges[-1] = (first, self.last)

    def nest(self) -> None:
        """A graph in the graph."""
        inner = RandomNir(self.whole(0, 1 << 30))
        inner.shape = self.shape
        inner.graph.nodes["input"] = node("Input", shape=np.asarray(self.shape))
        inner.place(inner.layer())
        inner.loop()
        inner.graph.nodes["output"] = node("Output", shape=np.asarray(inner.shape))
        inner.graph.edges.append((inner.last, "output"))
        self.shape = inner.shape
        self.place(NirNode("", "NIRGraph", graph=inner.graph))

    def build(self) -> NirGraph:
        """Draw the graph."""
        rank = self.whole(0, 2)
        self.shape = (self.whole(1, 4), *(self.whole(3, 6) for _ in range(rank)))
        self.graph.nodes["input"] = node("Input", shape=np.asarray(self.shape))
        parts = (self.loop, self.branch, self.nest)
        for _ in range(self.whole(1, 4)):
            self.place(self.layer())
            if self.chance(0.5):
                self.place(self.neuron())
            if self.chance(0.4):
                parts[self.whole(0, 2)]()
        if len(self.shape) > 1:
            start = self.whole(0, len(self.shape) - 1)
            self.shape = (*self.shape[:start], math.prod(self.shape[start:]))
            self.place(node("Flatten", start_dim=start, end_dim=-1))
        self.place(self.dense(3))
        self.place(self.neuron())
        self.graph.nodes["output"] = node("Output", shape=np.asarray(self.shape))
        self.graph.edges.append((self.last, "output"))
        return self.graph


def random_nir(seed: int) -> NirGraph:
    """Return a small random graph, meant for steps of ``DT``."""
    return RandomNir(seed).build()
