"""Merging of nodes that compute the same, recurrences included."""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.frontend.flat.flat import attr_key
from snncc.compiler.frontend.time.rolled import RNode, reachable, resolve

SMALL_CONSTANT = 4096
"""Elements up to which constants are compared by content."""


def merge_nodes(roots: Sequence[RNode]) -> bool:
    """Merge equal nodes below the roots, in place; return whether there were any."""
    nodes = reachable(roots)
    place = {n.id: i for i, n in enumerate(nodes)}
    operands = [[place[resolve(i).id] for i in n.ins] for n in nodes]
    kinds: dict[tuple[object, ...], int] = {}
    start = [kinds.setdefault(_kind(n), len(kinds)) for n in nodes]
    # operands come first, but for a Delay's: from those nothing follows before the refinement
    seen: dict[tuple[int, ...], int] = {}
    colours: list[int] = []
    for i, n in enumerate(nodes):
        known = () if n.op == "Delay" else tuple(colours[j] for j in operands[i])
        colours.append(seen.setdefault((start[i], *known), len(seen)))
    if len(seen) == len(nodes):
        return False
    colours = stable_classes(colours, operands)
    first: dict[int, RNode] = {}
    merged = False
    for colour, n in zip(colours, nodes, strict=True):
        kept = first.setdefault(colour, n)
        if kept is not n:
            n.alias = kept
            merged = True
    return merged


def _kind(n: RNode) -> tuple[object, ...]:
    """Return what equal nodes have in common, operands aside."""
    content: object = None
    if n.op in ("Const", "SeqConst", "Input", "SeqInput"):
        named = n.val is not None and (n.val.param or n.val.trained or n.op != "Const")
        content = n.val.id if named and n.val is not None else None
        if n.const is not None and (content is None or n.op == "SeqConst"):
            content = n.const.tobytes() if n.const.size <= SMALL_CONSTANT else n.id
    if n.op == "?":
        content = n.id
    init = n.init.tobytes() if n.init is not None else None
    return (n.op, n.shape, n.dtype.str, attr_key(n.attrs), content, init, len(n.ins))


def stable_classes(colours: Sequence[int], operands: Sequence[Sequence[int]]) -> list[int]:
    """Return the coarsest refinement of ``colours`` in which equals have equal operands.

    Item i has ``operands[i]``, items of one colour equally many.  Hopcroft's algorithm: a class
    that was split is split by its smaller part only, so the work is n log n.
    """
    users: list[list[tuple[int, int]]] = [[] for _ in colours]
    for i, row in enumerate(operands):
        for position, j in enumerate(row):
            users[j].append((position, i))
    colour = list(colours)
    members: list[set[int]] = [set() for _ in range(max(colour, default=-1) + 1)]
    for i, c in enumerate(colour):
        members[c].add(i)
    waiting = list(range(len(members)))
    waits = [True] * len(members)
    while waiting:
        splitter = waiting.pop()
        waits[splitter] = False
        columns: dict[int, list[int]] = {}
        for j in members[splitter]:
            for position, i in users[j]:
                columns.setdefault(position, []).append(i)
        for column in columns.values():
            touched: dict[int, list[int]] = {}
            for i in column:
                touched.setdefault(colour[i], []).append(i)
            for c, items in touched.items():
                if len(items) == len(members[c]):
                    continue
                fresh = len(members)
                members.append(set(items))
                members[c].difference_update(items)
                for i in items:
                    colour[i] = fresh
                smaller = fresh if waits[c] or len(items) <= len(members[c]) else c
                waits.append(False)
                waits[smaller] = True
                waiting.append(smaller)
    return colour
