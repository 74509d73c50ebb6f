"""From an ONNX model to the flat graph.

Functions are inlined, Constant nodes become constants, Identity chains vanish, Loop and Scan are
unrolled, equal nodes are merged, constant subgraphs are folded and all shapes are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx

from snncc.compiler.diag import CompileError, fail
from snncc.compiler.frontend import builtins, shapes
from snncc.compiler.frontend.flat import (
    F32,
    I64,
    Arr,
    Attrs,
    AttrValue,
    DType,
    FlatGraph,
    Node,
    Shape,
    Val,
    attr_int,
    attr_ints,
    attr_key,
    attr_str,
    prod,
)
from snncc.compiler.frontend.onnx_file import TensorReader, np_dtype
from snncc.compiler.frontend.scatter import scatter_step

MAX_NODES = 400_000
MAX_DEPTH = 40
MAX_TRIPS = 10_000
SMALL = 64
STANDARD = ("", "ai.onnx")
TRAINING_HINTS = frozenset({"surrogate", "surrogate_alpha", "surrogate_slope", "detach_reset"})


@dataclass(slots=True)
class Sequence_:
    """A value of an ONNX sequence type: a list that exists only at import time."""

    items: list[Val] = field(default_factory=list["Val"])


Bound: TypeAlias = Val | Sequence_
Env: TypeAlias = dict[str, Bound]


@dataclass(slots=True)
class Scope:
    """Where nodes are being read: names in sight, attributes of the function call, path, hints."""

    env: Env
    attrs: Mapping[str, AttrValue] = field(default_factory=dict[str, AttrValue])
    prefix: str = ""
    hints: Mapping[str, AttrValue] = field(default_factory=dict[str, AttrValue])
    depth: int = 0
    functions: tuple[str, ...] = ()


class GraphBuilder:
    """Builds one flat graph; ``dims`` gives the concrete shape of a graph input."""

    def __init__(self, file: str, model: onnx.ModelProto, reader: TensorReader) -> None:
        self.file = file
        self.model = model
        self.reader = reader
        self.flat = FlatGraph(file, producer=model.producer_name)
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.count = 0
        self.known: dict[tuple[object, ...], Node] = {}
        self.consts: dict[tuple[object, ...], Val] = {}
        self.partial: dict[int, dict[int, Val]] = {}
        """Half-written buffers: value -> step -> what was written."""

    # ------------------------------------------------------------------ values
    def value(self, shape: Shape, dtype: DType, name: str = "") -> Val:
        """Make a new value."""
        self.count += 1
        return Val(self.count, shape, dtype, name=name)

    def const(self, array: Arr, name: str = "", param: str = "") -> Val:
        """Make a constant; small nameless ones are shared."""
        key: tuple[object, ...] = ()
        if not param and array.size <= SMALL:
            key = (array.dtype.str, array.shape, array.tobytes())
            if key in self.consts:
                return self.consts[key]
        v = self.value(array.shape, array.dtype, name)
        v.const, v.param = array, param
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
        node = Node(op, tuple(ins), at, name, len(self.flat.nodes))
        if proto is not None:
            node.meta = {p.key: p.value for p in proto.metadata_props}
        if scope is not None:
            node.hints = scope.hints
        try:
            types = shapes.infer(node)
            node.outs = [self.value(s, d) for s, d in types]
            arrays = shapes.fold(node)
        except KeyError:
            fail(
                "E0104",
                f"operator {op} is not supported",
                self.where(name),
                help="supported: element-wise operators, Gemm, MatMul, Conv, ConvTranspose, "
                "pooling, BatchNormalization, reductions, Softmax and data movement",
            )
        except OverflowError as error:
            fail("E0109", f"{op} would make {error}", self.where(name))
        except (ValueError, IndexError, TypeError) as error:
            fail("E0105", f"{op}: {error}", self.where(name))
        for i, v in enumerate(node.outs):
            v.node, v.index = node, i
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
        for t in graph.initializer:
            array = self.reader.array(t)
            env[t.name] = self.const(array, t.name, t.name)
        for s in graph.sparse_initializer:
            fail("E0104", "sparse initializers are not supported", self.where(s.values.name))

    def run(self, nodes: Iterable[onnx.NodeProto], scope: Scope) -> None:
        """Read nodes in order; nodes whose inputs come later wait (any node order is accepted)."""
        waiting = list(nodes)
        while waiting:
            later: list[onnx.NodeProto] = []
            produced = {o for n in waiting for o in n.output if o}
            for n in waiting:
                needs = [i for i in n.input if i and i not in scope.env and i in produced]
                if needs:
                    later.append(n)
                else:
                    self.node(n, scope)
            if len(later) == len(waiting):
                fail("E0105", "the nodes form a cycle", self.where(later[0].name))
            waiting = later

    def node(self, n: onnx.NodeProto, scope: Scope) -> None:
        """Read one node."""
        name = scope.prefix + (n.name or (n.output[0] if n.output else n.op_type))
        ins = [self.lookup(i, scope, name) for i in n.input]
        attrs = self.attributes(n, scope)
        try:
            outs = self.dispatch(n, ins, attrs, name, scope)
        except (ValueError, IndexError, TypeError) as error:
            if isinstance(error, CompileError):
                raise
            fail("E0105", f"{n.op_type}: {error}", self.where(name))
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
        function = self.functions.get((n.domain, n.op_type))
        if function is not None:
            return self.call(function, ins, attrs, name, scope)
        if n.domain not in STANDARD:
            vals = [v for v in ins if isinstance(v, Val)]
            made = builtins.expand(self, n.domain, n.op_type, vals, attrs, name, scope)
            if made is None:
                fail(
                    "E0106",
                    f"no function body for {n.domain}::{n.op_type} in the file",
                    self.where(name),
                    help="export the function with the model (FunctionProto), "
                    "or use the standard operators",
                )
            return made
        special = getattr(self, f"op_{n.op_type}", None)
        if special is not None:
            result: Sequence[Bound] = special(n, ins, attrs, name, scope)
            return result
        plain = [v if isinstance(v, Val) else None for v in ins]
        while plain and plain[-1] is None:
            plain.pop()
        return self.add(n.op_type, plain, attrs, name, len(n.output), n, scope)

    def call(
        self,
        f: onnx.FunctionProto,
        ins: list[Bound | None],
        attrs: dict[str, AttrValue],
        name: str,
        scope: Scope,
    ) -> Sequence[Bound]:
        """Inline a function call."""
        key = f"{f.domain}::{f.name}"
        if key in scope.functions or scope.depth > MAX_DEPTH:
            fail("E0106", f"{key} calls itself", self.where(name))
        known: dict[str, AttrValue] = {a.name: self.attribute(a) for a in f.attribute_proto}
        known.update(attrs)
        env: Env = {k: v for k, v in zip(f.input, ins, strict=False) if v is not None}
        hints = {**scope.hints, **{k: v for k, v in known.items() if k in TRAINING_HINTS}}
        inner = Scope(env, known, f"{name}/", hints, scope.depth + 1, (*scope.functions, key))
        self.run(f.node, inner)
        return [self._bound(env, o, name) for o in f.output]

    def _bound(self, env: Env, name: str, where: str) -> Bound:
        if name not in env:
            fail("E0105", f"output {name!r} is not defined", self.where(where))
        return env[name]

    # ------------------------------------------------------------------ operators with a rule
    def op_Identity(
        self, n: onnx.NodeProto, ins: list[Bound], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Identity is its operand."""
        return [ins[0]]

    def op_Dropout(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Dropout is the identity unless the file was exported in training mode."""
        mode = ins[2].const if len(ins) > 2 else None
        if mode is None or not mode.any():
            return [ins[0], ins[0]]
        ratio = float(ins[1].const) if ins[1].const is not None else 0.5
        return self.add("Dropout", [ins[0]], {"rate": ratio}, name, proto=n, scope=sc)

    def op_Constant(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Constant nodes become constants."""
        for v in at.values():
            if isinstance(v, np.ndarray):
                return [self.const(v)]
            if isinstance(v, (int, tuple)) or isinstance(v, float):
                sample = v[0] if isinstance(v, tuple) and v else v
                return [self.const(np.asarray(v, F32 if isinstance(sample, float) else I64))]
        fail("E0104", "Constant without a number", self.where(name))

    def op_Cast(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Casts between float types vanish; to an integer and back is a truncation."""
        to = np_dtype(attr_int(at, "to", 1), self.where(name))
        return [self.cast(ins[0], to, name, n, sc)]

    def op_CastLike(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """As Cast."""
        return [self.cast(ins[0], ins[1].dtype, name, n, sc)]

    def cast(
        self, x: Val, to: DType, name: str, n: onnx.NodeProto | None, sc: Scope | None
    ) -> Val:
        """Return a value in another type."""
        if x.dtype == to or (x.dtype.kind == "f" and to.kind == "f" and x.const is None):
            return x
        if x.node is not None and x.node.op == "Cast" and x.const is None and to.kind == "f":
            inner = x.node.val(0)
            if x.dtype.kind in "iu" and inner.dtype.kind == "f":
                return self.one("Trunc", inner, name=name, scope=sc)
            if inner.dtype.kind == "b":
                x = inner
        return self.add("Cast", [x], {"to": to}, name, proto=n, scope=sc)[0]

    def op_Clip(
        self, n: onnx.NodeProto, ins: list[Val | None], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Clip with constant bounds; without effect on a constant, it is that constant."""
        bounds: dict[str, AttrValue] = {k: at[k] for k in ("min", "max") if k in at}
        for key, v in zip(("min", "max"), ins[1:], strict=False):
            if v is not None:
                if v.const is None or v.size != 1:
                    fail("E0104", "Clip with bounds that are no constants", self.where(name))
                bounds[key] = float(v.const.item())
        x = ins[0]
        assert x is not None
        out = self.add("Clip", [x], bounds, name, proto=n, scope=sc)[0]
        if x.const is not None and out.const is not None and np.array_equal(x.const, out.const):
            return [x]
        return [out]

    def op_Less(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """a < b is b > a."""
        return self.add("Greater", [ins[1], ins[0]], {}, name, proto=n, scope=sc)

    def op_LessOrEqual(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """a <= b is b >= a."""
        return self.add("GreaterOrEqual", [ins[1], ins[0]], {}, name, proto=n, scope=sc)

    def _chain(self, op: str, ins: list[Val], name: str, n: onnx.NodeProto, sc: Scope) -> Val:
        out = ins[0]
        for v in ins[1:]:
            out = self.add(op, [out, v], {}, name, proto=n, scope=sc)[0]
        return out

    def op_Sum(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A sum of many is a chain."""
        return [self._chain("Add", ins, name, n, sc)]

    def op_Mean(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A mean of many is a chain and a division."""
        return [
            self.one("Div", self._chain("Add", ins, name, n, sc), self.scalar(len(ins)), name=name)
        ]

    def op_Max(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A maximum of many is a chain."""
        return [self._chain("Max", ins, name, n, sc)]

    def op_Min(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A minimum of many is a chain."""
        return [self._chain("Min", ins, name, n, sc)]

    def op_BatchNormalization(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Only the first output is used; running statistics belong to training."""
        return self.add("BatchNormalization", ins[:5], at, name, 1, n, sc)

    def op_ScatterND(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Writing one time step after the other into a buffer is a stack."""
        return [scatter_step(self, "ScatterND", ins, at, name)]

    def op_ScatterElements(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """As ScatterND."""
        return [scatter_step(self, "ScatterElements", ins, at, name)]

    # ------------------------------------------------------------------ sequences
    def op_SequenceEmpty(
        self, n: onnx.NodeProto, ins: list[Bound], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A list without entries."""
        return [Sequence_()]

    def op_SequenceConstruct(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A list of values."""
        return [Sequence_(list(ins))]

    def op_SequenceInsert(
        self, n: onnx.NodeProto, ins: list[Bound], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A list with one more entry."""
        s, v = ins[0], ins[1]
        if not isinstance(s, Sequence_) or not isinstance(v, Val):
            raise ValueError("operands are not a sequence and a tensor")
        items = list(s.items)
        place = ins[2] if len(ins) > 2 else None
        if isinstance(place, Val):
            items.insert(shapes.const_ints(place)[0], v)
        else:
            items.append(v)
        return [Sequence_(items)]

    def op_SequenceAt(
        self, n: onnx.NodeProto, ins: list[Bound], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """An entry of a list."""
        s, i = ins[0], ins[1]
        if not isinstance(s, Sequence_) or not isinstance(i, Val):
            raise ValueError("operands are not a sequence and an index")
        return [s.items[shapes.const_ints(i)[0]]]

    def op_SequenceLength(
        self, n: onnx.NodeProto, ins: list[Bound], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """The number of entries."""
        s = ins[0]
        return [self.const(np.array(len(s.items) if isinstance(s, Sequence_) else 0, I64))]

    def op_SplitToSequence(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Slices of length one."""
        x = ins[0]
        axis = shapes.norm_axis(attr_int(at, "axis", 0), len(x.shape))
        keep = attr_int(at, "keepdims", 1)
        if len(ins) > 1 and any(s != 1 for s in shapes.const_ints(ins[1])):
            fail("E0104", "SplitToSequence into parts longer than one", self.where(name))
        items: list[Val] = []
        for i in range(x.shape[axis]):
            index = self.const(np.array([i] if keep else i, I64))
            items.append(self.one("Gather", x, index, name=name, axis=axis))
        return [Sequence_(items)]

    def op_ConcatFromSequence(
        self, n: onnx.NodeProto, ins: list[Bound], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Join or stack a list."""
        s = ins[0]
        if not isinstance(s, Sequence_) or not s.items:
            raise ValueError("operand is not a sequence, or an empty one")
        axis = attr_int(at, "axis", 0)
        if attr_int(at, "new_axis", 0):
            return [self.stack(s.items, axis, name, sc)]
        return self.add("Concat", s.items, {"axis": axis}, name, proto=n, scope=sc)

    def stack(self, items: Sequence[Val], axis: int, name: str, sc: Scope | None) -> Val:
        """Join values along a new axis."""
        axes = self.const(np.array([axis], I64))
        parts = [self.one("Unsqueeze", v, axes, name=name) for v in items]
        return self.add("Concat", parts, {"axis": axis}, name, scope=sc)[0]

    # ------------------------------------------------------------------ control flow
    def op_If(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """A branch that is decided at import time."""
        if ins[0].const is None:
            fail("E0104", "If on a value that only the data decides", self.where(name))
        body = at["then_branch" if ins[0].const.all() else "else_branch"]
        return self.body(body, {}, name, sc)

    def body(self, graph: AttrValue, bound: Env, name: str, sc: Scope) -> list[Bound]:
        """Read a nested graph once, with its inputs bound."""
        if not isinstance(graph, onnx.GraphProto):
            raise ValueError("the body is missing")
        if sc.depth > MAX_DEPTH:
            fail("E0109", "graphs are nested too deeply", self.where(name))
        env: Env = {**sc.env, **bound}
        self.initializers(graph, env)
        inner = Scope(env, sc.attrs, f"{name}/", sc.hints, sc.depth + 1, sc.functions)
        self.run(graph.node, inner)
        return [self._bound(env, o.name, name) for o in graph.output]

    def op_Loop(
        self, n: onnx.NodeProto, ins: list[Bound | None], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Unroll a loop whose number of iterations is known."""
        graph = at.get("body")
        if not isinstance(graph, onnx.GraphProto):
            raise ValueError("the body is missing")
        trips, cond = ins[0], ins[1] if len(ins) > 1 else None
        if not isinstance(trips, Val) or trips.const is None:
            fail(
                "E0104",
                "the number of iterations of this Loop is not known at import",
                self.where(name),
                help="give the number of steps: [timesteps] in the configuration",
            )
        total = int(trips.const.item())
        if total > MAX_TRIPS:
            fail("E0109", f"Loop of {total} iterations", self.where(name))
        carried = [v for v in ins[2:] if v is not None]
        names = [i.name for i in graph.input]
        scans: list[list[Val]] = [[] for _ in graph.output[1 + len(carried) :]]
        state: Bound = cond if cond is not None else self.const(np.array(True))
        for t in range(total):
            if isinstance(state, Val) and state.const is not None and not state.const.all():
                break
            bound: Env = dict(
                zip(names, [self.const(np.array(t, I64)), state, *carried], strict=False)
            )
            outs = self.body(graph, bound, f"{name}", sc)
            state, carried = outs[0], outs[1 : 1 + len(carried)]
            for kept, v in zip(scans, outs[1 + len(carried) :], strict=True):
                if isinstance(v, Val):
                    kept.append(v)
        return [*carried, *(self.stack(kept, 0, name, sc) for kept in scans if kept)]

    def op_Scan(
        self, n: onnx.NodeProto, ins: list[Val], at: Attrs, name: str, sc: Scope
    ) -> Sequence[Bound]:
        """Unroll a scan."""
        graph = at.get("body")
        if not isinstance(graph, onnx.GraphProto):
            raise ValueError("the body is missing")
        count = attr_int(at, "num_scan_inputs", 1)
        states: list[Bound] = list(ins[: len(ins) - count])
        xs = ins[len(ins) - count :]
        in_axes = attr_ints(at, "scan_input_axes", (0,) * count)
        in_back = attr_ints(at, "scan_input_directions", (0,) * count)
        made = len(graph.output) - len(states)
        out_axes = attr_ints(at, "scan_output_axes", (0,) * made)
        out_back = attr_ints(at, "scan_output_directions", (0,) * made)
        total = xs[0].shape[in_axes[0]]
        if total > MAX_TRIPS:
            fail("E0109", f"Scan over {total} steps", self.where(name))
        scans: list[list[Val]] = [[] for _ in range(made)]
        names = [i.name for i in graph.input]
        for t in range(total):
            parts: list[Bound] = []
            for x, axis, back in zip(xs, in_axes, in_back, strict=True):
                index = self.const(np.array(total - 1 - t if back else t, I64))
                parts.append(self.one("Gather", x, index, name=name, axis=axis))
            outs = self.body(graph, dict(zip(names, [*states, *parts], strict=True)), name, sc)
            states = outs[: len(states)]
            for kept, v in zip(scans, outs[len(states) :], strict=True):
                if isinstance(v, Val):
                    kept.append(v)
        stacked: list[Bound] = []
        for kept, axis, back in zip(scans, out_axes, out_back, strict=True):
            stacked.append(self.stack(kept[::-1] if back else kept, axis, name, sc))
        return [*states, *stacked]


def input_shape(info: onnx.ValueInfoProto) -> list[int | str]:
    """Return an input's dimensions; a text stands for a dimension that is not fixed."""
    dims = info.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]


def build(
    file: str,
    model: onnx.ModelProto,
    reader: TensorReader,
    dims: Mapping[str, Shape],
) -> FlatGraph:
    """Build the flat graph; ``dims`` are the concrete shapes of the data inputs."""
    builder = GraphBuilder(file, model, reader)
    graph = model.graph
    env: Env = {}
    builder.initializers(graph, env)
    for info in graph.input:
        if info.name in env:
            continue
        where = builder.where(info.name)
        shape = dims[info.name]
        if any(d < 0 for d in shape) or prod(shape) > shapes.MAX_FOLD:
            fail("E0103", f"input of shape {list(shape)} is not possible", where)
        v = builder.value(shape, np_dtype(info.type.tensor_type.elem_type, where), info.name)
        env[info.name] = v
        builder.flat.inputs.append(v)
    builder.run(graph.node, Scope(env))
    for out in graph.output:
        found = env.get(out.name)
        if not isinstance(found, Val):
            fail("E0105", f"output {out.name!r} is not defined", builder.where(out.name))
        builder.flat.outputs.append(found)
        builder.flat.output_names.append(out.name)
    return builder.flat


def reads_string(attrs: Attrs, key: str, default: str) -> str:
    """Read a text attribute in lower case."""
    return attr_str(attrs, key, default).lower()
