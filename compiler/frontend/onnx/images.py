"""Operators that rearrange images: enlarging by whole factors, channels to pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.flat import I64, Val, attr_int, attr_str
from snncc.compiler.frontend.onnx.build import Bound, Call, GraphBuilder, rule


def _reshape(b: GraphBuilder, c: Call, x: Val, shape: Sequence[int]) -> Val:
    return c.add("Reshape", [x, b.const(np.array(shape, I64))])[0]


def _factors(b: GraphBuilder, c: Call, x: Val) -> list[int]:
    """Return how many times each axis is repeated."""
    scales, sizes = c.optional(2), c.optional(3)
    if c.proto.op_type == "Upsample":
        scales, sizes = c.optional(1), None
    if sizes is not None and sizes.const is not None and sizes.size:
        ratios = [float(s) / d for s, d in zip(sizes.const.tolist(), x.shape, strict=True)]
    elif scales is not None and scales.const is not None and scales.size:
        ratios = [float(s) for s in scales.const.tolist()]
    else:
        fail("E0104", "Resize to a size that is no constant", b.where(c.name))
    if attr_str(c.attrs, "mode", "nearest") != "nearest" or any(
        r < 1 or abs(r - round(r)) > 1e-6 for r in ratios
    ):
        fail(
            "E0104",
            f"{c.proto.op_type} of mode {attr_str(c.attrs, 'mode', 'nearest')} by {ratios}",
            b.where(c.name),
            help="supported: mode nearest by whole factors",
        )
    return [round(r) for r in ratios]


@rule("Resize")
@rule("Upsample")
def resize(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Nearest neighbour by whole factors: every pixel is repeated."""
    x = c.val(0)
    factors = _factors(b, c, x)
    for axis in [a for a, f in enumerate(factors) if f > 1]:
        shape, f = x.shape, factors[axis]
        split = (*shape[: axis + 1], 1, *shape[axis + 1 :])
        wide = (*shape[: axis + 1], f, *shape[axis + 1 :])
        pixels = c.add("Expand", [_reshape(b, c, x, split), b.const(np.array(wide, I64))])[0]
        x = _reshape(b, c, pixels, (*shape[:axis], shape[axis] * f, *shape[axis + 1 :]))
    return [x]


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
