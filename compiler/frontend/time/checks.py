"""Early steps: verifying what the exporter folded, and finding the initial states."""

from __future__ import annotations

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.flat import Arr, Val, attr_int
from snncc.compiler.frontend.time.cycles import cycles
from snncc.compiler.frontend.time.probe import SCALES, Probe
from snncc.compiler.frontend.time.roll import Check, Roller
from snncc.compiler.frontend.time.rolled import RNode, reachable, resolve, users
from snncc.compiler.frontend.time.stepops import data_operands

MAX_STATES = 12
MAX_NUMBERS = 16
MAX_REDRAWN = 200_000
"""Elements of checked values up to which they are compared on several inputs."""


def run_checks(roller: Roller, search: bool = True) -> list[Check]:
    """Set the initial values of states, verify the irregular early steps; return what fails.

    ``search``: look for initial values that the file does not show.
    """
    known: set[int] = set()
    left: list[Check] = []
    for c in roller.checks:
        node = resolve(c.node)
        if node.op == "Delay" and c.t == 0 and (c.val.const is not None or c.val.node is None):
            known.add(node.id)
            array = np.zeros(()) if c.val.const is None else np.asarray(c.val.const)
            if array.any():
                node.init = array
            continue
        left.append(c)
    for c in left:
        _early_constants(resolve(c.node), c.t, c.val)
    data = [v for v in roller.flat.inputs if v.id not in roller.states]
    rest = {v.id for v in roller.flat.inputs if v.id not in roller.time_inputs}
    probes = [Probe(roller.steps, roller.time_inputs, draw) for draw in range(len(SCALES))]
    for probe in probes:
        probe.states = rest - {v.id for v in data[:1]}
    failing = _failing(probes[0], left)
    if failing and search:
        failing = _explain(probes[0], left, known)
    if sum(c.val.size for c in left) <= MAX_REDRAWN:
        for probe in probes[1:]:
            failing = failing or _failing(probe, left)
    return failing


def refuse(roller: Roller, failing: list[Check]) -> None:
    """Refuse a model of which an early step differs."""
    for c in failing[:1]:
        node = resolve(c.node)
        fail(
            "E0107",
            f"step {c.t} does not compute what the later steps do",
            roller.where(c.val),
            notes=[f"the later steps compute it with {node.op}"],
            help="check timesteps in the configuration, and that all steps of the model are alike",
        )


def _early_constants(node: RNode, t: int, v: Val) -> None:
    """Read per-step constants at steps at which the file computes the step in another form."""
    stack = [(node, t, v)]
    while stack:
        n, s, x = stack.pop()
        n = resolve(n)
        if n.op == "SeqConst" and n.const is not None and x.const is not None:
            if s == attr_int(n.attrs, "first", 0) - 1 and x.const.shape == n.const.shape[1:]:
                n.const[s] = x.const
                n.attrs["first"] = n.start = s
                n.vals = (x, *n.vals)
        elif n.op == "Delay":
            if s > 0:
                stack.append((n.ins[0], s - 1, x))
        elif x.node is not None and x.node.op == n.op and x.const is None:
            operands = [x.node.val(i) for i in data_operands(x.node)]
            if len(operands) == len(n.ins):
                stack.extend((i, s, o) for i, o in zip(n.ins, operands, strict=True))
        elif x.node is not None and n.op in ("Add", "Sub"):  # to a state of zero
            stack.extend((i, s, x) for i in n.ins if resolve(i).op == x.node.op)


def _failing(probe: Probe, checks: list[Check]) -> list[Check]:
    probe.rolled.clear()
    return [c for c in checks if not probe.equal(resolve(c.asked), c.t, c.val)]


