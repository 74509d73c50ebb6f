"""ONNX models for the tests: written with onnx.helper in many forms, and run with onnxruntime."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from snncc.compiler.diag import DiagnosticSink
from snncc.compiler.frontend.import_onnx import import_onnx
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Module, Op
from snncc.compiler.ir.verify import verify

Array: TypeAlias = npt.NDArray[Any]


@dataclass(slots=True)
class Graph:
    """A graph being written."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    arrays: dict[str, Array] = field(default_factory=dict[str, Array])
    count: int = 0

    def const(self, value: Array | float, name: str = "") -> str:
        """Add an initializer."""
        self.count += 1
        name = name or f"c{self.count}"
        self.arrays[name] = np.asarray(
            value, np.float32 if not isinstance(value, np.ndarray) else value.dtype
        )
        return name

    def op(self, kind: str, *ins: str, out: str = "", **attrs: Any) -> str:
        """Add a node with one output."""
        self.count += 1
        out = out or f"v{self.count}"
        self.nodes.append(helper.make_node(kind, list(ins), [out], f"/n{self.count}", **attrs))
        return out

    def save(
        self,
        path: Path,
        inputs: Mapping[str, list[int]],
        outputs: Mapping[str, list[int]],
        seed: int | None = None,
        opset: int = 18,
    ) -> Path:
        """Write the model; ``seed``: the nodes in random order, with Identity nodes in between."""
        nodes = list(self.nodes)
        if seed is not None:
            nodes = _disturb(nodes, random.Random(seed), set(outputs))
        infos = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in part.items()]
            for part in (inputs, outputs)
        ]
        tensors = [numpy_helper.from_array(a, n) for n, a in self.arrays.items()]
        graph = helper.make_graph(nodes, "g", infos[0], infos[1], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 9
        path.write_bytes(model.SerializeToString())
        return path


def _disturb(
    nodes: list[onnx.NodeProto], rng: random.Random, keep: set[str]
) -> list[onnx.NodeProto]:
    """Add Identity nodes and give the nodes another topological order."""
    extra: list[onnx.NodeProto] = []
    for node in nodes:
        for i, name in enumerate(node.input):
            if name and rng.random() < 0.1:
                renamed = f"id_{len(extra)}"
                extra.append(helper.make_node("Identity", [name], [renamed]))
                node.input[i] = renamed
    waiting = nodes + extra
    made = {o for n in waiting for o in n.output}
    ready: set[str] = set()
    order: list[onnx.NodeProto] = []
    while waiting:
        free = [n for n in waiting if all(i not in made or i in ready for i in n.input)]
        node = rng.choice(free)
        waiting.remove(node)
        order.append(node)
        ready |= set(node.output)
    return order


def load(path: Path, **options: Any) -> Module:
    """Import a model and verify the module."""
    module = import_onnx(path, sink=DiagnosticSink(), **options)
    verify(module)
    return module


def neurons(module: Module) -> list[Op]:
    """Return the neuron ops of a module."""
    return [op for op in module.walk() if op.name == "graph.neuron"]


def run_module(module: Module, x: Array) -> dict[str, Array]:
    """Evaluate a module on the file's own input layout; results in the file's layout."""
    arg = module.func("main").body.args[0]
    inputs = module.attrs["inputs"]
    assert isinstance(inputs, Mapping)
    place = inputs[arg.name]
    assert isinstance(place, Mapping)
    axis = place["axis"]
    assert isinstance(axis, int)
    if arg.type.kind == "seq" and place.get("batch_in_time"):
        x = np.moveaxis(x.reshape(-1, module.steps, *x.shape[1:]), 1, 0)
    elif arg.type.kind == "seq" and axis > 0:
        x = np.moveaxis(x, axis, 0)
    found = evaluate(module, "main", {arg.name: x}, "float32")
    out: dict[str, Array] = {}
    for op in module.walk():
        if op.name == "graph.output":
            value = np.asarray(found[f"out/{op.str_attr('name')}"])
            at = op.int_attr("axis", 0)
            if op.bool_attr("batch_in_time", False):
                value = np.moveaxis(value, 0, 1)
                value = value.reshape(-1, *value.shape[2:])
            elif at > 0:
                value = np.moveaxis(value, 0, at)
            out[op.str_attr("name")] = value
    return out


def quiet() -> Any:
    """Return onnxruntime options without its warnings."""
    import importlib

    runtime: Any = importlib.import_module("onnxruntime")  # its types are partly unknown
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return options


def run_file(path: Path, x: Array) -> dict[str, Array]:
    """Run a file with onnxruntime; further inputs are zero."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(path), quiet())
    feeds = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()[1:]}
    feeds[session.get_inputs()[0].name] = x
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def run_steps(path: Path, xs: Array, pairs: Mapping[str, str]) -> dict[str, Array]:
    """Run a step graph with onnxruntime over time; ``pairs``: state input -> output."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(path), quiet())
    first, *rest = session.get_inputs()
    names = [o.name for o in session.get_outputs()]
    states = {i.name: np.zeros(i.shape, np.float32) for i in rest}
    rows: dict[str, list[Array]] = {n: [] for n in names}
    for x in xs:
        found = dict(zip(names, session.run(None, {first.name: x, **states}), strict=True))
        states = {i: found[o] for i, o in pairs.items()}
        for n in names:
            rows[n].append(found[n])
    return {n: np.stack(r) for n, r in rows.items()}


def agree(got: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Compare results by name; shapes may differ in axes of size one only."""
    for name, value in got.items():
        want = expected[name]
        assert value.size == want.size, (name, value.shape, want.shape)
        np.testing.assert_allclose(value.reshape(want.shape), want, rtol=1e-3, atol=1e-4)


@dataclass(frozen=True, slots=True)
class Form:
    """How an exporter might write the same network of two leaky neurons."""

    steps: int = 5
    reset: str = "subtract"  # subtract, zero, none, hard (same step)
    strict: bool = True
    per_step_input: bool = True
    fold_first: bool = False  # zero states are folded away at the first step
    share_spike: bool = True  # the reset uses the spike itself, not a second comparison
    times_one: bool = False
    minus_threshold: bool = True  # Greater(h - theta, 0), not Greater(h, theta)
    per_neuron: bool = False
    swap: bool = False  # operands of Add and Mul the other way round
    output: str = "stack"  # stack, sum, last, mean
    scalar_shape: tuple[int, ...] = ()


BETA, THETA = (0.75, 0.9), (1.0, 0.5)


def leaky_net(path: Path, form: Form, seed: int | None = None, batch: int = 3) -> Path:
    """Write Linear-Leaky-Linear-Leaky in the given form."""
    g, rng = Graph(), np.random.default_rng(1)
    sizes = (6, 5, 4)
    w = [g.const(rng.normal(size=(sizes[i + 1], sizes[i])).astype(np.float32), f"fc{i}.weight")
         for i in range(2)]  # fmt: skip
    b = [g.const(rng.normal(size=sizes[i + 1]).astype(np.float32), f"fc{i}.bias") for i in range(2)]
    beta: list[str] = []
    for i in range(2):
        if form.per_neuron:
            value = np.linspace(0.9, 1.0, sizes[i + 1]) * BETA[i]
        else:
            value = np.full(form.scalar_shape, BETA[i])
        beta.append(g.const(value.astype(np.float32), f"lif{i}.beta"))
    theta = [g.const(np.full(form.scalar_shape, t, np.float32)) for t in THETA]
    one, zero = g.const(1.0), g.const(0.0)
    mem: list[str] = ["", ""]
    spk: list[str] = ["", ""]
    rows: list[str] = []

    def two(kind: str, x: str, y: str) -> str:
        return g.op(kind, y, x) if form.swap else g.op(kind, x, y)

    def fire(h: str, i: int) -> str:
        kind = "Greater" if form.strict else "GreaterOrEqual"
        if form.minus_threshold:
            mask = g.op(kind, g.op("Sub", h, theta[i]), zero)
        else:
            mask = g.op(kind, h, theta[i])
        s = g.op("Cast", mask, to=TensorProto.FLOAT)
        return two("Mul", s, one) if form.times_one else s

    for t in range(form.steps):
        x = "x"
        if form.per_step_input:
            x = g.op("Gather", "x", g.const(np.array(t, np.int64)), axis=0)
        for i in range(2):
            current = g.op("Gemm", x, w[i], b[i], transB=1)
            if t == 0 and form.fold_first:
                h = current
            else:
                prev = mem[i] or g.const(np.zeros((batch, sizes[i + 1]), np.float32))
                r = spk[i] if form.share_spike and spk[i] else fire(prev, i)
                if form.reset == "zero":
                    prev = two("Mul", g.op("Sub", one, r), prev)
                h = two("Add", two("Mul", beta[i], prev), current)
                if form.reset == "subtract":
                    h = g.op("Sub", h, two("Mul", r, theta[i]))
            s = fire(h, i)
            mem[i] = h
            if form.reset == "hard":
                mem[i] = two("Mul", g.op("Sub", one, s), h)
            spk[i], x = s, s
        rows.append(spk[1])
    out = [form.steps, batch, sizes[2]]
    if form.output == "stack":
        axes = g.const(np.array([0], np.int64))
        g.op("Concat", *[g.op("Unsqueeze", r, axes) for r in rows], out="out", axis=0)
    elif form.output == "last":
        g.op("Identity", rows[-1], out="out")
    else:
        total = rows[0]
        for r in rows[1:]:
            total = g.op("Add", total, r)
        scale = float(form.steps) if form.output == "mean" else 1.0
        g.op("Div", total, g.const(scale), out="out")
    shape = out if form.output == "stack" else out[1:]
    x_shape = [form.steps, batch, 6] if form.per_step_input else [batch, 6]
    return g.save(path, {"x": x_shape}, {"out": shape}, seed)
