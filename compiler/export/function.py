"""Neurons as ONNX functions of the domain ``ai.snncc`` (docs/onnx-export.md).

The body is translated from the ops of :func:`build_neuron_step`, the definition of the arithmetic,
so every neuron of the graph dialect has one.  Numbers are attributes of the call, arrays inputs;
what training needs (surrogate, gradient of the reset) are attributes that the body does not use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import helper

from snncc.compiler.diag import fail
from snncc.compiler.frontend.neurons.surrogate_hints import SURROGATE_HINTS, parameter_hints
from snncc.compiler.ir.build import Attrs, Builder, number
from snncc.compiler.ir.core import Attribute, Block, Op, Value, tensor
from snncc.compiler.ir.dialect_graph import NEURON_PARAMS
from snncc.compiler.ir.neuron_step import build_neuron_step, param_names, state_names
from snncc.compiler.ir.surrogate import normal

DOMAIN = "ai.snncc"
OPSET = 18
DIRECT = {"mul": "Mul", "add": "Add", "sub": "Sub", "div": "Div", "max": "Max", "min": "Min",
          "eq": "Equal", "stop_gradient": "Identity", "neg": "Neg", "abs": "Abs"}  # fmt: skip
WORDS = ("dynamics", "synapse", "compare", "reset", "delay", "norm_input", "reset_gradient")
HINTS = (*SURROGATE_HINTS, "reset", "detach_reset")


def numbers(attrs: Attrs) -> dict[str, float]:
    """Return the constants of a neuron that are numbers and count."""
    found: dict[str, float] = {}
    for key in NEURON_PARAMS:
        value = attrs.get(key)
        if not key.endswith("_init") and isinstance(value, (int, float)) and (
            value or key not in ("v_rest", "reset_value")
        ):  # fmt: skip
            found[key] = float(value)
    return found


def arrays(attrs: Attrs) -> tuple[str, ...]:
    """Return the constants that come as inputs, initial states excepted."""
    return tuple(n for n in param_names(attrs) if not n.endswith("_init"))


def hints(attrs: Attrs) -> dict[str, Any]:
    """Return the training information of a neuron."""
    found: dict[str, Any] = {
        "reset": str(attrs.get("reset", "none")),
        "detach_reset": int(attrs.get("reset_gradient", "detached") == "detached"),
    }
    surrogate = attrs.get("surrogate")
    if isinstance(surrogate, Mapping):
        spec = normal(surrogate)
        found["surrogate"] = str(spec["name"])
        found["surrogate_alpha"] = 1.0
        for key, hint in parameter_hints(found["surrogate"]).items():
            found[hint] = number(spec, key, 0.0)
    return found


@dataclass(slots=True)
class Functions:
    """The functions of a model; equal neurons share one."""

    made: dict[tuple[object, ...], onnx.FunctionProto] = field(
        default_factory=dict[tuple[object, ...], onnx.FunctionProto]
    )
    names: set[str] = field(default_factory=set[str])

    def get(self, op: Op, step: bool) -> onnx.FunctionProto:
        """Return the function of a neuron: over all steps, or of one step."""
        attrs = op.attrs
        membrane = len(op.results) == 1 or bool(op.results[1].uses)
        key = (step, membrane, tuple(sorted(numbers(attrs))), arrays(attrs),
               tuple(str(attrs.get(w)) for w in WORDS))  # fmt: skip
        if key not in self.made:
            base = "IF" if attrs.get("dynamics") == "integrate" else "LIF"
            base = "LI" if attrs.get("compare") == "none" else base
            base += "Step" if step else ""
            name, n = base, 1
            while name in self.names:
                n += 1
                name = f"{base}{n}"
            self.names.add(name)
            self.made[key] = _function(name, op, step, membrane)
        return self.made[key]


def _function(name: str, op: Op, step: bool, membrane: bool) -> onnx.FunctionProto:
    attrs, states = op.attrs, state_names(op.attrs)
    plain, given = tuple(numbers(attrs)), arrays(attrs)
    nodes: list[onnx.NodeProto] = []
    for key in plain:
        constant = helper.make_node("Constant", [], [f"{key}_f"])
        constant.attribute.append(
            onnx.AttributeProto(
                name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name=key
            )
        )
        nodes += [constant, helper.make_node("CastLike", [f"{key}_f", "x"], [key])]
    body = Body(op, states, (*plain, *given), "x" if step else "x_t")
    results = [*body.spikes, *(["v_seq"] if membrane else [])]
    ends = [f"{s}_end" for s in states]
    if step:
        nodes += body.nodes
        outputs = [*body.states, *(f"{r}" for r in body.spikes)]
        if membrane:
            outputs.append(body.membrane)
        outputs = _distinct(outputs, nodes)
    else:
        inner = [*body.states, *body.spikes, *([body.membrane] if membrane else [])]
        inner = _distinct(inner, body.nodes)
        graph = helper.make_graph(
            body.nodes, "step",
            [onnx.ValueInfoProto(name=n) for n in (*states, "x_t")],
            [onnx.ValueInfoProto(name=n) for n in inner],
        )  # fmt: skip
        outputs = [*ends, *(f"{r}_seq" if r == "s" else r for r in results)]
        # importers take names for paths: "/" adds nothing to that of the call
        nodes.append(
            helper.make_node(
                "Scan",
                [*(f"{s}0" for s in states), "x"],
                outputs,
                "/",
                body=graph,
                num_scan_inputs=1,
            )
        )
    return helper.make_function(
        DOMAIN, name, ["x", *given, *(f"{s}0" if not step else s for s in states)], outputs, nodes,
        [helper.make_opsetid("", OPSET)], [*plain, *HINTS],
    )  # fmt: skip


def _distinct(names: Sequence[str], nodes: list[onnx.NodeProto]) -> list[str]:
    """Give every output a name of its own."""
    found: list[str] = []
    for name in names:
        if name in found:
            nodes.append(helper.make_node("Identity", [name], [f"{name}_{len(found)}"]))
            name = f"{name}_{len(found)}"
        found.append(name)
    return found


class Body:
    """One step of a neuron as ONNX nodes over its input and states."""

    def __init__(self, op: Op, states: Sequence[str], params: Sequence[str], name: str) -> None:
        """Translate the ops of the step; ``name`` is the input's."""
        self.x = name
        self.attached = op.attrs.get("reset_gradient") == "attached"
        block = Block()
        shape = op.operands[0].type.step_shape
        x = block.add_arg(tensor(shape), name)
        old = [block.add_arg(tensor(shape), s) for s in states]
        held = {p: block.add_arg(tensor(()), p) for p in params}
        attrs: dict[str, Attribute] = {
            k: v for k, v in op.attrs.items() if k not in params and k != "params"
        }
        made = build_neuron_step(Builder(block), attrs, x, old, held)
        self.nodes: list[onnx.NodeProto] = []
        self.names: dict[Value, str] = {a: a.name for a in block.args}
        self.count = 0
        for each in block.ops:
            self._op(each)
        self.states = [self.names[s] for s in made.states]
        self.membrane = self.names[made.membrane]
        self.spikes: list[str] = []
        if made.spikes is not None:
            self.nodes.append(
                helper.make_node("CastLike", [self.names[made.spikes], self.x], ["s"])
            )
            self.spikes.append("s")

    def _new(self, kind: str, *ins: str, **attrs: Any) -> str:
        self.count += 1
        name = f"t{self.count}"
        self.nodes.append(helper.make_node(kind, list(ins), [name], **attrs))
        return name

    def _number(self, value: float) -> str:
        return self._new("CastLike", self._new("Constant", value_float=float(value)), self.x)

    def _op(self, op: Op) -> None:
        kind = op.name.removeprefix("ew.")
        ins = [self.names[v] for v in op.operands]
        if kind == "const":
            value = op.attrs.get("value", 0.0)
            made = self._number(float(value) if isinstance(value, (int, float)) else 0.0)
        elif kind == "select":
            made = self._select(op, ins)
        elif kind == "spike":
            made = self._spike(op.str_attr("compare"), ins)
        elif kind == "cast":
            made = ins[0]
        elif kind in DIRECT:
            made = self._new(DIRECT[kind], *ins)
        else:
            fail("E0115", f"ONNX export has no counterpart of {op.name}", str(op.loc))
        self.names[op.result] = made

    def _select(self, op: Op, ins: Sequence[str]) -> str:
        """Write a choice; where its gradient reaches the spikes, as arithmetic: Where stops it."""
        if not self.attached:
            return self._new("Where", *ins)
        taken = self._new("CastLike", ins[0], self.x)
        kept = self._new("Mul", self._new("Sub", self._number(1.0), taken), ins[2])
        value = op.operands[1].owner
        if isinstance(value, Op) and value.name == "ew.const" and not value.attrs.get("value"):
            return kept
        return self._new("Add", kept, self._new("Mul", taken, ins[1]))

    def _spike(self, compare: str, ins: Sequence[str]) -> str:
        if compare != "multi":
            return self._new("Greater" if compare == "strict" else "GreaterOrEqual", *ins)
        count = self._new("Floor", self._new("Div", *ins))
        above = self._new("Greater", ins[0], self._number(0.0))
        return self._new("Mul", count, self._new("CastLike", above, self.x))
