"""Pooling and transposition on the kernels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from snncc.isa.window import Ints, Window
from snncc.isasim.engines.base import Activity, Resolved, Sram
from snncc.isasim.engines.footprint.regions import BIT
from snncc.isasim.engines.kernels import pool as kp
from snncc.isasim.engines.kernels import turn as kt


@lru_cache(maxsize=4096)
def _geometry(window: Window) -> tuple[Ints, Ints, int]:
    """Return the rows and columns of the taps, and the terms of one image and channel."""
    return window.rows(), window.columns(), window.terms()


class WindowKernels:
    """Runs checked windowed instructions whose operands do not overlap."""

    def __init__(self, saturate: bool) -> None:
        self.saturate = int(saturate)

    def pool(self, op: Resolved, sram: Sram) -> Activity:
        """Pooling."""
        window, o = op.window, op.operands
        images, kind = o.images, o.type
        ys, xs, in_image = _geometry(window)
        rows, base = images * window.positions, int(sram.ctypes.data)
        ones = int(
            kp.pool_rows(
                kind, o.op, base + o.x, o.x_stride, o.x_image, ys, xs, window.in_w,
                window.channels, rows, base + o.dst, o.dst_stride, self.saturate,
            )
        )  # fmt: skip
        terms = images * in_image * window.channels
        return Activity(rows * window.depth, ones if kind == BIT else terms, ones)

    def poolgrad(self, op: Resolved, sram: Sram) -> Activity:
        """Gradient of maximum pooling."""
        window, o, base = op.window, op.operands, int(sram.ctypes.data)
        dst, x, y, g, images = base + o.dst, base + o.x, base + o.y, base + o.g, o.images
        kind, inputs, positions = o.type, window.in_h * window.in_w, window.positions
        (ys, xs, _), bounds = _geometry(window), (base, base + sram.shape[0])
        if window.channels % 16 == 0:
            routed = int(
                kp.grad_images(
                    kind, images, window.channels, x, o.x_stride, o.x_image, y, o.y_stride,
                    g, o.g_stride, dst, o.dst_stride, o.dst_image, inputs, ys, xs,
                    window.in_w, self.saturate,
                )
            )  # fmt: skip
            return Activity(images * positions * window.depth, routed)
        total, taken = np.empty(16 * inputs, np.float32), np.empty(positions, np.uint16)
        stage = np.zeros((inputs + 2 * positions, 16), np.uint16)
        routed = 0
        for i in range(images):
            for low in range(0, window.channels, 16):
                width = min(16, window.channels - low)
                offset, wide = (low // 8, False) if kind == BIT else (2 * low, True)
                operands = [
                    (x + i * o.x_image + offset, o.x_stride, inputs, wide),
                    (
                        y + i * positions * o.y_stride + offset,
                        o.y_stride,
                        positions,
                        kind != BIT,
                    ),
                    (g + i * positions * o.g_stride + 2 * low, o.g_stride, positions, True),
                ]
                places: list[int] = []
                used = 0
                for address, stride, rows, halves in operands:
                    if width < 16 and halves:
                        part = stage[used : used + rows]
                        kp.gather_group(address, stride, rows, width, part, *bounds)
                        used += rows
                        places += [int(part.ctypes.data), 32]
                    else:
                        places += [address, stride]
                routed += int(
                    kp.grad_group(kind, *places, width, ys, xs, window.in_w, inputs, total, taken)
                )
                out = dst + i * o.dst_image + 2 * low
                kp.finish_group(total, inputs, width, out, o.dst_stride, self.saturate)
        return Activity(images * positions * window.depth, routed)

    def transpose(self, op: Resolved, sram: Sram) -> Activity:
        """Transpose 16-bit elements."""
        o = op.operands
        rows, cols = o.rows, o.cols
        base = sram.ctypes.data
        kt.transpose_shorts(base + o.dst, o.dst_stride, base + o.src, o.src_stride, rows, cols)
        return Activity(rows * cols, rows * cols)
