"""Putting neurons into the rolled graph, and tidying views around them.

A neuron becomes a node ``Neuron`` with the results ``Spikes`` and ``Membrane``; a synaptic current
that only one neuron uses becomes its synapse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import Arr, prod
from snncc.compiler.frontend.neurons.counts import mark_counts
from snncc.compiler.frontend.neurons.identify import Neuron
from snncc.compiler.frontend.neurons.neurons import recognise
from snncc.compiler.frontend.neurons.staircases import find_staircases, split_signs
from snncc.compiler.frontend.time.rolled import RNode, constant, make, reachable, resolve, users
from snncc.compiler.frontend.time.simplify import hoist_delays, simplify
from snncc.compiler.frontend.time.unroll import Output


@dataclass(slots=True)
class Layer:
    """A neuron of the final graph: its node and what is known about it."""

    node: RNode
    neuron: Neuron
    spikes: RNode
    membrane: RNode
    synapse: Neuron | None = None


def place_neurons(outputs: list[Output], as_arithmetic: bool = False) -> list[Layer]:
    """Recognise neurons and replace their recurrences by nodes.

    ``as_arithmetic``: leave the recurrences as they are written, which is always right.
    """
    _tidy(outputs)
    find_staircases([o.node for o in outputs])
    found = [] if as_arithmetic else recognise([resolve(o.node) for o in outputs])
    layers = [_place(n) for n in found]
    for layer in layers:
        layer.node.ins = [_current(layer)]
        for s in layer.neuron.spikes:
            s.alias = layer.spikes
        for m in layer.neuron.membranes:
            m.alias = layer.membrane
    _tidy(outputs)
    layers = _fuse_synapses(layers, outputs)
    hoist_delays([o.node for o in outputs])
    _tidy(outputs)
    mark_counts([o.node for o in outputs])
    split_signs([o.node for o in outputs])
    alive = {n.id for n in reachable(o.node for o in outputs)}
    return [layer for layer in layers if layer.node.id in alive]


def _tidy(outputs: list[Output]) -> None:
    roots = [o.node for o in outputs]
    simplify(roots)
    sink_views(roots)
    simplify(roots)


def _fuse_synapses(layers: list[Layer], outputs: list[Output]) -> list[Layer]:
    """Let a leaky current that only one neuron uses become the synapse of that neuron."""
    results = [o for o in outputs if not o.state]
    use = users(reachable(o.node for o in (results or outputs)))
    shown = {resolve(o.node).id for o in (results or outputs)}
    by_membrane = {layer.membrane.id: layer for layer in layers}
    taken: set[int] = set()
    for layer in layers:
        x = resolve(layer.node.ins[0])
        source = by_membrane.get(x.id)
        if source is None or source is layer or layer.synapse is not None:
            continue
        n = source.neuron
        held = n.constants.values.keys() - {"beta"}
        plain = n.compare == "none" and n.dynamics == "leaky" and not held and not n.norm_input
        alone = x.id not in shown and all(u is layer.node for u in use.get(x.id, []))
        current = resolve(source.node.ins[0])
        if not plain or not alone or n.bias is not None:
            continue
        if n.scale is not None:
            if n.synapse != "scaled" or current.op != "Mul":
                continue
            current = resolve(current.ins[0])
        layer.synapse, layer.node.ins = n, [current]
        taken.add(id(source))
        for o in [o for o in outputs if o.state and _shows(o.node, x)]:
            outputs.remove(o)  # the next synaptic current of a step graph
    return [layer for layer in layers if id(layer) not in taken]


def _shows(node: RNode, x: RNode) -> bool:
    """Whether a node is computed from ``x`` by element-wise operators."""
    stack, seen = [resolve(node)], set[int]()
    while stack:
        n = stack.pop()
        if n is x:
            return True
        if n.id not in seen and (n.op in ELEMENTWISE or n.op == "View"):
            seen.add(n.id)
            stack.extend(resolve(i) for i in n.ins)
    return False


def _place(n: Neuron) -> Layer:
    h = n.h
    node = make("Neuron", h.shape, h.dtype)
    node.attrs = {"layer": node.id}
    spikes = make("Spikes", h.shape, h.dtype, [node], multi=n.compare == "multi")
    membrane = make("Membrane", h.shape, h.dtype, [node])
    node.val = spikes.val = membrane.val = h.val
    return Layer(node, n, spikes, membrane)


def _current(layer: Layer) -> RNode:
    """Return the input current: the sum of the inputs, scaled and shifted where needed."""
    n, h = layer.neuron, layer.neuron.h
    inputs = n.inputs
    if not inputs:
        return constant(np.zeros(h.shape, h.dtype))
    x = inputs[0]
    for other in inputs[1:]:
        shape = tuple(np.broadcast_shapes(x.shape, other.shape))
        x = make("Add", shape, h.dtype, [x, other])
        x.val = h.val
    if n.scale is not None:
        x = _with(x, "Mul", n.scale, h)
    if n.bias is not None:
        x = _with(x, "Add", n.bias, h)
    if x.shape != h.shape:
        x = make("Expand", h.shape, h.dtype, [x])
    return x


def _with(x: RNode, op: str, value: Arr, h: RNode) -> RNode:
    k = constant(value.astype(h.dtype))
    shape = tuple(np.broadcast_shapes(x.shape, k.shape))
    out = make(op, shape, h.dtype, [x, k])
    out.val = h.val
    return out


# ---------------------------------------------------------------------- views
def _units(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(d for d in shape if d != 1)


def _unit_view(node: RNode) -> RNode | None:
    """Return what a view that only adds or drops axes of size one looks at."""
    if node.op != "View":
        return None
    x = resolve(node.ins[0])
    return x if _units(x.shape) == _units(node.shape) and x.op != "Const" else None


def sink_views(roots: Sequence[RNode]) -> None:
    """Move views that add or drop unit axes below element-wise ops and products, in place."""
    for _ in range(50):
        moved = False
        for node in reachable(roots):
            node.ins = [resolve(i) for i in node.ins]
            moved |= _sink(node)
        if not moved:
            return


def _sink(node: RNode) -> bool:
    if node.op in ELEMENTWISE:
        return _sink_elementwise(node)
    if not node.ins:
        return False
    x = _unit_view(node.ins[0])
    if x is None:
        return False
    if node.op == "TimeReduce" or (
        node.op == "Dropout" and prod(x.shape) == prod(node.ins[0].shape)
    ):
        return _rebuild(node, x.shape, [x])
    if node.op == "MatMul" and node.ins[1].op == "Const" and len(node.ins[1].shape) == 2:
        if x.shape and x.shape[-1] == node.ins[0].shape[-1] and len(x.shape) > 1:
            return _rebuild(node, (*x.shape[:-1], node.shape[-1]), [x, node.ins[1]])
    return False


def _sink_elementwise(node: RNode) -> bool:
    bases: list[RNode] = []
    target: tuple[int, ...] | None = None
    for i in node.ins:
        x = _unit_view(i)
        if x is None:
            if i.op == "Const" and len(i.shape) <= 1:
                bases.append(i)
                continue
            return False
        if i.shape != node.shape or (target is not None and x.shape != target):
            return False
        target = x.shape
        bases.append(x)
    if target is None:
        return False
    for b in bases:
        if b.op == "Const" and b.shape and b.shape[-1] not in (1, target[-1] if target else 1):
            return False
        if b.op == "Const" and b.shape and target[-1:] != node.shape[-1:]:
            return False
    return _rebuild(node, target, bases)


def _rebuild(node: RNode, shape: tuple[int, ...], ins: list[RNode]) -> bool:
    """Turn ``node`` into a view of the same operator on other operands."""
    inner = RNode(node.op, shape, node.dtype, ins, dict(node.attrs), val=node.val)
    node.op, node.ins, node.attrs = "View", [inner], {}
    return True
