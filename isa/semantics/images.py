"""Image stacks seen through a window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snncc.isa.semantics.call import Bits, Call, Floats, Ints
from snncc.isa.window import Window, reduced

PATCHES = 1 << 20
"""Elements of patches that are gathered at a time."""


def tap_positions(window: Window) -> Ints:
    """Return the input position of [output position, tap], -1 for none."""
    rows, columns = window.rows(), window.columns()
    row, column = rows[:, None, :, None], columns[None, :, None, :]
    place = np.where((row >= 0) & (column >= 0), row * window.in_w + column, -1)
    return place.reshape(window.positions, window.taps)


def read_stack(c: Call, address: str) -> Floats:
    """Return [images, input positions, channels] as numbers; what no tap reaches is 0."""
    window, o, at = c.window, c.operands, c.row.at(address)
    (_, image), (_, stride) = at.rows
    inputs = window.in_h * window.in_w
    reached = np.unique(tap_positions(window))
    reached = reached[reached >= 0]
    starts = np.arange(o.images)[:, None] * getattr(o, image) + reached * getattr(o, stride)
    found = np.zeros((o.images, inputs, window.channels), np.float32)
    found[:, reached] = c.place(address).gather(
        starts.astype(np.int64), c.format(address), window.channels
    )
    return found


def patches(c: Call, address: str) -> Iterator[tuple[slice, Floats, Bits]]:
    """Yield rows (image, oy, ox), their inputs [rows, k] in order, and which taps are inside."""
    window, positions = c.window, tap_positions(c.window)
    stack = read_stack(c, address)
    tap, channel = reduced(window.channels, window.taps)
    every = np.arange(c.operands.images * window.positions)
    step = max(1, PATCHES // window.depth)
    for low in range(0, every.size, step):
        image, position = np.divmod(every[low : low + step], window.positions)
        place = positions[position][:, tap]
        inside = place >= 0
        x = np.where(inside, stack[image[:, None], place, channel], np.float32(0.0))
        yield slice(low, low + image.size), np.asarray(x), inside
