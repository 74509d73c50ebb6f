"""Resets of neurons that the import left as arithmetic: which of them pass a gradient.

A reset is a spike (of this step or the one before, negated or scaled) that is subtracted from a
value of its own recurrence or multiplied with one.  Where the neuron's reset gradient is detached,
a ``graph.stop_gradient`` is put in its way.  In a difference of two spikes (snnTorch's
``reset_delay=False``: the spike less the reset that was done already) the first keeps its gradient.
"""

from __future__ import annotations

from collections.abc import Callable

from snncc.compiler.ir.core import Block, Op, Value, op
from snncc.compiler.ir.recurrence import Group, groups

_CONSTANT = ("graph.const", "graph.param")
_MOVED = ("graph.cast", "graph.reshape", "graph.transpose", "graph.expand")


def detach_resets(block: Block, detached: Callable[[Op], bool]) -> None:
    """Stop gradients through the resets of the spikes of which ``detached`` is true."""
    if not any(o.name == "graph.spike" for o in block.ops):
        return
    for group in groups(block):
        spikes = [o for o in group.ops if o.name == "graph.spike" and detached(o)]
        for user, index in dict.fromkeys(r for s in spikes for r in _resets(group, s)):
            value = user.operands[index]
            made = op("graph.stop_gradient", [value], types=[value.type], loc=user.loc)
            block.insert_before(user, made)
            user.set_operand(index, made.result)


def _resets(group: Group, spike: Op) -> list[tuple[Op, int]]:
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
                if user.name != "graph.sub" or index == 1:
                    found.append((user, index))
            elif user.name in _MOVED or user.name in ("graph.sub", "graph.mul"):
                work.append(user.result)
            elif user.name == "graph.unary" and user.str_attr("fn") == "neg":
                work.append(user.result)
    return found


def _combines(user: Op, index: int) -> bool:
    """Whether an operand meets another value of the model, not a constant."""
    if user.name == "graph.select":
        return index == 0
    if user.name not in ("graph.sub", "graph.mul"):
        return False
    other = user.operands[1 - index]
    return not (isinstance(other.owner, Op) and other.owner.name in _CONSTANT)
