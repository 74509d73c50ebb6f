"""Random windowed instructions for the engine tests."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isa.window import Window
from snncc.isasim.engines import Resolved

if TYPE_CHECKING:
    from unit.isasim.engine_cases import Maker, Memory

F16, F32, BIT = 0, 1, 2
Place = tuple[int, int, int]


def random_window(r: random.Random, channels: int) -> Window:
    """Return a window: of a convolution, of its input gradient, or any legal one."""
    axes: list[tuple[int, int, int, int, int, int, int]] = []
    kind = r.choice(("conv", "conv", "gradient", "any"))
    for _ in range(2):
        k, stride, dilation = r.randint(1, 4), r.randint(1, 3), r.choice((1, 1, 2, 3))
        pad = r.randint(0, 3)
        small = r.randint(1, 9)
        large = max(1, (small - 1) * stride + dilation * (k - 1) + 1 - 2 * pad + r.randint(0, 2))
        if kind == "conv":
            axes.append((large, small, k, stride, -pad, dilation, 1))
        elif kind == "gradient":
            axes.append((small, large, k, 1, pad, -dilation, stride))
        else:
            axes.append(
                (
                    r.randint(1, 9), r.randint(1, 9), k, r.randint(0, 3), r.randint(-9, 9),
                    r.randint(-3, 3), r.randint(1, 3),
                )
            )  # fmt: skip
    (h, oh, kh, mh, bh, sh, dh), (w, ow, kw, mw, bw, sw, dw) = axes
    return Window(h, w, oh, ow, channels, kh, kw, mh, mw, bh, bw, sh, sw, dh, dw)


def _stack(m: Maker, kind: int, window: Window, images: int, density: float) -> Place:
    """Reserve an image stack; between images there may be rows that belong to nothing."""
    rows = window.in_h * window.in_w + m.random.choice((0, 0, 1, 3))
    total = rows * images
    if kind == BIT:
        data = m.spikes(total, window.channels, density)
        start, stride = m.place(total, packed_bytes(window.channels), 2, data)
    elif kind == F16:
        data = m.halves(total, window.channels, 1 - density)
        start, stride = m.place(total, 2 * window.channels, 2, data)
    else:
        start, stride = m.place(total, 4 * window.channels, 4, m.floats(total, window.channels))
    return start, stride, rows * stride


def make_convolution(
    m: Maker, mnemonic: str, window: Window, images: int, n: int, density: float
) -> Resolved:
    """Return gaccw, macw, bmacw, gouterw or outerw."""
    r = m.random
    gated = mnemonic.startswith("g")
    rows, k = images * window.positions, window.depth
    a = _stack(m, BIT if gated else F16, window, images, density)
    values: tuple[int, ...]
    if "outer" in mnemonic:
        acc = m.place(k, 4 * n, 4, m.floats(k, n))
        g = m.place(rows, 2 * n, 2, m.halves(rows, n))
        values = (*acc, *a, *g, images, n, 0, r.randint(0, 1))
        values += () if gated else (r.randint(0, 1),)
    else:
        trans = not gated and r.random() < 0.5
        depth, width = (n, k) if trans else (k, n)
        bias, _ = m.place(1, 2 * n, 2, m.halves(1, n))
        acc = m.place(rows, 4 * n, 4, m.floats(rows, n))
        w = m.place(depth, 2 * width, 2, m.halves(depth, width))
        values = (*acc, *a, *w, images, n, bias, 0, r.randint(0, 2))
        values += () if gated else (r.randint(0, 1), int(trans))
    return Resolved(mnemonic, values, (tuple(window),))


def make_pool(m: Maker, window: Window, images: int, kind: int, red: int) -> Resolved:
    """Return pool."""
    x = _stack(m, kind, window, images, 0.4)
    size = {F16: 2 * window.channels, F32: 4 * window.channels, BIT: packed_bytes(window.channels)}
    out = F32 if red == 2 else BIT if red == 1 and kind == BIT else F16
    dst = m.place(images * window.positions, size[out], 4 if out == F32 else 2, None)
    return Resolved("pool", (*dst, *x, images, 0, kind, red), (tuple(window),))


def make_poolgrad(m: Maker, window: Window, images: int, kind: int) -> Resolved:
    """Return poolgrad; x and y hold few distinct values, so that they are often equal."""
    rows, channels = images * window.positions, window.channels
    inputs = window.in_h * window.in_w
    total = images * inputs

    def some(count: int) -> Memory:
        if kind == BIT:
            return m.spikes(count, channels, 0.5)
        values = np.array([0, 0x8000, 0x3C00, 0x7E00, 0x7C00], np.uint16)
        return m.numbers.choice(values, (count, channels)).astype(np.uint16).view(np.uint8)

    size = packed_bytes(channels) if kind == BIT else 2 * channels
    x, x_stride = m.place(total, size, 2, some(total))
    y = m.place(rows, size, 2, some(rows))
    g = m.place(rows, 2 * channels, 2, m.halves(rows, channels))
    dst, dst_stride = m.place(total, 2 * channels, 2, None)
    values = (
        dst, dst_stride, inputs * dst_stride, *g, x, x_stride, inputs * x_stride, *y, images, 0,
        kind,
    )  # fmt: skip
    return Resolved("poolgrad", values, (tuple(window),))


def make_transpose(m: Maker, rows: int, cols: int) -> Resolved:
    """Return transpose."""
    src = m.place(rows, 2 * cols, 2, m.halves(rows, cols))
    dst = m.place(cols, 2 * rows, 2, None)
    return Resolved("transpose", (*dst, *src, rows, cols))


def make_windowed(m: Maker, mnemonic: str, density: float) -> Resolved:
    """Return a random windowed instruction or transpose."""
    r = m.random
    if mnemonic == "transpose":
        return make_transpose(m, m.size(90), m.size(90))
    window = random_window(r, m.size(50))
    images = r.choice((0, 1, 1, 2, 3))
    if mnemonic == "pool":
        kind = r.choice((F16, F32, BIT))
        return make_pool(m, window, images, kind, r.randint(0, 2))
    if mnemonic == "poolgrad":
        return make_poolgrad(m, window, images, r.choice((F16, BIT)))
    return make_convolution(m, mnemonic, window, images, m.size(70), density)
