"""From an ONNX model to the flat graph.

Functions are inlined, Constant nodes become constants, Identity chains vanish, Loop and Scan are
unrolled, equal nodes are merged, constant subgraphs are folded and all shapes are known.

Over 400 lines: these steps call each other, and share the one scope of names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx

from snncc.compiler.diag import CompileError, fail
from snncc.compiler.frontend.flat import shapes
from snncc.compiler.frontend.flat.exporter_names import FileNames, transposed
from snncc.compiler.frontend.flat.flat import (
    F32,
    I64,
    Arr,
    Attrs,
    AttrValue,
    DType,
    FlatGraph,
    OperatorNode,
    Shape,
    Val,
    attr_key,
)
from snncc.compiler.frontend.flat.rules import check_inputs
from snncc.compiler.frontend.neurons.surrogate_hints import SURROGATE_HINTS
from snncc.compiler.frontend.onnx.calls import check_calls
from snncc.compiler.frontend.onnx.file import TensorReader
from snncc.compiler.frontend.onnx.order import ordered
from snncc.compiler.frontend.time.parameters import is_parameter
from snncc.compiler.frontend.time.timing import RESHAPES

MAX_NODES = 400_000
MAX_DEPTH = 40
MAX_TRIPS = 10_000
SMALL = 64
FUNCTION_HELP = "export the function with the model (FunctionProto), or use the standard operators"
PYTHON_HELP = "a Python function does not survive the export; export in eval mode (model.eval())"
STANDARD = ("", "ai.onnx")
TRAINING_HINTS = frozenset({*SURROGATE_HINTS, "surrogate_slope", "detach_reset"})


@dataclass(slots=True)
class TensorList:
    """A value of an ONNX sequence type: a list that exists only at import time."""

    items: list[Val] = field(default_factory=list["Val"])


Bound: TypeAlias = Val | TensorList
Env: TypeAlias = dict[str, Bound]


@dataclass(slots=True)
class Scope:
    """Where nodes are being read: names in sight, attributes of the function call, path, hints."""

    env: Env
    attrs: Mapping[str, AttrValue] = field(default_factory=dict[str, AttrValue])
    prefix: str = ""
    hints: Mapping[str, AttrValue] = field(default_factory=dict[str, AttrValue])
    depth: int = 0
    """Graphs around this one."""
    in_function: bool = False


@dataclass(slots=True)
class _Reading:
    """A list of nodes that is being read: the graph's, or those of a function that is called."""

    nodes: Iterator[onnx.NodeProto]
    scope: Scope
    call: onnx.NodeProto | None = None
    function: onnx.FunctionProto | None = None


@dataclass(slots=True)
class Call:
    """One node being read: its inputs, attributes and place."""

    builder: GraphBuilder
    proto: onnx.NodeProto
    ins: list[Bound | None]
    attrs: dict[str, AttrValue]
    name: str
    scope: Scope

    def bound(self, i: int) -> Bound:
        """Return a required input, tensor or list."""
        v = self.ins[i] if i < len(self.ins) else None
        if v is None:
            raise ValueError(f"input {i} is missing")
        return v

    def val(self, i: int) -> Val:
        """Return a required tensor input."""
        v = self.bound(i)
        if not isinstance(v, Val):
            raise ValueError(f"input {i} is a sequence, not a tensor")
        return v

    def optional(self, i: int) -> Val | None:
        """Return a tensor input, or None when it is absent."""
        v = self.ins[i] if i < len(self.ins) else None
        return v if isinstance(v, Val) else None

    def items(self, i: int) -> list[Val]:
        """Return the entries of a sequence input."""
        v = self.bound(i)
        if not isinstance(v, TensorList):
            raise ValueError(f"input {i} is a tensor, not a sequence")
        return v.items

    def add(self, op: str, ins: Sequence[Val | None], attrs: Attrs | None = None) -> list[Val]:
        """Add a node in this node's place."""
        return self.builder.add(op, ins, attrs, self.name, 1, self.proto, self.scope)

    def one(self, op: str, *ins: Val | float, **attrs: AttrValue) -> Val:
        """Add a node with one result; numbers become constants of the first tensor's type."""
        like = next(v.dtype for v in ins if isinstance(v, Val))
        vals = [v if isinstance(v, Val) else self.builder.scalar(v, like) for v in ins]
        return self.add(op, vals, attrs)[0]

    def ints(self, *values: int) -> Val:
        """Return a constant list of integers: axes, a shape."""
        return self.builder.const(np.array(values, I64))


Rule: TypeAlias = Callable[["GraphBuilder", Call], Sequence[Bound]]
RULES: dict[str, Rule] = {}
Expander: TypeAlias = Callable[["GraphBuilder", Call], "Sequence[Bound] | None"]
EXPANDERS: list[Expander] = []
"""What knows functions of custom domains that the file does not define."""


