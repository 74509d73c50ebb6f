"""NIR layers without memory: their attributes and shapes in terms of the graph dialect."""

from __future__ import annotations

import math

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.nir.file import Array, NirNode
from snncc.compiler.frontend.nir.graph import NEURONS
from snncc.compiler.ir import infer
from snncc.compiler.ir.core import Attribute, Type, tensor

Shape = tuple[int, ...]
MATRICES = ("Linear", "Affine")
CONVOLUTIONS = ("Conv1d", "Conv2d")
POOLS = ("SumPool2d", "AvgPool2d")


def need(node: NirNode, key: str, where: str) -> Array:
    """Return an array that a node must have."""
    if key not in node.values:
        fail("E0105", f"{node.kind} lacks {key}", where)
    return node.values[key]


def whole(node: NirNode, key: str, count: int, default: int | None, where: str) -> Shape:
    """Return integers, one per spatial axis; a scalar stands for all."""
    array = node.values.get(key)
    if array is None or array.size == 0:
        if default is None:
            fail("E0105", f"{node.kind} lacks {key}", where)
        return (default,) * count
    values = array.reshape(-1)
    if values.size not in (1, count) or not np.all(values == np.floor(values)):
        fail("E0105", f"{key} is {values.tolist()}; {count} whole numbers are expected", where)
    found = tuple(int(v) for v in values)
    if max(map(abs, found)) > 1 << 20:
        fail("E0105", f"{key} is {found}", where)
    return found * count if len(found) == 1 else found


def conv_attributes(node: NirNode, where: str) -> dict[str, Attribute]:
    """Return the attributes of ``graph.conv``."""
    rank = 1 if node.kind == "Conv1d" else 2
    weight = need(node, "weight", where)
    if weight.ndim != rank + 2:
        fail("E0105", f"the weight has {weight.ndim} axes, {rank + 2} are expected", where)
    stride = whole(node, "stride", rank, 1, where)
    dilation = whole(node, "dilation", rank, 1, where)
    if min(stride) < 1 or min(dilation) < 1:
        fail("E0105", f"stride {stride}, dilation {dilation} must be positive", where)
    mode = node.texts.get("padding")
    if mode == "same":
        if any(s != 1 for s in stride):
            fail("E0105", "padding 'same' needs stride 1", where)
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = (*(t // 2 for t in total), *(t - t // 2 for t in total))
    elif mode == "valid":
        padding = (0,) * (2 * rank)
    elif mode is not None:
        fail("E0105", f"padding is {mode!r}; numbers, 'same' or 'valid' are expected", where)
    else:
        padding = whole(node, "padding", rank, 0, where) * 2
    return {
        "rank": rank,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": whole(node, "groups", 1, 1, where)[0],
    }


def pool_attributes(node: NirNode, where: str) -> dict[str, Attribute]:
    """Return the attributes of ``graph.pool``."""
    kernel = whole(node, "kernel_size", 2, None, where)
    stride = whole(node, "stride", 2, None, where) if "stride" in node.values else kernel
    if min(stride) < 1 or min(kernel) < 1:
        fail("E0105", f"kernel {kernel}, stride {stride} must be positive", where)
    attrs: dict[str, Attribute] = {
        "kind": "avg" if node.kind == "AvgPool2d" else "sum",
        "kernel": kernel,
        "stride": stride,
        "padding": whole(node, "padding", 2, 0, where) * 2,
    }
    if node.kind == "AvgPool2d":
        attrs["count_pad"] = True
    return attrs


def flat_shape(node: NirNode, shape: Shape, where: str) -> Shape:
    """Return the step shape after Flatten, whose axes do not count the batch."""
    sample = shape[1:]
    start = whole(node, "start_dim", 1, 1, where)[0]  # as in NIR itself
    end = whole(node, "end_dim", 1, -1, where)[0]
    start, end = (d + len(sample) if d < 0 else d for d in (start, end))
    if not 0 <= start <= end < len(sample):
        fail("E0105", f"Flatten from axis {start} to {end} of a sample of shape {sample}", where)
    return (shape[0], *sample[:start], math.prod(sample[start : end + 1]), *sample[end + 1 :])


def own_shape(node: NirNode) -> Shape:
    """Return the shape of a sample that a node's own parameters say it takes, () for none."""
    if node.kind in MATRICES and "weight" in node.values:
        return node.values["weight"].shape[1:]
    if node.kind in CONVOLUTIONS and {"weight", "input_shape"} <= node.values.keys():
        weight, sizes = node.values["weight"], node.values["input_shape"].reshape(-1)
        groups = node.values.get("groups", np.ones(1)).reshape(-1)
        if weight.ndim < 2 or not groups.size or sizes.size != weight.ndim - 2:
            return ()
        return (weight.shape[1] * int(groups[0]), *(int(n) for n in sizes))
    if node.kind in (*NEURONS, "Threshold", "Scale"):
        return max((a.shape for a in node.values.values()), key=len, default=())
    return ()


def result_shape(node: NirNode, shape: Shape, where: str) -> Shape:
    """Return the step shape (batch first) that a node makes of one."""
    x = tensor(shape)

    def weight(swap: bool = False) -> Type:
        array = need(node, "weight", where)
        return tensor(array.shape[::-1] if swap else array.shape)

    try:
        if node.kind in MATRICES:
            return infer.linear([x, weight(True)], {})[0].shape
        if node.kind in CONVOLUTIONS:
            return infer.conv([x, weight()], conv_attributes(node, where))[0].shape
        if node.kind in POOLS:
            return infer.pool([x], pool_attributes(node, where))[0].shape
    except (ValueError, IndexError) as error:
        fail("E0105", f"{node.kind}: {error}", where)
    return flat_shape(node, shape, where) if node.kind == "Flatten" else shape
