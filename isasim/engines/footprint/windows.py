"""What a window reaches: its legality, and the positions of an image stack that are read."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from snncc.isa.window import Ints, Window
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.regions import (
    Region,
    need_dims,
    row_bytes,
)
from snncc.isasim.faults import Trap

Box: TypeAlias = tuple[int, int, int, int, int]
"""Offset, then two counts with their strides."""


def legal_window(op: Resolved, images: int, n: int = 1) -> Window:
    """Return the captured window; trap if it is illegal, or an operand negative or absurd."""
    window = op.window
    problem = window.problem()
    if problem:
        raise Trap("window", f"{op.mnemonic}: the window is illegal: {problem}")
    need_dims(op, images=images, positions=window.positions)
    need_dims(op, rows=images * window.positions, k=window.depth, n=n)
    need_dims(op, positions=window.positions, taps=window.taps)
    return window


def _progressions(places: Ints) -> list[tuple[int, int, int]]:
    """Cut ascending numbers into (first, count, step): one progression, else runs."""
    if places.size < 2:
        return [(int(place), 1, 1) for place in places]
    steps = np.diff(places)
    if (steps == steps[0]).all():
        return [(int(places[0]), places.size, int(steps[0]))]
    ends = [0, *(np.flatnonzero(steps != 1) + 1).tolist(), places.size]
    return [(int(places[a]), b - a, 1) for a, b in itertools.pairwise(ends)]


def _boxes(offset: int, dims: list[tuple[int, int]]) -> list[Box]:
    """Reduce counts and strides (outermost first) to boxes of two dimensions."""
    joined: list[tuple[int, int]] = []
    for count, stride in dims:
        if count == 1:
            continue
        if joined and joined[-1][1] == count * stride:
            joined[-1] = (joined[-1][0] * count, stride)
        else:
            joined.append((count, stride))
    if len(joined) > 2:
        fewest = min(range(len(joined)), key=lambda i: joined[i][0])
        count, stride = joined.pop(fewest)
        return [box for i in range(count) for box in _boxes(offset + i * stride, joined)]
    (n0, s0), (n1, s1) = [(1, 0)] * (2 - len(joined)) + joined
    return [(offset, n0, s0, n1, s1)]


@lru_cache(maxsize=1024)
def _stack(window: Window, images: int, stride: int, image: int) -> list[Box]:
    """Return the positions that a window reaches, as rows relative to the stack's address."""
    reached = (np.unique(part[part >= 0]) for part in (window.rows(), window.columns()))
    rows, columns = map(_progressions, reached)
    line = window.in_w * stride
    return [
        box
        for row, row_count, row_step in rows
        for column, count, step in columns
        for box in _boxes(
            row * line + column * stride,
            [(images, image), (row_count, row_step * line), (count, step * stride)],
        )
    ]


def stack_regions(
    op: Resolved, name: str, kind: int, place: tuple[int, int, int], window: Window, images: int
) -> list[Region]:
    """Return the regions of an image stack (address, stride, image stride) that are read."""
    start, stride, image = place
    size, align = row_bytes(kind, window.channels)
    if start % align or stride % align or image % align:
        raise Trap(
            "alignment",
            f"{op.mnemonic}: {name} at {start} with strides {stride} and {image} must be aligned "
            f"to {align} bytes",
        )
    return [
        Region(name, "sram", start + offset, size, align, n0, s0, n1, s1)
        for offset, n0, s0, n1, s1 in _stack(window, images, stride, image)
    ]
