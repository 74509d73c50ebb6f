"""An ONNX file executed once: its operators in order, with functions and control flow resolved.

Nothing is recognised, simplified or merged: the steps are the file's own nodes.  Control flow (If,
Loop, Scan, sequences) is followed with plain float64 values, so the tape holds what happens for the
inputs it was recorded with; an If or a Loop that depends on data is not validated.

Over 400 lines: operators, functions and control flow call each other on one tape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import onnx
from onnx import helper

from snncc.compiler.frontend.flat.exporter_names import FileNames, transposed
from snncc.compiler.validate.arithmetic import Array, Hard
from snncc.compiler.validate.compare import NotValidated
from snncc.compiler.validate.onnx import operators_layers, operators_movement
from snncc.compiler.validate.onnx.file_neurons import expand
from snncc.compiler.validate.onnx.operators import (
    Call,
    UnknownOperator,
    is_real,
    operator_named,
    results,
)

_TABLES = (operators_layers, operators_movement)  # importing them registers their operators
STANDARD = ("", "ai.onnx")
GATES: dict[str, Callable[[Array], Array]] = {
    "": np.asarray,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Exp": np.exp,
}
"""What exporters fold of a bias at the first step, beside multiples: what it opens or closes."""
MAX_STEPS = 2_000_000
MAX_DEPTH = 60


class Reader(Protocol):
    """Reads the tensors of a file, wherever they lie."""

    def array(self, tensor: onnx.TensorProto, where: str = "") -> Array:
        """Return a tensor's content."""
        ...


Bound: TypeAlias = "int | list[int]"
"""The number of a value, or a sequence of them."""
Env: TypeAlias = dict[str, Bound]


@dataclass(eq=False)
class Step:
    """One executed operator; operands (None: absent) and results are value numbers."""

    op: str
    ins: list[int | None]
    outs: list[int]
    attributes: Mapping[str, Any]
    name: str
    index: int
    opset: int


@dataclass
class Scope:
    """Where nodes are being executed: names in sight, attributes of the function call, path."""

    env: Env
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    prefix: str = ""
    depth: int = 0
    opset: int = 18


