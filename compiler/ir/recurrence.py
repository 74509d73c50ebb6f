"""Which ops lie on a cycle through time: groups that must be computed step by step together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snncc.compiler.ir.components import components
from snncc.compiler.ir.core import Block, Op


@dataclass(frozen=True)
class Group:
    """Ops in order; ``recurrent`` when a ``graph.delay`` links them into a cycle."""

    ops: tuple[Op, ...]
    recurrent: bool


def _successors(ops: Sequence[Op]) -> dict[Op, list[Op]]:
    after: dict[Op, list[Op]] = {o: [] for o in ops}
    delays = {o.str_attr("state"): o for o in ops if o.name == "graph.delay"}
    for o in ops:
        for operand in o.operands:
            if isinstance(operand.owner, Op) and operand.owner in after:
                after[operand.owner].append(o)
        if o.name == "graph.delay_next":
            target = delays.get(o.str_attr("state"))
            if target is None:
                raise ValueError(f"delay_next: no graph.delay has the state {o.attrs['state']!r}")
            after[o].append(target)
    return after


def groups(block: Block) -> list[Group]:
    """Return the ops of a block in groups, each after what it reads, text order where possible."""
    ops = list(block.ops)
    if not any(o.name == "graph.delay" for o in ops):
        return [Group((o,), False) for o in ops]
    place = {o: i for i, o in enumerate(ops)}
    after = _successors(ops)
    members = {
        o: tuple(sorted(c, key=place.__getitem__))
        for c in components(ops, after.__getitem__)
        for o in c
    }
    waiting: dict[tuple[Op, ...], set[tuple[Op, ...]]] = {m: set() for m in members.values()}
    for o, users in after.items():
        for user in users:
            if members[user] is not members[o] and members[user] != members[o]:
                waiting[members[user]].add(members[o])
    order = sorted(waiting, key=lambda m: min(place[o] for o in m))
    done: set[tuple[Op, ...]] = set()
    result: list[Group] = []
    while order:
        ready = next(m for m in order if waiting[m] <= done)
        order.remove(ready)
        done.add(ready)
        loops = len(ready) > 1 or any(o in after[o] for o in ready)
        result.append(Group(ready, loops))
    return result
