"""Reductions and transposition in the vector unit: rowred, colsum, pool, poolgrad, transpose."""

from __future__ import annotations

import numpy as np

from snncc.isa.numbers import accumulators, fp16
from snncc.isa.semantics.activity import NOTHING, Activity
from snncc.isa.semantics.call import (
    Call,
    Floats,
    numbers,
    put,
    start,
)
from snncc.isa.semantics.images import read_stack, tap_positions
from snncc.isa.spec import REDUCTION

_MAX = REDUCTION.words.index("max")


def rowred(c: Call) -> Activity:
    """Reduce each row over its columns, ascending."""
    o = c.operands
    rows, n = o.rows, o.n
    if not rows or not n:
        return NOTHING
    x, ones = numbers(c, "x", [(rows, o.x_stride)], n)
    if o.op == _MAX:
        total = x[:, 0]
        for j in range(1, n):
            total = fp16.maximum(total, x[:, j])
    else:
        total = accumulators.ordered_sum(np.ascontiguousarray(x), axis=1)
    put(c, "dst", [(rows, o.dst_stride)], total[:, None])
    return Activity(rows * n, ones if c.format("x") == "bit" else rows * n, ones)


def colsum(c: Call) -> Activity:
    """Add rows to one row of accumulators, ascending."""
    o = c.operands
    rows, n = o.rows, o.n
    if not n:
        return NOTHING
    first = start(c, (), 1, n)[0]
    x, ones = numbers(c, "x", [(rows, o.x_stride)], n)
    total = accumulators.ordered_sum(np.ascontiguousarray(x), axis=0, acc=first)
    c.place("acc").put_floats((), total)
    return Activity(rows * n, ones if c.format("x") == "bit" else rows * n, ones)


def pool(c: Call) -> Activity:
    """Reduce every window per channel, ky then kx ascending; taps outside are left out."""
    window, o = c.window, c.operands
    if not o.images:
        return NOTHING
    positions, x, bits = tap_positions(window), read_stack(c, "x"), c.format("x") == "bit"
    lowest = -np.inf if o.op == _MAX and not bits else 0.0
    total: Floats = np.full((o.images, window.positions, window.channels), lowest, np.float32)
    terms = ones = 0
    for tap in range(window.taps):
        here = np.flatnonzero(positions[:, tap] >= 0)
        value = x[:, positions[here, tap]]
        with np.errstate(all="ignore"):
            if o.op == _MAX:
                total[:, here] = fp16.maximum(total[:, here], value)
            else:
                total[:, here] += value
        terms += value.size
        ones += int((value != 0).sum()) if bits else 0
    rows = o.images * window.positions
    put(c, "dst", [(rows, o.dst_stride)], total.reshape(rows, window.channels))
    return Activity(rows * window.depth, ones if bits else terms, ones)


def poolgrad(c: Call) -> Activity:
    """Send each gradient to its first tap (ky, then kx ascending) at which x equals y."""
    window, o = c.window, c.operands
    if not o.images:
        return NOTHING
    channels, rows = window.channels, o.images * window.positions
    shape = (o.images, window.positions, channels)
    positions, x = tap_positions(window), read_stack(c, "x")
    g = c.place("g").halves([(rows, o.g_stride)], channels).reshape(shape)
    y, _ = numbers(c, "y", [(rows, o.y_stride)], channels)
    y = y.reshape(shape)
    inputs = window.in_h * window.in_w
    total: Floats = np.zeros((o.images, inputs, channels), np.float32)
    taken = np.zeros(shape, np.bool_)
    for tap in range(window.taps):
        here = np.flatnonzero(positions[:, tap] >= 0)
        place = positions[here, tap]
        hit = (x[:, place] == y[:, here]) & ~taken[:, here]
        taken[:, here] |= hit
        image, out, channel = np.nonzero(hit)  # output positions ascending
        with np.errstate(all="ignore"):
            np.add.at(total, (image, place[out], channel), g[image, here[out], channel])
    put(c, "dst", [(o.images, o.dst_image), (inputs, o.dst_stride)], total)
    return Activity(rows * window.depth, int(taken.sum()))


def transpose(c: Call) -> Activity:
    """Move 16-bit elements as they are."""
    o = c.operands
    rows, cols = o.rows, o.cols
    if not rows or not cols:
        return NOTHING
    found = c.place("src").shorts([(rows, o.src_stride)], cols)
    c.place("dst").put_shorts([(cols, o.dst_stride)], np.ascontiguousarray(found.T))
    return Activity(rows * cols, rows * cols)