class Tape:
    """Values and steps of one execution.

    ``value``: what each value number stood for.  ``data``: it depends on an input.  ``varies``: it
    depends on an input or on a parameter.  ``maker``: the step that made it.
    """

    def __init__(self, model: onnx.ModelProto, reader: Reader, names: FileNames) -> None:
        """Nothing is executed yet."""
        self.model, self.reader, self.names = model, reader, names
        self.arithmetic = Hard()
        self.steps: list[Step] = []
        self.value: list[Array] = []
        self.data: list[bool] = []
        self.varies: list[bool] = []
        self.maker: dict[int, Step] = {}
        self.parameters: dict[str, int] = {}
        self.inputs: dict[str, list[int]] = {}
        """Value numbers by input name; several when the file holds one step."""
        self.functions = {(f.domain, f.name): f for f in model.functions}

    # ---------------------------------------------------------------- values
    def new(self, array: Array, data: bool = False, varies: bool = False) -> int:
        """Number a value; float types become float64."""
        if array.dtype.kind == "f" and array.dtype != np.float64:
            array = array.astype(np.float64)
        elif array.dtype.kind in "iu" and array.dtype != np.int64:
            array = array.astype(np.int64)
        self.value.append(array)
        self.data.append(data)
        self.varies.append(varies or data)
        return len(self.value) - 1

    def feed(self, name: str, array: Array) -> int:
        """Number a value of an input."""
        at = self.new(array, data=True)
        self.inputs.setdefault(name, []).append(at)
        return at

    def initializers(self, graph: onnx.GraphProto, env: Env) -> None:
        """Bind a graph's initializers; the floating ones are parameters."""
        made_up: list[tuple[str, Array]] = []
        for t in graph.initializer:
            if t.name in self.parameters:
                env[t.name] = self.parameters[t.name]
                continue
            array = self.reader.array(t)
            if array.dtype.kind != "f":
                env[t.name] = self.new(array)
            elif self.names.may_copy(t.name):
                made_up.append((t.name, array))
            else:
                env[t.name] = self.parameters[t.name] = self.new(array, varies=True)
        for name, array in made_up:
            held = ((n, self.value[at]) for n, at in self.parameters.items())
            weight = transposed(array, (h for h in held if not self.names.may_copy(h[0])))
            if weight:
                turned = self.run("Transpose", [self.parameters[weight]], {"perm": [1, 0]}, name)
                env[name] = turned[0]
                continue
            copied = self._copied(name, array) if self.names.numbered(name) else None
            if copied is None:
                copied = self.parameters[name] = self.new(array, varies=True)
            env[name] = copied

    def _copied(self, name: str, array: Array) -> int | None:
        """Find the parameter that an exporter folded into an array of a made-up name.

        At the first step a bias is added to nothing and scaled by the neuron's constants, so a
        multiple of it, or of a gate that it opens, is left in its place.  In the framework it is
        computed from the parameter like at any other step, so here it is too.  Of two arrays with
        made-up names neither is the other's parameter, unless one is a multiple.
        """
        if array.size < 3 or bool(np.all(array == array.reshape(-1)[0])):
            return None
        for held_name, at in self.parameters.items():
            held = self.value[at]
            size = held.size
            if size < 3 or held.ndim > array.ndim or held.shape != array.shape[-held.ndim :]:
                continue
            if held.ndim == array.ndim > 1 or bool(np.all(held == held.reshape(-1)[0])):
                continue
            made_up = self.names.numbered(held_name)
            for gate, function in GATES.items() if not made_up else [("", np.asarray)]:
                values = function(held)
                factor, rest = _line(values.reshape(-1), array.reshape(-1, size)[0])
                largest = np.abs(array).max()
                if np.abs(array - (factor * values + rest)).max() > 1e-6 * largest:
                    continue
                rest = rest if abs(rest) > 1e-6 * largest else 0.0
                if made_up and rest:
                    continue
                opened = self.run(gate, [at], {}, name)[0] if gate else at
                scaled = self.run("Mul", [opened, self.new(np.asarray(factor))], {}, name)[0]
                moved = self.run("Add", [scaled, self.new(np.asarray(rest))], {}, name)[0]
                shape = self.new(np.array(array.shape))
                return self.run("Expand", [moved, shape], {}, name)[0]
        return None

    # ---------------------------------------------------------------- execution
    def graph(self, graph: onnx.GraphProto, scope: Scope) -> list[Bound]:
        """Execute a graph; return its outputs."""
        self.initializers(graph, scope.env)
        self.nodes(graph.node, scope)
        return [self._named(scope.env, o.name, scope.prefix) for o in graph.output]

    def nodes(self, nodes: Iterable[onnx.NodeProto], scope: Scope) -> None:
        """Execute nodes in an order in which they can be."""
        for n in in_order(nodes, scope.env):
            ins = [self._named(scope.env, i, n.name) if i else None for i in n.input]
            name = scope.prefix + (n.name or (n.output[0] if n.output else n.op_type))
            try:
                outs = self.node(n, ins, name, scope)
            except UnknownOperator as error:
                raise NotValidated(f"{error} at {name}") from None
            scope.env.update({o: v for o, v in zip(n.output, outs, strict=False) if o})

    def _named(self, env: Env, name: str, where: str) -> Bound:
        if name not in env:
            raise NotValidated(
                f"value {name!r} is not defined at {where or 'the end of the graph'}"
            )
        return env[name]

    def attributes(self, n: onnx.NodeProto, scope: Scope) -> dict[str, Any]:
        """Return a node's attributes; those of the function call are filled in."""
        out: dict[str, Any] = {}
        for a in n.attribute:
            if a.ref_attr_name:
                if a.ref_attr_name in scope.attributes:
                    out[a.name] = scope.attributes[a.ref_attr_name]
            else:
                out[a.name] = self._attribute(a)
        return out

    def _attribute(self, a: onnx.AttributeProto) -> Any:
        v: Any = helper.get_attribute_value(a)
        if isinstance(v, onnx.TensorProto):
            return self.reader.array(v)
        if isinstance(v, bytes):
            return v.decode("utf-8", "replace")
        if a.type == onnx.AttributeProto.STRINGS:
            return [s.decode("utf-8", "replace") for s in v]
        return v if isinstance(v, (int, float, onnx.GraphProto)) else list(v)

    def node(
        self, n: onnx.NodeProto, ins: list[Bound | None], name: str, scope: Scope
    ) -> Sequence[Bound]:
        """Execute one node."""
        attributes = self.attributes(n, scope)
        function = self.functions.get((n.domain, n.op_type))
        if function is not None:
            return self.call(function, ins, attributes, name, scope)
        if n.domain not in STANDARD:
            return expand(self, n.domain, n.op_type, attributes, [_tensor(i) for i in ins], name)
        special = getattr(self, f"_{n.op_type.lower()}", None) if n.op_type in CONTROL else None
        if special is not None:
            found: Sequence[Bound] = special(attributes, ins, name, scope)
            return found
        plain = [None if i is None else _tensor(i) for i in ins]
        while plain and plain[-1] is None:
            plain.pop()
        if n.op_type in ("Cast", "CastLike"):
            attributes, plain = self._target(n.op_type, attributes, plain), plain[:1]
            return self.run("Cast", plain, attributes, name, scope.opset)
        outputs = max(1, sum(bool(o) for o in n.output))
        return self.run(n.op_type, plain, attributes, name, scope.opset, outputs)

    def _target(self, op: str, attributes: Mapping[str, Any], ins: list[int | None]) -> Any:
        if op == "Cast":
            to = helper.tensor_dtype_to_np_dtype(attributes["to"])
        else:
            to = self.value[_tensor(ins[1])].dtype
        return {"to": np.dtype(np.float64) if to.kind == "f" else to}

    def call(
        self, function: onnx.FunctionProto, ins: list[Bound | None], attributes: Mapping[str, Any],
        name: str, scope: Scope,
    ) -> Sequence[Bound]:  # fmt: skip
        """Execute the body of a function of the file."""
        if scope.depth > MAX_DEPTH:
            raise NotValidated(f"functions are nested too deeply at {name}")
        known = {a.name: self._attribute(a) for a in function.attribute_proto} | dict(attributes)
        env: Env = {k: v for k, v in zip(function.input, ins, strict=False) if v is not None}
        opset = opset_of(function.opset_import, scope.opset)
        self.nodes(function.node, Scope(env, known, f"{name}/", scope.depth + 1, opset))
        return [self._named(env, o, name) for o in function.output]

    def run(
        self, op: str, ins: Sequence[int | None], attributes: Mapping[str, Any], name: str,
        opset: int = 18, outputs: int = 1,
    ) -> list[int]:  # fmt: skip
        """Execute an operator and record it."""
        if len(self.steps) >= MAX_STEPS:
            raise NotValidated(f"more than {MAX_STEPS} operators are executed")
        held = [None if i is None else self.value[i] for i in ins]
        call = Call(attributes, self.arithmetic, outputs, opset)
        try:
            arrays = results(operator_named(op)(call, *held))
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise NotValidated(f"{op} at {name}: {error}") from error
        given = [i for i in ins if i is not None]
        data = op not in ("Shape", "Size") and any(self.data[i] for i in given)
        varies = op not in ("Shape", "Size") and any(self.varies[i] for i in given)
        outs = [self.new(np.asarray(a), data, varies) for a in arrays]
        step = Step(op, list(ins), outs, attributes, name, len(self.steps), opset)
        self.steps.append(step)
        self.maker.update(dict.fromkeys(outs, step))
        return outs

    # ---------------------------------------------------------------- control flow and sequences
    def _constant(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        for v in at.values():
            if isinstance(v, (int, float, list, np.ndarray)):
                return [self.new(np.asarray(v))]
        raise UnknownOperator("Constant without a number")

    def _dropout(self, at: Any, ins: list[Bound | None], name: str, scope: Scope) -> list[Bound]:
        x = ins[0]
        assert x is not None
        return [x, self.new(np.ones(self.value[_tensor(x)].shape, np.bool_))]

    def _truth(self, v: Bound | None, what: str) -> bool:
        at = _tensor(v)
        if self.varies[at]:
            raise NotValidated(f"{what} depends on data")
        return bool(self.value[at].reshape(-1)[0])

    def _if(self, at: Any, ins: list[Bound | None], name: str, scope: Scope) -> list[Bound]:
        branch = at["then_branch" if self._truth(ins[0], f"If {name}") else "else_branch"]
        return self.graph(branch, self._inside(scope, name, {}))

    def _inside(self, scope: Scope, name: str, bound: Env) -> Scope:
        if scope.depth > MAX_DEPTH:
            raise NotValidated(f"graphs are nested too deeply at {name}")
        return Scope(
            {**scope.env, **bound}, scope.attributes, f"{name}/", scope.depth + 1, scope.opset
        )

    def _loop(self, at: Any, ins: list[Bound | None], name: str, scope: Scope) -> list[Bound]:
        body, carried = at["body"], [_bound(v) for v in ins[2:]]
        trips = ins[0]
        limit = int(self.value[_tensor(trips)].reshape(-1)[0]) if trips is not None else 1 << 30
        go = ins[1] if len(ins) > 1 else None
        names = [i.name for i in body.input]
        columns: list[list[int]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
        t = 0
        while t < limit and (go is None or self._truth(go, f"Loop {name}")):
            given = go if go is not None else self.new(np.asarray(True))
            args = [self.new(np.asarray(t)), given, *carried]
            outs = self.graph(body, self._inside(scope, name, dict(zip(names, args, strict=True))))
            go, carried = outs[0], outs[1 : 1 + len(carried)]
            for column, v in zip(columns, outs[1 + len(carried) :], strict=True):
                column.append(_tensor(v))
            t += 1
        return [*carried, *(self.joined(column, 0, True, name) for column in columns)]

    def _scan(self, at: Any, ins: list[Bound | None], name: str, scope: Scope) -> list[Bound]:
        body, k = at["body"], at["num_scan_inputs"]
        state = [_bound(v) for v in ins[: len(ins) - k]]
        over = [_tensor(v) for v in ins[len(ins) - k :]]
        axes = at.get("scan_input_axes") or [0] * k
        back = at.get("scan_input_directions") or [0] * k
        n = len(body.output) - len(state)
        out_axes = at.get("scan_output_axes") or [0] * n
        out_back = at.get("scan_output_directions") or [0] * n
        names = [i.name for i in body.input]
        total = self.value[over[0]].shape[axes[0]]
        columns: list[list[int]] = [[] for _ in range(n)]
        for t in range(total):
            cut = [
                self.picked(x, total - 1 - t if b else t, axis, name)
                for x, b, axis in zip(over, back, axes, strict=True)
            ]
            bound = dict(zip(names, [*state, *cut], strict=True))
            outs = self.graph(body, self._inside(scope, name, bound))
            state = outs[: len(state)]
            for column, v in zip(columns, outs[len(state) :], strict=True):
                column.append(_tensor(v))
        ends = [
            self.joined(c[::-1] if b else c, axis, True, name)
            for c, b, axis in zip(columns, out_back, out_axes, strict=True)
        ]
        return [*state, *ends]

    def picked(self, x: int, t: int, axis: int, name: str) -> int:
        """Take one element along an axis."""
        return self.run("Gather", [x, self.new(np.asarray(t))], {"axis": axis}, name)[0]

    def joined(self, items: Sequence[int], axis: int, new: bool, name: str) -> int:
        """Join values along an axis, or along a new one."""
        if new:
            at = self.new(np.array([axis]))
            items = [self.run("Unsqueeze", [i, at], {}, name)[0] for i in items]
        return self.run("Concat", list(items), {"axis": axis}, name)[0]

    def _integer(self, at: Bound) -> int:
        return int(self.value[_tensor(at)].reshape(-1)[0])

    def _sequenceempty(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        return [[]]

    def _sequenceconstruct(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        return [[_tensor(i) for i in ins]]

    def _sequenceinsert(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        held = list(_sequence(ins[0]))
        position = self._integer(ins[2]) if len(ins) > 2 else len(held)
        held.insert(position, _tensor(ins[1]))
        return [held]

    def _sequenceat(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        return [_sequence(ins[0])[self._integer(ins[1])]]

    def _sequencelength(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        return [self.new(np.asarray(len(_sequence(ins[0]))))]

    def _splittosequence(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        x, axis = _tensor(ins[0]), at.get("axis", 0)
        if len(ins) > 1 and ins[1] is not None:
            given = self.value[_tensor(ins[1])]
            if given.ndim or int(given) != 1:
                raise UnknownOperator("SplitToSequence into pieces of several")
        keep = len(ins) > 1 or at.get("keepdims", 1)
        count = self.value[x].shape[axis]
        pieces = [self.picked(x, t, axis, name) for t in range(count)]
        if keep:
            where = self.new(np.array([axis]))
            pieces = [self.run("Unsqueeze", [p, where], {}, name)[0] for p in pieces]
        return [pieces]

    def _concatfromsequence(self, at: Any, ins: Any, name: str, scope: Scope) -> list[Bound]:
        return [self.joined(_sequence(ins[0]), at.get("axis"), bool(at.get("new_axis", 0)), name)]


CONTROL = frozenset(
    (
        *("Constant", "Dropout", "If", "Loop", "Scan", "SequenceEmpty", "SequenceConstruct"),
        *("SequenceInsert", "SequenceAt", "SequenceLength", "SplitToSequence"),
        "ConcatFromSequence",
    )
)


def _tensor(v: Bound | None) -> int:
    if not isinstance(v, int):
        raise NotValidated("a tensor is absent, or is a sequence")
    return v


def _bound(v: Bound | None) -> Bound:
    if v is None:
        raise NotValidated("a carried value is absent")
    return v


def _sequence(v: Bound | None) -> list[int]:
    if not isinstance(v, list):
        raise NotValidated("a sequence is a tensor")
    return v


def in_order(nodes: Iterable[onnx.NodeProto], known: Iterable[str]) -> Iterator[onnx.NodeProto]:
    """Yield nodes in an order in which they can be executed; files need not keep one."""
    waiting, made = list(nodes), set(known)
    coming = {o for n in waiting for o in n.output if o}
    while waiting:
        later: list[onnx.NodeProto] = []
        for n in waiting:
            if any(i in coming and i not in made for i in _reads(n)):
                later.append(n)
                continue
            made.update(n.output)
            yield n
        if len(later) == len(waiting):
            raise NotValidated(f"the nodes form a cycle at {later[0].name}")
        waiting = later


def _reads(n: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, those of its inner graphs included."""
    yield from n.input
    for a in n.attribute:
        for graph in (a.g, *a.graphs) if a.type in (5, 10) else ():
            for inner in graph.node:
                yield from _reads(inner)
            yield from (o.name for o in graph.output)


def opset_of(imports: Iterable[onnx.OperatorSetIdProto], default: int = 18) -> int:
    """Return the version of the standard operators."""
    return next((o.version for o in imports if o.domain in STANDARD), default)


def real_operands(tape: Tape, step: Step) -> bool:
    """Whether a step's first operand is a real number."""
    first = step.ins[0] if step.ins else None
    return first is not None and is_real(tape.value[first])


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Return slope and height of the straight line nearest to some points."""
    from_mean = x - x.mean()
    slope = float((from_mean * (y - y.mean())).sum() / (from_mean * from_mean).sum())
    return slope, float(y.mean()) - slope * float(x.mean())