def _explain(probe: Probe, checks: list[Check], known: set[int]) -> list[Check]:
    """Find the states in which the recurrences start; return the checks that still fail.

    First with the step as it is, then with late layers delayed as a whole, at last with first
    values that the file holds as constants taken as they are (nothing is learnt from those).
    """
    left = failing = _failing(probe, checks)
    for attempt in range(3):
        if attempt == 1 and not _delay_late(failing):
            continue
        if attempt == 2:
            for c in failing:
                constant = c.t == 0 and c.val.const is not None
                if constant and not probe.equal(resolve(c.node), c.t, c.val):
                    as_delay(resolve(c.node), resolve(c.node), np.asarray(c.val.const))
                    probe.rolled.clear()
        found: list[RNode] = []
        _find_initial(probe, _failing(probe, checks), known, found)
        left = _failing(probe, checks)
        if not left:
            break
        if attempt < 2:
            for d in found:
                d.init = None
            failing = _failing(probe, checks)
    return left


def _find_initial(
    probe: Probe, failing: list[Check], known: set[int], found: list[RNode]
) -> list[Check]:
    """Try the numbers of the recurrences as initial states; return the checks that still fail.

    ``found`` gets the delays that were given one.
    """
    delays: dict[int, RNode] = {}
    numbers: set[float] = set()
    stack = [resolve(c.node) for c in failing]
    seen: set[int] = set()
    while stack:
        n = stack.pop()
        if n.id in seen:
            continue
        seen.add(n.id)
        if n.op == "Delay" and n.id not in known and n.init is None:
            delays[n.id] = n
        value = n.uniform
        if value:
            numbers.update((value, -value))
        stack.extend(resolve(i) for i in n.ins)
    for d in list(delays.values())[:MAX_STATES]:
        for number in sorted(numbers)[:MAX_NUMBERS]:
            d.init = np.asarray(number)
            probe.rolled.clear()
            now = [c for c in failing if not probe.equal(resolve(c.node), c.t, c.val)]
            if len(now) < len(failing):
                failing = now
                found.append(d)
                break
            d.init = None
        probe.rolled.clear()
        if not failing:
            break
    return failing


def _delay_late(failing: list[Check]) -> bool:
    """Turn layers of delayed inputs, of which the file has no first step, into delayed layers.

    A current that arrives one step late (norse's recurrent cells, LSNN) starts from nothing: not
    from what the layer, with its bias, makes of zeros.
    """
    cone = reachable(resolve(c.node) for c in failing)
    cyclic = {n.id for group in cycles(cone, lambda n: True) for n in group}
    late: set[int] = set()
    for n in cone:  # operands first
        ins = [resolve(i) for i in n.ins]
        if n.op in ("Delay", "Const", "SeqInput", "SeqConst", "Input") or n.id in cyclic:
            continue
        fits = all(i.op in ("Delay", "Const") or i.id in late for i in ins)
        if fits and any(i.op != "Const" for i in ins):
            late.add(n.id)
    use = users(cone)
    ends = [
        n
        for n in cone
        if n.id in late and n.start >= 1 and any(u.id not in late for u in use.get(n.id, []))
    ]
    return any([as_delay(n, n, np.zeros(())) for n in ends])


def as_delay(node: RNode, place: RNode, init: Arr | RNode) -> bool:
    """Put Delay(f(a, b)) with its own initial value in the place of f(Delay(a), Delay(b)).

    ``place`` becomes the delay; it is ``node`` itself, or a node that stands for it.
    """
    copies: dict[int, RNode] = {}
    order: list[RNode] = []
    stack = [node]
    while stack:
        n = stack.pop()
        if n.id in copies:
            continue
        copies[n.id] = RNode(n.op, n.shape, n.dtype, [], dict(n.attrs), n.const, n.val)
        order.append(n)
        if n.op == "Delay":
            continue
        if n.op in ("SeqInput", "SeqConst", "TimeToAxis", "AxisToTime") or len(order) > 1000:
            return False
        stack.extend(resolve(i) for i in n.ins)
    if not any(n.op == "Delay" for n in order):
        return False
    for n in order:
        copy = copies[n.id]
        if n.op == "Delay":
            copy.alias = n.ins[0]
        else:
            copy.ins = [copies[resolve(i).id] for i in n.ins]
    source = copies[node.id]
    place.op, place.ins, place.attrs, place.const = "Delay", [source], {}, None
    place.alias = None
    if isinstance(init, RNode):
        place.ins.append(init)
    else:
        place.init = init if init.any() else None
    return True
