"""Storage orders: the step axes of a tensor from the slowest to the fastest; () is natural."""

from __future__ import annotations

from snncc.compiler.ir.core import Block, Op, Value

Order = tuple[int, ...]
KERNEL: Order = (-1,)
"""Convolution weights: channel block, tap, channel in block, output channel."""


def natural(rank: int) -> Order:
    """Return the order of a C array."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Return batch, spatial axes, channels."""
    return last(rank, 1)


def last(rank: int, axis: int) -> Order:
    """Return the order that has one axis fastest and keeps the others; () when it is natural."""
    order = (*(a for a in range(rank) if a != axis), axis)
    return () if order == natural(rank) else order


def widened(order: Order, rank: int, wider: int) -> Order:
    """Return the order of a tensor that is repeated along new first axes, which lie outermost.

    ``rank`` is that of ``order``, ``wider`` the new one.
    """
    if not order or order == KERNEL or rank == wider:
        return order
    new = wider - rank
    return (*range(new), *(a + new for a in order))


def narrowed(order: Order, rank: int, narrower: int) -> Order:
    """Return the order of a tensor without the first axes, as a broadcast operand has it."""
    if not order or order == KERNEL or rank == narrower:
        return order
    gone = rank - narrower
    return tuple(a - gone for a in order if a >= gone)


def transpose_order(order: Order, perm: Order) -> Order:
    """Return the order of ``transpose(x, perm)`` in the same memory (axis j is x's perm[j])."""
    order = order or natural(len(perm))
    found = tuple(perm.index(a) for a in order)
    return () if found == natural(len(perm)) else found


def reshape_order(before: Order, order: Order, after: Order) -> Order | None:
    """Return the order of a reshape that leaves memory as it is, or None.

    The logical shapes are cut into runs of equal size; a run whose axes are neighbours in memory,
    in logical order, keeps its place.
    """
    runs = _runs(before, after)
    if runs is None:
        return None
    place = {axis: i for i, axis in enumerate(order)}
    placed: list[tuple[int, Order]] = []
    for old, new in runs:
        real = [a for a in old if before[a] > 1]
        spots = [place[a] for a in real]
        steps = (
            [p for p in range(min(spots), max(spots) + 1) if before[order[p]] > 1] if spots else []
        )
        if spots != sorted(spots) or spots != steps:
            return None
        placed.append((spots[0] if spots else -1, new))
    found: list[int] = []
    for _, new in sorted(placed, key=lambda entry: entry[0]):
        found += new
    return tuple(found)


def _runs(before: Order, after: Order) -> list[tuple[Order, Order]] | None:
    """Cut two shapes of one size into the shortest runs of axes with equal products."""
    runs: list[tuple[Order, Order]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        a, b = i, j
        left = right = 1
        if i < len(before):
            left, i = before[i], i + 1
        if j < len(after):
            right, j = after[j], j + 1
        while left != right:
            if left < right and i < len(before):
                left, i = left * before[i], i + 1
            elif j < len(after):
                right, j = right * after[j], j + 1
            else:
                return None
        while i < len(before) and before[i] == 1:
            i += 1
        while j < len(after) and after[j] == 1:
            j += 1
        runs.append((tuple(range(a, i)), tuple(range(b, j))))
    return runs


def order_of(value: Value, arguments: tuple[Order, ...] = ()) -> Order:
    """Return the order that ``assign-layouts`` gave a value."""
    owner = value.owner
    if isinstance(owner, Op):
        layouts = owner.attrs.get("layouts")
        if isinstance(layouts, tuple) and value.index < len(layouts):
            found = layouts[value.index]
            return found if isinstance(found, tuple) else ()  # type: ignore[return-value]
        return ()
    if isinstance(owner, Block) and isinstance(owner.parent, Op):
        return ()  # an argument of a region
    return arguments[value.index] if value.index < len(arguments) else ()


def is_recurrent(scan: Op) -> bool:
    """Whether a scan's body holds anything but element-wise ops."""
    return any(
        not o.name.startswith("ew.") and o.name != "phase.yield" for o in scan.regions[0].ops
    )
