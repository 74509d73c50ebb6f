"""Accumulating instructions: gacc, mac, bmac, gouter, outer, plain and windowed.

A tap outside the image is no term.  One strictly ascending accumulation per output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snncc.isa.numbers import accumulators, fp16
from snncc.isa.semantics.activity import NOTHING, Activity
from snncc.isa.semantics.call import (
    Bits,
    Call,
    Floats,
    active_blocks,
    start,
)
from snncc.isa.semantics.images import patches


def _shape(c: Call) -> tuple[int, int, int]:
    """Return rows, reduced length and taps of the inputs ``a``."""
    if c.row.windowed:
        window = c.window
        return c.operands.images * window.positions, window.depth, window.taps
    return c.operands.rows, c.operands.k, 1


def _inputs(c: Call) -> Iterator[tuple[slice, Floats, Bits | None]]:
    """Yield rows, their inputs and which of these are terms (None: all)."""
    if c.row.windowed:
        yield from patches(c, "a")
        return
    o, place = c.operands, c.place("a")
    dims = [(o.rows, o.a_stride)]
    x = place.bits(dims, o.k).astype(np.float32) if c.row.gated else place.halves(dims, o.k)
    yield slice(0, o.rows), x, None


def _add(c: Call, x: Floats, inside: Bits | None, w: Floats, first: Floats) -> Floats:
    """Return ``first + x @ w``, terms in order; those that are not inside are left out."""
    kind = c.numerics.accumulator
    if c.row.gated:
        return accumulators.gated_mac_ordered(np.asarray(x != 0), w, first, accumulator=kind)
    skip = bool(c.operands.skip)
    if skip or inside is None or inside.all():
        return accumulators.mac_ordered(x, w, first, skip, accumulator=kind)  # outside, x is 0
    out, half = accumulators.load_acc(first), kind == "fp16"
    with np.errstate(all="ignore"):
        for k in range(x.shape[1]):
            live = inside[:, k]
            term: Floats = np.asarray(x[live, k : k + 1] * w[k])
            total: Floats = np.asarray(out[live] + (fp16.round_f16(term) if half else term))
            out[live] = fp16.round_f16(total) if half else total
    return fp16.canonical_f32(out)


class _Count:
    """Counts the terms of the rows that were read."""

    def __init__(self, c: Call, rows: int, depth: int, taps: int) -> None:
        self.skip, self.depth, self.taps = bool(c.operands.skip), depth, taps
        self.terms = np.zeros(rows, np.int64)
        self.blocks = 0 if self.skip else -1

    def add(self, part: slice, x: Floats, inside: Bits | None) -> None:
        """Count some rows."""
        if self.skip:
            active = np.asarray(x != 0)
            self.terms[part] = active.sum(axis=1)
            self.blocks += active_blocks(active, self.taps)
        else:
            self.terms[part] = self.depth if inside is None else inside.sum(axis=1)


def mac(c: Call) -> Activity:
    """Add weight rows, chosen or scaled by inputs: ``acc[r,j] += a[r,k]*w[k,j]``, k ascending."""
    o = c.operands
    (rows, depth, taps), n = _shape(c), o.n
    if not rows or not n:
        return NOTHING
    lines = [(rows, o.acc_stride)]
    total = start(c, lines, rows, n)
    first = np.array(total)
    w_place = c.place("w")
    if o.trans:
        w = w_place.halves([(n, o.w_stride)], depth).T
    else:
        w = w_place.halves([(depth, o.w_stride)], n)
    count = _Count(c, rows, depth, taps)
    for part, x, inside in _inputs(c):
        count.add(part, x, inside)
        total[part] = _add(c, x, inside, w, total[part])
    outputs, computed, out_blocks = np.full(rows, n), -1, -1
    if o.masked and depth:
        mask = c.place("mask").bits([(rows, o.mask_stride)], n)
        total = np.where(mask, total, first)
        outputs = mask.sum(axis=1)
        computed, out_blocks = int(outputs.sum()), active_blocks(mask)
    c.place("acc").put_floats(lines, total)
    spikes = int(count.terms.sum()) if c.row.gated else 0
    performed = int((count.terms * outputs).sum())
    return Activity(rows * depth * n, performed, spikes, computed, count.blocks, out_blocks)


def outer(c: Call) -> Activity:
    """Add gradient rows, chosen or scaled: ``acc[k,j] += a[r,k]*g[r,j]``, r ascending."""
    o = c.operands
    (rows, depth, taps), n = _shape(c), o.n
    if not depth or not n:
        return NOTHING
    lines = [(depth, o.acc_stride)]
    total = start(c, lines, depth, n)
    g = c.place("g").halves([(rows, o.g_stride)], n)
    count = _Count(c, rows, depth, taps)
    for part, x, inside in _inputs(c):
        count.add(part, x, inside)
        live = None if inside is None else inside.T
        total = _add(c, np.asarray(x.T), live, g[part], total)
    c.place("acc").put_floats(lines, total)
    terms = int(count.terms.sum())
    return Activity(rows * depth * n, terms * n, terms if c.row.gated else 0, blocks=count.blocks)
