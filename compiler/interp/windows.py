"""Convolution and pooling on arrays [N, C, spatial...]: im2col in the canonical order.

The reduced index of a convolution is ordered: channels in blocks of 16, then kernel row, kernel
column, channel within the block.  Padding contributes zeros, and a zero selects nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from snncc.compiler.interp.numerics import Array, Numerics
from snncc.compiler.ir.build import Attrs, flag, integer, ints, text

BLOCK = 16


@dataclass(frozen=True)
class ArrayWindow:
    """Kernel size, stride, padding (begins, ends) and dilation per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, kernel: tuple[int, ...], attrs: Attrs, dilated: bool = True) -> ArrayWindow:
        """Read from attributes."""
        n = len(kernel)
        return cls(
            kernel,
            ints(attrs, "stride", (1,) * n),
            ints(attrs, "padding", (0,) * (2 * n)),
            ints(attrs, "dilation", (1,) * n) if dilated else (1,) * n,
        )

    def output(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output size per axis."""
        n = len(size)
        return tuple(
            (size[i] + self.padding[i] + self.padding[n + i] - self.dilation[i]
             * (self.kernel[i] - 1) - 1) // self.stride[i] + 1
            for i in range(n)
        )  # fmt: skip

    def taps(self) -> Iterator[tuple[int, ...]]:
        """Yield the kernel positions, row-major."""
        return itertools.product(*map(range, self.kernel))


def _framed(x: Array, low: Sequence[int], high: Sequence[int]) -> Array:
    """Pad the spatial axes with zeros; negative amounts cut."""
    widths = [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True))]
    padded = np.pad(x, widths) if any(map(any, widths)) else x
    cut = tuple(
        slice(max(-a, 0), padded.shape[2 + i] - max(-b, 0))
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    )
    return np.asarray(padded[(slice(None), slice(None), *cut)])


def tap_views(x: Array, win: ArrayWindow, out: tuple[int, ...]) -> Iterator[Array]:
    """Yield for every tap the view [N, C, out...] of the input under it."""
    n = len(out)
    framed = _framed(x, list(win.padding[:n]), list(win.padding[n:]))
    for tap in win.taps():
        index = tuple(
            slice(k * d, k * d + (o - 1) * s + 1, s)
            for k, d, o, s in zip(tap, win.dilation, out, win.stride, strict=True)
        )
        yield framed[(slice(None), slice(None), *index)]


def _columns(views: list[Array]) -> Array:
    """[taps][N, C, P...] -> [N*P, K] in canonical order."""
    n, c = views[0].shape[:2]
    parts: list[Array] = []
    for lo in range(0, c, BLOCK):
        for view in views:
            part = view[:, lo : lo + BLOCK].reshape(n, min(BLOCK, c - lo), -1)
            parts.append(part.transpose(0, 2, 1))
    cols = np.concatenate(parts, axis=2)
    return cols.reshape(-1, cols.shape[2])


def _weights(w: Array) -> Array:
    """[O, C, k...] -> [K, O] in canonical order."""
    o, c = w.shape[:2]
    flat = w.reshape(o, c, -1)
    parts = [
        flat[:, lo : lo + BLOCK].transpose(2, 1, 0).reshape(-1, o) for lo in range(0, c, BLOCK)
    ]
    return np.concatenate(parts, axis=0)


def _unweights(m: Array, shape: tuple[int, ...]) -> Array:
    """Undo _weights: [K, O] -> [O, C, k...]."""
    o, c = shape[:2]
    taps = int(np.prod(shape[2:]))
    out = np.empty((o, c, taps), m.dtype)
    at = 0
    for lo in range(0, c, BLOCK):
        width = min(BLOCK, c - lo)
        part = m[at : at + taps * width].reshape(taps, width, o)
        out[:, lo : lo + width] = part.transpose(2, 1, 0)
        at += taps * width
    return out.reshape(shape)


def _images(flat: Array, n: int, size: tuple[int, ...]) -> Array:
    """[N*P, O] -> [N, O, size...]."""
    return np.ascontiguousarray(flat.reshape(n, -1, flat.shape[1]).transpose(0, 2, 1)).reshape(
        n, flat.shape[1], *size
    )


def conv(num: Numerics, x: Array, w: Array, bias: Array | None, attrs: Attrs) -> Array:
    """y[o,p] = bias[o] + sum x[c, stride*p + dilation*k - padding] * w[o,c,k]."""
    win = ArrayWindow.of(w.shape[2:], attrs)
    groups = int(x.shape[1] // w.shape[1])
    out, per = win.output(x.shape[2:]), w.shape[0] // groups
    parts: list[Array] = []
    for g in range(groups):
        part = x[:, g * w.shape[1] : (g + 1) * w.shape[1]]
        own = slice(g * per, (g + 1) * per)
        cols = _columns(list(tap_views(part, win, out)))
        flat = num.mac(cols, _weights(w[own]), None if bias is None else bias[own])
        parts.append(_images(flat, x.shape[0], out))
    return parts[0] if groups == 1 else np.concatenate(parts, axis=1)


def conv_dx(
    num: Numerics, g: Array, w: Array, bias: Array | None, attrs: Attrs, size: tuple[int, ...]
) -> Array:
    """Gather form of the transposed convolution: reduced index = out channel, then tap."""
    win = ArrayWindow.of(w.shape[2:], attrs)
    n, groups = len(size), integer(attrs, "groups", 1)
    per = w.shape[0] // groups
    spread = np.zeros(
        (*g.shape[:2], *((o - 1) * s + 1 for o, s in zip(g.shape[2:], win.stride, strict=True))),
        g.dtype,
    )
    spread[(slice(None), slice(None), *(slice(None, None, s) for s in win.stride))] = g
    # Tap k of input position i reads spread[i + pad - dilation*k].
    low = [(win.kernel[i] - 1) * win.dilation[i] - win.padding[i] for i in range(n)]
    high = [size[i] - spread.shape[2 + i] + win.padding[i] for i in range(n)]
    framed = _framed(spread, low, high)
    parts: list[Array] = []
    for gi in range(groups):
        own = framed[:, gi * per : (gi + 1) * per]
        views: list[Array] = []
        for tap in win.taps():
            first = [(win.kernel[i] - 1 - tap[i]) * win.dilation[i] for i in range(n)]
            index = tuple(slice(f, f + s) for f, s in zip(first, size, strict=True))
            views.append(own[(slice(None), slice(None), *index)])
        wg = np.moveaxis(w[gi * per : (gi + 1) * per], 0, 1)  # [C, O, k]: C is what comes out
        cut = slice(gi * wg.shape[0], (gi + 1) * wg.shape[0])
        flat = num.mac(_columns(views), _weights(wg), None if bias is None else bias[cut])
        parts.append(_images(flat, g.shape[0], size))
    return parts[0] if groups == 1 else np.concatenate(parts, axis=1)


def conv_dw(num: Numerics, x: Array, g: Array, attrs: Attrs, shape: tuple[int, ...]) -> Array:
    """Weight gradient; the rows of ``x`` and ``g`` come in the canonical order."""
    win = ArrayWindow.of(shape[2:], attrs)
    groups = int(x.shape[1] // shape[1])
    per = shape[0] // groups
    parts: list[Array] = []
    for gi in range(groups):
        part = x[:, gi * shape[1] : (gi + 1) * shape[1]]
        own = g[:, gi * per : (gi + 1) * per]
        cols = _columns(list(tap_views(part, win, g.shape[2:])))
        rows = np.moveaxis(own.reshape(*own.shape[:2], -1), 1, 2).reshape(-1, per)
        parts.append(_unweights(num.mac(cols.T, rows), (per, *shape[1:])))
    return parts[0] if groups == 1 else np.concatenate(parts, axis=0)


def _counts(win: ArrayWindow, x: Array, out: tuple[int, ...], attrs: Attrs) -> Array | int:
    """Number of elements that an average divides by."""
    if flag(attrs, "count_pad", True) or not any(win.padding):
        return int(np.prod(win.kernel))
    ones = np.ones((1, 1, *x.shape[2:]), np.int64)
    return np.asarray(np.sum(list(tap_views(ones, win, out)), axis=0))


def pool(num: Numerics, x: Array, attrs: Attrs) -> Array:
    """Max, mean or sum over windows; taps row-major, sums in f32."""
    win = ArrayWindow.of(ints(attrs, "kernel"), attrs, dilated=False)
    out, kind = win.output(x.shape[2:]), text(attrs, "kind")
    if kind == "max":
        if x.dtype == np.bool_:
            return np.asarray(np.logical_or.reduce(list(tap_views(x, win, out))))
        n = len(out)
        low = _framed(np.zeros_like(x), list(win.padding[:n]), list(win.padding[n:]))
        inside = _framed(np.ones_like(x), list(win.padding[:n]), list(win.padding[n:]))
        low = np.where(
            inside > 0, _framed(x, list(win.padding[:n]), list(win.padding[n:])), -np.inf
        )
        bare = ArrayWindow(win.kernel, win.stride, (0,) * (2 * n), win.dilation)
        best: Array | None = None
        for view in tap_views(low.astype(x.dtype), bare, out):
            best = view if best is None else num.binary("max", best, view, "f16")
        assert best is not None
        return best
    total = num.total(np.stack(list(tap_views(num.number(x), win, out))))
    if kind == "avg":
        total = total / np.asarray(_counts(win, x, out, attrs), num.real)
    return num.round(total, "f16")


def pool_dx(
    num: Numerics, g: Array, x: Array | None, y: Array | None, attrs: Attrs,
    size: tuple[int, ...],
) -> Array:  # fmt: skip
    """Gradient of pooling: f32 sums over the taps that cover a position, taps ascending."""
    win = ArrayWindow.of(ints(attrs, "kernel"), attrs, dilated=False)
    n, out, kind = len(size), g.shape[2:], text(attrs, "kind")
    pad = win.padding
    full = np.zeros(
        (*g.shape[:2], *(s + pad[i] + pad[n + i] for i, s in enumerate(size))), num.real
    )
    share = num.round(g, "f32")
    if kind == "avg":
        dummy = np.zeros((1, 1, *size))
        share = share / np.asarray(_counts(win, dummy, out, attrs), num.real)
    taken = np.zeros(g.shape, np.bool_)
    framed: Array | None = None
    real = np.ones((1, 1, *size), np.bool_)
    if kind == "max":
        assert x is not None
        assert y is not None
        framed = _framed(x, list(pad[:n]), list(pad[n:]))
        real = _framed(real, list(pad[:n]), list(pad[n:]))
    for tap in win.taps():
        index = (slice(None), slice(None), *(
            slice(k, k + (o - 1) * s + 1, s)
            for k, o, s in zip(tap, out, win.stride, strict=True)
        ))  # fmt: skip
        part = share
        if framed is not None:
            first = (framed[index] == y) & ~taken & real[index]
            taken |= first
            part = np.where(first, share, np.asarray(0, num.real))
        full[index] += part
    cut = tuple(slice(pad[i], pad[i] + s) for i, s in enumerate(size))
    return num.round(full[(slice(None), slice(None), *cut)], "f16")
