"""Layers on plain arrays, as their textbook formulas: what the evaluators of texts compute with.

Written for any numpy number (float64, or the complex numbers of
:class:`snncc.compiler.validate.arithmetic.Smooth`) and apart from the compiler's interpreter, with
which the results are compared.  Samples are ``[N, C, spatial...]``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snncc.compiler.validate.arithmetic import Arithmetic, Array


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """How a kernel moves: one number per spatial axis; ``low`` and ``high`` are the padding."""

    stride: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1


def affine(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``y[..., o] = sum_i weight[o, i] * x[..., i] + bias[o]``."""
    y: Array = x @ weight.T
    return y if bias is None else y + bias


def per_channel(a: Array, rank: int) -> Array:
    """Give one number per channel the axes of ``rank`` spatial axes."""
    return a.reshape(-1, *(1,) * rank)


def padded(x: Array, low: Sequence[int], high: Sequence[int], fill: float = 0.0) -> Array:
    """Put ``fill`` around the spatial axes."""
    if not any(low) and not any(high):
        return x
    widths = [(0, 0), (0, 0), *zip(low, high, strict=True)]
    return np.pad(x, widths, constant_values=fill)


def _windows(x: Array, kernel: Sequence[int], window: SlidingWindow) -> Array:
    """``[N, C, positions..., kernel...]``: what lies under the kernel at each position."""
    rank = len(kernel)
    span = [d * (k - 1) + 1 for k, d in zip(kernel, window.dilation, strict=True)]
    views = sliding_window_view(x, span, axis=tuple(range(2, 2 + rank)))
    moves = tuple(slice(None, None, s) for s in window.stride)
    taps = tuple(slice(None, None, d) for d in window.dilation)
    found: Array = views[(slice(None), slice(None), *moves, *taps)]
    return found


def _tap(x: Array, tap: tuple[int, ...]) -> Array:
    """Return one position of the last axes."""
    index: Any = (..., *tap)
    found: Array = x[index]
    return found


def convolution(x: Array, weight: Array, bias: Array | None, window: SlidingWindow) -> Array:
    """``weight[O, C/groups, kernel...]`` slides over the padded samples."""
    rank = weight.ndim - 2
    views = _windows(padded(x, window.low, window.high), weight.shape[2:], window)
    inner, outer = weight.shape[1], weight.shape[0] // window.groups
    over = [1, *range(2 + rank, 2 + 2 * rank)]
    parts = [
        np.tensordot(
            views[:, g * inner : (g + 1) * inner],
            weight[g * outer : (g + 1) * outer],
            axes=(over, list(range(1, 2 + rank))),
        )
        for g in range(window.groups)
    ]
    y = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
    return y if bias is None else y + per_channel(bias, rank)


def transposed_convolution(
    x: Array, weight: Array, bias: Array | None, window: SlidingWindow, more: Sequence[int]
) -> Array:
    """Each input position adds ``weight[C, O/groups, kernel...]`` to the output around it.

    ``more`` is the output padding: what the output is longer at its end.
    """
    rank = weight.ndim - 2
    kernel, groups = weight.shape[2:], window.groups
    inner, outer = weight.shape[0] // groups, weight.shape[1]
    axes = list(zip(x.shape[2:], window.stride, window.dilation, kernel, strict=True))
    full = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in axes]
    full = [f + m for f, m in zip(full, more, strict=True)]
    y = np.zeros((x.shape[0], groups * outer, *full), np.result_type(x, weight))
    for tap in itertools.product(*map(range, kernel)):
        place = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, (n, s, d, _) in zip(tap, axes, strict=True)
        )
        for g in range(groups):
            own = slice(g * inner, (g + 1) * inner)
            part = np.tensordot(x[:, own], _tap(weight[own], tap), axes=([1], [0]))
            at = (slice(None), slice(g * outer, (g + 1) * outer), *place)
            y[at] += np.moveaxis(part, -1, 1)
    kept = tuple(slice(lo, f - hi) for lo, hi, f in zip(window.low, window.high, full, strict=True))
    y = y[(slice(None), slice(None), *kept)]
    return y if bias is None else y + per_channel(bias, rank)


def pooling(
    arithmetic: Arithmetic, x: Array, kind: str, kernel: Sequence[int], window: SlidingWindow
) -> Array:
    """Sum, mean (padding counts as zeros) or max (padding does not count) of each window."""
    rank = len(kernel)
    fill = -np.inf if kind == "max" else 0.0
    views = _windows(padded(x, window.low, window.high, fill), kernel, window)
    if kind != "max":
        total: Array = views.sum(axis=tuple(range(2 + rank, 2 + 2 * rank)))
        return total / float(np.prod(kernel)) if kind == "avg" else total
    taps = [_tap(views, tap) for tap in itertools.product(*map(range, kernel))]
    return largest(arithmetic, taps)


def largest(arithmetic: Arithmetic, parts: Sequence[Array]) -> Array:
    """The maximum of arrays of one shape."""
    best = parts[0]
    for part in parts[1:]:
        best = arithmetic.maximum(best, part)
    return best


def normalised(
    arithmetic: Arithmetic, x: Array, scale: Array, shift: Array, mean: Array, variance: Array,
    epsilon: float,
) -> Array:  # fmt: skip
    """Batch normalisation with given statistics; channels are axis 1."""
    rank = x.ndim - 2
    spread = arithmetic.function("rsqrt", variance + epsilon)
    centred = x - per_channel(mean, rank)
    return centred * per_channel(spread * scale, rank) + per_channel(shift, rank)


def over_time(layer: Callable[[Array], Array], x: Array, timed: bool) -> Array:
    """Apply a layer on ``[N, ...]`` to each time step of ``[T, N, ...]`` where ``timed``."""
    if not timed:
        return layer(x)
    y = layer(x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]))
    return y.reshape(x.shape[0], x.shape[1], *y.shape[1:])
