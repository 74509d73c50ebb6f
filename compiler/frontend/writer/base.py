"""The frame of the module writer: values, constants, parameters, results.

How each operator of the rolled graph is written is registered by ``emit_basic``, ``emit_layers``
and ``emit_time``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn, TypeAlias

import numpy as np

from snncc.compiler.diag import DiagnosticSink, fail
from snncc.compiler.frontend.flat.flat import Arr, Val, attr_float, attr_int
from snncc.compiler.frontend.flat.rules import broken_rules_are_diagnostics
from snncc.compiler.frontend.neurons.fuse import Layer
from snncc.compiler.frontend.neurons.metadata import Namer
from snncc.compiler.frontend.neurons.neuron_attrs import guess_framework
from snncc.compiler.frontend.time.cycles import cycles
from snncc.compiler.frontend.time.parameters import holds_parameter, is_parameter
from snncc.compiler.frontend.time.rolled import RNode, reachable, resolve, users
from snncc.compiler.frontend.time.timing import RESHAPES
from snncc.compiler.frontend.time.unroll import Output, Rolled
from snncc.compiler.frontend.writer.batch import BatchAxes
from snncc.compiler.frontend.writer.shared_parameters import ParameterUse, share_parameters
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import (
    Attribute,
    Block,
    Location,
    Module,
    Op,
    Value,
    seq,
    tensor,
)

TRAINED = ("weight", "bias", "scale", "shift")
BATCHNORM_ROLES = ("scale", "shift", "mean", "var")


@dataclass(slots=True)
class Emitter:
    """Writes one module."""

    module: Module
    rolled: Rolled
    file: str
    steps: int
    batches: BatchAxes
    layers: dict[int, Layer]
    namer: Namer
    sink: DiagnosticSink
    block: Block = field(default_factory=Block)
    done: dict[int, Value] = field(default_factory=dict[int, Value])
    results: dict[int, Op] = field(default_factory=dict[int, Op])
    uses: list[ParameterUse] = field(default_factory=list[ParameterUse])
    resources: dict[int, str] = field(default_factory=dict[int, str])
    delays: list[tuple[RNode, str]] = field(default_factory=list[tuple[RNode, str]])
    user: RNode | None = None
    dropouts: int = 0
    use_count: dict[int, int] = field(default_factory=dict[int, int])
    user_of: dict[int, RNode] = field(default_factory=dict[int, RNode])
    recurrent: set[int] = field(default_factory=set[int])
    """Nodes that lie on a cycle through a delay."""
    fixed: set[int] = field(default_factory=set[int])
    """Nodes that are computed from constants and parameters alone."""
    roles: dict[int, str] = field(default_factory=dict[int, str])
    """Of parameters that other values are computed from, where they are no weights."""
    framework: str = ""
    """What most neurons look like; it decides about spikes that belong to no neuron."""

    def where(self, node: RNode) -> str:
        """Return the place of a node in the file."""
        v = node.val
        name = "?" if v is None else v.node.name if v.node is not None else v.name
        return f"{self.file}:{name}"

    def _place(self, node: RNode) -> str:
        return self.where(self.user or node)

    def builder(self, node: RNode | None = None) -> Builder:
        """Return a builder that knows the node's place."""
        at = node or self.user
        return Builder(self.block, Location(self.where(at)) if at is not None else Location("?"))

    def unsupported(self, node: RNode, what: str, help_: str = "") -> NoReturn:
        """Refuse a node."""
        fail("E0104", what, self.where(node), help=help_)

    def shape(self, node: RNode) -> tuple[int, ...]:
        """Return a node's step shape for the batch of this import."""
        return self.batches.shape(node)

    def resource(self, array: Arr, name: str) -> str:
        """Add an array to the module under a name of its own."""
        key = name
        n = 1
        while key in self.module.resources and self.module.resources[key] is not array:
            n += 1
            key = f"{name}@{n}"
        self.module.resources[key] = array
        return key

    def param(
        self, name: str, array: Arr, role: str, transpose: bool, slot: int, shape: Sequence[int]
    ) -> Value:
        """Emit a parameter; its final name is decided when all uses are known."""
        stored = np.ascontiguousarray(array.T) if transpose else array
        attrs: dict[str, Attribute] = {
            "name": name,
            "resource": self.resource(stored, name),
            "role": role,
            "train": role in TRAINED,
        }
        if transpose:
            attrs["transpose"] = True
        value = self.builder().op(
            "graph.param", types=[tensor(shape)], attrs=attrs, names=(hint(name),)
        )
        at = self.user.val if self.user is not None else None
        order = at.node.order if at is not None and at.node is not None else 0
        self.uses.append(ParameterUse(value, name, (order, slot)))
        return value.result

    def operand(self, node: RNode, role: str, slot: int, transpose: bool = False) -> Value:
        """Return the value of a constant operand: a parameter where the file has a name for it.

        What is computed from parameters is a value like any other.
        """
        if node.op not in ("Const", "SeqConst"):
            return self.value(node)
        assert node.const is not None
        if node.op == "SeqConst":
            return self.const(node)
        array = np.asarray(node.const)
        v = node.val
        if v is not None and not v.param and v.node is not None:
            traced = self.derived(v, role, slot, transpose)
            if traced is not None:
                return traced
        name = (v.param or v.name) if v is not None else ""
        if v is not None and v.made_up and not v.param:  # no tensor of the file
            return self.const(node)
        wide = role != "const" or (v is not None and bool(v.param) and array.size > 1)
        if not wide or array.dtype.kind not in "f":
            return self.const(node)
        shape = array.T.shape if transpose else array.shape
        return self.param(name or f"const{node.id}", array, role, transpose, slot, shape)

    def derived(self, v: Val, role: str, slot: int, transpose: bool) -> Value | None:
        """Return a parameter that the file transposes or reshapes before its use, or None."""
        node = v.node
        if node is None or not node.ins or node.ins[0] is None:
            return None
        x = node.ins[0]
        if x.const is None or not x.param or x.size < 2 or not is_parameter(x):
            return None
        if node.op == "Transpose" and len(x.shape) == 2:
            shape = x.shape if transpose else v.shape
            return self.param(x.param, np.asarray(x.const), role, not transpose, slot, shape)
        if node.op in RESHAPES and not transpose:
            inner = self.param(x.param, np.asarray(x.const), role, False, slot, x.shape)
            return self.builder().one("graph.reshape", inner, shape=v.shape)
        return None

    def number(self, value: float) -> Value:
        """Emit a number."""
        return self.builder().op("graph.const", types=[tensor(())], attrs={"value": value}).result

    def const(self, node: RNode) -> Value:
        """Emit a constant that is no parameter."""
        assert node.const is not None
        number = node.uniform
        if number is not None:
            return self.number(number)
        array = np.asarray(node.const)
        name = node.val.name if node.val is not None and node.val.name else f"const{node.id}"
        shape = array.shape
        if node.op == "SeqConst":
            if shape[0] != self.steps:
                self.unsupported(node, f"a constant for {shape[0]} steps, not {self.steps}")
            types = [seq(shape, "bit" if array.dtype.kind == "b" else "f16")]
        else:
            types = [tensor(shape)]
        attrs: dict[str, Attribute] = {"resource": self.resource(array, name)}
        return self.builder().op("graph.const", types=types, attrs=attrs).result

    def value(self, node: RNode) -> Value:
        """Return the IR value of a node that was emitted, or of a constant."""
        node = resolve(node)
        if node.op in ("Const", "SeqConst"):
            inside = self.user is not None and self.user.id in self.fixed
            role = self.roles.get(node.id, "weight") if inside and holds_parameter(node) else ""
            return self.operand(node, role or "const", 1)
        return self.done[node.id]

    def run(self, outputs: Sequence[Output]) -> None:
        """Emit everything below the outputs, then the outputs."""
        for node in reachable(o.node for o in outputs):
            node.ins = [resolve(i) for i in node.ins]
            self.batches.visit(node)
        order = reachable(o.node for o in outputs)
        shown = {resolve(o.node).id for o in outputs}
        self.use_count = {i: len(u) + (i in shown) for i, u in users(order).items()}
        self.user_of = {i: u[0] for i, u in users(order).items()}
        self.recurrent = {n.id for group in cycles(order, lambda _: True) for n in group}
        for n in order:
            moving = n.op in ("Input", "SeqInput", "SeqConst", "Delay")
            if not moving and all(i.id in self.fixed for i in map(resolve, n.ins)):
                self.fixed.add(n.id)
        self._roles(order)
        self._inputs(order)
        self._framework()
        for node in order:
            if node.op in ("Const", "SeqConst", "Input", "SeqInput"):
                continue
            if self._waits_for_bias(node):
                continue
            self.user = node
            writer = WRITERS.get(node.op)
            if writer is None:
                self.unsupported(
                    node,
                    f"operator {node.op} is not supported here",
                    "docs/design/ir.md lists what there is",
                )
            with broken_rules_are_diagnostics(node.op, partial(self._place, node)):
                emitted = writer(self, node)
            if emitted is not None:
                self.done[node.id] = emitted
        for node, state in self.delays:
            self.user = node
            with broken_rules_are_diagnostics("state", partial(self._place, node)):
                source = self.value(node.ins[0])
                source = self.fit(source, node.ins[0], self.shape(node))
            self.builder().op("graph.delay_next", source, attrs={"state": state})
        for out in outputs:
            self.output(out)
        self._drop_dead()
        share_parameters(self.module, self.block, self.uses)

    def _roles(self, order: Sequence[RNode]) -> None:
        """Find what parameters are that reach a batch normalisation step by step."""
        for node in order:
            if node.op != "BatchNormalization":
                continue
            for i, role in zip(node.ins[1:], BATCHNORM_ROLES, strict=False):
                stack = [i]
                while stack:
                    n = resolve(stack.pop())
                    if n.op == "Const":
                        self.roles[n.id] = role
                    elif n.id in self.fixed:
                        stack.extend(n.ins)

    def _waits_for_bias(self, node: RNode) -> bool:
        """Whether a product is emitted together with the addition of its bias."""
        if node.op not in ("MatMul", "Gemm") or len(node.ins) > 2:
            return False
        if self.use_count.get(node.id, 0) != 1 or resolve(node.ins[1]).op != "Const":
            return False
        add = self.user_of.get(node.id)
        if add is None or add.op != "Add":
            return False
        k = add.ins[1] if add.ins[0] is node else add.ins[0]
        plain = not attr_int(node.attrs, "transA", 0)
        plain = plain and attr_float(node.attrs, "alpha", 1.0) == 1.0
        return plain and k.op == "Const" and k.shape == node.shape[-1:]

    def _framework(self) -> None:
        """Find what most neurons look like."""
        votes: dict[str, int] = {}
        for layer in self.layers.values():
            name = guess_framework(layer.neuron, layer.synapse)
            if name:
                votes[name] = votes.get(name, 0) + 1
        self.framework = max(votes, key=lambda k: votes[k]) if votes else ""

    def fit(self, value: Value, node: RNode, shape: tuple[int, ...]) -> Value:
        """Give a value a step shape that it broadcasts to."""
        if value.type.step_shape != shape:
            return self.builder().one("graph.expand", value, shape=shape)
        return value

    def _inputs(self, order: Sequence[RNode]) -> None:
        found = [n for n in order if n.op in ("Input", "SeqInput")]
        for n in sorted(found, key=lambda n: n.val.id if n.val is not None else 0):
            shape = self.shape(n)
            type_ = seq((self.steps, *shape)) if n.op == "SeqInput" else tensor(shape)
            name = n.val.name if n.val is not None else "x"
            self.done[n.id] = self.block.add_arg(type_, name)

    def reshaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        """Return a value in another step shape."""
        if x.type.step_shape == shape:
            return x
        return self.builder().one("graph.reshape", x, shape=shape)

    def output(self, out: Output) -> None:
        """Emit one output of the model."""
        node = resolve(out.node)
        self.user = node
        value = self.value(node)
        attrs: dict[str, Attribute] = {"name": out.name}
        shape = list(value.type.step_shape)
        if out.lay is None or (value.type.kind != "seq" and self.rolled.steps > 1):
            attrs["axis"] = -1 if value.type.kind != "seq" else 0
        elif self.rolled.steps == 1:
            attrs["axis"] = out.lay.axis if value.type.kind == "seq" else -1
        elif self._merged(out, node):
            attrs["axis"], attrs["batch_in_time"] = 0, True
        else:
            attrs["axis"] = out.lay.axis
            if out.lay.pure and len(shape) == len(out.shape):
                del shape[out.lay.axis]
        source = value.owner
        if isinstance(source, Op) and source.name == "graph.reshape":
            inner = source.operands[0]
            value = inner if inner.type.step_shape == tuple(shape) else value
        x = self.reshaped(value, tuple(shape))
        self.builder(node).op("graph.output", x, attrs=attrs)

    def _merged(self, out: Output, node: RNode) -> bool:
        """Whether samples and steps share an axis of the file's output."""
        lay = out.lay
        return lay is not None and lay.axis == 0 and self.batches.merged(node, lay)

    def _drop_dead(self) -> None:
        """Erase ops without users."""
        for op in reversed(list(self.block.ops)):
            if op.results and not any(r.uses for r in op.results):
                op.erase()
        self.uses = [u for u in self.uses if u.op.parent is not None]


Writer: TypeAlias = Callable[[Emitter, RNode], "Value | None"]
WRITERS: dict[str, Writer] = {}


def emits(*ops: str) -> Callable[[Writer], Writer]:
    """Register how operators of the rolled graph are written."""

    def add(writer: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(ops, writer))
        return writer

    return add


def constant_node(array: Arr) -> RNode:
    """Wrap an array."""
    return RNode("Const", array.shape, array.dtype, const=array)


def hint(name: str) -> str:
    """Return a name that the IR's text can hold."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)
