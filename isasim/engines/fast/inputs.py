"""The inputs of an accumulating instruction: a matrix or an image stack seen through a window.

Both are one thing to the kernels: rows of accumulation are (image, position), and a row's inputs
are the taps of its position; a matrix is a stack of images of one pixel and one tap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isa.window import Ints, Window
from snncc.isasim.engines.kernels import bits as kb
from snncc.isasim.engines.kernels import count as kc
from snncc.isasim.engines.kernels import windows as kw
from snncc.isasim.engines.kernels.panel import OUTSIDE

Words: TypeAlias = npt.NDArray[np.uint64]
Shorts: TypeAlias = npt.NDArray[np.uint16]


def empty_words(rows: int, columns: int) -> Words:
    """Return room for rows of bits."""
    return np.empty((rows, -(-columns // 64)), np.uint64)


@lru_cache(maxsize=256)
def _geometry(window: Window, stride: int) -> tuple[Ints, Ints]:
    """Return byte offsets of the taps [position, tap], and [offset, uses] of the pixels read."""
    ys, xs = window.rows(), window.columns()
    y, x = ys[:, None, :, None], xs[None, :, None, :]
    index = np.where((y >= 0) & (x >= 0), y * window.in_w + x, -1)
    index = np.ascontiguousarray(index.reshape(window.positions, window.taps))
    used, uses = np.unique(index[index >= 0], return_counts=True)
    offsets = np.where(index >= 0, index * stride, OUTSIDE)
    return offsets, np.stack([used * stride, uses], axis=1).astype(np.int64)


_POINT: Ints = np.zeros((1, 1), np.int64)
_ONCE: Ints = np.array([[0, 1]], np.int64)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Packed spikes (``bits``) or binary16 numbers in a scratchpad.

    ``pixels`` [position, tap] are byte offsets in an image, ``points`` [offset, uses] the pixels
    that are read at all; nothing is read at the address ``limit`` and beyond.  ``inside`` is the
    number of inputs of all rows that are inside their image.  ``rows`` of ``depth`` inputs are
    accumulated, taps outside the image included; ``plain`` rows lie in memory as they are reduced.
    """

    bits: bool
    address: int
    image: int
    images: int
    channels: int
    pixels: Ints
    points: Ints
    inside: int
    limit: int
    rows: int
    depth: int
    plain: bool

    @property
    def extent(self) -> int:
        """Bytes from the first input to the end of the last that is read."""
        last = (self.images - 1) * self.image + (int(self.points[-1, 0]) if len(self.points) else 0)
        return max(0, last + (packed_bytes(self.channels) if self.bits else 2 * self.channels))

    def count(self) -> tuple[int, int]:
        """Return the inputs that are not zero, and the blocks of inputs with such a one."""
        if not (self.images and self.channels):
            return 0, 0
        active, blocks = kc.count_inputs(
            self.bits, self.address, self.image, self.images, self.points, self.channels,
        )  # fmt: skip
        return int(active), int(blocks)

    def words(self, row0: int, row1: int) -> Words:
        """Return a bit for every packed spike of some rows."""
        words = empty_words(row1 - row0, self.depth)
        if not self.depth:
            return words
        if self.plain:
            place = self.address + row0 * self.image
            kb.read_bits(place, self.image, row1 - row0, self.channels, words)
        else:
            kw.window_bits(self.address, self.image, self.pixels, self.channels, row0, row1, words)
        return words

    def taps_inside(self, row0: int, row1: int) -> Words:
        """Return a bit for every tap inside the image, whatever it holds."""
        words = empty_words(row1 - row0, self.depth)
        if self.depth:
            kw.window_bits(0, self.image, self.pixels, self.channels, row0, row1, words)
        return words

    def halves(self, row0: int, row1: int) -> tuple[int, int, object]:
        """Return address and row distance of binary16 patches of some rows, and what holds them."""
        if self.plain:
            return self.address + row0 * self.image, self.image, None
        patches: Shorts = np.empty((row1 - row0, self.depth), np.uint16)
        kw.window_halves(self.address, self.image, self.pixels, self.channels, row0, row1, patches)
        return int(patches.ctypes.data), 2 * self.depth, patches


def matrix(address: int, stride: int, rows: int, columns: int, limit: int, *, bits: bool) -> Inputs:
    """Return a matrix [rows, columns] at an address."""
    return Inputs(
        bits, address, stride, rows, columns, _POINT, _ONCE, rows * columns, limit, rows, columns,
        True,
    )  # fmt: skip


def stack(
    address: int, stride: int, image: int, images: int, window: Window, limit: int, *, bits: bool
) -> Inputs:
    """Return images (``stride`` between pixels, ``image`` between images) behind a window."""
    pixels, points = _geometry(window, stride)
    return Inputs(
        bits, address, image, images, window.channels, pixels, points,
        images * window.terms() * window.channels, limit, images * window.positions, window.depth,
        pixels.size == 1 and not pixels[0, 0],
    )  # fmt: skip
