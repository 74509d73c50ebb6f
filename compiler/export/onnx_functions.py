"""Neuron functions of the domain ``ai.snncc`` for PyTorch's exporters (docs/onnx-functions.md).

A model calls ``ai.snncc::LIFStep(x, v) -> (s, v)`` with everything that training needs as
attributes; :func:`add_functions` then adds the bodies, made as ``snncc export`` makes its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import onnx
from onnx import helper

from snncc.compiler.diag import fail
from snncc.compiler.export.function import DOMAIN, Functions, hints, numbers
from snncc.compiler.ir.core import Attribute, Op, Value, tensor

VERSION = 1
RESETS = {"subtract": "", "hard": "_hard", "none": "_free"}
COMPARES = {"strict": "", "non_strict": "_ge"}
DYNAMICS = {"leaky": "LIF", "integrate": "IF"}


@dataclass(frozen=True, slots=True)
class Neuron:
    """A neuron as a PyTorch user describes it; the defaults are those of snnTorch's Leaky.

    ``h = beta*v + x`` (IF: ``v + x``) spikes when ``h > threshold`` (``non_strict``: ``>=``);
    ``delay``: the reset comes with the next step, as in snnTorch.
    """

    beta: float = 0.9
    threshold: float = 1.0
    dynamics: str = "leaky"
    reset: str = "subtract"
    compare: str = "strict"
    delay: bool = False
    surrogate: str = "atan"
    surrogate_alpha: float = 2.0
    detach_reset: bool = True

    def name(self, step: bool = True) -> str:
        """Return the function's name: LIFStep, LIF over all steps, LIFStep_hard, ..."""
        for word, known in ((self.dynamics, DYNAMICS), (self.reset, RESETS),
                            (self.compare, COMPARES)):  # fmt: skip
            if word not in known:
                raise ValueError(f"{word!r} is not one of {', '.join(known)}")
        late = "_delay" if self.delay else ""
        tail = RESETS[self.reset] + COMPARES[self.compare] + late
        return f"{DYNAMICS[self.dynamics]}{'Step' if step else ''}{tail}"

    def attributes(self) -> dict[str, int | float | str]:
        """Return the attributes of a call."""
        attrs = self._attrs()
        return {**numbers(attrs), **hints(attrs)}

    def _attrs(self) -> dict[str, Attribute]:
        attrs: dict[str, Attribute] = {
            "dynamics": self.dynamics,
            "compare": self.compare,
            "reset": self.reset,
            "delay": self.delay,
            "threshold": float(self.threshold),
            "surrogate": {"name": self.surrogate, "alpha": float(self.surrogate_alpha)},
            "reset_gradient": "detached" if self.detach_reset else "attached",
        }
        if self.dynamics == "leaky":
            attrs["beta"] = float(self.beta)
        return attrs

    def function(self, step: bool = True, opset: int = 18) -> onnx.FunctionProto:
        """Return the function: one step, or all steps along the first axis."""
        op = Op("graph.neuron", [Value(tensor((1, 1)))], attrs=self._attrs())
        op.results = [Value(tensor((1, 1))), Value(tensor((1, 1)))]
        found = onnx.FunctionProto()
        found.CopyFrom(Functions().get(op, step))
        found.name = self.name(step)
        state, spikes = found.output
        found.output[:] = [spikes, state]
        for each in found.opset_import:
            if each.domain == "":
                each.version = opset
        return found


def named(name: str) -> tuple[Neuron, bool] | None:
    """Return the neuron that a function name stands for, and whether it is one step."""
    choices = product(DYNAMICS, RESETS, COMPARES, (False, True), (False, True))
    for dynamics, reset, compare, delay, step in choices:
        made = Neuron(dynamics=dynamics, reset=reset, compare=compare, delay=delay)
        if made.name(step) == name:
            return made, step
    return None


def add_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add the bodies of the ``ai.snncc`` functions that a model calls, in place; return it."""
    versions = {o.domain: o.version for o in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 18))
    held = {(f.domain, f.name) for f in model.functions}
    for node in _nodes(model.graph):
        if node.domain != DOMAIN or (DOMAIN, node.op_type) in held:
            continue
        found = named(node.op_type)
        if found is None:
            fail("E0106", f"there is no function {DOMAIN}::{node.op_type}", node.name,
                 help="docs/onnx-functions.md lists the names")  # fmt: skip
        neuron, step = found
        model.functions.append(neuron.function(step, opset))
        held.add((DOMAIN, node.op_type))
    if DOMAIN not in versions:
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    return model


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found: list[onnx.NodeProto] = []
    for node in graph.node:
        found.append(node)
        for each in node.attribute:
            if each.type == onnx.AttributeProto.GRAPH:
                found += _nodes(each.g)
    return found
