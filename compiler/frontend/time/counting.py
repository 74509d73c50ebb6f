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
    return out


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
