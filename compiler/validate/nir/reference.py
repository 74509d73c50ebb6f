"""A NIR file evaluated node by node and step by step, by NIR's own equations (docs/nir.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.frontend.nir.file import NirGraph, NirNode
from snncc.compiler.validate import array_layers
from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.array_layers import SlidingWindow
from snncc.compiler.validate.compare import Evaluation, NotValidated
from snncc.compiler.validate.draws import Point
from snncc.compiler.validate.import_side import Spikes
from snncc.compiler.validate.nir import equations as nir_equations
from snncc.compiler.validate.nir.equations import Neuron, Step, fitted, whole
from snncc.compiler.validate.nir.wiring import REMEMBERS, Wiring, wire

WIRES = ("Input", "Output")
TRAINED = ("weight", "bias", "scale")
NEURON_NUMBERS = ("beta", "rate", "a_syn", "threshold", "reset_value", "v_rest")


@dataclass(slots=True)
class NirReference:
    """The :class:`~snncc.compiler.validate.compare.Reference` of a NIR graph.

    What becomes of the resets' gradients, which NIR does not say, the arithmetic says.
    """

    path: str
    graph: NirGraph
    dt: float
    constants: frozenset[str] = frozenset()
    wiring: Wiring = field(init=False)
    numbers: dict[str, dict[str, Array]] = field(init=False)
    """Numbers of each neuron."""

    def __post_init__(self) -> None:
        """Wire the graph and work out the neurons' numbers."""
        self.wiring = wire(self.graph)
        self.numbers = {
            name: nir_equations.constants(node, self.dt)
            for name, node in self.wiring.nodes.items()
            if node.kind in REMEMBERS and node.kind != "Threshold"
        }

    @property
    def file(self) -> str:
        """Path of the file."""
        return self.path

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Weights, biases and scales, and the numbers in which neurons of a node differ."""
        found: dict[str, Array] = {}
        for name, node in self.wiring.nodes.items():
            for key in TRAINED:
                if key in node.values and node.values[key].size:
                    found[f"{name}.{key}"] = np.asarray(node.values[key], np.float64)
            for key, value in self.numbers.get(name, {}).items():
                if key in NEURON_NUMBERS and value.ndim:
                    found[f"{name}.{key}"] = value
        return found

    def needed(self) -> frozenset[str]:
        """Every parameter: the wiring holds only what leads to an output."""
        return frozenset(self.parameters)

    def other_threshold(self, spikes: Sequence[Spikes]) -> str:
        """None: what nodes compare is looked at with their parameters."""
        return ""

    def decide_resets(self, spikes: Sequence[Spikes], point: Point) -> None:
        """NIR does not speak of gradients, so it cannot say which layers differ."""
        raise NotValidated("resets that a configuration decides layer by layer")

    def evaluate(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, Array], arithmetic: Arithmetic
    ) -> Evaluation:
        """Evaluate the graph."""
        wiring, x = self.wiring, inputs[self.wiring.entry]
        run = Run(self, {**self.parameters, **parameters}, arithmetic, x.shape[0], x.shape[1])
        run.shape(x.shape[2:])
        rows: dict[str, Array] = {}
        for group in wiring.groups():
            if any(source in group for name in group for source in wiring.sources[name]):
                self._loop(run, group, rows)
            else:
                (name,) = group
                heard = [rows[s] for s in wiring.sources[name]]
                rows[name] = run.whole(name, x if name == wiring.entry else _sum(heard))
        places = [*run.membranes.items(), *rows.items()]
        return Evaluation({name: rows[name] for name in wiring.results}, places)

    def _loop(self, run: Run, group: Sequence[str], rows: dict[str, Array]) -> None:
        """Evaluate a loop step by step; before the first step late edges carry zeros."""
        wiring = self.wiring
        late = {s for s, name in wiring.late if name in group}
        before = {s: np.zeros((run.batch, *run.samples[s])) for s in late}
        made: dict[str, list[Array]] = {name: [] for name in group}
        for t in range(run.length):
            now: dict[str, Array] = {}
            for name in group:
                heard = [
                    before[s] if (s, name) in wiring.late else now[s] if s in now else rows[s][t]
                    for s in wiring.sources[name]
                ]
                now[name] = run.steps[name](_sum(heard))
                made[name].append(now[name])
            before = now
        rows.update({name: np.stack(each) for name, each in made.items()})


def said(node: NirNode) -> tuple[int, ...]:
    """Return the shape of samples as weights or constants of a node have it; () for none."""
    weight = node.values.get("weight")
    if node.kind in ("Linear", "Affine") and weight is not None:
        return (weight.shape[-1],)
    if node.kind in ("Conv1d", "Conv2d") and weight is not None and "input_shape" in node.values:
        rank = int(node.kind[4])
        return (weight.shape[1] * whole(node, "groups", 1, 1)[0], *whole(node, "input_shape", rank))
    if node.kind in REMEMBERS or node.kind == "Scale":
        return np.broadcast_shapes(*(a.shape for a in node.values.values()))
    return ()


def _sum(values: Sequence[Array]) -> Array:
    if not values:
        raise NotValidated("a node without input")
    total = values[0]
    for value in values[1:]:
        if value.shape != total.shape:
            raise NotValidated("inputs of different shapes are added")
        total = total + value
    return total


@dataclass(slots=True)
class Run:
    """The nodes of one evaluation: how each takes a step, and the shapes of its samples."""

    of: NirReference
    arrays: Mapping[str, Array]
    arithmetic: Arithmetic
    length: int
    batch: int
    samples: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    steps: dict[str, Step] = field(default_factory=dict[str, Step])
    neurons: dict[str, Neuron] = field(default_factory=dict[str, Neuron])
    membranes: dict[str, Array] = field(default_factory=dict[str, Array])
    """What is no node's result, to say where a difference begins."""

    def shape(self, first: tuple[int, ...]) -> None:
        """Find out the shapes, round the loops as far as they are known, and prepare the nodes."""
        wiring = self.of.wiring
        todo = list(wiring.nodes)
        while todo:
            rest: list[str] = []
            for name in todo:
                known = [self.samples[s] for s in wiring.sources[name] if s in self.samples]
                if name == wiring.entry:
                    known = [first]
                if not known:
                    rest.append(name)
                    continue
                self.steps[name] = self.node(name, wiring.nodes[name], known[0])
                self.samples[name] = self.result(wiring.nodes[name], name, known[0])
            if len(rest) == len(todo):  # a loop beside the input: its parameters say the shape
                known_by_itself = [n for n in rest if said(self.of.wiring.nodes[n])]
                if not known_by_itself:
                    raise NotValidated(f"{rest[0]}: the shape of its input is not known")
                beside = known_by_itself[0]
                node = self.of.wiring.nodes[beside]
                self.steps[beside] = self.node(beside, node, said(node))
                self.samples[beside] = self.result(node, beside, said(node))
                rest.remove(beside)
            todo = rest

    def whole(self, name: str, value: Array) -> Array:
        """Evaluate a node that is on no loop over all steps."""
        step, kind = self.steps[name], self.of.wiring.nodes[name].kind
        neuron = self.neurons.get(name)
        if neuron is not None:
            made = [(step(each), neuron.membrane) for each in value]
            self.membranes[f"membrane of {name}"] = np.stack([v for _, v in made])
            return np.stack([given for given, _ in made])
        if kind == "Delay":
            return np.stack([step(each) for each in value])
        return array_layers.over_time(step, value, timed=True)

    def result(self, node: NirNode, name: str, sample: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what a node gives."""
        if node.kind in (*REMEMBERS, *WIRES, "Delay", "Scale"):
            return sample
        return self.steps[name](np.zeros((1, *sample))).shape[1:]

    def node(self, name: str, node: NirNode, sample: tuple[int, ...]) -> Step:
        """Return how a node takes a step."""
        kind = node.kind
        if kind in WIRES:
            return lambda x: x
        if kind in ("Linear", "Affine"):
            bias = self.arrays[f"{name}.bias"] if kind == "Affine" else None
            weight = self.arrays[f"{name}.weight"]
            return lambda x: array_layers.affine(x, weight, bias)
        if kind in ("Conv1d", "Conv2d"):
            window = nir_equations.convolution_window(node, int(kind[4]))
            kernels, bias = self.arrays[f"{name}.weight"], self.arrays.get(f"{name}.bias")
            return lambda x: array_layers.convolution(x, kernels, bias, window)
        if kind in ("SumPool2d", "AvgPool2d"):
            kernel, around = whole(node, "kernel_size", 2), whole(node, "padding", 2, 0)
            stride = whole(node, "stride", 2) if "stride" in node.values else kernel
            way = SlidingWindow(stride, around, around, (1, 1))
            pool = kind[:3].lower()
            return lambda x: array_layers.pooling(self.arithmetic, x, pool, kernel, way)
        if kind == "Flatten":
            return lambda x: nir_equations.flattened(node, x)
        if kind == "Scale":
            scale = fitted(self.arrays[f"{name}.scale"], sample)
            return lambda x: scale * x
        if kind == "Delay":
            return nir_equations.delay(node, self.of.dt, sample)
        if kind == "Threshold":
            theta = fitted(np.asarray(node.values["threshold"], np.float64), sample)
            return lambda x: self.arithmetic.spike(x, theta, True)
        if kind in REMEMBERS:
            numbers = {
                key: fitted(self.arrays.get(f"{name}.{key}", value), sample)
                for key, value in self.of.numbers[name].items()
            }
            rest = np.zeros((self.batch, *sample))
            neuron = Neuron(self.arithmetic, kind, numbers, self.arithmetic.detached, rest, rest)
            self.neurons[name] = neuron
            return neuron.step
        raise NotValidated(f"nodes of type {kind}")
