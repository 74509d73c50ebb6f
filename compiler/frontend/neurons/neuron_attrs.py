"""Attributes of ``graph.neuron`` from what was recognised."""

from __future__ import annotations

import numpy as np

from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import Arr, OperatorNode
from snncc.compiler.frontend.neurons.fuse import Layer
from snncc.compiler.frontend.neurons.identify import Neuron
from snncc.compiler.frontend.neurons.metadata import Namer, framework_defaults
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.ir.core import Attribute

LOCATED = ("beta", "tau", "rate", "a_syn", "threshold", "reset_value", "v_rest", "v_min",
           "v_init", "i_init")  # fmt: skip


def guess_framework(n: Neuron, synapse: Neuron | None) -> str:
    """Guess the framework from what the neuron computes: each has its own habits."""
    if n.compare == "multi" or n.norm_input:
        return "sinabs"
    if n.compare == "none":
        return ""
    if n.delay:
        return "snntorch"
    if n.compare == "non_strict":
        return "spikingjelly"
    return "norse" if n.dynamics == "decay_input" else "snntorch" if synapse is None else ""


def neuron_attributes(
    layer: Layer, namer: Namer
) -> tuple[dict[str, Attribute], list[tuple[str, Arr, str]]]:
    """Return the attributes, and the operand constants as (name, array, initializer)."""
    n, syn = layer.neuron, layer.synapse
    name = namer.layer(n.h)
    attrs: dict[str, Attribute] = {"dynamics": n.dynamics, "compare": n.compare, "layer": name}
    origin: dict[str, Attribute] = {"dynamics": "pattern", "compare": "pattern"}
    if n.compare != "none":
        attrs["reset"], attrs["delay"] = n.reset, n.delay
        origin["reset"] = "pattern"
    if n.norm_input:
        attrs["norm_input"] = True
    values = dict(n.constants.values)
    nodes = dict(n.constants.nodes)
    if syn is not None:
        attrs["synapse"] = "scaled" if syn.synapse == "scaled" else "before"
        values["a_syn"] = syn.constants.values["beta"]
        if "beta" in syn.constants.nodes:
            nodes["a_syn"] = syn.constants.nodes["beta"]
    arrays: list[tuple[str, Arr, str]] = []
    sources: dict[str, Attribute] = {}
    for key in LOCATED:
        if key not in values:
            continue
        array = np.asarray(values[key], np.float64)
        node = nodes.get(key)
        source = node.val.param if node is not None and node.val is not None else ""
        origin[key] = "pattern"
        first = float(array.reshape(-1)[0])
        learnt = node is not None and node.val is not None and node.val.trained
        if array.size == 1 or (not learnt and bool(np.all(array == first))):
            attrs[key] = first
        else:
            arrays.append((key, _trailing(array, n.h.shape).astype(np.float32), source))
        if source:
            sources[key] = source
    attrs["params"] = tuple(a[0] for a in arrays)
    if sources:
        attrs["sources"] = sources
    _training(layer, attrs, origin)
    attrs["origin"] = origin
    return attrs, arrays


def _trailing(array: Arr, shape: tuple[int, ...]) -> Arr:
    """Drop leading axes of size one, the batch axis among them, from a per-neuron constant."""
    while array.ndim and array.shape[0] == 1 and array.ndim >= len(shape):
        array = array[0]
    if array.ndim == len(shape) and array.shape[0] == shape[0] and array.ndim > 1:
        if bool(np.all(array == array[:1])):  # the same for every sample
            array = array[0]
    return array


def _training(layer: Layer, attrs: dict[str, Attribute], origin: dict[str, Attribute]) -> None:
    n = layer.neuron
    node = n.h.val.node if n.h.val is not None else None
    if node is None or n.compare == "none":
        return
    spike: OperatorNode | None = None
    for s in n.spikes:
        for x in (s, *map(resolve, s.ins)):
            if x.val is not None and x.val.node is not None and x.op.startswith("Greater"):
                spike = x.val.node
    recurrent = _recurrent(layer)
    found = framework_defaults(node, spike, recurrent, guess_framework(n, layer.synapse))
    if found is None:
        return
    attrs["surrogate"] = found.surrogate
    attrs["reset_gradient"] = found.reset_gradient
    attrs["framework"] = found.framework
    origin["surrogate"] = origin["reset_gradient"] = origin["framework"] = found.origin
    if found.explicit:
        attrs["explicit"] = found.explicit
    _hard_cut(n, attrs, origin)


def _hard_cut(n: Neuron, attrs: dict[str, Attribute], origin: dict[str, Attribute]) -> None:
    """A hard reset by the test ``spikes == 0`` (sinabs) passes no gradient, whatever is said."""
    if n.reset != "hard":
        return
    stack, seen = [n.h], set[int]()
    while stack:
        x = resolve(stack.pop())
        if x.id in seen:
            continue
        seen.add(x.id)
        if x.op == "Equal":
            attrs["reset_gradient"], attrs["explicit"] = "detached", ("reset_gradient",)
            origin["reset_gradient"] = "pattern"
            return
        if x.op in ELEMENTWISE or x.op in ("Delay", "View", "Cast"):
            stack.extend(x.ins)


def _recurrent(layer: Layer) -> bool:
    """Whether a neuron's own spikes come back as its input one step later."""
    stack, seen = [resolve(layer.node.ins[0])], set[int]()
    while stack:
        x = stack.pop()
        if x.id in seen:
            continue
        seen.add(x.id)
        if x.op == "Delay":
            source: RNode = resolve(x.ins[0])
            hop = 0
            while hop < 8 and source.op in ("View", "Cast", "Gemm", "MatMul", "Add"):
                source, hop = resolve(source.ins[0]), hop + 1
            if resolve(source) is layer.spikes:
                return True
        elif x.op in ELEMENTWISE or x.op in ("Gemm", "MatMul", "View", "Conv"):
            stack.extend(resolve(i) for i in x.ins)
    return False
