"""Stacks of channels-last images: how they lie in DRAM and how bands of them are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snncc.compiler.ir.core import Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.task import ZERO, At, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, row_bytes
from snncc.compiler.passes.tiling.kit.windows import Band, Window, bands, spatial


def pad64(size: int) -> int:
    """Round a buffer up to 64 bytes."""
    return max(64, (size + 63) // 64 * 64)


@dataclass(frozen=True)
class Stack:
    """Images of a channels-last tensor: ``images`` of ``size`` positions of ``channels``."""

    view: View
    images: int
    size: tuple[int, int]
    channels: int

    @property
    def position(self) -> int:
        """Bytes from one position to the next."""
        return self.view.row

    @property
    def line(self) -> int:
        """Bytes of one row of positions."""
        return self.size[1] * self.view.row

    @property
    def image(self) -> int:
        """Bytes of one image."""
        return self.size[0] * self.line

    def channel_at(self, c_at: At) -> At:
        """Return the byte offset of a channel."""
        return c_at.exact_div(8) if self.view.dtype == "bit" else c_at * 2


def stack_of(context: TilingContext, value: Value) -> Stack:
    """Return a channels-last tensor as images, steps and samples merged."""
    shape = value.type.step_shape
    steps = value.type.shape[0] if value.type.kind == "seq" else 1
    return Stack(context.view(value).flat(), steps * shape[0], spatial(shape), shape[1])


def load_images(
    b: TaskBuilder,
    buffer: Value,
    source: Stack,
    i_at: At,
    images: int,
    y_at: At,
    rows: int,
    c_at: At,
    channels: int,
    to: At = ZERO,
) -> tuple[int, int]:
    """Load a band of images; return (position stride, image stride) in the scratchpad."""
    width = row_bytes(source.view.dtype, channels)
    positions = rows * source.size[1]
    at = i_at * source.image + y_at * source.line + source.channel_at(c_at) + source.view.start
    b.load(
        buffer,
        to,
        source.view.dram,
        at,
        positions,
        width,
        width,
        source.position,
        (images, positions * width, source.image),
    )
    return width, positions * width


def each_band(
    b: TaskBuilder, window: Window, rows: int, body: Callable[[At, At, Window], None]
) -> None:
    """Call ``body(first input row, first output row, window)`` for every band."""

    def run(band: Band) -> None:
        b.tiles(band.count, 1, lambda y, _, __: body(band.in_at(y), band.out_at(y), band.window))

    for band in bands(window, rows):
        run(band)
