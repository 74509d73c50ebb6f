"""Steps that take pieces of one tensor in any order."""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.frontend.time.rolled import RNode
from snncc.compiler.frontend.time.timing import Index, Lay, step_shape


def reordered(source: RNode, pieces: Sequence[Index], start: int, steps: int) -> RNode:
    """Return the sequence whose step ``start + j`` is ``pieces[j]`` of ``source``.

    What stands at the other steps has no effect; it is the nearest piece.
    """
    first, base = pieces[0], pieces[0].base
    entries: list[int] = []
    for t in range(steps):
        i = pieces[min(max(t - start, 0), len(pieces) - 1)]
        entries.extend(range(i.start, i.start + i.length))
    axis = first.axis
    shape = (*base.shape[:axis], len(entries), *base.shape[axis + 1 :])
    picked = RNode("Take", shape, base.dtype, [source], val=base)
    picked.attrs = {"axis": axis, "indices": tuple(entries)}
    lay = Lay(axis, 1, first.length)
    return RNode("AxisToTime", step_shape(shape, lay), base.dtype, [picked], {"lay": lay}, val=base)
