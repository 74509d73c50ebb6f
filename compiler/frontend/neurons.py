"""Recognising neurons by what their recurrence computes.

A cycle of element-wise nodes through delays is evaluated as a black box: how does the membrane h
depend on its own value p one step before and on each input?  Below the threshold that must be
``a*p + b*x + c``; what changes above the threshold is the reset.  Constants may be scalars or arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.frontend.elementwise import COMPARE, ELEMENTWISE, evaluate
from snncc.compiler.frontend.flat import Arr
from snncc.compiler.frontend.rolled import RNode, reachable, resolve, users
from snncc.compiler.frontend.scc import components

TOLERANCE = 1e-5
BENDING = frozenset({"Relu", "Abs", "Sign", "Floor", "Ceil", "Round", "Clip", "Max", "Min", "Pow"})
"""Operators that give a spike back as it is, but not its gradient."""


@dataclass(slots=True)
class Constants:
    """The constants of a neuron by the names of docs/design/ir.md."""

    values: dict[str, Arr] = field(default_factory=dict[str, Arr])
    nodes: dict[str, RNode] = field(default_factory=dict[str, RNode])
    """The constant nodes that hold exactly these values."""


@dataclass(slots=True)
class Neuron:
    """A recognised layer of neurons."""

    h: RNode
    inputs: list[RNode]
    dynamics: str
    constants: Constants
    compare: str = "none"
    reset: str = "none"
    delay: bool = False
    norm_input: bool = False
    synapse: str = "none"
    spikes: list[RNode] = field(default_factory=list["RNode"])
    membranes: list[RNode] = field(default_factory=list["RNode"])
    scale: Arr | None = None
    bias: Arr | None = None


def strip(node: RNode) -> tuple[RNode, Arr, str] | None:
    """Read a comparison as (h, theta, strict or non_strict), or None."""
    if node.op not in COMPARE:
        return None
    left, right = resolve(node.ins[0]), resolve(node.ins[1])
    if left.op == "Const" or right.op != "Const" or right.const is None:
        return None
    theta = np.asarray(right.const, np.float64)
    while left.op in ("Sub", "Add", "Div"):
        a, b = resolve(left.ins[0]), resolve(left.ins[1])
        if left.op == "Add" and a.op == "Const":
            a, b = b, a
        if b.op != "Const" or b.const is None or a.op == "Const":
            break
        k = np.asarray(b.const, np.float64)
        if left.op == "Sub":
            theta = theta + k
        elif left.op == "Add":
            theta = theta - k
        elif (k > 0).all():
            theta = theta * k
        else:
            break
        left = a
    return left, theta, "strict" if node.op == "Greater" else "non_strict"


class Unfit(Exception):
    """This cycle is not the parametrised neuron."""


class Core:
    """A cycle seen as the function h(p, inputs): p is h one step before."""

    def __init__(self, h: RNode, group: Sequence[RNode], order: Sequence[RNode]) -> None:
        """``order``: all nodes, operands first."""
        self.h = h
        self.cycle = {n.id for n in group}
        self.functions = {h.id}
        for n in order:
            if n.op not in ELEMENTWISE and n.op != "View":
                continue
            ins = [resolve(i) for i in n.ins]
            if any(i.id in self.functions for i in ins) and all(
                i.id in self.functions or i.op == "Const" for i in ins
            ):
                self.functions.add(n.id)
        self.inputs: list[RNode] = []
        self.inside: set[int] = set()
        self.delays: list[RNode] = []
        self._walk()

    def _walk(self) -> None:
        stack = [self.h]
        while stack:
            n = stack.pop()
            if n.id in self.inside:
                continue
            if n.op == "Delay":
                if resolve(n.ins[0]).id not in self.functions:
                    raise Unfit("a state that is not a function of the membrane")
                self.inside.add(n.id)
                self.delays.append(n)
            elif n.op == "Const":
                continue
            elif n.id in self.cycle:
                self.inside.add(n.id)
                stack.extend(resolve(i) for i in n.ins)
            elif self._only_delayed(n):
                self.inside.add(n.id)
                stack.extend(resolve(i) for i in n.ins)
            elif n not in self.inputs:
                self.inputs.append(n)

    def _only_delayed(self, n: RNode) -> bool:
        """Whether an element-wise node depends on nothing but this membrane one step before."""
        stack, seen, found = [n], set[int](), False
        while stack:
            x = stack.pop()
            if x.id in seen or x.op == "Const":
                continue
            seen.add(x.id)
            if x.op == "Delay":
                if resolve(x.ins[0]).id not in self.functions:
                    return False
                found = True
            elif x.op in ELEMENTWISE or x.op == "View":
                stack.extend(resolve(i) for i in x.ins)
            else:
                return False
        return found

    def consts(self) -> list[RNode]:
        """Return the constants inside the cycle."""
        out: list[RNode] = []
        seen: set[int] = set()
        stack = [self.h, *(resolve(d.ins[0]) for d in self.delays)]
        while stack:
            n = stack.pop()
            if n.id in seen:
                continue
            seen.add(n.id)
            if n.op == "Const":
                out.append(n)
            elif n.id in self.inside or n.id in self.functions:
                stack.extend(resolve(i) for i in n.ins)
        return out

    def function(self, node: RNode, h: Arr) -> Arr:
        """Evaluate a node that is a function of h alone."""
        return self._eval(node, {self.h.id: h}, None)

    def next(self, p: Arr, xs: Sequence[float]) -> Arr:
        """Return h for the previous h = p and inputs filled with numbers."""
        env: dict[int, Arr] = {x.id: np.asarray(v) for x, v in zip(self.inputs, xs, strict=True)}
        return self._eval(self.h, env, p)

    def _eval(self, root: RNode, env: dict[int, Arr], p: Arr | None) -> Arr:
        known = dict(env)
        stack = [root]
        while stack:
            n = stack[-1]
            if n.id in known:
                stack.pop()
                continue
            if n.op == "Const":
                known[n.id] = np.asarray(n.const, np.float64)
                if n.const is not None and n.const.dtype.kind == "b":
                    known[n.id] = np.asarray(n.const)
            elif n.op == "Delay":
                if p is None:
                    raise Unfit("a state that is not a function of the membrane")
                known[n.id] = self._eval(resolve(n.ins[0]), {self.h.id: p}, None)
            else:
                ins = [resolve(i) for i in n.ins]
                todo = [i for i in ins if i.id not in known]
                if todo:
                    stack.extend(todo)
                    continue
                known[n.id] = self._op(n, [known[i.id] for i in ins])
            stack.pop()
        return known[root.id]

    def _op(self, n: RNode, ins: list[Arr]) -> Arr:
        if n.op == "View":
            if ins[0].size == 1:
                return ins[0]
            raise Unfit("a reshape inside the recurrence")
        if n.op not in ELEMENTWISE:
            raise Unfit(f"{n.op} inside the recurrence")
        if n.op == "Cast" and n.dtype.kind == "f":
            return ins[0].astype(np.float64)
        return evaluate(n.op, ins, n.attrs)


def _close(a: Arr, b: Arr | float) -> bool:
    x, y = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return bool(np.all(np.abs(x - y) <= TOLERANCE * (1.0 + np.abs(x) + np.abs(y))))


def _line(core: Core, points: Sequence[Arr]) -> tuple[Arr, Arr]:
    """Return slope and offset of h(p, 0) through points; raise Unfit when it is no line."""
    zeros = [0.0] * len(core.inputs)
    values = [core.next(p, zeros) for p in points]
    slope = (values[1] - values[0]) / (points[1] - points[0])
    offset = values[0] - slope * points[0]
    for p, v in zip(points[2:], values[2:], strict=True):
        if not _close(v, slope * p + offset):
            raise Unfit("the membrane does not depend linearly on its last value")
    return slope, offset


def identify(core: Core, theta: Arr | None, multi: bool, compare: str) -> Neuron:
    """Match a core to the parametrised neuron; raise Unfit."""
    base = np.zeros(()) if theta is None else theta
    d = 0.2 * np.maximum(np.abs(base), 1e-2)
    a, c = _line(core, [base - d, base - 2 * d, base - 0.5 * d])
    zeros = [0.0] * len(core.inputs)
    h0 = core.next(base - d, zeros)
    gains: list[Arr] = []
    for k in range(len(core.inputs)):
        unit = [1.0 if i == k else 0.0 for i in range(len(core.inputs))]
        gain = core.next(base - d, unit) - h0
        twice = core.next(base - 2 * d, [2 * u for u in unit]) - core.next(base - 2 * d, zeros)
        if not _close(twice, 2 * gain):
            raise Unfit("the membrane does not depend linearly on its input")
        gains.append(gain)
    found = Neuron(core.h, list(core.inputs), "leaky", Constants())
    found.compare = "none" if theta is None else "multi" if multi else compare
    if theta is not None:
        _check_gains(core, base, d, gains)
        _match_reset(core, found, base, d, a, c, multi)
        found.constants.values["threshold"] = theta
    _match_dynamics(core, found, a, c, gains)
    _match_floor(core, found, a, c, d)
    _name_constants(core, found)
    return found


def _check_gains(core: Core, base: Arr, d: Arr, gains: list[Arr]) -> None:
    """After a spike, the inputs must count as they do without one."""
    zeros = [0.0] * len(core.inputs)
    h0 = core.next(base + d, zeros)
    for k, gain in enumerate(gains):
        unit = [1.0 if i == k else 0.0 for i in range(len(gains))]
        if not _close(core.next(base + d, unit) - h0, gain):
            raise Unfit("the reset suppresses the input")


def _match_reset(
    core: Core, found: Neuron, base: Arr, d: Arr, a: Arr, c: Arr, multi: bool
) -> None:
    up, offset = _line(core, [base + d, base + 2 * d, base + 3 * d])
    if _close(up, a) and _close(offset, c):
        return
    if _close(up, 0.0):
        if (np.abs(a) < 1e-9).any():
            raise Unfit("a reset without memory")
        found.reset = "hard"
        found.constants.values["reset_value"] = (offset - c) / a
        return
    if not _close(up, a):
        raise Unfit("the reset is neither a subtraction nor a fixed value")
    amount = c - offset
    found.reset = "subtract"
    if _close(amount, a * base):
        found.delay = False
    elif _close(amount, base):
        found.delay = True
    else:
        raise Unfit("the reset subtracts something else than the threshold")
    if multi:
        zeros = [0.0] * len(core.inputs)
        for n in (2.0, 3.0):
            p = base * (n + 0.5)
            if not _close(core.next(p, zeros), a * p + c - n * amount):
                raise Unfit("the reset does not follow the number of spikes")


def _match_dynamics(core: Core, found: Neuron, a: Arr, c: Arr, gains: list[Arr]) -> None:
    values = found.constants.values
    b = gains[0] if gains else np.ones(())
    if any(not _close(g, b) for g in gains):
        raise Unfit("inputs with different gains")
    if _close(b, 1.0):
        if _close(a, 1.0):
            found.dynamics = "integrate"
            found.bias = None if _close(c, 0.0) else c
            return
        values["beta"] = a
        if not _close(c, 0.0):
            values["v_rest"] = c / (1 - a)
        return
    if _close(b, 1 - a):
        if _adds_state(core):
            found.dynamics = "decay_input"
            key = "tau" if _divides(core, 1 / b) else "rate"
            values[key] = 1 / b if key == "tau" else b
            if not _close(c, 0.0):
                values["v_rest"] = c / b
            return
        if _close(c, 0.0):
            found.norm_input = True
            values["beta"] = a
            return
    if _close(b, a) and found.compare == "none" and _close(c, 0.0):
        found.synapse = "scaled"
    found.scale = b
    if _close(a, 1.0):
        found.dynamics = "integrate"
        found.bias = None if _close(c, 0.0) else c
        return
    values["beta"] = a
    if not _close(c, 0.0):
        values["v_rest"] = c / (1 - a)


def _adds_state(core: Core) -> bool:
    """Whether h is written as state + rate*(...), not as beta*state + ..."""
    for n in _nodes(core):
        if n.op == "Add" and any(resolve(i).op == "Delay" or _is_state(core, resolve(i)) for i in n.ins):
            return True
    return False


def _is_state(core: Core, n: RNode) -> bool:
    """Whether a node is the (reset) membrane of the step before."""
    if n.id not in core.inside or n.op == "Delay":
        return n.op == "Delay"
    low = np.asarray(-3.0)
    try:
        return _close(core._eval(n, {}, low), low)
    except (Unfit, KeyError, TypeError, ValueError):
        return False


def _nodes(core: Core) -> list[RNode]:
    out: list[RNode] = []
    seen: set[int] = set()
    stack = [core.h]
    while stack:
        n = stack.pop()
        if n.id in seen or n.id not in core.inside:
            continue
        seen.add(n.id)
        out.append(n)
        if n.op != "Delay":
            stack.extend(resolve(i) for i in n.ins)
    return out


def _divides(core: Core, tau: Arr) -> bool:
    """Whether the core divides by tau."""
    for n in _nodes(core):
        k = resolve(n.ins[1]) if n.op == "Div" else None
        if k is not None and k.const is not None and _close(np.asarray(k.const), tau):
            return True
    return False


def _match_floor(core: Core, found: Neuron, a: Arr, c: Arr, d: Arr) -> None:
    zeros = [0.0] * len(core.inputs)
    far, farther = np.asarray(-1e4), np.asarray(-1e5)
    low, lower = core.next(far, zeros), core.next(farther, zeros)
    if _close(low, a * far + c):
        return
    if not _close(low, lower) or (np.abs(a) < 1e-9).any():
        raise Unfit("the membrane is bounded in an unknown way")
    found.constants.values["v_min"] = (low - c) / a


def _name_constants(core: Core, found: Neuron) -> None:
    """Replace computed constants by the exact ones of the file where they agree."""
    known = core.consts()
    for key, value in found.constants.values.items():
        for n in known:
            if n.const is None or n.const.dtype.kind != "f":
                continue
            array = np.asarray(n.const, np.float64)
            if _close(array, value) and np.broadcast_shapes(array.shape, value.shape) in (
                array.shape,
                value.shape,
            ):
                better = n.val is not None and bool(n.val.param)
                if key not in found.constants.nodes or better:
                    found.constants.nodes[key] = n
        if key in found.constants.nodes:
            exact = found.constants.nodes[key].const
            found.constants.values[key] = np.asarray(exact, np.float64)


# ---------------------------------------------------------------------- over the whole graph
def recognise(roots: list[RNode]) -> list[Neuron]:
    """Find all neurons below the roots; the graph is not changed."""
    order = reachable(roots)
    use = users(order)
    compares = [(n, s) for n in order if (s := strip(n)) is not None]

    def inside(n: RNode) -> bool:
        return n.op in ELEMENTWISE or n.op == "Delay" or n.op == "View"

    found: list[Neuron] = []
    outputs = {resolve(r).id for r in roots}
    for group in components(order, inside):
        neuron = _recognise_group(group, order, compares, use, outputs)
        if neuron is not None:
            found.append(neuron)
    return found


def _recognise_group(
    group: list[RNode],
    order: list[RNode],
    compares: list[tuple[RNode, tuple[RNode, Arr, str]]],
    use: dict[int, list[RNode]],
    outputs: set[int],
) -> Neuron | None:
    ids = {n.id for n in group}
    heads = [(n, s) for n, s in compares if s[0].id in ids and s[0].op != "Delay"]
    if not heads:  # the spikes of the last step are not in the file: only their reset is
        heads = [
            (n, (resolve(s[0].ins[0]), s[1], s[2]))
            for n, s in compares
            if s[0].id in ids and s[0].op == "Delay"
        ]
    hs = {s[0].id: s[0] for _, s in heads}
    try:
        if len(hs) > 1 or (not hs and any(n.op in COMPARE for n in group)):
            return None
        if hs:
            h = next(iter(hs.values()))
            core = Core(h, group, order)
            return _spiking(core, heads, order, use, outputs)
        return _integrator(group, order, use, outputs)
    except Unfit:
        return None


def _spiking(
    core: Core,
    heads: list[tuple[RNode, tuple[RNode, Arr, str]]],
    order: list[RNode],
    use: dict[int, list[RNode]],
    outputs: set[int],
) -> Neuron | None:
    compare, theta = heads[0][1][2], heads[0][1][1]
    multi, thetas = _multi_threshold(core, heads, order)
    if multi is not None:
        theta = multi
    elif any(not _close(t, theta) or s[1][2] != compare for s in heads for t in [s[1][1]]):
        return None
    found = identify(core, theta, multi is not None, compare)
    _match_initial(core, found)
    return _results(core, found, order, use, outputs)


def _multi_threshold(
    core: Core, heads: list[tuple[RNode, tuple[RNode, Arr, str]]], order: list[RNode]
) -> tuple[Arr | None, None]:
    """Return theta when some function of h counts spikes: trunc(h/theta) above zero."""
    if not all(_close(s[1], 0.0) for _, s in heads):
        return None, None
    for n in order:
        if n.id not in core.functions or n.op not in ("Trunc", "Floor"):
            continue
        x = resolve(n.ins[0])
        slope = core.function(x, np.asarray(2.0)) - core.function(x, np.asarray(1.0))
        if (slope > 0).all() and _close(core.function(x, np.asarray(3.0)), 3 * slope):
            return np.asarray(1.0 / slope), None
    return None, None


def _match_initial(core: Core, found: Neuron) -> None:
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
        if not _close(core.function(resolve(d.ins[0]), p), init):
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
    core: Core,
    found: Neuron,
    order: list[RNode],
    use: dict[int, list[RNode]],
    outputs: set[int],
) -> Neuron | None:
    """Split the functions of h into spikes, membrane and the rest, which stays ordinary ops."""
    outer = [
        n
        for n in order
        if n.id in core.functions
        and (
            n.id in outputs
            or any(
                u.id not in core.functions and u.id not in core.inside for u in use.get(n.id, [])
            )
        )
    ]
    grid = _grid(found)
    spiking = found.compare != "none"
    for n in order:
        fits = n.id in core.functions and n is not core.h and n.shape == core.h.shape
        if spiking and fits and n.op not in BENDING:
            values = [np.asarray(core.function(n, g), np.float64) for g in grid]
            steps = [_step_function(found, g) for g in grid]
            if all(_close(v, s) for v, s in zip(values, steps, strict=True)):
                found.spikes.append(n)
    choices = [found.delay]
    if found.reset == "hard":
        choices = [False, True]
    for delay in choices:
        found.delay = delay
        shown = [_membrane(found, g) for g in grid]
        found.membranes = [
            n
            for n in order
            if n.id in core.functions
            and n.shape == core.h.shape
            and n not in found.spikes
            and all(
                _close(np.asarray(core.function(n, g), np.float64), m)
                for g, m in zip(grid, shown, strict=True)
            )
        ]
        replaced = {n.id for n in (*found.spikes, *found.membranes)}
        if all(_expressible(core, n, replaced) for n in outer):
            return found
    raise Unfit("the membrane before its reset is needed elsewhere")


def _expressible(core: Core, node: RNode, replaced: set[int]) -> bool:
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
    order: list[RNode],
    use: dict[int, list[RNode]],
    outputs: set[int],
) -> Neuron | None:
    """A cycle without threshold: a leaky integrator or a synaptic current."""
    ids = {n.id for n in group}
    ranked = [n for n in order if n.id in ids and n.op != "Delay"]
    external = {
        n.id
        for n in ranked
        if n.id in outputs or any(u.id not in ids for u in use.get(n.id, []))
    }
    best: Neuron | None = None
    for n in sorted(ranked, key=lambda n: n.id not in external):
        try:
            core = Core(n, group, order)
            found = identify(core, None, False, "none")
            _match_initial(core, found)
            done = _results(core, found, order, use, outputs)
        except Unfit:
            continue
        if done is None:
            continue
        if done.scale is None and done.bias is None:
            return done
        best = best or done
    return best

