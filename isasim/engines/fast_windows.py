"""Convolution, pooling and transposition on the kernels.

A windowed accumulation is the plain one on patches: a block of output rows has its patches gathered
(packed words for spikes) into a scratch of at most a few MB, then goes to the kernels of
:mod:`snncc.isasim.engines.fast_mac`.  Taps outside the image are zero bits; where zeros must be
told from them (skip=0 with a weight that is not finite or binary16 accumulators), the bits of all
taps inside select the terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.fp16 import packed_bytes
from snncc.isa.window import Ints, Window
from snncc.isasim.engines import kernels_bits as kb
from snncc.isasim.engines import kernels_pool as kp
from snncc.isasim.engines import kernels_turn as kt
from snncc.isasim.engines import kernels_windows as kw
from snncc.isasim.engines.base import Activity, Resolved, Sram
from snncc.isasim.engines.fast_mac import (
    MacKernels,
    Target,
    Weights,
    Words,
    active_blocks,
    empty_words,
    make_target,
    make_weights,
    transposed_words,
)
from snncc.isasim.engines.regions import BIT

Shorts: TypeAlias = npt.NDArray[np.uint16]

SCRATCH = 1 << 20
"""Bytes of patches that are gathered at a time, roughly."""


@dataclass(frozen=True)
class _Stack:
    """An image stack (address, stride, image stride) seen through a window."""

    window: Window
    place: tuple[int, int, int]
    rows: int
    ys: Ints
    xs: Ints

    def blocks(self, row_bytes: int) -> Iterator[tuple[int, int]]:
        """Cut the rows of the output so that the patches of a block fit the scratch."""
        step = max(64, SCRATCH // row_bytes // 64 * 64)
        for low in range(0, self.rows, step):
            yield low, min(self.rows, low + step)

    def active_blocks(self, words: Words, rows: int) -> int:
        """Return how many blocks of inputs of gathered patches have an active one."""
        return active_blocks(words, rows, self.window.channels, self.window.taps)

    def bits(self, row0: int, row1: int, *, inside: bool = False) -> tuple[Words, int]:
        """Return the patches of packed spikes, or the bits of all taps inside, and their number."""
        start, stride, image = self.place
        words = empty_words(row1 - row0, self.window.depth)
        found = kw.window_bits(
            0 if inside else start, stride, image, self.ys, self.xs, self.window.in_w,
            self.window.channels, row0, row1, words,
        )  # fmt: skip
        return words, int(found)


@lru_cache(maxsize=4096)
def _geometry(window: Window) -> tuple[Ints, Ints, int]:
    """Return the rows and columns of the taps, and the terms of one image and channel."""
    return window.rows(), window.columns(), window.terms()


def _stack(sram: Sram, window: Window, images: int, place: tuple[int, int, int]) -> _Stack:
    start, stride, image = place
    address = int(sram.ctypes.data) + start
    ys, xs, _ = _geometry(window)
    return _Stack(window, (address, stride, image), images * window.positions, ys, xs)


def _part(target: Target, row0: int, row1: int) -> Target:
    """Return some rows of accumulators."""
    return target._replace(
        rows=row1 - row0,
        out=target.out + row0 * target.out_stride,
        init=target.init + row0 * target.init_stride,
    )


class WindowKernels:
    """Runs checked windowed instructions whose operands do not overlap."""

    def __init__(self, mac: MacKernels, saturate: bool) -> None:
        self.mac = mac
        self.saturate = int(saturate)

    def macw(self, op: Resolved, sram: Sram) -> Activity:
        """Convolution (gaccw, macw, bmacw)."""
        window, v = op.window, op.values
        acc, acc_stride, a, a_stride, a_image, w, w_stride, images, n, bias, _, init = v[:12]
        gated, k = op.mnemonic == "gaccw", window.depth
        skip, trans = v[12:14] if not gated else (1, 0)
        stack = _stack(sram, window, images, (a, a_stride, a_image))
        target = make_target(sram, acc, acc_stride, stack.rows, n, init, bias)
        weights = make_weights(sram, w, w_stride, k, n, transposed=bool(trans))
        terms = blocks = 0
        if gated:
            for row0, row1 in stack.blocks(packed_bytes(k)):
                words, active = stack.bits(row0, row1)
                self.mac.gated(words, active, _part(target, row0, row1), weights)
                terms += active
                blocks += stack.active_blocks(words, row1 - row0)
            return Activity(stack.rows * k * n, terms * n, terms, blocks=blocks)
        plain = bool(skip) or self._plain(weights)
        for row0, row1 in stack.blocks(2 * k):
            patches, words, nonzero = self._halves(stack, row0, row1)
            blocks += stack.active_blocks(words, row1 - row0)
            if not plain:
                words, nonzero = stack.bits(row0, row1, inside=True)[0], 0
            place = (int(patches.ctypes.data), 2 * k, 2)
            self._scaled(words, nonzero, _part(target, row0, row1), weights, place)
            terms += nonzero
        if not skip:
            terms = images * _geometry(window)[2] * window.channels
        return Activity(stack.rows * k * n, terms * n, blocks=blocks if skip else -1)

    def outerw(self, op: Resolved, sram: Sram) -> Activity:
        """Weight gradient of a convolution (gouterw, outerw)."""
        window, v = op.window, op.values
        acc, acc_stride, a, a_stride, a_image, g, g_stride, images, n, _, init = v[:11]
        gated, k = op.mnemonic == "gouterw", window.depth
        skip = bool(gated or v[11])
        stack = _stack(sram, window, images, (a, a_stride, a_image))
        target = make_target(sram, acc, acc_stride, k, n, init)
        if not stack.rows:
            self.mac.gated(empty_words(k, 0), 0, target, Weights(0, n, 0, 0, None))
        terms = blocks = 0
        for row0, row1 in stack.blocks(packed_bytes(k) if gated else 2 * k):
            count = row1 - row0
            weights = make_weights(sram, g + row0 * g_stride, g_stride, count, n)
            if gated:
                words, active = stack.bits(row0, row1)
                blocks += stack.active_blocks(words, count)
                self.mac.gated(transposed_words(words, count, k), active, target, weights)
            else:
                patches, words, active = self._halves(stack, row0, row1)
                blocks += stack.active_blocks(words, count)
                chosen = active
                if not (skip or self._plain(weights)):
                    words, chosen = stack.bits(row0, row1, inside=True)[0], 0
                place = (int(patches.ctypes.data), 2, 2 * k)
                turned = transposed_words(words, count, k)
                self._scaled(turned, chosen, target, weights, place)
            terms += active
            target = target._replace(init=target.out, init_stride=target.out_stride)
        if not skip:
            terms = images * _geometry(window)[2] * window.channels
        spikes = terms if gated else 0
        return Activity(stack.rows * k * n, terms * n, spikes, blocks=blocks if skip else -1)

    def _halves(self, stack: _Stack, row0: int, row1: int) -> tuple[Shorts, Words, int]:
        """Return binary16 patches, the bits of those that are not zero, and their number."""
        start, stride, image = stack.place
        rows, k = row1 - row0, stack.window.depth
        patches = np.empty((rows, k), np.uint16)
        kw.window_halves(
            start, stride, image, stack.ys, stack.xs, stack.window.in_w, stack.window.channels,
            row0, row1, patches,
        )  # fmt: skip
        words, counts = empty_words(rows, k), np.empty(rows, np.int64)
        nonzero = kb.read_nonzero(patches.ctypes.data, 2 * k, rows, k, words, counts)
        return patches, words, int(nonzero)

    def _plain(self, weights: Weights) -> bool:
        """Whether adding a zero input's term changes nothing."""
        return not self.mac.half and weights.finite()

    def _scaled(
        self,
        words: Words,
        nonzero: int,
        target: Target,
        weights: Weights,
        place: tuple[int, int, int],
    ) -> None:
        """Add the terms of the set bits; zeros may be left out."""
        self.mac.scaled(words, nonzero, True, target, weights, place, (self.mac.gate(target.n), 0))

    def pool(self, op: Resolved, sram: Sram) -> Activity:
        """Pooling."""
        window = op.window
        dst, dst_stride, x, x_stride, x_image, images, _, kind, red = op.values
        stack = _stack(sram, window, images, (x, x_stride, x_image))
        ones = int(
            kp.pool_rows(
                kind, red, *stack.place, stack.ys, stack.xs, window.in_w, window.channels,
                stack.rows, sram.ctypes.data + dst, dst_stride, self.saturate,
            )
        )  # fmt: skip
        terms = images * _geometry(window)[2] * window.channels
        return Activity(stack.rows * window.depth, ones if kind == BIT else terms, ones)

    def poolgrad(self, op: Resolved, sram: Sram) -> Activity:
        """Gradient of maximum pooling."""
        window, v, base = op.window, op.values, int(sram.ctypes.data)
        dst, dst_stride, dst_image, g, g_stride, x, x_stride, x_image, y, y_stride, images = v[:11]
        kind, inputs, positions = v[12], window.in_h * window.in_w, window.positions
        (ys, xs, _), bounds = _geometry(window), (base, base + sram.shape[0])
        total, taken = np.empty(16 * inputs, np.float32), np.empty(positions, np.uint16)
        stage = np.zeros((inputs + 2 * positions, 16), np.uint16)
        routed = 0
        for i in range(images):
            for low in range(0, window.channels, 16):
                width = min(16, window.channels - low)
                offset, wide = (low // 8, False) if kind == BIT else (2 * low, True)
                operands = [
                    (base + x + i * x_image + offset, x_stride, inputs, wide),
                    (
                        base + y + i * positions * y_stride + offset,
                        y_stride,
                        positions,
                        kind != BIT,
                    ),
                    (base + g + i * positions * g_stride + 2 * low, g_stride, positions, True),
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
                out = base + dst + i * dst_image + 2 * low
                kp.finish_group(total, inputs, width, out, dst_stride, self.saturate)
        return Activity(images * positions * window.depth, routed)

    def transpose(self, op: Resolved, sram: Sram) -> Activity:
        """Transpose 16-bit elements."""
        dst, dst_stride, src, src_stride, rows, cols = op.values
        base = sram.ctypes.data
        kt.transpose_shorts(base + dst, dst_stride, base + src, src_stride, rows, cols)
        return Activity(rows * cols, rows * cols)
