"""Axes, sizes and windows of ONNX operators, normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from snncc.compiler.frontend.flat.flat import (
    OperatorNode,
    Shape,
    Val,
    attr_int,
    attr_ints,
    attr_str,
)
from snncc.isa.numbers.integers import ceil_div


def const_ints(v: Val) -> tuple[int, ...]:
    """Return a constant integer tensor as a tuple."""
    if v.const is None:
        raise ValueError(f"{v.name or 'an input'} must be a constant")
    return tuple(int(i) for i in np.asarray(v.const).ravel())


def axes_of(node: OperatorNode, i: int = 1, key: str = "axes") -> tuple[int, ...] | None:
    """Return the axes of an operator: an input since opset 13, an attribute before."""
    if i < len(node.ins) and node.ins[i] is not None:
        return const_ints(node.val(i))
    return attr_ints(node.attrs, key) if node.attrs.get(key) is not None else None


def norm_axis(axis: int, rank: int) -> int:
    """Return a non-negative axis."""
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} does not fit rank {rank}")
    return axis + rank if axis < 0 else axis


def pool_out(node: OperatorNode, kernel: Sequence[int]) -> Shape:
    """Return the spatial output size of convolution and pooling."""
    x, at = node.val(0).shape, node.attrs
    n = len(kernel)
    if len(x) != n + 2:
        raise ValueError(f"input {list(x)} does not fit a kernel of rank {n}")
    strides, dil = attr_ints(at, "strides", (1,) * n), attr_ints(at, "dilations", (1,) * n)
    pads = padding(node, kernel)
    ceil = attr_int(at, "ceil_mode", 0)
    out: list[int] = []
    for i in range(n):
        span = x[2 + i] + pads[i] + pads[n + i] - dil[i] * (kernel[i] - 1) - 1
        if span < 0 or strides[i] < 1:
            raise ValueError(f"kernel {list(kernel)} is larger than the padded input {list(x)}")
        size = (ceil_div(span, strides[i]) if ceil else span // strides[i]) + 1
        if ceil and (size - 1) * strides[i] >= x[2 + i] + pads[i]:
            size -= 1
        out.append(size)
    return tuple(out)


def padding(node: OperatorNode, kernel: Sequence[int]) -> tuple[int, ...]:
    """Return begins then ends, with auto_pad resolved."""
    at, n = node.attrs, len(kernel)
    auto = attr_str(at, "auto_pad", "NOTSET")
    if auto == "NOTSET":
        return attr_ints(at, "pads", (0,) * (2 * n))
    if auto == "VALID":
        return (0,) * (2 * n)
    x = node.val(0).shape
    strides, dil = attr_ints(at, "strides", (1,) * n), attr_ints(at, "dilations", (1,) * n)
    low: list[int] = []
    high: list[int] = []
    for i in range(n):
        out = ceil_div(x[2 + i], strides[i])
        total = max(0, (out - 1) * strides[i] + dil[i] * (kernel[i] - 1) + 1 - x[2 + i])
        small = total // 2
        low.append(small if auto == "SAME_UPPER" else total - small)
        high.append(total - low[-1])
    return (*low, *high)


def pad_widths(node: OperatorNode) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return begins and ends per axis of a Pad."""
    x = node.val(0)
    if len(node.ins) > 1:
        pads = const_ints(node.val(1))
    else:
        pads = attr_ints(node.attrs, "pads")
    rank = len(x.shape)
    axes = axes_of(node, 3) if len(node.ins) > 3 else None
    low, high = [0] * rank, [0] * rank
    for i, a in enumerate(axes if axes is not None else range(rank)):
        low[norm_axis(a, rank)] = pads[i]
        high[norm_axis(a, rank)] = pads[len(pads) // 2 + i]
    return tuple(low), tuple(high)


def _pad_by(mode: Literal["reflect", "edge", "wrap"]) -> Callable[[int, int, int], list[int]]:
    def entries(size: int, low: int, high: int) -> list[int]:
        return [int(i) for i in np.pad(np.arange(size), (low, high), mode)]

    return entries


PAD_MODES = {"reflect": _pad_by("reflect"), "edge": _pad_by("edge"), "wrap": _pad_by("wrap")}
"""Modes of Pad that repeat entries: from size, begin and end of an axis to the entries taken."""
