"""Random ONNX networks: layers, neurons of any form, operators that mix time, shared parameters.

A network is a sequence of parts, each from ``[T, B, n]`` to ``[T, B, m]``; what is written twice
may share a parameter, and constants may be uniform, as exporters and untrained networks have them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from onnx_models import Array, Graph

T, B, WIDTH, CLASSES = 4, 2, 6, 3
INT: Final = np.int64


@dataclass
class Writer:
    """A network being written; ``parts`` says what it is made of."""

    rng: random.Random
    draws: np.random.Generator
    g: Graph = field(default_factory=Graph)
    parts: list[str] = field(default_factory=list[str])
    weights: dict[tuple[int, int], list[str]] = field(
        default_factory=dict[tuple[int, int], list[str]]
    )
    width: int = WIDTH

    # ---------------------------------------------------------------- numbers
    def ints(self, *values: int) -> str:
        """Write a list of integers."""
        return self.g.const(np.array(values, INT))

    def param(self, *shape: int, near: float = 0.0, spread: float = 0.5) -> str:
        """Write a parameter: random, or uniform as before training."""
        name = f"p{len(self.g.arrays)}.value"
        values = near + spread * self.draws.standard_normal(shape)
        if self.rng.random() < 0.25:
            values = np.full(shape, near)
        return self.g.const(values.astype(np.float32), name)

    def weight(self, n: int, m: int) -> str:
        """Write a weight, or take one that another layer has, perhaps transposed."""
        if self.rng.random() < 0.2:
            if self.weights.get((n, m)):
                return self.rng.choice(self.weights[n, m])
            if self.weights.get((m, n)):
                return self.g.op("Transpose", self.rng.choice(self.weights[m, n]), perm=[1, 0])
        values = self.draws.standard_normal((n, m)) * (1.2 / np.sqrt(n))
        name = self.g.const(values.astype(np.float32), f"w{len(self.g.arrays)}.weight")
        self.weights.setdefault((n, m), []).append(name)
        return name

    def step(self, v: str, t: int) -> str:
        """Write one step of a sequence."""
        return self.g.op("Gather", v, self.g.const(np.array(t, INT)), axis=0)

    def stack(self, values: list[str]) -> str:
        """Write steps as a sequence."""
        at = self.ints(0)
        return self.g.op("Concat", *(self.g.op("Unsqueeze", v, at) for v in values), axis=0)

    # ---------------------------------------------------------------- parts
    def layer(self, v: str) -> str:
        """A product with a weight, its bias, perhaps what is computed of a weight."""
        m = self.rng.choice((4, 6, 6, 8))
        w = self.weight(self.width, m)
        if self.rng.random() < 0.15:
            w = self.g.op(self.rng.choice(("Abs", "Tanh")), w)
        y = self.g.op("MatMul", v, w)
        self.width = m
        return self.g.op("Add", y, self.param(m)) if self.rng.random() < 0.6 else y

    def bend(self, v: str) -> str:
        """A function of every element."""
        op = self.rng.choice(
            ("Relu", "Tanh", "Sigmoid", "Abs", "Softplus", "Elu", "Gelu", "Sin", "Neg", "LeakyRelu")
        )
        return self.g.op(op, v)

    def scale(self, v: str) -> str:
        """A gain and a shift per channel."""
        y = self.g.op("Mul", v, self.param(self.width, near=1.0, spread=0.3))
        return self.g.op("Add", y, self.param(self.width)) if self.rng.random() < 0.5 else y

    def choice(self, v: str) -> str:
        """A choice of data, or of the greatest."""
        kind = self.rng.randrange(4)
        if kind == 0:
            mask = self.g.op("Greater", v, self.g.const(0.2))
            return self.g.op("Where", mask, v, self.g.op("Mul", v, self.g.const(0.1)))
        if kind == 1:
            at = self.g.op("ArgMax", v, axis=2, keepdims=0)
            values = self.g.const(np.array([0.0, 1.0], np.float32))
            return self.g.op("Mul", v, self.g.op("OneHot", at, self.ints(self.width), values))
        if kind == 2:
            top = self.g.op("ReduceMax", v, self.ints(2), keepdims=1)
            same = self.g.op("Cast", self.g.op("Equal", v, top), to=1)
            return self.g.op("Mul", v, same)
        mean = self.g.op("ReduceMean", v, self.ints(2), keepdims=1)
        return self.g.op("Sub", v, mean)

    def move(self, v: str) -> str:
        """Features in another order, repeated, or cut and joined."""
        kind = self.rng.randrange(3)
        if kind == 0:
            order = list(range(self.width))
            self.rng.shuffle(order)
            return self.g.op("Gather", v, self.ints(*order), axis=2)
        if kind == 1:
            half = self.width // 2
            a, b = (
                self.g.op("Slice", v, self.ints(i), self.ints(j), self.ints(2))
                for i, j in ((0, half), (half, self.width))
            )
            return self.g.op("Concat", b, a, axis=2)
        self.width *= 2
        return self.g.op("Tile", v, self.ints(1, 1, 2))

    def time(self, v: str) -> str:
        """What mixes the steps of a whole sequence."""
        kind = self.rng.randrange(7)
        if kind == 0:
            return self.g.op("CumSum", v, self.ints(0))
        if kind == 1:
            return self.g.op("Softmax", v, axis=0)
        if kind == 2:
            ends = self.ints(-T - 1)
            return self.g.op("Slice", v, self.ints(-1), ends, self.ints(0), self.ints(-1))
        if kind == 3:
            zeros = self.g.const(np.zeros((1, B, self.width), np.float32))
            before = self.g.op("Slice", v, self.ints(0), self.ints(T - 1), self.ints(0))
            return self.g.op("Add", v, self.g.op("Concat", zeros, before, axis=0))
        if kind == 4:
            mean = self.g.op("ReduceMean", v, self.ints(0), keepdims=1)
            return self.g.op("Sub", v, mean)
        if kind == 5:
            return self.g.op("Mul", v, self.param(T, 1, 1, near=1.0, spread=0.3))
        flat = self.g.op("Reshape", v, self.ints(T, B * self.width))
        y = self.g.op("MatMul", self.param(T, T, spread=0.6), flat)
        return self.g.op("Reshape", y, self.ints(T, B, self.width))

    # ---------------------------------------------------------------- neurons
    def spike(self, v: str, theta: str) -> str:
        """1 where v is above theta, in one of the ways that people write."""
        g = self.g
        u = g.op("Sub", v, theta)
        zero = g.const(0.0)
        kind = self.rng.randrange(8)
        if kind == 0:
            return g.op("Cast", g.op("Greater", v, theta), to=1)
        if kind == 1:
            return g.op("Cast", g.op("GreaterOrEqual", u, zero), to=1)
        if kind == 2:
            return g.op("Relu", g.op("Sign", u))
        if kind == 3:
            return g.op("Mul", g.op("Add", g.op("Sign", u), g.const(1.0)), g.const(0.5))
        if kind == 4:
            return g.op("Cast", g.op("Not", g.op("Less", v, theta)), to=1)
        if kind == 5:
            return g.op("Where", g.op("Greater", u, zero), g.const(1.0), zero)
        if kind == 6:
            return g.op("Cast", g.op("Less", theta, v), to=1)
        return g.op("Sub", g.const(1.0), g.op("Cast", g.op("LessOrEqual", v, theta), to=1))

    def neurons(self, v: str) -> str:
        """A recurrence over the steps, unrolled: a leak, a reset, perhaps more."""
        g, rng = self.g, self.rng
        theta = g.const(round(rng.uniform(0.1, 0.8), 2))
        if rng.random() < 0.2:
            theta = self.param(self.width, near=0.4, spread=0.1)
        beta = g.const(round(rng.uniform(0.3, 0.95), 2))
        if rng.random() < 0.2:
            beta = self.param(self.width, near=0.6, spread=0.1)
        reset = rng.choice(("subtract", "zero", "none", "where", "factor"))
        how = rng.getstate()
        adapts, recurs, bends, synapse = (rng.random() < p for p in (0.2, 0.25, 0.15, 0.2))
        back = self.weight(self.width, self.width) if recurs else ""
        starts_at_zero = rng.random() < 0.5
        state = g.const(np.zeros((B, self.width), np.float32)) if starts_at_zero else ""
        trace = current = s = ""
        rows: list[str] = []
        for t in range(T):
            rng.setstate(how)  # every step is written alike
            i = self.step(v, t)
            if recurs and s:
                i = g.op("Add", i, g.op("MatMul", s, back))
            if synapse:
                current = g.op("Add", g.op("Mul", current, beta), i) if current else i
                i = current
            h = g.op("Add", g.op("Mul", state, beta), i) if state else i
            if bends:
                h = g.op("Tanh", h)
            level = g.op("Add", theta, trace) if trace else theta
            s = self.spike(h, level)
            state = self.reset(h, s, level, reset)
            if adapts:
                held = g.op("Mul", s, g.const(0.2))
                trace = g.op("Add", g.op("Mul", trace, g.const(0.7)), held) if trace else held
            rows.append(s)
        rng.random()
        self.parts.append(f"({reset}{', adapts' * adapts}{', recurs' * recurs})")
        return self.stack(rows)

    def reset(self, h: str, s: str, theta: str, kind: str) -> str:
        """What is left of a membrane."""
        g = self.g
        if kind == "subtract":
            return g.op("Sub", h, g.op("Mul", s, theta))
        if kind == "zero":
            return g.op("Mul", h, g.op("Sub", g.const(1.0), s))
        if kind == "where":
            fired = g.op("Greater", s, g.const(0.5))
            return g.op("Where", fired, g.const(0.0), h)
        if kind == "factor":
            return g.op("Sub", h, g.op("Mul", h, s))
        return h


def network(seed: int, path: Path) -> tuple[Path, list[str]]:
    """Write a random network of ``[T, B, WIDTH]`` to ``[T, B, CLASSES]``; say what it holds."""
    w = Writer(random.Random(seed), np.random.default_rng(seed))
    kinds: list[tuple[str, Callable[[str], str], float]] = [
        ("layer", w.layer, 3), ("neurons", w.neurons, 3), ("bend", w.bend, 1),
        ("scale", w.scale, 1), ("choice", w.choice, 1), ("move", w.move, 1), ("time", w.time, 1.5),
    ]  # fmt: skip
    v = w.layer("x")
    w.parts.append("layer")
    for _ in range(w.rng.randint(2, 6)):
        (chosen,) = w.rng.choices(kinds, [k[2] for k in kinds])
        w.parts.append(chosen[0])
        before = v
        v = chosen[1](v)
        if w.rng.random() < 0.1 and w.width == WIDTH and chosen[0] == "neurons" and before != "x":
            w.parts.append("(beside)")
            v = w.g.op("Add", v, w.g.op("Mul", v, v))
    w.parts.append("neurons")
    v = w.neurons(v)
    w.g.op("MatMul", v, w.weight(w.width, CLASSES), out="out")
    w.g.save(path, {"x": [T, B, WIDTH]}, {"out": [T, B, CLASSES]}, opset=20)
    return path, w.parts


def inputs(seed: int) -> Array:
    """Return an input of a network."""
    x = np.random.default_rng(seed + 10**6).standard_normal((T, B, WIDTH))
    return x.astype(np.float32)
