"""Finding neurons in the rolled graph by what their recurrences compute.

Every cycle of element-wise nodes through delays is matched to the parametrised neuron; what does
not fit stays as it is.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from snncc.compiler.frontend.flat.elementwise import COMPARE, ELEMENTWISE
from snncc.compiler.frontend.flat.flat import Arr
from snncc.compiler.frontend.neurons.core import Graph, NeuronCore, Unfit, close
from snncc.compiler.frontend.neurons.identify import Neuron, identify, levels, strip
from snncc.compiler.frontend.time.cycles import cycles
from snncc.compiler.frontend.time.rolled import RNode, resolve

BENDING = frozenset({"Relu", "Abs", "Sign", "Floor", "Ceil", "Round", "Clip", "Max", "Min", "Pow"})
"""Operators that give a spike back as it is, but not its gradient."""

Comparison: TypeAlias = tuple[RNode, tuple[RNode, Arr, str]]
"""A comparison, and how it is read: what is compared, the threshold, strict or non_strict."""


def recognise(roots: list[RNode]) -> list[Neuron]:
    """Find all neurons below the roots; the graph is not changed."""
    graph = Graph.below(roots)
    compares: dict[int, list[Comparison]] = {}
    for n in graph.order:
        read = strip(n)
        if read is not None:
            compares.setdefault(read[0].id, []).append((n, read))

    def inside(n: RNode) -> bool:
        return n.op in ELEMENTWISE or n.op == "Delay" or n.op == "View"

    found: list[Neuron] = []
    outputs = {resolve(r).id for r in roots}
    for group in cycles(graph.order, inside):
        mine = [c for n in group for c in compares.get(n.id, [])]
        mine.sort(key=lambda c: graph.place[c[0].id])
        neuron = _recognise_group(group, graph, mine, outputs)
        if neuron is not None:
            found.append(neuron)
    return found


def _recognise_group(
    group: list[RNode],
    graph: Graph,
    compares: list[Comparison],
    outputs: set[int],
) -> Neuron | None:
    heads = [(n, s) for n, s in compares if s[0].op != "Delay"]
    if not heads:  # the spikes of the last step are not in the file: only their reset is
        heads = [(n, (resolve(s[0].ins[0]), s[1], s[2])) for n, s in compares if s[0].op == "Delay"]
    hs = {s[0].id: s[0] for _, s in heads}
    try:
        if len(hs) > 1 or (not hs and any(n.op in COMPARE for n in group)):
            return None
        if hs:
            h = next(iter(hs.values()))
            return _spiking(NeuronCore(h, group, graph), heads, graph, outputs)
        return _integrator(group, graph, outputs)
    except Unfit:
        return None


def _spiking(
    core: NeuronCore,
    heads: list[Comparison],
    graph: Graph,
    outputs: set[int],
) -> Neuron | None:
    compare, theta = heads[0][1][2], heads[0][1][1]
    multi = _multi_threshold(core, heads)
    if multi is not None:
        theta = multi
    elif any(not close(t, theta) or s[1][2] != compare for s in heads for t in [s[1][1]]):
        return None
    taken = [level for n, _ in heads for level in levels(n)]
    if len({n.id for n in taken}) > 1 or any(not close(np.asarray(n.const), theta) for n in taken):
        return None  # a parameter besides the threshold enters what is compared
    found = identify(core, theta, multi is not None, compare, taken)
    _match_initial(core, found)
    return _results(core, found, graph, outputs)


def _multi_threshold(core: NeuronCore, heads: list[Comparison]) -> Arr | None:
    """Return theta when some function of h counts spikes: trunc(h/theta) above zero."""
    if not all(close(s[1], 0.0) for _, s in heads):
        return None
    for n in core.function_nodes:
        if n.op not in ("Trunc", "Floor"):
            continue
        x = resolve(n.ins[0])
        slope = core.function(x, np.asarray(2.0)) - core.function(x, np.asarray(1.0))
        if (slope > 0).all() and close(core.function(x, np.asarray(3.0)), 3 * slope):
            return np.asarray(1.0 / slope)
    return None


def _match_initial(core: NeuronCore, found: Neuron) -> None:
    """Find the membrane at the start from the initial values of the delayed functions."""
    start: Arr | None = None
    for d in core.delays:
        source = resolve(d.ins[0])
        if d.init is None:
            continue
        zero = core.function(source, np.asarray(0.0))
        slope = core.function(source, np.asarray(-1.0)) - zero
        if (np.abs(slope) < 1e-9).any():
            continue
        start = -(np.asarray(d.init, np.float64) - zero) / slope
    p = np.zeros(()) if start is None else start
    for d in core.delays:
        init = np.zeros(()) if d.init is None else np.asarray(d.init, np.float64)
        if not close(core.function(resolve(d.ins[0]), p), init):
            raise Unfit("the initial values of the states contradict one another")
    if start is not None:
        found.constants.values["v_init"] = start


def _step_function(found: Neuron, h: Arr) -> Arr:
    theta = found.constants.values["threshold"]
    if found.compare == "multi":
        return np.where(h > 0, np.trunc(h / theta), 0.0)
    return np.asarray(h > theta if found.compare == "strict" else h >= theta, np.float64)


def _membrane(found: Neuron, h: Arr) -> Arr:
    values = found.constants.values
    s = _step_function(found, h) if found.compare != "none" else np.zeros(())
    out = h
    if not found.delay and found.reset == "subtract":
        out = h - s * values["threshold"]
    elif not found.delay and found.reset == "hard":
        out = np.where(s != 0, values.get("reset_value", np.zeros(())), h)
    if "v_min" in values:
        out = np.maximum(out, values["v_min"])
    return out


def _grid(found: Neuron) -> list[Arr]:
    theta = found.constants.values.get("threshold", np.ones(()))
    unit = np.maximum(np.abs(theta), 1e-2)
    return [theta + unit * k for k in (-2.3, -1.1, -0.6, -0.2, 0.0, 0.3, 0.9, 1.7, 3.4)]


def _results(
    core: NeuronCore,
    found: Neuron,
    graph: Graph,
    outputs: set[int],
) -> Neuron | None:
    """Split the functions of h into spikes, membrane and the rest, which stays ordinary ops."""
    outer = [
        n
        for n in core.function_nodes
        if n.id in outputs
        or any(
            u.id not in core.functions and u.id not in core.inside
            for u in graph.users.get(n.id, [])
        )
    ]
    grid = _grid(found)
    spiking = found.compare != "none"
    for n in core.function_nodes:
        fits = n is not core.h and n.shape == core.h.shape
        if spiking and fits and n.op not in BENDING:
            values = [np.asarray(core.function(n, g), np.float64) for g in grid]
            steps = [_step_function(found, g) for g in grid]
            if all(close(v, s) for v, s in zip(values, steps, strict=True)):
                found.spikes.append(n)
    choices = [found.delay]
    if found.reset == "hard":
        choices = [False, True]
    for delay in choices:
        found.delay = delay
        shown = [_membrane(found, g) for g in grid]
        found.membranes = [
            n
            for n in core.function_nodes
            if n.shape == core.h.shape
            and n not in found.spikes
            and all(
                close(np.asarray(core.function(n, g), np.float64), m)
                for g, m in zip(grid, shown, strict=True)
            )
        ]
        replaced = {n.id for n in (*found.spikes, *found.membranes)}
        if all(_expressible(core, n, replaced) for n in outer):
            return found
    raise Unfit("the membrane before its reset is needed elsewhere")


def _expressible(core: NeuronCore, node: RNode, replaced: set[int]) -> bool:
    """Whether a function of h can be computed from spikes and membrane."""
    stack, seen = [node], set[int]()
    while stack:
        n = stack.pop()
        if n.id in seen or n.id in replaced or n.op == "Const":
            continue
        seen.add(n.id)
        if n is core.h:
            return False
        stack.extend(resolve(i) for i in n.ins)
    return True


def _integrator(
    group: list[RNode],
    graph: Graph,
    outputs: set[int],
) -> Neuron | None:
    """A cycle without threshold: a leaky integrator or a synaptic current."""
    ids = {n.id for n in group}
    ranked = graph.sort(n for n in group if n.op != "Delay")
    external = {
        n.id
        for n in ranked
        if n.id in outputs or any(u.id not in ids for u in graph.users.get(n.id, []))
    }
    best: Neuron | None = None
    for n in sorted(ranked, key=lambda n: n.id not in external):
        try:
            core = NeuronCore(n, group, graph)
            found = identify(core, None, False, "none")
            _match_initial(core, found)
            done = _results(core, found, graph, outputs)
        except Unfit:
            continue
        if done is None:
            continue
        if done.scale is None and done.bias is None:
            return done
        best = best or done
    return best
