"""How many steps a file holds, and which of its values are cut into so many pieces."""

from __future__ import annotations

from collections import Counter

from snncc.compiler.frontend.flat.axes import norm_axis
from snncc.compiler.frontend.flat.flat import FlatGraph, Val, attr_int
from snncc.compiler.frontend.time.timing import Lay, index_of, is_stack


def cut_values(flat: FlatGraph, steps: int) -> dict[int, tuple[Val, Lay]]:
    """Return the values that are cut into ``steps`` pieces along one axis."""
    pieces: dict[tuple[int, int], set[tuple[int, int]]] = {}
    vals: dict[int, Val] = {}
    for node in flat.nodes:
        for v in node.outs:
            index = index_of(v)
            if index is None or index.base.fixed:
                continue
            vals[index.base.id] = index.base
            pieces.setdefault((index.base.id, index.axis), set()).add((index.start, index.length))
    out: dict[int, tuple[Val, Lay]] = {}
    for (base, axis), found in pieces.items():
        length = next(iter(found))[1]
        want = {(t * length, length) for t in range(steps)}
        if length * steps == vals[base].shape[axis] and want <= found:
            out[base] = (vals[base], Lay(axis, 1, length))
    inside = _within_steps(flat, steps, {base: lay.axis for base, (_, lay) in out.items()})
    return {base: found for base, found in out.items() if base not in inside}


def _within_steps(flat: FlatGraph, steps: int, cut: dict[int, int]) -> set[int]:
    """Return the values of single steps: what is computed from one piece of a value that is cut.

    ``cut``: value -> axis.  A value of one step that falls into as many parts as there are steps
    (the four gates of a cell, over four steps) is not cut into steps.
    """
    inside: set[int] = set()
    for node in flat.nodes:
        if is_stack(node, steps):
            continue
        for v in node.outs:
            index = index_of(v)
            piece = index is not None and cut.get(index.base.id) == index.axis
            piece = piece and index is not None and index.length < index.base.shape[index.axis]
            if piece or any(i is not None and i.id in inside for i in node.ins):
                inside.add(v.id)
    return inside


def count_steps(flat: FlatGraph, hint: int | None) -> int:
    """Guess how many steps a graph holds: 1 for a step graph; ``hint`` wins where possible."""
    votes: Counter[int] = Counter()
    pieces: dict[tuple[int, int], set[int]] = {}
    dims: dict[tuple[int, int], int] = {}
    for node in flat.nodes:
        if node.op == "Concat" and not node.outs[0].fixed:
            first = node.val(0)
            axis = norm_axis(attr_int(node.attrs, "axis", 0), len(first.shape))
            n = len(node.ins)
            # fewer operands than steps are two channels joined, not two steps
            if n > 1 and is_stack(node, n) and (first.shape[axis] == 1 or n == hint):
                votes[n] += 1
        for v in node.outs:
            index = index_of(v)
            if index is not None and index.length == 1 and not index.base.fixed:
                key = (index.base.id, index.axis)
                pieces.setdefault(key, set()).add(index.start)
                dims[key] = index.base.shape[index.axis]
    for key, starts in pieces.items():
        if len(starts) == dims[key] > 1:
            votes[dims[key]] += 1
    if hint is not None and hint in votes:
        return hint
    return votes.most_common(1)[0][0] if votes else 1
