"""Writing ONNX files from the graph IR (docs/onnx-export.md).

``x`` and the outputs are [T, B, ...].  Layers work on all steps at once; a neuron is a function of
the domain ``ai.snncc`` that holds a Scan.  A network with recurrent connections becomes one Scan
over the steps of the whole network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import helper

from snncc.compiler.diag import fail
from snncc.compiler.export.function import (
    DOMAIN,
    OPSET,
    Functions,
    arrays,
    hints,
    numbers,
)
from snncc.compiler.export.layers import LAYERS, Writer
from snncc.compiler.ir.core import Module, Op, Value
from snncc.compiler.ir.neuron_step import param_names, state_names
from snncc.isa.files.whole_file import write_whole

FLOAT = onnx.TensorProto.FLOAT
IR_VERSION = 9


def export_onnx(module: Module, path: Path) -> None:
    """Write a graph module."""
    model = to_onnx(module)
    try:
        write_whole(path, [model.SerializeToString()])
    except OSError as error:
        fail("E0005", f"cannot write: {error.strerror}", str(path))
    except ValueError as error:
        fail("E0115", f"the model does not fit an ONNX file: {error}", str(path))


def to_onnx(module: Module) -> onnx.ModelProto:
    """Return a graph module as an ONNX model."""
    step = any(op.name == "graph.delay" for op in module.walk())
    return _Exporter(module, step).run()


@dataclass(slots=True)
class _Exporter:
    module: Module
    step: bool
    """Whether the nodes are those of one step, within a Scan."""
    functions: Functions = field(default_factory=Functions)
    carried: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """Initializer, name within the step, name of the next value."""

    def run(self) -> onnx.ModelProto:
        block = self.module.func("main").body
        w = Writer(self.module.steps, self.step)
        inputs = [helper.make_tensor_value_info(a.name, FLOAT, a.type.shape) for a in block.args]
        moving = [a for a in block.args if a.type.kind == "seq"] or block.args[:1]
        for a in block.args:
            w.names[a] = f"{a.name}_t" if self.step and a in moving else a.name
        waiting: dict[str, str] = {}
        results: list[tuple[str, str, Value]] = []
        for op in block.ops:
            if op.name == "graph.delay":
                waiting[op.str_attr("state")] = self.delay(op, w)
            elif op.name == "graph.delay_next":
                state = op.str_attr("state")
                self.carried.append((f"{state}.first", waiting[state], w.value(op.operands[0])))
            elif op.name == "graph.output":
                results.append((op.str_attr("name"), w.value(op.operands[0]), op.operands[0]))
            elif op.name == "graph.neuron":
                self.neuron(op, w)
            elif op.name in ("graph.param", "graph.const"):
                self.constant(op, w)
            else:
                emit = LAYERS.get(op.name.removeprefix("graph."))
                if emit is None or (self.step and op.name == "graph.reduce_time"):
                    self.refuse(op)
                w.names[op.result] = emit(w, op)
        outputs = [helper.make_tensor_value_info(n, FLOAT, v.type.shape) for n, _, v in results]
        nodes = self.scan(moving, w, results) if self.step else w.nodes
        if not self.step:
            nodes += [helper.make_node("Identity", [v], [n]) for n, v, _ in results]
        graph = helper.make_graph(nodes, self.module.name, inputs, outputs, w.initializers)
        return helper.make_model(
            graph, producer_name="snncc", ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
            functions=list(self.functions.made.values()),
        )  # fmt: skip

    def refuse(self, op: Op) -> NoReturn:
        name = op.name.removeprefix("graph.")
        why = "in a network with recurrent connections " if self.step else ""
        fail("E0115", f"ONNX export has no {name} {why}yet", str(op.loc))

    def constant(self, op: Op, w: Writer) -> None:
        """Emit an initializer in the file's layout."""
        name = op.attrs.get("resource")
        if not isinstance(name, str):
            value = op.attrs.get("value", 0.0)
            w.names[op.result] = w.number(float(value) if isinstance(value, (int, float)) else 0.0)
            return
        array = np.asarray(self.module.resources[name], np.float32)
        if op.bool_attr("transpose", False):
            array = np.ascontiguousarray(array.T)
            w.swapped.add(op.result)
        label = op.attrs.get("name", name)
        w.names[op.result] = w.initializer(str(label), array)

    def delay(self, op: Op, w: Writer) -> str:
        """Emit a value of the step before: it is carried by the Scan."""
        state, shape = op.str_attr("state"), op.result.type.step_shape
        first = op.attrs.get("init")
        start = float(first) if isinstance(first, (int, float)) else 0.0
        array = np.full(shape, start, np.float32)
        if op.operands:
            array = np.broadcast_to(self.held(op.operands[0], op), shape).astype(np.float32)
        w.initializer(f"{state}.first", array)
        w.names[op.result] = f"{state}.old"
        return f"{state}.old"

    def held(self, value: Value, op: Op) -> np.ndarray[Any, Any]:
        owner = value.owner
        name = owner.attrs.get("resource") if isinstance(owner, Op) else None
        if not isinstance(name, str):
            self.refuse(op)
        return np.asarray(self.module.resources[name])

    def neuron(self, op: Op, w: Writer) -> None:
        """Emit a call of the neuron's function."""
        attrs, layer = op.attrs, str(op.attrs.get("layer", f"neuron{len(w.nodes)}"))
        function = self.functions.get(op, self.step)
        params = dict(zip(param_names(attrs), op.operands[1:], strict=True))
        shape, x = op.operands[0].type.step_shape, w.value(op.operands[0])
        if op.operands[0].type.kind == "tensor" and not self.step:
            x = w.node("Expand", x, w.ints((self.module.steps, *shape)))
        starts: list[str] = []
        for state in state_names(attrs):
            key, number = f"{state}_init", attrs.get(f"{state}_init", 0.0)
            array = np.full(shape, number if isinstance(number, (int, float)) else 0.0, np.float32)
            if key in params:
                array = np.broadcast_to(self.held(params[key], op), shape).astype(np.float32)
            starts.append(w.initializer(f"{layer}.{state}.first", array))
        outs = [f"{layer}.{n}" for n in function.output]
        call: dict[str, Any] = {**numbers(attrs), **hints(attrs)}
        ins = [x, *(w.value(params[n]) for n in arrays(attrs))]
        if self.step:
            states = [f"{layer}.{s}.old" for s in state_names(attrs)]
            self.carried += list(zip(starts, states, outs, strict=False))
            starts = states
        w.nodes.append(
            helper.make_node(
                function.name, [*ins, *starts], outs, name=f"/{layer}",
                domain=DOMAIN, **call,
            )
        )  # fmt: skip
        for result, name in zip(op.results, outs[len(starts) :], strict=False):
            w.names[result] = name
        if len(op.results) > 1 and not op.results[1].uses:
            w.names[op.results[1]] = outs[0]

    def scan(
        self, moving: Sequence[Value], w: Writer, results: Sequence[tuple[str, str, Value]]
    ) -> list[onnx.NodeProto]:
        """Wrap the nodes of a step into a Scan over ``moving``.

        A Scan needs an input that it runs over: one that is the same at every step is repeated.
        """
        if any(v.type.kind != "seq" for _, _, v in results):
            fail("E0115", "ONNX export has no result without time in a recurrent network yet")
        olds, nexts = [c[1] for c in self.carried], [c[2] for c in self.carried]
        ends = [f"next.{i}" for i in range(len(nexts))]
        shown = [f"out.{i}" for i in range(len(results))]
        nodes = list(w.nodes)
        nodes += [helper.make_node("Identity", [n], [e]) for n, e in zip(nexts, ends, strict=True)]
        nodes += [
            helper.make_node("Identity", [v], [n])
            for (_, v, _), n in zip(results, shown, strict=True)
        ]
        body = helper.make_graph(
            nodes, "step",
            [onnx.ValueInfoProto(name=n) for n in (*olds, *(f"{a.name}_t" for a in moving))],
            [onnx.ValueInfoProto(name=n) for n in (*ends, *shown)],
        )  # fmt: skip
        outs = [f"end.{i}" for i in range(len(ends))]
        repeats: list[onnx.NodeProto] = []
        over: list[str] = []
        for a in moving:
            over.append(a.name)
            if a.type.kind != "seq":
                over[-1] = f"{a.name}_repeated"
                shape = w.ints((self.module.steps, *a.type.shape))
                repeats.append(helper.make_node("Expand", [a.name, shape], [over[-1]]))
        ins = [*(c[0] for c in self.carried), *over]
        return [
            *repeats,
            helper.make_node(
                "Scan", ins, [*outs, *(n for n, _, _ in results)], body=body,
                num_scan_inputs=len(moving),
            ),
        ]  # fmt: skip
