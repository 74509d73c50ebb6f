"""What windowed instructions, pooling and transposition touch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from snncc.isa.window import Ints, Window
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.regions import (
    BIAS,
    BIT,
    F16,
    F32,
    KEEP,
    MAX,
    SUM,
    SUM32,
    Footprint,
    Region,
    need_dims,
    need_flags,
    need_init,
    overlapping,
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


def _macw(op: Resolved) -> Footprint:
    v = op.values
    acc, acc_stride, a, a_stride, a_image, w, w_stride, images, n, bias, _, init = v[:12]
    window = legal_window(op, images, n)
    skip, trans = v[12:14] if op.mnemonic != "gaccw" else (0, 0)
    need_init(op, init, bias=True)
    need_flags(op, skip=skip, trans=trans)
    if not (images and n):
        return [], []
    kind = BIT if op.mnemonic == "gaccw" else F16
    reads = stack_regions(op, "a", kind, (a, a_stride, a_image), window, images)
    depth, width = (n, window.depth) if trans else (window.depth, n)
    reads.append(Region("w", "sram", w, 2 * width, 2, depth, w_stride))
    if init == BIAS:
        reads.append(Region("bias", "sram", bias, 2 * n, 2, 1, 0))
    written = Region("acc", "sram", acc, 4 * n, 4, images * window.positions, acc_stride)
    if init == KEEP:
        reads.append(written)
    return reads, [written]


def _outerw(op: Resolved) -> Footprint:
    v = op.values
    acc, acc_stride, a, a_stride, a_image, g, g_stride, images, n, _, init = v[:11]
    window = legal_window(op, images, n)
    need_init(op, init, bias=False)
    need_flags(op, skip=v[11] if op.mnemonic == "outerw" else 0)
    if not n:
        return [], []
    written = Region("acc", "sram", acc, 4 * n, 4, window.depth, acc_stride)
    reads = [written] if init == KEEP else []
    if images:
        kind = BIT if op.mnemonic == "gouterw" else F16
        reads += stack_regions(op, "a", kind, (a, a_stride, a_image), window, images)
        rows = images * window.positions
        reads.append(Region("g", "sram", g, 2 * n, 2, rows, g_stride))
    return reads, [written]


def pool_result(kind: int, red: int) -> int:
    """Return the element type that pool writes."""
    if red == SUM32:
        return F32
    return BIT if red == MAX and kind == BIT else F16


def _pool(op: Resolved) -> Footprint:
    dst, dst_stride, x, x_stride, x_image, images, _, kind, red = op.values
    window = legal_window(op, images)
    if kind not in (F16, F32, BIT) or red not in (SUM, MAX, SUM32):
        raise Trap("operand", f"pool: type {kind}, op {red} is illegal")
    if not images:
        return [], []
    size, align = row_bytes(pool_result(kind, red), window.channels)
    rows = images * window.positions
    return (
        stack_regions(op, "x", kind, (x, x_stride, x_image), window, images),
        [Region("dst", "sram", dst, size, align, rows, dst_stride)],
    )


def _poolgrad(op: Resolved) -> Footprint:
    dst, dst_stride, dst_image, g, g_stride, x, x_stride, x_image, y, y_stride, images = op.values[
        :11
    ]
    kind = op.values[12]
    window = legal_window(op, images)
    if kind not in (F16, BIT):
        raise Trap("operand", f"poolgrad: type {kind} is illegal")
    if not need_dims(op, images=images, inputs=window.in_h * window.in_w):
        return [], []
    size, rows = 2 * window.channels, images * window.positions
    reads = [Region("g", "sram", g, size, 2, rows, g_stride)]
    reads += stack_regions(op, "x", kind, (x, x_stride, x_image), window, images)
    reads.append(Region("y", "sram", y, row_bytes(kind, window.channels)[0], 2, rows, y_stride))
    inputs = window.in_h * window.in_w
    return reads, [Region("dst", "sram", dst, size, 2, images, dst_image, inputs, dst_stride)]


def _transpose(op: Resolved) -> Footprint:
    dst, dst_stride, src, src_stride, rows, cols = op.values
    if not need_dims(op, rows=rows, cols=cols):
        return [], []
    read = Region("src", "sram", src, 2 * cols, 2, rows, src_stride)
    written = Region("dst", "sram", dst, 2 * rows, 2, cols, dst_stride)
    if overlapping(read, written):
        raise Trap("overlap", "transpose: source and destination overlap")
    return [read], [written]


WINDOW_FOOTPRINTS: Mapping[str, Callable[[Resolved], Footprint]] = {
    **dict.fromkeys(("gaccw", "macw", "bmacw"), _macw),
    **dict.fromkeys(("gouterw", "outerw"), _outerw),
    "pool": _pool,
    "poolgrad": _poolgrad,
    "transpose": _transpose,
}