def rule(op: str) -> Callable[[Rule], Rule]:
    """Register how an operator is written in the flat graph."""

    def add(function: Rule) -> Rule:
        RULES[op] = function
        return function

    return add


def _traceable(node: OperatorNode) -> bool:
    """Whether a folded parameter is still found by its name: moved once, or asked for its shape."""
    if node.op in ("Shape", "Size"):
        return True
    moved = node.op in RESHAPES or (node.op == "Transpose" and len(node.val(0).shape) == 2)
    return moved and bool(node.val(0).param)


class GraphBuilder:
    """Builds one flat graph."""

    def __init__(
        self, file: str, model: onnx.ModelProto, reader: TensorReader, names: FileNames
    ) -> None:
        self.file = file
        self.names = names
        self.model = model
        self.opset = max(
            (o.version for o in model.opset_import if o.domain in STANDARD), default=18
        )
        self.reader = reader
        self.flat = FlatGraph(file, producer=model.producer_name)
        self.functions = {(f.domain, f.name): f for f in model.functions}
        check_calls(self.functions, model.graph, MAX_NODES, self.where)
        self.count = 0
        self.nodes_read = 0
        self.known: dict[tuple[object, ...], OperatorNode] = {}
        self.consts: dict[tuple[object, ...], Val] = {}
        self.read: list[tuple[str, str, tuple[Bound, ...]]] = []
        """Name, operator and results of every node of the file, in the order of reading."""
        self.partial: dict[int, dict[int, Val]] = {}
        """Half-written buffers: value -> step -> what was written."""
        self.weights: dict[str, Val] = {}
        """Initializers with names of their own."""
        self.one_hots: dict[int, Val] = {}
        """Indices that are data: value -> the one-hot vectors, last axis, it was made from."""

    # ------------------------------------------------------------------ values
    def value(self, shape: Shape, dtype: DType, name: str = "") -> Val:
        """Make a new value."""
        self.count += 1
        return Val(self.count, shape, dtype, name=name)

    def const(self, array: Arr, name: str = "", param: str = "", made_up: bool = False) -> Val:
        """Make a constant; small nameless ones are shared.

        ``param``: its name as an initializer; ``made_up``: the name is not that of a parameter.
        """
        key: tuple[object, ...] = ()
        if not param and array.size <= SMALL:
            key = (array.dtype.str, array.shape, array.tobytes(), made_up)
            if key in self.consts:
                return self.consts[key]
        v = self.value(array.shape, array.dtype, name)
        v.const, v.param, v.made_up, v.fixed = array, param, made_up, True
        v.trained = is_parameter(v) and (v.size > 1 or self.names.computed(param))
        if key:
            self.consts[key] = v
        return v

    def where(self, name: str) -> str:
        """Return the place of a node for messages."""
        return f"{self.file}:{name}"

    def add(
        self,
        op: str,
        ins: Sequence[Val | None],
        attrs: Attrs | None = None,
        name: str = "",
        outputs: int = 1,
        proto: onnx.NodeProto | None = None,
        scope: Scope | None = None,
    ) -> list[Val]:
        """Add a node, or return the equal one that is there; fold it when its inputs are known."""
        at: Attrs = attrs or {}
        key = (op, outputs, tuple(v.id if v else 0 for v in ins), attr_key(at))
        known = self.known.get(key)
        if known is not None:
            return known.outs
        node = OperatorNode(op, tuple(ins), at, name, len(self.flat.nodes))
        if proto is not None:
            node.meta = {p.key: p.value for p in proto.metadata_props}
        if scope is not None:
            node.hints = scope.hints
        try:
            check_inputs(op, ins, self.opset)
            types = shapes.infer(node)
            node.outs = [self.value(s, d) for s, d in types]
            trained = any(v is not None and v.trained for v in ins)
            fixed = bool(ins) and all(v is None or v.fixed for v in ins)
            arrays = None if trained and not _traceable(node) else shapes.fold(node)
        except KeyError:
            fail(
                "E0104",
                f"operator {op} is not supported",
                self.where(name),
                help="supported: element-wise operators, Gemm, MatMul, Conv, ConvTranspose, "
                "pooling, normalisation, reductions, Softmax and data movement",
            )
        except OverflowError as error:
            fail("E0109", f"{op} would make {error}", self.where(name))
        except (ValueError, IndexError, TypeError) as error:
            fail("E0105", f"{op}: {error}", self.where(name))
        for i, v in enumerate(node.outs):
            v.node, v.index = node, i
            v.fixed = fixed or arrays is not None
            v.trained = fixed and trained and op not in ("Shape", "Size")
            if arrays is not None:
                v.const = arrays[i].astype(v.dtype, copy=False)
        if len(self.flat.nodes) >= MAX_NODES:
            fail("E0109", f"more than {MAX_NODES} nodes after unrolling", self.where(name))
        self.flat.nodes.append(node)
        self.known[key] = node
        return node.outs

    def one(self, op: str, *ins: Val, name: str = "", scope: Scope | None = None, **at: Any) -> Val:
        """Add a node with one output."""
        return self.add(op, ins, at, name, scope=scope)[0]

    def scalar(self, value: float, like: DType = F32) -> Val:
        """Return a scalar constant."""
        return self.const(np.asarray(value, like))

    # ------------------------------------------------------------------ reading
    def attributes(self, node: onnx.NodeProto, scope: Scope) -> dict[str, AttrValue]:
        """Return a node's attributes with references to the function's attributes resolved."""
        out: dict[str, AttrValue] = {}
        for a in node.attribute:
            if a.ref_attr_name:
                if a.ref_attr_name in scope.attrs:
                    out[a.name] = scope.attrs[a.ref_attr_name]
                continue
            out[a.name] = self.attribute(a)
        return out

    def attribute(self, a: onnx.AttributeProto) -> AttrValue:
        """Return one attribute's value."""
        kind = a.type
        if kind == onnx.AttributeProto.INT:
            return int(a.i)
        if kind == onnx.AttributeProto.FLOAT:
            return float(a.f)
        if kind == onnx.AttributeProto.STRING:
            return a.s.decode("utf-8", "replace")
        if kind == onnx.AttributeProto.INTS:
            return tuple(a.ints)
        if kind == onnx.AttributeProto.FLOATS:
            return tuple(a.floats)
        if kind == onnx.AttributeProto.STRINGS:
            return tuple(s.decode("utf-8", "replace") for s in a.strings)
        if kind == onnx.AttributeProto.TENSOR:
            return self.reader.array(a.t, self.where(a.name))
        if kind == onnx.AttributeProto.GRAPH:
            return a.g
        return None

    def lookup(self, name: str, scope: Scope, where: str) -> Bound | None:
        """Return a named value; an empty name is an absent optional input."""
        if not name:
            return None
        found = scope.env.get(name)
        if found is None:
            fail("E0105", f"value {name!r} is used before anything defines it", self.where(where))
        return found

    def initializers(self, graph: onnx.GraphProto, env: Env) -> None:
        """Bind a graph's initializers."""
        held = self.weights
        for t in sorted(graph.initializer, key=lambda t: self.names.may_copy(t.name)):
            array = self.reader.array(t)
            made_up = self.names.numbered(t.name)
            known = ((n, v.const) for n, v in held.items() if v.const is not None)
            copied = transposed(array, known)
            if copied and self.names.may_copy(t.name):
                self.flat.copies.append((t.name, copied))
                env[t.name] = self.one("Transpose", held[copied], perm=(1, 0))
                continue
            setting = array.size == 1 and self.names.setting(t.name)
            v = env[t.name] = self.const(array, t.name, t.name, made_up or setting)
            if not self.names.may_copy(t.name):
                held[t.name] = v
        for s in graph.sparse_initializer:
            fail("E0104", "sparse initializers are not supported", self.where(s.values.name))

    def run(self, nodes: Iterable[onnx.NodeProto], scope: Scope) -> None:
        """Read nodes and what they call; any order of the nodes is accepted."""
        open_: list[_Reading] = [_Reading(ordered(nodes, scope.env, self.where), scope)]
        while open_:
            inner = open_[-1]
            n = next(inner.nodes, None)
            if n is not None:
                function = self.functions.get((n.domain, n.op_type))
                if function is None:
                    self.node(n, inner.scope)
                else:
                    open_.append(self.enter(function, n, inner.scope))
                continue
            open_.pop()
            if inner.call is not None and inner.function is not None:
                name = inner.scope.prefix[:-1]
                outs = [self._bound(inner.scope.env, o, name) for o in inner.function.output]
                self.define(inner.call, name, outs, open_[-1].scope)

    def node(self, n: onnx.NodeProto, scope: Scope) -> None:
        """Read one node that is no call of a function in the file."""
        name = self._name(n, scope)
        ins = [self.lookup(i, scope, name) for i in n.input]
        attrs = self.attributes(n, scope)
        try:
            outs = self.dispatch(n, ins, attrs, name, scope)
        except (ValueError, IndexError, TypeError) as error:
            if isinstance(error, CompileError):
                raise
            fail("E0105", f"{n.op_type}: {error}", self.where(name))
        self.define(n, name, outs, scope)

    def _name(self, n: onnx.NodeProto, scope: Scope) -> str:
        """Return a node's path; so many nodes can be read and no more."""
        name = scope.prefix + (n.name or (n.output[0] if n.output else n.op_type))
        self.nodes_read += 1
        if self.nodes_read > MAX_NODES:
            fail("E0109", f"more than {MAX_NODES} nodes with loops unrolled", self.where(name))
        return name

    def define(self, n: onnx.NodeProto, name: str, outs: Sequence[Bound], scope: Scope) -> None:
        """Bind the results of a node."""
        if not scope.in_function:
            self.read.append((name, n.op_type, tuple(outs)))
        for o, v in zip(n.output, outs, strict=False):
            if o:
                scope.env[o] = v
                if isinstance(v, Val) and not v.name:
                    v.name = o

    def dispatch(
        self,
        n: onnx.NodeProto,
        ins: list[Bound | None],
        attrs: dict[str, AttrValue],
        name: str,
        scope: Scope,
    ) -> Sequence[Bound]:
        """Return the outputs of a node."""
        if n.domain not in STANDARD:
            made: Sequence[Bound] | None = None
            for expand in EXPANDERS:
                made = made or expand(self, Call(self, n, ins, attrs, name, scope))
            if made is None:
                fail(
                    "E0106",
                    f"no function body for {n.domain}::{n.op_type} in the file",
                    self.where(name),
                    help=PYTHON_HELP if n.domain == "prim" else FUNCTION_HELP,
                )
            return made
        special = RULES.get(n.op_type)
        if special is not None:
            return special(self, Call(self, n, ins, attrs, name, scope))
        plain = [v if isinstance(v, Val) else None for v in ins]
        while plain and plain[-1] is None:
            plain.pop()
        return self.add(n.op_type, plain, attrs, name, len(n.output), n, scope)

    def enter(self, f: onnx.FunctionProto, n: onnx.NodeProto, scope: Scope) -> _Reading:
        """Begin to inline a function call; that calls end is known (``check_calls``)."""
        name = self._name(n, scope)
        ins = [self.lookup(i, scope, name) for i in n.input]
        attrs = self.attributes(n, scope)
        defaults: dict[str, AttrValue] = {a.name: self.attribute(a) for a in f.attribute_proto}
        env: Env = {k: v for k, v in zip(f.input, ins, strict=False) if v is not None}
        # a call's own attributes, then those of the calls around it, then the function's defaults
        hints = {k: v for k, v in {**defaults, **scope.hints, **attrs}.items()
                 if k in TRAINING_HINTS}  # fmt: skip
        inner = Scope(env, {**defaults, **attrs}, f"{name}/", hints, scope.depth, True)
        return _Reading(ordered(f.node, env, self.where), inner, n, f)

    def _bound(self, env: Env, name: str, where: str) -> Bound:
        if name not in env:
            fail("E0105", f"output {name!r} is not defined", self.where(where))
        return env[name]

    def cast(self, x: Val, to: DType, c: Call) -> Val:
        """Return a value in another type.

        Numbers are not rounded to binary16 here: the chip rounds what it computes with.
        """
        to = np.dtype(F32) if to == np.float16 else to
        if x.dtype == to or (x.dtype.kind == "f" and to.kind == "f" and x.const is None):
            return x
        if x.param and x.const is not None and x.dtype.kind == to.kind == "f":
            key = ("cast", x.id, to.str)
            if key not in self.consts:
                self.consts[key] = self.const(x.const.astype(to), x.name, x.param, x.made_up)
            return self.consts[key]
        if x.node is not None and x.node.op == "Cast" and x.const is None and to.kind == "f":
            inner = x.node.val(0)
            if x.dtype.kind in "iu" and inner.dtype.kind == "f":
                return c.add("Trunc", [inner])[0]
            if inner.dtype.kind == "b":
                x = inner
        return c.add("Cast", [x], {"to": to})[0]

    def stack(self, items: Sequence[Val], axis: int, name: str, scope: Scope | None) -> Val:
        """Join values along a new axis."""
        axes = self.const(np.array([axis], I64))
        parts = [self.one("Unsqueeze", v, axes, name=name) for v in items]
        return self.add("Concat", parts, {"axis": axis}, name, scope=scope)[0]

    def body(self, graph: AttrValue, bound: Env, c: Call) -> list[Bound]:
        """Read a nested graph once, with its inputs bound."""
        if not isinstance(graph, onnx.GraphProto):
            raise ValueError("the body is missing")
        sc = c.scope
        if sc.depth > MAX_DEPTH:
            fail("E0109", "graphs are nested too deeply", self.where(c.name))
        env: Env = {**sc.env, **bound}
        self.initializers(graph, env)
        inner = Scope(env, sc.attrs, f"{c.name}/", sc.hints, sc.depth + 1, sc.in_function)
        self.run(graph.node, inner)
        return [self._bound(env, o.name, c.name) for o in graph.output]
