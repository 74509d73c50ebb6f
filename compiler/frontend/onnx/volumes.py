"""Convolution, pooling and batch normalisation over three axes, as operators over two.

The first of the three axes, D, moves beside the samples: [N, C, D, H, W] -> [N*D, C, H, W].  What a
kernel sees along D are slices, one for each of its entries, which stand beside each other as
channels (convolution) or are compared and added (pooling).  A kernel of one entry there leaves the
positions of D apart: where D holds the time steps, each step is convolved alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.axes import padding
from snncc.compiler.frontend.flat.flat import (
    AttrValue,
    OperatorNode,
    Val,
    attr_int,
    attr_ints,
)
from snncc.compiler.frontend.onnx.build import Bound, Call, GraphBuilder, rule


def _window(c: Call, kernel: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Return strides, dilations and pads (begins, then ends) of three axes."""
    node = OperatorNode(c.proto.op_type, tuple(c.optional(i) for i in range(len(c.ins))),
                        c.attrs, c.name, 0)  # fmt: skip
    ones = (1,) * len(kernel)
    strides = attr_ints(c.attrs, "strides", ones)
    return list(strides), list(attr_ints(c.attrs, "dilations", ones)), list(padding(node, kernel))


def _taps(
    c: Call, x: Val, count: int, stride: int, dilation: int, pads: tuple[int, int], fill: float
) -> list[Val]:
    """Return what each of ``count`` entries of a kernel sees along axis 2, one value for each."""
    if any(pads):
        frame = c.ints(0, 0, pads[0], 0, 0, 0, 0, pads[1], 0, 0)
        x = c.add("Pad", [x, frame, c.builder.scalar(fill, x.dtype)])[0]
    span = x.shape[2] - dilation * (count - 1)
    if span < 1:
        raise ValueError(f"the kernel is larger than the padded input {list(x.shape)}")
    if count == 1 and stride == 1:
        return [x]
    found: list[Val] = []
    for k in range(count):
        first = k * dilation
        bounds = (first, first + span, 2, stride)
        found.append(c.one("Slice", x, *(c.ints(b) for b in bounds)))
    return found


def _flat(c: Call, x: Val) -> Val:
    """[N, C, D, H, W] -> [N*D, C, H, W]."""
    n, channels, depth, height, width = x.shape
    turned = c.one("Transpose", x, perm=(0, 2, 1, 3, 4))
    return c.one("Reshape", turned, c.ints(n * depth, channels, height, width))


def _deep(c: Call, x: Val, n: int) -> Val:
    """[N*D, C, H, W] -> [N, C, D, H, W]."""
    rows, channels, height, width = x.shape
    parted = c.one("Reshape", x, c.ints(n, rows // n, channels, height, width))
    return c.one("Transpose", parted, perm=(0, 2, 1, 3, 4))


@rule("Conv")
def conv(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Over three axes: the slices along the first are channels of a convolution over two."""
    x, w = c.val(0), c.val(1)
    plain = [v for v in (x, w, c.optional(2)) if v is not None]
    if len(w.shape) != 5 or len(x.shape) != 5:
        return c.add("Conv", plain, c.attrs)
    out, per_group, depth, *area = w.shape
    strides, dilations, pads = _window(c, w.shape[2:])
    taps = _taps(c, x, depth, strides[0], dilations[0], (pads[0], pads[3]), 0.0)
    if depth > 1:  # [N, C, K, D, H, W]: channels outside, as in the kernel
        parts = [c.one("Unsqueeze", t, c.ints(2)) for t in taps]
        together = c.add("Concat", parts, {"axis": 2, "steps": 0})[0]
        n, channels, _, *rest = together.shape
        taps = [c.one("Reshape", together, c.ints(n, channels * depth, *rest))]
    kernel = c.one("Reshape", w, c.ints(out, per_group * depth, *area))
    attrs: dict[str, AttrValue] = {
        "strides": tuple(strides[1:]),
        "dilations": tuple(dilations[1:]),
        "pads": (pads[1], pads[2], pads[4], pads[5]),
        "group": attr_int(c.attrs, "group", 1),
        "kernel_shape": tuple(area),
    }
    y = c.add("Conv", [_flat(c, taps[0]), kernel, *plain[2:]], attrs)[0]
    return [_deep(c, y, x.shape[0])]


@rule("MaxPool")
def max_pool(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Over three axes: pooled over two, then the largest of the slices along the first."""
    return _pool(b, c, "MaxPool")


@rule("AveragePool")
def average_pool(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Over three axes: pooled over two, then the mean of the slices along the first."""
    return _pool(b, c, "AveragePool")


def _pool(b: GraphBuilder, c: Call, op: str) -> Sequence[Bound]:
    x, kernel = c.val(0), attr_ints(c.attrs, "kernel_shape")
    if len(kernel) != 3:
        return c.add(op, [x], c.attrs)
    strides, dilations, pads = _window(c, kernel)
    if attr_int(c.attrs, "ceil_mode", 0) or pads[0] or pads[3]:
        fail("E0104", f"{op} over three axes with ceil_mode, or with padding along the first",
             b.where(c.name), help="pad the input before")  # fmt: skip
    attrs: dict[str, AttrValue] = {
        "kernel_shape": kernel[1:],
        "strides": tuple(strides[1:]),
        "dilations": tuple(dilations[1:]),
        "pads": (pads[1], pads[2], pads[4], pads[5]),
        "count_include_pad": attr_int(c.attrs, "count_include_pad", 0),
    }
    y = _deep(c, c.add(op, [_flat(c, x)], attrs)[0], x.shape[0])
    taps = _taps(c, y, kernel[0], strides[0], dilations[0], (0, 0), 0.0)
    total = taps[0]
    for t in taps[1:]:
        total = c.one("Max" if op == "MaxPool" else "Add", total, t)
    if op == "AveragePool" and len(taps) > 1:
        total = c.one("Div", total, float(len(taps)))
    return [total]


@rule("BatchNormalization")
def batch_normalization(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Only the first output is used: running statistics belong to training."""
    x, rest = c.val(0), [c.val(i) for i in range(1, 5)]
    if len(x.shape) != 5:
        return c.add("BatchNormalization", [x, *rest], c.attrs)
    y = c.add("BatchNormalization", [_flat(c, x), *rest], c.attrs)[0]
    return [_deep(c, y, x.shape[0])]
