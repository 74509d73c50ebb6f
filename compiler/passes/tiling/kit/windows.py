"""Windows of convolutions and pooling, and how rows of their output are cut into bands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from snncc.compiler.ir.core import Attribute, Op
from snncc.compiler.passes.tiling.kit.task import At
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.window import Window

__all__ = ["Band", "Geometry", "Window", "bands", "geometry_of", "transposed"]


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride, padding (begins) and dilation as (rows, columns)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def forward(self, size: tuple[int, int], out: tuple[int, int], channels: int) -> Window:
        """Return the window that a convolution or pooling reads its input through."""
        return Window(
            *size, *out, channels, *self.kernel, *self.stride,
            -self.padding[0], -self.padding[1], *self.dilation, 1, 1,
        )  # fmt: skip

    def backward(self, size: tuple[int, int], out: tuple[int, int], channels: int) -> Window:
        """Return the window that an input gradient of size ``out`` reads gradients through."""
        return Window(
            *size, *out, channels, *self.kernel, 1, 1, *self.padding,
            -self.dilation[0], -self.dilation[1], *self.stride,
        )  # fmt: skip


def _pair(values: tuple[int, ...], fill: int) -> tuple[int, int]:
    return (fill, values[0]) if len(values) == 1 else (values[0], values[1])


def spatial(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (rows, columns) of a step shape [B, C, spatial...]; one axis is columns."""
    return _pair(shape[2:], 1)


def geometry_of(op: Op, kernel: tuple[int, ...]) -> Geometry:
    """Read an op's window attributes."""
    n = len(kernel)
    padding = op.ints_attr("padding", (0,) * (2 * n))
    return Geometry(
        _pair(kernel, 1),
        _pair(op.ints_attr("stride", (1,) * n), 1),
        _pair(padding[:n], 0),
        _pair(op.ints_attr("dilation", (1,) * n), 1) if "dilation" in op.attrs else (1, 1),
        op.int_attr("groups", 1),
    )


def transposed(window: Window) -> bool:
    """Whether a window divides (input gradients)."""
    return window.div_h > 1 or window.div_w > 1


@dataclass(frozen=True)
class Band:
    """Rows of the output with one window: ``count`` bands of ``rows`` rows from ``first`` on.

    Input rows start at ``low`` for the first band and ``low_step`` further for each next one.
    """

    first: int
    rows: int
    count: int
    low: int
    low_step: int
    window: Window

    def out_at(self, index: At) -> At:
        """Return the output row of the band with a number."""
        return index * self.rows + self.first

    def in_at(self, index: At) -> At:
        """Return the first input row of the band with a number."""
        return index * self.low_step + self.low


def _one(window: Window, first: int, rows: int) -> tuple[int, Window]:
    """Return the first input row and the window of one band."""
    reach = (window.k_h - 1) * window.step_h
    low = first * window.mul_h + window.base_h + min(0, reach)
    high = (first + rows - 1) * window.mul_h + window.base_h + max(0, reach)
    low = max(0, ceil_div(low, window.div_h))
    high = min(window.in_h - 1, high // window.div_h)
    if high < low:  # the band sees padding only: give it one row that no tap reaches
        low, high = 0, 0
    base = window.base_h + first * window.mul_h - low * window.div_h
    return low, window._replace(in_h=high - low + 1, out_h=rows, base_h=base)


def bands(window: Window, rows: int) -> Iterator[Band]:
    """Cut the output rows of a window; neighbours with equal windows form one loop."""
    pending: Band | None = None
    first = 0
    while first < window.out_h:
        n = min(rows, window.out_h - first)
        low, cut = _one(window, first, n)
        if pending is not None and pending.window == cut and pending.rows == n:
            step = low - pending.low - pending.low_step * (pending.count - 1)
            if pending.count == 1 or step == pending.low_step:
                pending = replace(pending, count=pending.count + 1, low_step=step)
                first += n
                continue
        if pending is not None:
            yield pending
        pending = Band(first, n, 1, low, 0, cut)
        first += n
    if pending is not None:
        yield pending


@lru_cache(maxsize=4096)
def band_rows(window: Window, rows: int) -> int:
    """Return the most input rows that a band of ``rows`` output rows needs."""
    return max(b.window.in_h for b in bands(window, rows))


def window_attr(window: Window) -> Attribute:
    """Return a window as an attribute of a tile operation."""
    return tuple(window)
