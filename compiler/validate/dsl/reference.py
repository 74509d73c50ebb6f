"""A .snn file evaluated from its tree, layer by layer, as docs/dsl.md describes the language.

Nothing of the importer but the parser is used.  Weights are data: they are taken from the import by
name, and :attr:`DslReference.starts` says how each should begin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.dsl.parse import Call, Item, Program
from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.compare import CODE, HELP, Evaluation, NotValidated
from snncc.compiler.validate.draws import Point
from snncc.compiler.validate.dsl import layers as dsl_layers
from snncc.compiler.validate.dsl.layers import Flow
from snncc.compiler.validate.dsl.options import NEURONS, OPTIONS, Meant, Short, shorten, understand
from snncc.compiler.validate.dsl.start import Start
from snncc.compiler.validate.import_side import Spikes

PLACED = ("input", "train", "init", "weights")


@dataclass(slots=True)
class DslReference:
    """The :class:`~snncc.compiler.validate.compare.Reference` of a .snn file.

    ``parameters`` are the import's, in PyTorch's layout; ``steps`` counts for a static input.
    What becomes of resets of which the file does not speak, the arithmetic says.
    """

    program: Program
    parameters: Mapping[str, Array]
    steps: int
    constants: frozenset[str] = frozenset()
    starts: dict[str, Start] = field(default_factory=dict[str, Start])
    """How each parameter begins; known after ``evaluate``."""
    neurons: dict[str, Meant] = field(default_factory=dict[str, Meant])
    """What the file says of each neuron layer; known after ``evaluate``."""
    momenta: list[float] = field(default_factory=list[float])
    """Momentum of each batch norm in order; known after ``evaluate``."""
    rates: list[float] = field(default_factory=list[float])
    """Rate of each dropout in order; known after ``evaluate``."""

    @property
    def file(self) -> str:
        """Path of the file."""
        return self.program.source.name

    def needed(self) -> frozenset[str]:
        """Every parameter of the network; what leads to no output is there all the same."""
        return frozenset(self.starts)

    def other_threshold(self, spikes: Sequence[Spikes]) -> str:
        """None: what layers compare is looked at with all else that the text says of them."""
        return ""

    def decide_resets(self, spikes: Sequence[Spikes], point: Point) -> None:
        """Nothing is left to decide: the text says it of each layer, or the arithmetic of all."""
        raise NotValidated("resets that a configuration decides layer by layer")

    def top(self, name: str) -> Meant | None:
        """Return a statement that stands at the top of the file at most once, such as ``init``."""
        for item in self.program.items:
            if isinstance(item.value, Call) and item.value.name == name and not item.name:
                return understand(item.value, {})
        return None

    def evaluate(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, Array], arithmetic: Arithmetic
    ) -> Evaluation:
        """Evaluate the network."""
        start = self.top("input")
        if start is None:
            raise NotValidated(f"{self.file}: a network without input")
        name = str(start.options["name"])
        x = Flow(inputs[name], timed=start.options["static"] is not True)
        self.momenta.clear()
        self.rates.clear()
        walk = Walk(self, {**self.parameters, **parameters}, arithmetic)
        walk.values[name] = x
        last = walk.items(self.program.items, x, top=True)
        outputs = walk.outputs or {"out": last}
        return Evaluation({n: f.array for n, f in outputs.items()}, walk.places)


@dataclass(slots=True)
class Walk:
    """One evaluation: values, abbreviations and names that came so far."""

    of: DslReference
    arrays: Mapping[str, Array]
    arithmetic: Arithmetic
    values: dict[str, Flow] = field(default_factory=dict[str, Flow])
    shorts: dict[str, Short] = field(default_factory=dict[str, Short])
    outputs: dict[str, Flow] = field(default_factory=dict[str, Flow])
    places: list[tuple[str, Array]] = field(default_factory=list[tuple[str, Array]])
    taken: set[str] = field(default_factory=set[str])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def items(self, items: Sequence[Item], x: Flow, top: bool = False) -> Flow:
        """Follow statements one after the other."""
        for item in items:
            if item.kind == "network":
                continue
            if item.kind == "from":
                x = self.values[item.name]
                continue
            if not isinstance(item.value, Call):
                raise NotValidated(f"{self.of.file}: {item.name} is no layer")
            if item.kind == "let":
                self.shorts[item.name] = shorten(item.value, self.shorts)
            elif not (top and item.value.name in PLACED):
                x = self.call(understand(item.value, self.shorts), x, item.name)
                if item.name:
                    self.values[item.name] = x
        return x

    def call(self, meant: Meant, x: Flow, name: str) -> Flow:
        """Evaluate a layer or a block."""
        match meant.kind:
            case "repeat":
                for _ in range(meant.whole("times")):
                    x = self.items(meant.blocks[0], x)
                return x
            case "residual":
                branches = [self.items(block, x) for block in meant.blocks]
                made = self.joined(meant, branches[0], branches[1] if len(branches) > 1 else x)
                self.places.append(("residual", made.array))
                return made
            case "add":
                for other in meant.names:
                    x = dsl_layers.added(x, self.values[other])
                    self.places.append((f"add({other})", x.array))
                return x
            case "concat":
                parts = [self.items(block, x) for block in meant.blocks]
                parts = parts or [self.values[n] for n in meant.names]
                made = dsl_layers.side_by_side(parts, meant.whole("axis"))
                self.places.append(("concat", made.array))
                return made
            case "output":
                self.outputs[str(meant.options["name"])] = x
                return x
            case "attention":
                return self.attention(meant, x, self.name(name, "attention"))
            case _:
                label = self.name(name, meant.kind)
                made = self.layer(meant, x, label)
                self.places.append((label, made.array))
                return made

    def joined(self, meant: Meant, branch: Flow, shortcut: Flow) -> Flow:
        """A branch and its shortcut; ``iand`` is the shortcut and not the branch."""
        a, b = dsl_layers.together([branch, shortcut])
        timed = branch.timed or shortcut.timed
        match meant.options["mode"]:
            case "add":
                return Flow(a + b, timed)
            case "and":
                return Flow(a * b, timed)
            case "or":
                return Flow(a + b - a * b, timed)
            case "iand":
                return Flow((1 - a) * b, timed)
            case other:
                raise NotValidated(f"residual(mode={other})")

    def layer(self, meant: Meant, x: Flow, label: str) -> Flow:
        """Evaluate a layer of the tables."""
        if meant.kind in NEURONS:
            self.of.neurons[label] = meant
            return dsl_layers.neurons(self, meant, x, label)
        if meant.kind == "bn":
            self.of.momenta.append(meant.number("momentum"))
        if meant.kind == "dropout":
            self.of.rates.append(meant.number("rate"))
        return dsl_layers.LAYERS[meant.kind](self, meant, x, label)

    def attention(self, meant: Meant, x: Flow, label: str) -> Flow:
        """Self-attention over CxN: ``v * (q^T k)^T``, heads side by side along the channels."""
        heads = meant.whole("heads")
        q, k, v = (
            self.projected(meant, x, f"{label}.{part}").map(
                lambda a: a.reshape(*a.shape[:-2], heads, -1, a.shape[-1])
            )
            for part in "qkv"
        )
        weights = np.swapaxes(q.array, -1, -2) @ k.array
        mixed = v.array @ np.swapaxes(weights, -1, -2) * meant.number("scale")
        flat = mixed.reshape(*mixed.shape[:-3], -1, mixed.shape[-1])
        y = self.items(meant.blocks[0], Flow(flat, q.timed))
        return self.projected(meant, y, f"{label}.proj")

    def projected(self, meant: Meant, x: Flow, label: str) -> Flow:
        """A 1x1 convolution of tokens without bias, batch norm, and the block."""
        channels = x.sample[0]
        weight = self.parameter(f"{label}.weight", (channels, channels, 1), fan_in=channels)
        x = x.map(lambda a: np.moveaxis(np.tensordot(weight[:, :, 0], a, axes=(1, -2)), 0, -2))
        normal = Meant("bn", OPTIONS["bn"], frozenset())
        x = self.layer(normal, x, f"{label}.bn")
        return self.items(meant.blocks[0], x)

    @property
    def steps(self) -> int:
        """The number of time steps."""
        return self.of.steps

    def attached(self, meant: Meant) -> bool:
        """Whether the reset of a neuron passes a gradient: the file's word, then the setting."""
        if "detach" in meant.given:
            return meant.options["detach"] is not True
        return not self.arithmetic.detached

    # ------------------------------------------------------------------ names
    def name(self, wanted: str, kind: str) -> str:
        """Return a layer's name: its own, or kind and number; one that was taken gets _2, _3."""
        if not wanted:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            wanted = f"{kind}{self.counts[kind]}"
        label, again = wanted, 1
        while label in self.taken:
            again += 1
            label = f"{wanted}_{again}"
        self.taken.add(label)
        return label

    def notice(self, name: str, array: Array) -> None:
        """Keep a value to say where a difference begins."""
        self.places.append((name, array))

    def parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        fan_in: int = 0,
        fill: float | None = None,
        bound: float | None = None,
    ) -> Array:
        """Return a parameter; it begins uniform with variance 1/fan_in, or as the arguments say."""
        array = self.arrays.get(name)
        if array is None:
            fail(CODE, f"the import has no parameter {name!r}", self.of.file, help=HELP)
        if array.shape != shape:
            text = f"{name} has shape {list(array.shape)} in the import, {list(shape)} in the file"
            fail(CODE, text, self.of.file, help=HELP)
        if fill is not None:
            self.of.starts[name] = Start(shape, fill=fill)
        else:
            usual = math.sqrt(3 / max(1, fan_in))
            self.of.starts[name] = Start(shape, bound=usual if bound is None else bound)
        return array
