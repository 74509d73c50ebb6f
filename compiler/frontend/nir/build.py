"""From flat NIR to a graph-stage module."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.diag import CompileError, DiagnosticSink, fail
from snncc.compiler.frontend.nir import layers
from snncc.compiler.frontend.nir.file import Array
from snncc.compiler.frontend.nir.graph import NEURONS, SPIKING, WIRES, FlatNir, FlatNode
from snncc.compiler.frontend.nir.time import Step, neuron, rounded, uniform
from snncc.compiler.ir.build import Builder, broadcast
from snncc.compiler.ir.core import Attribute, Block, Func, Location, Module, Value, seq, tensor

KNOWN = (*NEURONS, *WIRES, *layers.MATRICES, *layers.CONVOLUTIONS, *layers.POOLS,
         "Scale", "Flatten", "Delay", "Threshold")  # fmt: skip
MAX_DELAY = 4096
MAX_ELEMENTS = 1 << 32
Shape = tuple[int, ...]


@dataclass(slots=True)
class NirBuilder:
    """Writes one module."""

    flat: FlatNir
    file: str
    steps: int
    dt: float
    sink: DiagnosticSink
    module: Module
    block: Block = field(default_factory=Block)
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])
    """Step shape of what each node gives."""
    takes: dict[str, Shape] = field(default_factory=dict[str, Shape])
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    late: dict[str, Value] = field(default_factory=dict[str, Value])

    def where(self, name: str) -> str:
        """Return a node's place for messages."""
        return f"{self.file}:{name}"

    def builder(self, name: str) -> Builder:
        """Return a builder that knows the place."""
        return Builder(self.block, Location(self.where(name)))

    def run(self, sample: Shape, batch: int) -> None:
        """Emit the graph for samples of a shape."""
        for name, x in self.flat.nodes.items():
            if x.kind not in KNOWN:
                self.sink.error("E0104", f"NIR type {x.kind!r} is not supported", self.where(name))
        self.sink.raise_if_errors()
        self._infer((batch, *sample))
        order = self.flat.order()
        for name in order:
            try:
                self.values[name] = self._emit(name, self.flat.nodes[name])
            except CompileError:
                raise
            except (ValueError, IndexError) as error:
                fail("E0105", f"{self.flat.nodes[name].kind}: {error}", self.where(name))
        for name in self.late:
            self.builder(name).op("graph.delay_next", self.values[name], attrs={"state": name})
        for name in self.flat.outputs:
            attrs: dict[str, Attribute] = {"name": name, "axis": 0}
            self.builder(name).op("graph.output", self.values[name], attrs=attrs)
        self.module.funcs["main"] = Func("main", self.block)

    # ------------------------------------------------------------------ shapes
    def _infer(self, first: Shape) -> None:
        """Find every node's shape; cycles are walked as far as they are known."""
        self.shapes[self.flat.input] = first
        waiting = [n for n in self.flat.nodes if n != self.flat.input]
        while waiting:
            later: list[str] = []
            for name in waiting:
                x = self.flat.nodes[name]
                known = [self.shapes[i] for i in x.ins if i in self.shapes]
                if not known:
                    later.append(name)
                    continue
                self.takes[name] = known[0]
                made = layers.result_shape(x.node, known[0], self.where(name))
                if math.prod(made) * self.steps > MAX_ELEMENTS:
                    fail("E0109", f"a value of shape {made} for each step", self.where(name))
                self.shapes[name] = made
            if len(later) == len(waiting):  # a loop that nothing of the input reaches
                name = next((n for n in later if layers.own_shape(self.flat.nodes[n].node)), "")
                if not name:
                    text = "no path leads here from the input, and no parameter says the shape"
                    fail("E0105", text, self.where(later[0]),
                         help="connect the loop with the input, or leave it out")  # fmt: skip
                x = self.flat.nodes[name]
                self.takes[name] = (first[0], *layers.own_shape(x.node))
                self.shapes[name] = layers.result_shape(x.node, self.takes[name], self.where(name))
                later.remove(name)
            waiting = later
        for name, x in self.flat.nodes.items():
            for i in x.ins:
                if self.shapes[i] != self.takes[name]:
                    text = f"{i} gives {self.shapes[i][1:]}, {x.ins[0]} {self.takes[name][1:]}"
                    fail("E0105", f"inputs of different shapes are added: {text}", self.where(name))

    # ------------------------------------------------------------------ nodes
    def _emit(self, name: str, x: FlatNode) -> Value:
        b = self.builder(name)
        if name == self.flat.input:
            shape = self.shapes[name]
            return self.block.add_arg(seq((self.steps, *shape)), name)
        value = self._sum(name, x, b)
        if x.kind in WIRES:
            return value
        if x.kind in layers.MATRICES:
            operands = [value, self._param(b, name, "weight", x, True)]
            if x.kind == "Affine":
                operands.append(self._bias(b, name, x))
            return b.one("graph.linear", *operands)
        if x.kind in layers.CONVOLUTIONS:
            operands = [value, self._param(b, name, "weight", x, False)]
            if x.node.values.get("bias", np.zeros(0)).size:
                operands.append(self._bias(b, name, x))
            attrs = layers.conv_attributes(x.node, self.where(name))
            return b.op("graph.conv", *operands, attrs=attrs).result
        if x.kind in layers.POOLS:
            attrs = layers.pool_attributes(x.node, self.where(name))
            return b.op("graph.pool", value, attrs=attrs).result
        if x.kind == "Flatten":
            shape = self.shapes[name]
            return value if value.type.step_shape == shape else b.one(
                "graph.reshape", value, shape=shape
            )  # fmt: skip
        if x.kind == "Scale":
            array = self._fit(layers.need(x.node, "scale", self.where(name)), name)
            scale = self._make(b, f"{name}.scale", array, "scale", True)
            return b.one("graph.mul", value, scale)
        if x.kind == "Delay":
            return self._delay(name, x, value, b)
        if x.kind == "Threshold":
            array = self._fit(layers.need(x.node, "threshold", self.where(name)), name)
            theta = self._constant(b, f"{name}.threshold", array)
            # NIR declares its resets: they are inside of neurons, and edges pass every gradient
            return b.one("graph.spike", value, theta, compare="strict", reset="none", layer=name)
        return self._neuron(name, x, value, b)

    def _sum(self, name: str, x: FlatNode, b: Builder) -> Value:
        """Return the sum of all sources."""
        total: Value | None = None
        for i in x.ins:
            value = self._late(i) if i in x.delayed else self.values[i]
            total = value if total is None else b.one("graph.add", total, value)
        assert total is not None
        return total

    def _late(self, name: str) -> Value:
        """Return a node's value one step before."""
        if name not in self.late:
            dtype = "bit" if self._is_bit(name) else "f16"
            self.late[name] = self._register(name, self.shapes[name], dtype, name)
        return self.late[name]

    def _register(self, state: str, shape: Shape, dtype: str, name: str) -> Value:
        attrs: dict[str, Attribute] = {"state": state, "shape": shape, "steps": self.steps}
        attrs["dtype"] = dtype
        if dtype == "f16":
            attrs["init"] = 0.0
        return self.builder(name).op("graph.delay", attrs=attrs).result

    def _is_bit(self, name: str) -> bool:
        x = self.flat.nodes[name]
        if x.kind in (*WIRES, "Flatten") and len(x.ins) == 1:
            return x.ins[0] not in x.delayed and self._is_bit(x.ins[0])
        return x.kind in SPIKING

    def _delay(self, name: str, x: FlatNode, value: Value, b: Builder) -> Value:
        """Emit a transmission delay: one register for each step, taps where the delays differ."""
        array = layers.need(x.node, "delay", self.where(name)).astype(np.float64)
        exact = rounded(array / self.dt)
        counts = np.rint(exact).astype(np.int64)
        if np.any(np.abs(exact - counts) > 1e-5):
            odd = float(array.flat[int(np.argmax(np.abs(exact - counts)))])
            text = f"a delay of {odd:g} is {odd / self.dt:g} steps of {self.dt:g}"
            self.sink.warning("E0111", f"{text}; it is rounded to the nearest step",
                              self.where(name), help="give --dt that divides it")  # fmt: skip
        if counts.min(initial=0) < 0:
            fail("E0105", f"a delay of {array.min():g}", self.where(name))
        counts = np.minimum(self._fit(counts, name), self.steps)
        longest = int(counts[counts < self.steps].max(initial=0))
        if longest > MAX_DELAY:
            fail("E0109", f"a delay of {longest} steps", self.where(name))
        total: Value | None = None
        for n in range(longest + 1):
            if n:
                state = f"{name}.{n}"
                dtype, shape = value.type.dtype, value.type.step_shape
                register = self._register(state, shape, dtype, name)
                b.op("graph.delay_next", value, attrs={"state": state})
                value = register
            if uniform(counts) == n:
                return value
            mask = (counts == n).astype(np.float32)
            if not mask.any():
                continue
            part = b.one("graph.mul", value, self._constant(b, f"{name}.tap{n}", mask))
            total = part if total is None else b.one("graph.add", total, part)
        never = self._constant(b, f"{name}.never", np.zeros(()))
        return b.one("graph.mul", value, never) if total is None else total

    def _neuron(self, name: str, x: FlatNode, value: Value, b: Builder) -> Value:
        step: Step = neuron(x.node, self.dt, self.where(name))
        if step.gain is not None:
            gain = self._constant(b, f"{name}.gain", self._fit(step.gain, name))
            value = b.one("graph.mul", value, gain)
        operands = [value]
        for key, array in step.arrays.items():
            operands.append(self._make(b, f"{name}.{key}", self._fit(array, name), key, False))
        attrs: dict[str, Attribute] = {"layer": name, **step.attrs, "origin": step.origin}
        made = b.op("graph.neuron", *operands, attrs=attrs)
        for result, hint in zip(reversed(made.results), ("v", "s"), strict=False):
            result.name = f"n{name}.{hint}" if name[:1].isdigit() else f"{name}.{hint}"
        return made.results[0]

    # ------------------------------------------------------------------ arrays
    def _fit(self, array: Array, name: str) -> Array:
        """Return an array that broadcasts to a node's samples; one per channel gets its axes."""
        sample = self.takes[name][1:]
        while array.ndim > len(sample) and array.shape[0] == 1:
            array = array[0]
        try:
            if broadcast([array.shape, sample]) == sample:
                return array
        except ValueError:
            pass
        if array.ndim == 1 and sample and array.shape[0] == sample[0]:
            return array.reshape(-1, *(1,) * (len(sample) - 1))
        text = f"a constant of shape {array.shape} does not fit neurons of shape {sample}"
        fail("E0105", text, self.where(name))

    def _constant(self, b: Builder, name: str, array: Array) -> Value:
        one = uniform(array)
        if one is not None:
            return b.op("graph.const", types=[tensor(())], attrs={"value": one}).result
        self.module.resources[name] = np.asarray(array, np.float32, order="C")
        return b.op("graph.const", types=[tensor(array.shape)], attrs={"resource": name}).result

    def _bias(self, b: Builder, name: str, x: FlatNode) -> Value:
        return self._param(b, name, "bias", x, False)

    def _param(self, b: Builder, name: str, key: str, x: FlatNode, swap: bool) -> Value:
        array = layers.need(x.node, key, self.where(name))
        return self._make(b, f"{name}.{key}", array.T if swap else array, key, True, swap)

    def _make(
        self, b: Builder, name: str, array: Array, role: str, train: bool, swap: bool = False
    ) -> Value:
        self.module.resources[name] = np.asarray(array, np.float32, order="C")
        attrs: dict[str, Attribute] = {"name": name, "resource": name, "role": role, "train": train}
        if swap:
            attrs["transpose"] = True
        made = b.op("graph.param", types=[tensor(array.shape)], attrs=attrs)
        made.result.name = "p" + name if name[:1].isdigit() else name
        return made.result
