"""Which ops lie on a cycle through time: groups that must be computed step by step together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


def _components(ops: Sequence[Op], after: dict[Op, list[Op]]) -> list[list[Op]]:
    """Tarjan's strongly connected components, iterative; a component comes after its users."""
    index: dict[Op, int] = {}
    low: dict[Op, int] = {}
    stack: list[Op] = []
    inside: set[Op] = set()
    out: list[list[Op]] = []
    for root in ops:
        if root in index:
            continue
        work: list[tuple[Op, Iterator[Op]]] = []

        def enter(node: Op, work: list[tuple[Op, Iterator[Op]]] = work) -> None:
            index[node] = low[node] = len(index)
            stack.append(node)
            inside.add(node)
            work.append((node, iter(after[node])))

        enter(root)
        while work:
            node, rest = work[-1]
            following = next((n for n in rest if n not in index or n in inside), None)
            if following is not None:
                if following not in index:
                    enter(following)
                else:
                    low[node] = min(low[node], index[following])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                found: list[Op] = []
                while not found or found[-1] is not node:
                    found.append(stack.pop())
                    inside.discard(found[-1])
                out.append(found)
    return out


def groups(block: Block) -> list[Group]:
    """Return the ops of a block in groups, each after what it reads, text order where possible."""
    ops = list(block.ops)
    if not any(o.name == "graph.delay" for o in ops):
        return [Group((o,), False) for o in ops]
    place = {o: i for i, o in enumerate(ops)}
    after = _successors(ops)
    members = {
        o: tuple(sorted(c, key=place.__getitem__)) for c in _components(ops, after) for o in c
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
