# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""How many inputs of an accumulation are active, counted where they lie.

A pixel that several taps read counts as often as it is read, so no patch has to be made.
"""

from __future__ import annotations

import numpy as np

from snncc.isasim.engines.kernels.bits import count_bits, load_bits16, load_word, nonzero16
from snncc.isasim.engines.kernels.kernel_cache import kernel


@kernel("UniTuple(int64, 2)(int64, int64, int64, int64, int64[:, ::1], int64)")
def count_inputs(bits, a, image, images, points, channels):
    """Return the inputs that are not zero, and the blocks of 16 channels of a tap with one."""
    low8, low4 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x000F000F000F000F)
    low2, low1 = np.uint64(0x0003000300030003), np.uint64(0x0001000100010001)
    active, blocks = 0, 0
    full, rest = channels // 16, channels % 16
    keep = (np.uint64(1) << np.uint64(rest)) - np.uint64(1)
    for i in range(images):
        for p in range(points.shape[0]):
            base, uses = a + i * image + points[p, 0], points[p, 1]
            ones, groups = 0, 0
            if bits:
                for q in range(full // 4):
                    word = load_word(base + 8 * q)
                    if word:
                        ones += count_bits(word)
                        word |= (word >> np.uint64(8)) & low8
                        word |= (word >> np.uint64(4)) & low4
                        word |= (word >> np.uint64(2)) & low2
                        groups += count_bits((word | (word >> np.uint64(1))) & low1)
                for q in range(full // 4 * 4, full):
                    word = load_bits16(base + 2 * q)
                    ones += count_bits(word)
                    groups += word != 0
                if rest:
                    word = load_bits16(base + 2 * full) & keep
                    ones += count_bits(word)
                    groups += word != 0
            else:
                for q in range(full):
                    found = count_bits(nonzero16(base + 32 * q))
                    ones += found
                    groups += found != 0
                found = 0
                for c in range(16 * full, channels):
                    found += (load_bits16(base + 2 * c) & np.uint64(0x7FFF)) != 0
                ones += found
                groups += found != 0
            active += ones * uses
            blocks += groups * uses
    return active, blocks
