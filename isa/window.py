"""Window descriptors: which input position every tap of an output position reads.

Output position (oy, ox) and tap (ky, kx) read input position (sy, sx) of an image stack::

    sy = (oy*mul_h + base_h + ky*step_h) / div_h        sx likewise

if the division is exact and ``0 <= sy < in_h``; otherwise the tap is no term.  ``channels``
elements lie behind each other at every position.  The reduced index of a windowed accumulation is
ordered: channels in blocks of 16, then ky, then kx, then channel within the block.

===================  ======  ======  =========  =====
use                  mul     base    step       div
===================  ======  ======  =========  =====
convolution, pool    stride  -pad    dilation   1
their input          1       +pad    -dilation  stride
gradients
===================  ======  ======  =========  =====
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

BLOCK: Final = 16
"""Channels per block of the reduced index."""

Ints: TypeAlias = npt.NDArray[np.int64]


class Window(NamedTuple):
    """The operands of ``winsize`` and ``winmap``, in the order of their rows."""

    in_h: int
    in_w: int
    out_h: int
    out_w: int
    channels: int
    k_h: int
    k_w: int
    mul_h: int
    mul_w: int
    base_h: int
    base_w: int
    step_h: int
    step_w: int
    div_h: int
    div_w: int

    def problem(self) -> str:
        """Return what makes the window illegal, or nothing."""
        if min(self[:7]) > 0 and min(self[-2:]) > 0:
            return ""
        needed = self._asdict()
        for name in ("mul_h", "mul_w", "base_h", "base_w", "step_h", "step_w"):
            del needed[name]
        wrong = [f"{name} is {value}" for name, value in needed.items() if value < 1]
        return ", ".join(wrong)

    @property
    def taps(self) -> int:
        """Taps of an output position, those outside the input included."""
        return self.k_h * self.k_w

    @property
    def positions(self) -> int:
        """Output positions of an image."""
        return self.out_h * self.out_w

    @property
    def depth(self) -> int:
        """Length of the reduced index."""
        return self.taps * self.channels

    def rows(self) -> Ints:
        """Return the input row of [oy, ky], -1 for none."""
        return sources(
            self.in_h, self.out_h, self.k_h, self.mul_h, self.base_h, self.step_h, self.div_h
        )

    def columns(self) -> Ints:
        """Return the input column of [ox, kx], -1 for none."""
        return sources(
            self.in_w, self.out_w, self.k_w, self.mul_w, self.base_w, self.step_w, self.div_w
        )

    def touched(self) -> int:
        """Return the number of input positions that are read, per image."""
        rows, columns = (np.unique(part[part >= 0]).size for part in (self.rows(), self.columns()))
        return int(rows * columns)

    def terms(self) -> int:
        """Return the number of taps inside the input, over the output positions of an image."""
        return int((self.rows() >= 0).sum()) * int((self.columns() >= 0).sum())


@lru_cache(maxsize=64)
def sources(inputs: int, outputs: int, taps: int, mul: int, base: int, step: int, div: int) -> Ints:
    """Return, along one axis, the input index of every [output, tap]; -1 where there is none."""
    place = np.arange(outputs)[:, None] * mul + base + np.arange(taps) * step
    index = place // div
    inside = (index * div == place) & (index >= 0) & (index < inputs)
    found: Ints = np.where(inside, index, -1).astype(np.int64)
    return found


@lru_cache(maxsize=64)
def reduced(channels: int, taps: int) -> tuple[Ints, Ints]:
    """Return tap (ky * k_w + kx) and channel of each reduced index, in the canonical order."""
    tap: list[Ints] = []
    channel: list[Ints] = []
    for low in range(0, channels, BLOCK):
        width = min(BLOCK, channels - low)
        tap.append(np.repeat(np.arange(taps), width))
        channel.append(np.tile(np.arange(low, low + width), taps))
    return np.concatenate(tap), np.concatenate(channel)
