"""Matching a recurrence to the parametrised neuron of docs/design/ir.md.

The membrane h is evaluated for chosen values p of itself one step before and of each input.  Below
the threshold it must be ``a*p + b*x + c``; what changes above it is the reset.  Constants may be
scalars or arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.frontend.flat.elementwise import COMPARE
from snncc.compiler.frontend.flat.flat import Arr
from snncc.compiler.frontend.neurons.core import NeuronCore, Unfit, close, line
from snncc.compiler.frontend.time.parameters import holds_parameter
from snncc.compiler.frontend.time.rolled import RNode, resolve

PLACES = (-1e4, -331.7, -47.1, -9.3, -4.1, -2.3, -1.7, -1.1, -0.83, -0.6, -0.37, -0.11, -0.013,
          0.017, 0.13, 0.41, 0.77, 0.93, 1.21, 1.73, 2.9, 5.3, 11.9, 53.3, 407.9, 1e4)  # fmt: skip
"""Membranes, in thresholds from the threshold, on which a match is checked; none is a spike more
or less at the next rounding."""


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
    """Read a comparison as (h, theta, strict or non_strict), or None.

    What is compared is not divided or multiplied: the surrogate's argument is ``h - theta``.
    """
    if node.op not in COMPARE:
        return None
    left, right = resolve(node.ins[0]), resolve(node.ins[1])
    if left.op == "Const" or right.op != "Const" or right.const is None:
        return None
    theta = np.asarray(right.const, np.float64)
    while left.op in ("Sub", "Add"):
        a, b = resolve(left.ins[0]), resolve(left.ins[1])
        if left.op == "Add" and a.op == "Const":
            a, b = b, a
        if b.op != "Const" or b.const is None or a.op == "Const":
            break
        k = np.asarray(b.const, np.float64)
        theta = theta + k if left.op == "Sub" else theta - k
        left = a
    return left, theta, "strict" if node.op == "Greater" else "non_strict"


def levels(node: RNode) -> list[RNode]:
    """Return the parameters that a comparison takes its threshold from."""
    found: list[RNode] = []
    stack = [resolve(i) for i in node.ins]
    while stack:
        n = stack.pop()
        if holds_parameter(n):
            found.append(n)
        elif n.op in ("Sub", "Add") and any(resolve(i).op == "Const" for i in n.ins):
            stack.extend(resolve(i) for i in n.ins)
    return found


def identify(
    core: NeuronCore, theta: Arr | None, multi: bool, compare: str, levels: Sequence[RNode] = ()
) -> Neuron:
    """Match a core to the parametrised neuron; raise Unfit.

    ``levels``: the parameters from which the threshold comes.
    """
    base = np.zeros(()) if theta is None else theta
    d = 0.2 * np.maximum(np.abs(base), 1e-2)
    a, c = line(core, [base - d, base - 2 * d, base - 0.5 * d])
    zeros = [0.0] * len(core.inputs)
    h0 = core.next(base - d, zeros)
    gains: list[Arr] = []
    for k in range(len(core.inputs)):
        unit = [1.0 if i == k else 0.0 for i in range(len(core.inputs))]
        gain = core.next(base - d, unit) - h0
        twice = core.next(base - 2 * d, [2 * u for u in unit]) - core.next(base - 2 * d, zeros)
        if not close(twice, 2 * gain):
            raise Unfit("the membrane does not depend linearly on its input")
        for far in (-1e4, 1e4):  # what bends there (KLIF's relu) bends gradients, too
            there = core.next(base - d, [far * u for u in unit])
            if not close(there, h0 + far * gain):
                raise Unfit("the membrane is bounded before it is compared")
        gains.append(gain)
    found = Neuron(core.h, list(core.inputs), "leaky", Constants())
    found.compare = "none" if theta is None else "multi" if multi else compare
    if theta is not None:
        _check_gains(core, base, d, gains)
        _match_reset(core, found, base, d, a, c, multi)
        found.constants.values["threshold"] = theta
    _match_dynamics(core, found, a, c, gains)
    _match_floor(core, found, a, c, d)
    _verify(core, found, a, c, gains)
    _name_constants(core, found, levels)
    return found


def _verify(core: NeuronCore, found: Neuron, a: Arr, c: Arr, gains: list[Arr]) -> None:
    """Compare the cycle with the neuron on many membranes and inputs; raise Unfit."""
    values = found.constants.values
    base = values.get("threshold", np.ones(()))
    unit = np.maximum(np.abs(base), 1e-2)
    hard, subtract = found.reset == "hard", found.reset == "subtract"
    amount = base if found.delay else a * base
    rng = np.random.default_rng(1)
    for k in PLACES:
        p = base + unit * k
        spikes = np.zeros(()) if found.compare == "none" else np.asarray(p > base, np.float64)
        if found.compare == "multi":
            spikes = np.where(p > 0, np.trunc(p / base), 0.0)
        low = p if not hard else np.where(spikes != 0, values["reset_value"], p)
        if "v_min" in values and not hard:
            low = np.maximum(low - (spikes * base if subtract and not found.delay else 0.0),
                             values["v_min"])  # fmt: skip
            low = low + (spikes * base if subtract and not found.delay else 0.0)
        expected = a * low + c - (spikes * amount if subtract else 0.0)
        xs = [float(x) for x in rng.normal(0.0, 10.0 ** rng.integers(-1, 3), len(gains))]
        for x, gain in zip(xs, gains, strict=True):
            expected = expected + gain * x
        if not close(core.next(p, xs), expected):
            raise Unfit("the recurrence is not the neuron that it looks like")


def _check_gains(core: NeuronCore, base: Arr, d: Arr, gains: list[Arr]) -> None:
    """After a spike, the inputs must count as they do without one."""
    zeros = [0.0] * len(core.inputs)
    h0 = core.next(base + d, zeros)
    for k, gain in enumerate(gains):
        unit = [1.0 if i == k else 0.0 for i in range(len(gains))]
        if not close(core.next(base + d, unit) - h0, gain):
            raise Unfit("the reset suppresses the input")


def _match_reset(
    core: NeuronCore, found: Neuron, base: Arr, d: Arr, a: Arr, c: Arr, multi: bool
) -> None:
    up, offset = line(core, [base + d, base + 2 * d, base + 3 * d])
    if close(up, a) and close(offset, c):
        return
    if close(up, 0.0):
        if (np.abs(a) < 1e-9).any():
            raise Unfit("a reset without memory")
        found.reset = "hard"
        found.constants.values["reset_value"] = (offset - c) / a
        return
    if not close(up, a):
        raise Unfit("the reset is neither a subtraction nor a fixed value")
    amount = c - offset
    found.reset = "subtract"
    if close(amount, a * base):
        found.delay = False
    elif close(amount, base):
        found.delay = True
    else:
        raise Unfit("the reset subtracts something else than the threshold")
    if multi:
        zeros = [0.0] * len(core.inputs)
        for n in (2.0, 3.0):
            p = base * (n + 0.5)
            if not close(core.next(p, zeros), a * p + c - n * amount):
                raise Unfit("the reset does not follow the number of spikes")


def _match_dynamics(core: NeuronCore, found: Neuron, a: Arr, c: Arr, gains: list[Arr]) -> None:
    values = found.constants.values
    b = gains[0] if gains else np.ones(())
    if any(not close(g, b) for g in gains):
        raise Unfit("inputs with different gains")
    if close(b, 1.0):
        if close(a, 1.0):
            found.dynamics = "integrate"
            found.bias = None if close(c, 0.0) else c
            return
        values["beta"] = a
        if not close(c, 0.0):
            values["v_rest"] = c / (1 - a)
        return
    if close(b, 1 - a):
        if _adds_state(core):
            found.dynamics = "decay_input"
            key = "tau" if _divides(core, 1 / b) else "rate"
            values[key] = 1 / b if key == "tau" else b
            if not close(c, 0.0):
                values["v_rest"] = c / b
            return
        if close(c, 0.0):
            found.norm_input = True
            values["beta"] = a
            return
    if close(b, a) and found.compare == "none" and close(c, 0.0):
        found.synapse = "scaled"
    found.scale = b
    if close(a, 1.0):
        found.dynamics = "integrate"
        found.bias = None if close(c, 0.0) else c
        return
    values["beta"] = a
    if not close(c, 0.0):
        values["v_rest"] = c / (1 - a)


def _adds_state(core: NeuronCore) -> bool:
    """Whether h is written as state + rate*(...), not as beta*state + ..."""
    for n in _nodes(core):
        if n.op == "Add" and any(
            resolve(i).op == "Delay" or _is_state(core, resolve(i)) for i in n.ins
        ):
            return True
    return False


def _is_state(core: NeuronCore, n: RNode) -> bool:
    """Whether a node is the (reset) membrane of the step before."""
    if n.id not in core.inside or n.op == "Delay":
        return n.op == "Delay"
    low = np.asarray(-3.0)
    try:
        return close(core.evaluate(n, {}, low), low)
    except (Unfit, KeyError, TypeError, ValueError):
        return False


def _nodes(core: NeuronCore) -> list[RNode]:
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


def _divides(core: NeuronCore, tau: Arr) -> bool:
    """Whether the core divides by tau."""
    for n in _nodes(core):
        k = resolve(n.ins[1]) if n.op == "Div" else None
        if k is not None and k.const is not None and close(np.asarray(k.const), tau):
            return True
    return False


def _match_floor(core: NeuronCore, found: Neuron, a: Arr, c: Arr, d: Arr) -> None:
    zeros = [0.0] * len(core.inputs)
    far, farther = np.asarray(-1e4), np.asarray(-1e5)
    low, lower = core.next(far, zeros), core.next(farther, zeros)
    if close(low, a * far + c):
        return
    if not close(low, lower) or (np.abs(a) < 1e-9).any():
        raise Unfit("the membrane is bounded in an unknown way")
    found.constants.values["v_min"] = (low - c) / a


def trained(n: RNode) -> bool:
    """Whether a constant is a parameter of several elements."""
    return n.val is not None and n.val.trained


def _name_constants(core: NeuronCore, found: Neuron, levels: Sequence[RNode]) -> None:
    """Replace computed constants by the exact ones of the file where they agree."""
    known = core.consts()
    if len({n.val.id for n in levels if n.val is not None}) == 1:
        found.constants.nodes["threshold"] = levels[0]
    for key, value in found.constants.values.items():
        middle = float(np.mean(value))
        if np.all(np.abs(value - middle) <= 1e-9 + 1e-12 * abs(middle)):
            value = np.asarray(middle if abs(middle) > 1e-9 else 0.0)
            found.constants.values[key] = value
        for n in known:
            if n.const is None or n.const.dtype.kind != "f":
                continue
            if n in levels or (key == "threshold" and key in found.constants.nodes):
                continue
            array = np.asarray(n.const, np.float64)
            if close(array, value) and np.broadcast_shapes(array.shape, value.shape) in (
                array.shape,
                value.shape,
            ):
                better = n.val is not None and bool(n.val.param)
                held = found.constants.nodes.get(key)
                if better and held is not None and held is not n and trained(held) and trained(n):
                    raise Unfit("two parameters of equal values, of which either could be meant")
                if held is None or better:
                    found.constants.nodes[key] = n
        if key in found.constants.nodes:
            exact = found.constants.nodes[key].const
            found.constants.values[key] = np.asarray(exact, np.float64)
