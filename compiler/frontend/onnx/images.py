"""Operators that rearrange images: other sizes, channels to pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.axes import norm_axis
from snncc.compiler.frontend.flat.flat import (
    I64,
    Arr,
    Val,
    attr_float,
    attr_int,
    attr_ints,
    attr_str,
)
from snncc.compiler.frontend.onnx.build import Bound, Call, GraphBuilder, rule


def _reshape(b: GraphBuilder, c: Call, x: Val, shape: Sequence[int]) -> Val:
    return c.add("Reshape", [x, b.const(np.array(shape, I64))])[0]


def _ratios(b: GraphBuilder, c: Call, x: Val) -> tuple[list[float], list[int]]:
    """Return by how much each axis grows, and its new length."""
    scales, sizes = c.optional(2), c.optional(3)
    if c.proto.op_type == "Upsample" or b.opset < 11:
        scales, sizes = c.optional(1), None
    given = c.attrs.get("scales")  # Upsample before opset 9
    region = attr_str(c.attrs, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    policy = attr_str(c.attrs, "keep_aspect_ratio_policy", "stretch")
    if (
        region
        or policy != "stretch"
        or attr_int(c.attrs, "exclude_outside", 0)
        or (attr_int(c.attrs, "antialias", 0))
    ):
        fail("E0104", f"{c.proto.op_type} of a region, antialiased, or that keeps the aspect ratio",
             b.where(c.name), help="give scales or sizes for the whole tensor")  # fmt: skip
    axes = attr_ints(c.attrs, "axes", tuple(range(len(x.shape))))
    ratios, lengths = [1.0] * len(x.shape), list(x.shape)
    chosen = sizes if sizes is not None and sizes.size else scales
    if chosen is not None and chosen.const is None:
        fail("E0104", "Resize to a size that is no constant", b.where(c.name))
    numbers = list(cast("tuple[float, ...]", given)) if isinstance(given, tuple) else []
    if chosen is not None and chosen.const is not None:
        numbers = chosen.const.tolist()
    for axis, value in zip((norm_axis(a, len(x.shape)) for a in axes), numbers, strict=True):
        if chosen is sizes and sizes is not None:
            ratios[axis], lengths[axis] = value / x.shape[axis], int(value)
        else:
            ratios[axis], lengths[axis] = float(value), math.floor(value * x.shape[axis])
    return ratios, lengths


@rule("Resize")
@rule("Upsample")
def resize(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Each axis on its own: pixels repeated, or a product with the matrix of weights."""
    x = c.val(0)
    ratios, lengths = _ratios(b, c, x)
    nearest = attr_str(c.attrs, "mode", "nearest") == "nearest"
    for axis in [a for a, r in enumerate(ratios) if r != 1.0]:
        whole = ratios[axis] >= 1 and abs(ratios[axis] - round(ratios[axis])) <= 1e-6
        n, size = x.shape[axis], lengths[axis]
        weights = _weights(b, c, n, size, ratios[axis])
        if nearest and whole and np.array_equal(weights, np.repeat(np.eye(n), size // n, 1)):
            x = _repeated(b, c, x, axis, size // n)
        elif (weights.max(0) == 1.0).all():
            picked = b.const(weights.argmax(0).astype(np.int64))
            x = c.add("Gather", [x, picked], {"axis": axis})[0]
        else:
            x = _along(c, x, axis, b.const(weights.astype(x.dtype)))
    return [x]


def _repeated(b: GraphBuilder, c: Call, x: Val, axis: int, times: int) -> Val:
    """Repeat every entry of an axis."""
    shape = x.shape
    split = (*shape[: axis + 1], 1, *shape[axis + 1 :])
    wide = (*shape[: axis + 1], times, *shape[axis + 1 :])
    pixels = c.one("Expand", _reshape(b, c, x, split), c.ints(*wide))
    return _reshape(b, c, pixels, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))


def _along(c: Call, x: Val, axis: int, weights: Val) -> Val:
    """Multiply an axis by a matrix [old, new]."""
    last = len(x.shape) - 1
    if axis == last:
        return c.one("MatMul", x, weights)
    perm = tuple(last if a == axis else axis if a == last else a for a in range(last + 1))
    turned = c.one("MatMul", c.one("Transpose", x, perm=perm), weights)
    return c.one("Transpose", turned, perm=perm)


def _weights(b: GraphBuilder, c: Call, n: int, size: int, ratio: float) -> Arr:
    """Return how much of each of ``n`` pixels each of ``size`` new ones has, [n, size]."""
    default = "half_pixel" if b.opset > 10 else "asymmetric"
    where = attr_str(c.attrs, "coordinate_transformation_mode", default)
    i = np.arange(size, dtype=np.float64)
    places: dict[str, Arr] = {
        "asymmetric": i / ratio,
        "align_corners": i * ((n - 1) / max(size - 1, 1)),
        "half_pixel": (i + 0.5) / ratio - 0.5,
        "pytorch_half_pixel": (i + 0.5) / ratio - 0.5 if size > 1 else 0 * i,
        "half_pixel_symmetric": n / 2 * (1 - size / (n * ratio)) + (i + 0.5) / ratio - 0.5,
    }
    mode = attr_str(c.attrs, "mode", "nearest")
    kernels = {"linear": _linear, "cubic": _cubic(attr_float(c.attrs, "cubic_coeff_a", -0.75))}
    if where not in places or (mode != "nearest" and mode not in kernels):
        fail("E0104", f"{c.proto.op_type} of mode {mode} with {where}", b.where(c.name),
             help="supported: nearest, linear and cubic")  # fmt: skip
    at = places[where]
    out = np.zeros((n, size))
    if mode == "nearest":
        how = attr_str(c.attrs, "nearest_mode", "round_prefer_floor" if b.opset > 10 else "floor")
        rounded = {
            "floor": np.floor(at),
            "ceil": np.ceil(at),
            "round_prefer_floor": np.ceil(at - 0.5),
            "round_prefer_ceil": np.floor(at + 0.5),
        }[how]
        out[np.clip(rounded, 0, n - 1).astype(int), np.arange(size)] = 1.0
        return out
    low = np.floor(at)
    for tap in range(-1, 3):
        share = kernels[mode](np.abs(at - low - tap))
        pixel = np.clip(low + tap, 0, n - 1).astype(int)
        np.add.at(out, (pixel, np.arange(size)), share)
    return out


def _linear(d: Arr) -> Arr:
    """Weight of a pixel at a distance."""
    return np.asarray(np.maximum(1 - d, 0))


def _cubic(a: float) -> Callable[[Arr], Arr]:
    """Keys' kernel with the coefficient ``a``."""

    def weight(d: Arr) -> Arr:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = a * (((d - 5) * d + 8) * d - 4)
        return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0.0)))

    return weight


@rule("DepthToSpace")
def depth_to_space(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Blocks of channels become blocks of pixels."""
    x, r = c.val(0), attr_int(c.attrs, "blocksize", 1)
    n, channels, h, w = x.shape
    out = channels // (r * r)
    if attr_str(c.attrs, "mode", "DCR") == "DCR":
        shape, perm = (n, r, r, out, h, w), (0, 3, 4, 1, 5, 2)
    else:
        shape, perm = (n, out, r, r, h, w), (0, 1, 4, 2, 5, 3)
    turned = c.add("Transpose", [_reshape(b, c, x, shape)], {"perm": perm})[0]
    return [_reshape(b, c, turned, (n, out, h * r, w * r))]
