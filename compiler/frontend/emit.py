"""From the rolled graph to a graph-stage module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.diag import DiagnosticSink, fail
from snncc.compiler.frontend.batch import BatchAxes
from snncc.compiler.frontend.elementwise import COMPARE
from snncc.compiler.frontend.flat import (
    Arr,
    Val,
    attr_float,
    attr_int,
    attr_ints,
    attr_str,
    prod,
)
from snncc.compiler.frontend.fuse import Layer
from snncc.compiler.frontend.metadata import Namer, framework_defaults
from snncc.compiler.frontend.neuron_attrs import guess_framework, neuron_attributes
from snncc.compiler.frontend.neurons import strip
from snncc.compiler.frontend.rolled import RNode, reachable, resolve, users
from snncc.compiler.frontend.timing import RESHAPES, Lay
from snncc.compiler.frontend.unroll import Output, Rolled
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import (
    Attribute,
    Block,
    Func,
    Location,
    Module,
    Op,
    Type,
    Value,
    seq,
    tensor,
)

UNARY = {
    "Neg": "neg",
    "Abs": "abs",
    "Sqrt": "sqrt",
    "Floor": "floor",
    "Trunc": "trunc",
    "Exp": "exp",
    "Log": "log",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Reciprocal": "recip",
    "Atan": "atan",
}
BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "max", "Min": "min"}
TRAINED = ("weight", "bias", "scale", "shift")


@dataclass(slots=True)
class _Use:
    op: Op
    name: str
    order: tuple[int, int]


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
    uses: list[_Use] = field(default_factory=list[_Use])
    resources: dict[int, str] = field(default_factory=dict[int, str])
    delays: list[tuple[RNode, str]] = field(default_factory=list[tuple[RNode, str]])
    user: RNode | None = None
    dropouts: int = 0
    use_count: dict[int, int] = field(default_factory=dict[int, int])
    user_of: dict[int, RNode] = field(default_factory=dict[int, RNode])
    framework: str = ""
    """What most neurons look like; it decides about spikes that belong to no neuron."""

    # ------------------------------------------------------------------ helpers
    def where(self, node: RNode) -> str:
        """Return the place of a node in the file."""
        v = node.val
        name = "?" if v is None else v.node.name if v.node is not None else v.name
        return f"{self.file}:{name}"

    def builder(self, node: RNode | None = None) -> Builder:
        """Return a builder that knows the node's place."""
        at = node or self.user
        return Builder(self.block, Location(self.where(at)) if at is not None else Location("?"))

    def unsupported(self, node: RNode, what: str, help_: str = "") -> None:
        """Refuse a node."""
        fail("E0104", what, self.where(node), help=help_)

    def shape(self, node: RNode) -> tuple[int, ...]:
        """Return a node's step shape for the batch of this import."""
        return self.batches.shape(node)

    # ------------------------------------------------------------------ constants and parameters
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
            "graph.param", types=[tensor(shape)], attrs=attrs, names=(_hint(name),)
        )
        order = self.user.val.node.order if self.user and self.user.val and self.user.val.node else 0
        self.uses.append(_Use(value, name, (order, slot)))
        return value.result

    def operand(self, node: RNode, role: str, slot: int, transpose: bool = False) -> Value:
        """Return the value of a constant operand: a parameter where the file has a name for it."""
        assert node.const is not None
        array = np.asarray(node.const)
        v = node.val
        if v is not None and not v.param and v.node is not None:
            traced = self.derived(v, role, slot, transpose)
            if traced is not None:
                return traced
        name = (v.param or v.name) if v is not None else ""
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
        if x.const is None or not x.param or x.size < 2:
            return None
        if node.op == "Transpose" and len(x.shape) == 2:
            shape = x.shape if transpose else v.shape
            return self.param(x.param, np.asarray(x.const), role, not transpose, slot, shape)
        if node.op in RESHAPES and not transpose:
            inner = self.param(x.param, np.asarray(x.const), role, False, slot, x.shape)
            return self.builder().one("graph.reshape", inner, shape=v.shape)
        return None

    def const(self, node: RNode) -> Value:
        """Emit a constant that is no parameter."""
        assert node.const is not None
        number = node.uniform
        if number is not None:
            op = self.builder().op("graph.const", types=[tensor(())], attrs={"value": number})
            return op.result
        array = np.asarray(node.const)
        name = node.val.name if node.val is not None and node.val.name else f"const{node.id}"
        shape = array.shape
        if node.op == "SeqConst":
            if shape[0] != self.steps:
                self.unsupported(node, f"a constant for {shape[0]} steps, not {self.steps}")
            types = [seq(shape)]
        else:
            types = [tensor(shape)]
        attrs: dict[str, Attribute] = {"resource": self.resource(array, name)}
        return self.builder().op("graph.const", types=types, attrs=attrs).result

    # ------------------------------------------------------------------ nodes
    def value(self, node: RNode) -> Value:
        """Return the IR value of a node that was emitted, or of a constant."""
        node = resolve(node)
        if node.op in ("Const", "SeqConst"):
            return self.operand(node, "const", 1)
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
        self._inputs(order)
        self._framework()
        for node in order:
            if node.op in ("Const", "SeqConst", "Input", "SeqInput"):
                continue
            if self._waits_for_bias(node):
                continue
            self.user = node
            emitted = self.emit(node)
            if emitted is not None:
                self.done[node.id] = emitted
        for node, state in self.delays:
            self.user = node
            source = self.value(node.ins[0])
            source = self.fit(source, node.ins[0], self.shape(node))
            self.builder().op("graph.delay_next", source, attrs={"state": state})
        for out in outputs:
            self.output(out)
        self._drop_dead()
        self._name_params()

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

    def emit(self, node: RNode) -> Value | None:
        """Emit one node."""
        op = node.op
        special: Callable[[RNode], Value | None] | None = getattr(self, f"op_{op}", None)
        if special is not None:
            return special(node)
        b = self.builder(node)
        if op in BINARY:
            return self.binary(node)
        if op in UNARY:
            return b.one("graph.unary", self.value(node.ins[0]), fn=UNARY[op])
        if op in COMPARE:
            return self.spike(node)
        self.unsupported(
            node, f"operator {op} is not supported here", "see docs/design/ir.md for what there is"
        )
        return None

    def binary(self, node: RNode) -> Value:
        """Element-wise arithmetic; a constant that the file names is a parameter."""
        a, b = node.ins
        fused = self._bias(node, a, b) or self._bias(node, b, a)
        if fused is not None:
            return fused
        role = {"Add": "bias", "Sub": "bias", "Mul": "scale", "Div": "scale"}.get(node.op, "const")
        operands: list[Value] = []
        for slot, i in enumerate(node.ins):
            if i.op == "Const":
                named = i.val is not None and bool(i.val.param) and i.uniform is None
                operands.append(self.operand(i, role if named else "const", slot))
            elif self.resets(node, i):
                operands.append(self.builder(node).one("graph.stop_gradient", self.value(i)))
            else:
                operands.append(self.value(i))
        return self.builder(node).one(f"graph.{BINARY[node.op]}", *operands)

    def _bias(self, node: RNode, x: RNode, k: RNode) -> Value | None:
        """Return a product with its bias when an addition is one."""
        if x.id in self.done or x.op not in ("MatMul", "Gemm") or k.op != "Const":
            return None
        trans = bool(attr_int(x.attrs, "transB", 0))
        user, self.user = self.user, x
        value = self.linear(x, trans, k, 1.0, 1.0)
        self.user = user
        return value

    def resets(self, node: RNode, x: RNode) -> bool:
        """Whether an operand is a delayed spike that resets a membrane without a gradient."""
        if x.op != "Delay" or not self._detached(x):
            return False
        others = [i for i in node.ins if i is not x]
        if node.op == "Sub":
            return node.ins[1] is x
        if node.op == "Mul":
            return all(i.op != "Const" for i in others)
        return False

    def _detached(self, delay: RNode) -> bool:
        source = resolve(delay.ins[0])
        while source.op in ("Cast", "View"):
            source = resolve(source.ins[0])
        origin = source.val.node if source.val is not None else None
        if source.op not in COMPARE or origin is None:
            return False
        guess = framework_defaults(origin, origin, False, self.framework)
        return guess is not None and guess.reset_gradient == "detached"

    def spike(self, node: RNode) -> Value:
        """A comparison that belongs to no recognised neuron: a threshold of its own."""
        found = strip(node)
        b = self.builder(node)
        if found is not None:
            base, threshold, _ = found
            h = self.value(base)
            theta = self.const(constant_node(threshold))
        else:
            h, theta = (self.value(i) for i in node.ins)
        attrs: dict[str, Attribute] = {
            "compare": "strict" if node.op == "Greater" else "non_strict",
            "layer": self.namer.layer(node),
        }
        source = node.val.node if node.val is not None else None
        guess = (
            None
            if source is None
            else framework_defaults(source, source, False, self.framework)
        )
        if guess is not None:
            attrs["surrogate"] = guess.surrogate
            attrs["origin"] = {"surrogate": guess.origin}
        return b.op("graph.spike", h, theta, attrs=attrs).result

    def op_Relu(self, node: RNode) -> Value:
        """max(x, 0)."""
        return self.builder(node).one("graph.relu", self.value(node.ins[0]))

    def op_Clip(self, node: RNode) -> Value:
        """Clip with numbers."""
        attrs: dict[str, Attribute] = {}
        for key, name in (("min", "low"), ("max", "high")):
            if node.attrs.get(key) is not None:
                attrs[name] = attr_float(node.attrs, key, 0.0)
        return self.builder(node).op("graph.clip", self.value(node.ins[0]), attrs=attrs).result

    def op_Cast(self, node: RNode) -> Value:
        """Bits count as 0 and 1 wherever numbers are needed."""
        return self.value(node.ins[0])

    def op_Pow(self, node: RNode) -> Value | None:
        """Small powers."""
        power = resolve(node.ins[1]).uniform
        x = self.value(node.ins[0])
        b = self.builder(node)
        if power == 1.0:
            return x
        if power == 2.0:
            return b.one("graph.mul", x, x)
        if power == 0.5:
            return b.one("graph.unary", x, fn="sqrt")
        self.unsupported(node, f"Pow with the exponent {power}", "supported: 0.5, 1, 2")
        return None

    def op_Not(self, node: RNode) -> Value:
        """1 - bit."""
        one = self.builder().op("graph.const", types=[tensor(())], attrs={"value": 1.0}).result
        return self.builder(node).one("graph.sub", one, self.value(node.ins[0]))

    def op_And(self, node: RNode) -> Value:
        """Both bits; (not a) and b."""
        a, b = (resolve(i) for i in node.ins)
        if b.op == "Not":
            a, b = b, a
        if a.op == "Not" and b.op != "Not":
            inner = self.value(a.ins[0])
            return self.builder(node).one("graph.iand", inner, self.value(b))
        return self.builder(node).one("graph.and", self.value(a), self.value(b))

    def op_Or(self, node: RNode) -> Value:
        """Either bit."""
        return self.builder(node).one("graph.or", *(self.value(i) for i in node.ins))

    def op_Where(self, node: RNode) -> Value:
        """A where mask else b."""
        mask, a, b = (resolve(i) for i in node.ins)
        if mask.op == "Not":
            mask, a, b = resolve(mask.ins[0]), b, a
        return self.builder(node).one("graph.select", *(self.value(i) for i in (mask, a, b)))

    # ------------------------------------------------------------------ layers
    def op_Gemm(self, node: RNode) -> Value | None:
        """A linear layer, or a product of activations."""
        at = node.attrs
        alpha, beta = attr_float(at, "alpha", 1.0), attr_float(at, "beta", 1.0)
        if attr_int(at, "transA", 0):
            self.unsupported(node, "Gemm with transA")
        trans_b = bool(attr_int(at, "transB", 0))
        bias = resolve(node.ins[2]) if len(node.ins) > 2 and beta else None
        return self.linear(node, trans_b, bias, alpha, beta)

    def op_MatMul(self, node: RNode) -> Value:
        """A linear layer, or a product of activations."""
        return self.linear(node, False, None, 1.0, 1.0)

    def linear(
        self, node: RNode, trans_b: bool, bias: RNode | None, alpha: float, beta: float
    ) -> Value:
        """Emit x @ w + bias."""
        x, w = resolve(node.ins[0]), resolve(node.ins[1])
        b = self.builder(node)
        fits = w.op == "Const" and len(w.shape) == 2 and x.op != "Const"
        if not fits:
            left = self.operand(x, "weight", 0) if x.op == "Const" else self.value(x)
            right = self.operand(w, "weight", 1) if w.op == "Const" else self.value(w)
            y = b.one("graph.matmul", left, right, transpose_b=trans_b)
        else:
            width = w.shape[0] if trans_b else w.shape[1]
            operands = [self.value(x), self.masked(x, w, trans_b)]
            inside = bias is not None and bias.op == "Const" and bias.shape == (width,)
            if inside and bias is not None and alpha == beta == 1.0:
                operands.append(self.operand(bias, "bias", 2))
                bias = None
            y = b.one("graph.linear", *operands)
        if alpha != 1.0:
            k = b.op("graph.const", types=[tensor(())], attrs={"value": alpha}).result
            y = b.one("graph.mul", y, k)
        if bias is not None:
            z = self.operand(bias, "bias", 2) if bias.op == "Const" else self.value(bias)
            if beta != 1.0:
                k = b.op("graph.const", types=[tensor(())], attrs={"value": beta}).result
                z = b.one("graph.mul", z, k)
            y = b.one("graph.add", y, z)
        return y

    def masked(self, x: RNode, w: RNode, trans_b: bool) -> Value:
        """Return a weight; a recurrent one without self-connections keeps them zero."""
        value = self.operand(w, "weight", 1, trans_b)
        array = np.asarray(w.const)
        n = array.shape[0]
        if x.op != "Delay" or array.shape != (n, n) or n < 3 or np.diagonal(array).any():
            return value
        if np.count_nonzero(array) < n * (n - 1) // 2:
            return value
        mask = constant_node(1.0 - np.eye(n, dtype=np.float32))
        return self.builder().one("graph.mul", value, self.const(mask))

    def op_Conv(self, node: RNode) -> Value | None:
        """Convolution over one or two axes."""
        w = resolve(node.ins[1])
        rank = len(w.shape) - 2
        if w.op != "Const" or rank not in (1, 2):
            self.unsupported(
                node,
                f"convolution over {rank} axes" if w.op == "Const" else "computed kernels",
                "supported: 1-D and 2-D convolution with constant kernels",
            )
        operands = [self.value(node.ins[0]), self.operand(w, "weight", 1)]
        if len(node.ins) > 2:
            operands.append(self.operand(resolve(node.ins[2]), "bias", 2))
        attrs: dict[str, Attribute] = {
            "stride": attr_ints(node.attrs, "strides"),
            "padding": attr_ints(node.attrs, "pads"),
            "dilation": attr_ints(node.attrs, "dilations"),
            "groups": attr_int(node.attrs, "group", 1),
            "rank": rank,
        }
        return self.builder(node).op("graph.conv", *operands, attrs=attrs).result

    def op_ConvTranspose(self, node: RNode) -> Value | None:
        """Transposed convolution."""
        w, at = resolve(node.ins[1]), node.attrs
        rank = len(w.shape) - 2
        if w.op != "Const" or rank not in (1, 2) or at.get("output_shape") is not None:
            self.unsupported(node, f"transposed convolution over {rank} axes")
        operands = [self.value(node.ins[0]), self.operand(w, "weight", 1)]
        if len(node.ins) > 2:
            operands.append(self.operand(resolve(node.ins[2]), "bias", 2))
        attrs: dict[str, Attribute] = {
            "stride": attr_ints(at, "strides", (1,) * rank),
            "padding": attr_ints(at, "pads", (0,) * (2 * rank)),
            "dilation": attr_ints(at, "dilations", (1,) * rank),
            "output_padding": attr_ints(at, "output_padding", (0,) * rank),
            "groups": attr_int(at, "group", 1),
            "rank": rank,
        }
        return self.builder(node).op("graph.conv_transpose", *operands, attrs=attrs).result

    def op_Pool(self, node: RNode) -> Value | None:
        """Maximum, average or sum over windows."""
        at = node.attrs
        extra = any(attr_ints(at, "extra", ()))
        count = bool(attr_int(at, "count_pad", 0))
        if any(d != 1 for d in attr_ints(at, "dilations")) or (extra and count):
            self.unsupported(node, "pooling with dilation, or ceil_mode with counted padding")
        attrs: dict[str, Attribute] = {
            "kind": attr_str(at, "kind", "max"),
            "kernel": attr_ints(at, "kernel"),
            "stride": attr_ints(at, "strides"),
            "padding": attr_ints(at, "pads"),
        }
        if attrs["kind"] == "avg":
            attrs["count_pad"] = count
        return self.builder(node).op("graph.pool", self.value(node.ins[0]), attrs=attrs).result

    def op_BatchNormalization(self, node: RNode) -> Value:
        """Batch normalisation; the configuration decides which statistics are used."""
        operands = [self.value(node.ins[0])]
        for slot, role in enumerate(("scale", "shift", "mean", "var"), 1):
            operands.append(self.operand(resolve(node.ins[slot]), role, slot))
        attrs: dict[str, Attribute] = {
            "eps": attr_float(node.attrs, "epsilon", 1e-5),
            "momentum": 1.0 - attr_float(node.attrs, "momentum", 0.9),
            "axis": 1,
        }
        return self.builder(node).op("graph.batchnorm", *operands, attrs=attrs).result

    def op_Softmax(self, node: RNode) -> Value:
        """Softmax along one axis."""
        axis = attr_int(node.attrs, "axis", -1)
        return self.builder(node).one("graph.softmax", self.value(node.ins[0]), axis=axis)

    def op_Dropout(self, node: RNode) -> Value:
        """Dropout; every node has its own stream of random numbers."""
        self.dropouts += 1
        rate = attr_float(node.attrs, "rate", 0.5)
        x = self.value(node.ins[0])
        return self.builder(node).one("graph.dropout", x, rate=rate, stream=self.dropouts)

    def op_Reduce(self, node: RNode) -> Value | None:
        """Reduction over step axes."""
        kind, axes = attr_str(node.attrs, "kind", "sum"), attr_ints(node.attrs, "axes")
        if kind == "min":
            self.unsupported(node, "ReduceMin", "supported: sum, mean, max")
        keep = bool(attr_int(node.attrs, "keepdims", 1))
        x = self.value(node.ins[0])
        y = self.builder(node).one("graph.reduce", x, kind=kind, axes=axes, keepdims=keep)
        return self.reshaped(y, self.shape(node))

    def op_TimeReduce(self, node: RNode) -> Value:
        """Reduction over the steps."""
        kind = attr_str(node.attrs, "kind", "sum")
        x = self.value(node.ins[0])
        if x.type.kind != "seq":
            return self._static_reduce(node, x, kind)
        if kind == "mean" and self.rolled.steps != self.steps and self.rolled.steps > 1:
            self.sink.warning(
                "E0111",
                f"the file averages {self.rolled.steps} steps, the configuration asks for "
                f"{self.steps}",
                self.where(node),
            )
        return self.builder(node).one("graph.reduce_time", x, kind=kind)

    def _static_reduce(self, node: RNode, x: Value, kind: str) -> Value:
        if kind != "sum":
            return x
        k = self.builder().op("graph.const", types=[tensor(())], attrs={"value": float(self.steps)})
        return self.builder(node).one("graph.mul", x, k.result)

    # ------------------------------------------------------------------ data movement
    def reshaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        """Return a value in another step shape."""
        if x.type.step_shape == shape:
            return x
        return self.builder().one("graph.reshape", x, shape=shape)

    def op_View(self, node: RNode) -> Value:
        """Any reshape."""
        return self.reshaped(self.value(node.ins[0]), self.shape(node))

    def op_Transpose(self, node: RNode) -> Value:
        """Permutation of step axes."""
        perm = attr_ints(node.attrs, "perm")
        return self.builder(node).one("graph.transpose", self.value(node.ins[0]), perm=perm)

    def op_Expand(self, node: RNode) -> Value:
        """Repetition along axes of size one."""
        x = self.value(node.ins[0])
        return self.builder(node).one("graph.expand", x, shape=self.shape(node))

    def op_Concat(self, node: RNode) -> Value:
        """Joining along a step axis."""
        axis = attr_int(node.attrs, "axis", 0)
        return self.builder(node).one("graph.concat", *map(self.value, node.ins), axis=axis)

    def op_Slice(self, node: RNode) -> Value | None:
        """A piece of every axis."""
        x = self.value(node.ins[0])
        dims = x.type.step_shape
        ends = [
            d if e == -1 else e
            for e, d in zip(attr_ints(node.attrs, "ends"), dims, strict=True)
        ]
        strides = attr_ints(node.attrs, "strides")
        if any(s < 1 for s in strides):
            self.unsupported(node, "Slice that runs backwards")
        attrs: dict[str, Attribute] = {
            "starts": attr_ints(node.attrs, "starts"),
            "ends": tuple(ends),
            "strides": strides,
        }
        y = self.builder(node).op("graph.slice", x, attrs=attrs).result
        return self.reshaped(y, self.shape(node))

    def op_Take(self, node: RNode) -> Value:
        """Entries of an axis in a new order: slices, joined."""
        x = self.value(node.ins[0])
        dims, axis = x.type.step_shape, attr_int(node.attrs, "axis", 0)
        parts: list[Value] = []
        for i in attr_ints(node.attrs, "indices"):
            starts = tuple(i if a == axis else 0 for a in range(len(dims)))
            ends = tuple(i + 1 if a == axis else d for a, d in enumerate(dims))
            parts.append(self.builder(node).one("graph.slice", x, starts=starts, ends=ends))
        return self.builder(node).one("graph.concat", *parts, axis=axis)

    def op_Pad(self, node: RNode) -> Value | None:
        """A frame of one number."""
        if node.attrs.get("mode") not in ("constant", None):
            self.unsupported(node, f"Pad in mode {node.attrs.get('mode')}", "supported: constant")
        low, high = attr_ints(node.attrs, "low"), attr_ints(node.attrs, "high")
        fill = attr_float(node.attrs, "value", 0.0)
        x = self.value(node.ins[0])
        return self.builder(node).one("graph.pad", x, low=low, high=high, value=fill)

    # ------------------------------------------------------------------ time
    def op_Delay(self, node: RNode) -> Value:
        """The value one step before."""
        state = f"{self.namer.scope(node) or 'state'}.{len(self.delays)}"
        shape = self.shape(node)
        dtype = "bit" if self.is_bit(node.ins[0]) else "f16"
        attrs: dict[str, Attribute] = {
            "state": state,
            "shape": shape,
            "steps": self.steps,
            "dtype": dtype,
        }
        operands: list[Value] = []
        if node.init is not None:
            first = constant_node(node.init)
            number = first.uniform
            if number is None:
                operands.append(self.const(first))
            else:
                attrs["init"] = number
            self.sink.warning(
                "E0110", "a state starts from a value other than zero", self.where(node)
            )
        elif dtype == "f16":
            attrs["init"] = 0.0
        self.delays.append((node, state))
        return self.builder(node).op("graph.delay", *operands, attrs=attrs).result

    def is_bit(self, node: RNode, seen: frozenset[int] = frozenset()) -> bool:
        """Whether a node's value will be a bit."""
        node = resolve(node)
        if node.op == "Delay":
            return node.id not in seen and self.is_bit(node.ins[0], seen | {node.id})
        if node.op == "Spikes":
            return not node.attrs.get("multi")
        if node.op in COMPARE or node.op in ("And", "Or"):
            return True
        same = node.op in ("View", "Transpose", "Slice", "Expand", "Cast", "Take")
        same = same or (node.op == "Pool" and node.attrs.get("kind") == "max")
        if node.op == "Concat":
            return all(self.is_bit(i, seen) for i in node.ins)
        return same and self.is_bit(node.ins[0], seen)

    # ------------------------------------------------------------------ neurons
    def op_Neuron(self, node: RNode) -> None:
        """A layer of neurons."""
        layer = self.layers[node.id]
        attrs, arrays = neuron_attributes(layer, self.namer, self.batches.same)
        x = self.fit(self.value(node.ins[0]), node, self.shape(node))
        if x.type.kind == "tensor":
            attrs["steps"] = self.steps  # the same input at every step
        operands = [x]
        for name, array, source in arrays:
            slot = len(operands)
            label = source or f"{attrs['layer']}.{name}"
            operands.append(self.param(label, array, name, False, slot, array.shape))
        made = self.builder(node).op("graph.neuron", *operands, attrs=attrs)
        for result, hint in zip(reversed(made.results), ("v", "s"), strict=False):
            result.name = f"{_hint(str(attrs['layer']))}.{hint}"
        self.results[node.id] = made

    def op_Spikes(self, node: RNode) -> Value:
        """The first result of a neuron."""
        return self.results[node.ins[0].id].results[0]

    def op_Membrane(self, node: RNode) -> Value:
        """The last result of a neuron."""
        return self.results[node.ins[0].id].results[-1]

    # ------------------------------------------------------------------ results
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
            attrs["axis"] = 0 if value.type.kind == "seq" else -1
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
        held = {op.attrs.get("resource") for op in self.block.ops}
        for name in [n for n in self.module.resources if n not in held]:
            del self.module.resources[name]

    def _name_params(self) -> None:
        """Number the roles of initializers that serve several: NAME, NAME#2, ... in file order."""
        count: dict[str, int] = {}
        for use in sorted(self.uses, key=lambda u: u.order):
            count[use.name] = count.get(use.name, 0) + 1
            if count[use.name] > 1:
                use.op.attrs["name"] = f"{use.name}#{count[use.name]}"


def constant_node(array: Arr) -> RNode:
    """Wrap an array."""
    return RNode("Const", array.shape, array.dtype, const=array)


def _hint(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)


def emit_module(
    name: str,
    rolled: Rolled,
    outputs: Sequence[Output],
    layers: Sequence[Layer],
    file: str,
    steps: int,
    batches: BatchAxes,
    namer: Namer,
    sink: DiagnosticSink,
) -> Module:
    """Write the module."""
    module = Module(name)
    table = {layer.node.id: layer for layer in layers}
    emitter = Emitter(module, rolled, file, steps, batches, table, namer, sink)
    emitter.run(outputs)
    module.funcs["main"] = Func("main", emitter.block)
    return module


__all__ = ["Emitter", "Lay", "Type", "emit_module", "prod"]
