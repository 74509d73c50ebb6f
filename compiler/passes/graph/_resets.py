"""Resets of neurons that the import left as arithmetic: which of them pass a gradient.

A reset is a spike (of this step or the one before, negated or scaled) that is subtracted from a
value of its own recurrence or multiplied with one, or added to an adaptation: a state that depends
on nothing but itself and the spikes, and that only thresholds and membranes see.  Where the
neuron's reset gradient is detached, a ``graph.stop_gradient`` is put in its way.  In a difference
of two spikes (snnTorch's ``reset_delay=False``: the spike less the reset that was done already)
the first keeps its gradient, and so do spikes that a refractory counter holds back.
"""

from __future__ import annotations

from collections.abc import Callable

from snncc.compiler.ir.core import Block, Op, Value, op
from snncc.compiler.ir.elementwise import is_elementwise
from snncc.compiler.ir.recurrence import Group, groups

_CONSTANT = ("graph.const", "graph.param")
_MOVED = ("graph.cast", "graph.reshape", "graph.transpose", "graph.expand")


def detach_resets(block: Block, detached: Callable[[Op], bool]) -> None:
    """Stop gradients through the resets of the spikes of which ``detached`` is true."""
    if not any(o.name == "graph.spike" for o in block.ops):
        return
    for group in groups(block):
        adapting = _adaptations(group)
        spikes = [
            o
            for o in group.ops
            if o.name == "graph.spike" and detached(o) and not _quiet(o.operands[0], group)
        ]
        for user, index in dict.fromkeys(r for s in spikes for r in _resets(group, s, adapting)):
            value = user.operands[index]
            made = op("graph.stop_gradient", [value], types=[value.type], loc=user.loc)
            block.insert_before(user, made)
            user.set_operand(index, made.result)


def _adaptations(group: Group) -> set[Op]:
    """Return the additions that move states of nothing but themselves and spikes."""
    inside = set(group.ops)
    delays = {o.str_attr("state"): o for o in group.ops if o.name == "graph.delay"}
    found: set[Op] = set()
    for end in group.ops:
        state = delays.get(end.str_attr("state")) if end.name == "graph.delay_next" else None
        made = _makes(end.operands[0], state, inside) if state is not None else None
        if state is None or made is None:
            continue
        if all(is_elementwise(u) for u in _sees(state, made, inside)):
            found |= {o for o in made if o.name == "graph.add"}
    return found


def _makes(value: Value, state: Op, inside: set[Op]) -> set[Op] | None:
    """Return the ops that make a state from its last value and spikes alone, else None."""
    made: set[Op] = set()
    work, own = [value], False
    while work:
        owner = work.pop().owner
        if owner is state:
            own = True
            continue
        if not isinstance(owner, Op):
            return None
        if owner in made or owner.name in (*_CONSTANT, "graph.spike"):
            continue
        if owner not in inside or not (is_elementwise(owner) or owner.name in _MOVED):
            return None
        made.add(owner)
        work.extend(owner.operands)
    return made if own else None


def _sees(state: Op, made: set[Op], inside: set[Op]) -> set[Op]:
    """Return the ops that a state and what it is made of go into."""
    users = {u for o in (state, *made) for r in o.results for u, _ in r.uses}
    return {u for u in users if u.name != "graph.delay_next" and u.name not in _MOVED}


def _resets(group: Group, spike: Op, adapting: set[Op]) -> list[tuple[Op, int]]:
    """Follow a spike through its recurrence to the operands with which it resets."""
    inside = set(group.ops)
    delays = {o.str_attr("state"): o for o in group.ops if o.name == "graph.delay"}
    found: list[tuple[Op, int]] = []
    seen: set[Value] = set()
    work = [spike.result]
    while work:
        value = work.pop()
        if value in seen:
            continue
        seen.add(value)
        for user, index in value.uses:
            if user not in inside:
                continue
            if user.name == "graph.delay_next":
                work.append(delays[user.str_attr("state")].result)
            elif _combines(user, index):
                if user.name == "graph.mul" and _quiet(user.operands[1 - index], group):
                    continue  # a refractory period holds the spike back
                if user.name != "graph.sub" or index == 1:
                    found.append((user, index))
            elif user in adapting or _sets(user, index, seen):
                found.append((user, index))
            elif user.name in _MOVED or user.name in ("graph.sub", "graph.mul"):
                work.append(user.result)
            elif user.name == "graph.unary" and user.str_attr("fn") == "neg":
                work.append(user.result)
    return found


def _quiet(value: Value, group: Group) -> bool:
    """Whether a value depends on spikes alone, now and before: a refractory counter."""
    following = {
        o.str_attr("state"): o.operands[0] for o in group.ops if o.name == "graph.delay_next"
    }
    seen: set[Value] = set()
    work = [value]
    while work:
        v = work.pop()
        owner = v.owner
        if v in seen:
            continue
        seen.add(v)
        if not isinstance(owner, Op):
            return False
        if owner.name in (*_CONSTANT, "graph.spike"):
            continue
        if owner.name == "graph.delay" and owner.str_attr("state") in following:
            work.append(following[owner.str_attr("state")])
        elif is_elementwise(owner) or owner.name in _MOVED:
            work.extend(owner.operands)
        else:
            return False
    return True


def _sets(user: Op, index: int, spikes: set[Value]) -> bool:
    """Whether ``s*v_reset`` is added to the rest of a membrane, ``(1 - s)*h``."""
    if user.name != "graph.add":
        return False
    rest = user.operands[1 - index].owner
    return (
        isinstance(rest, Op)
        and rest.name == "graph.mul"
        and any(_follows(v, spikes) for v in rest.operands)
    )


def _follows(value: Value, spikes: set[Value]) -> bool:
    """Whether a value is a spike, moved or taken from a number."""
    while value not in spikes:
        owner = value.owner
        if not isinstance(owner, Op):
            return False
        if owner.name == "graph.stop_gradient" or owner.name in _MOVED:
            value = owner.operands[0]
        elif owner.name == "graph.sub":
            first = owner.operands[0].owner
            if not (isinstance(first, Op) and first.name in _CONSTANT):
                return False
            value = owner.operands[1]
        else:
            return False
    return True


def _combines(user: Op, index: int) -> bool:
    """Whether an operand meets another value of the model, not a constant."""
    if user.name == "graph.select":
        return index == 0
    if user.name not in ("graph.sub", "graph.mul"):
        return False
    other = user.operands[1 - index]
    return not (isinstance(other.owner, Op) and other.owner.name in _CONSTANT)
