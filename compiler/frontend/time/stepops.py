"""From ONNX operators to the operators of the rolled graph.

The rolled graph knows the element-wise operators under their ONNX names and View (any reshape),
Transpose, Slice, Take, Expand, Concat, Pad, Gemm, MatMul, Conv, ConvTranspose, Pool, BatchNorm,
Softmax, FirstMaximum, Reduce, Dropout.  Their attributes are normalised here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from snncc.compiler.frontend.flat.axes import (
    axes_of,
    norm_axis,
    pad_widths,
    padding,
    pool_out,
)
from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import (
    AttrValue,
    OperatorNode,
    Val,
    attr_float,
    attr_int,
    attr_ints,
)
from snncc.compiler.frontend.flat.shapes import (
    MOVES,
    REDUCES,
    slice_spec,
)
from snncc.compiler.frontend.time.timing import ALONG, RESHAPES, Lay, index_of

if TYPE_CHECKING:
    from snncc.compiler.frontend.time.rolled import RNode

ONE_OPERAND = MOVES | REDUCES | {"Gather", "Tile", "Pad", "Dropout"}


def data_operands(node: OperatorNode) -> list[int]:
    """Return the numbers of the operands that carry data (not shapes, axes or indices)."""
    if node.op in ONE_OPERAND:
        return [0]
    return [i for i, v in enumerate(node.ins) if v is not None]


def _window(node: OperatorNode, kernel: Sequence[int]) -> dict[str, AttrValue]:
    n, at = len(kernel), node.attrs
    pads = list(padding(node, kernel))
    if attr_int(at, "ceil_mode", 0):
        x = node.val(0).shape
        strides, dil = attr_ints(at, "strides", (1,) * n), attr_ints(at, "dilations", (1,) * n)
        for i, size in enumerate(pool_out(node, kernel)):
            need = (size - 1) * strides[i] + dil[i] * (kernel[i] - 1) + 1
            pads[n + i] = max(pads[n + i], need - x[2 + i] - pads[i])
    return {
        "strides": attr_ints(at, "strides", (1,) * n),
        "dilations": attr_ints(at, "dilations", (1,) * n),
        "pads": tuple(pads),
        "extra": tuple(p - q for p, q in zip(pads, padding(node, kernel), strict=True)),
    }


def convert(p: RNode, v: Val, ins: Sequence[RNode], lay: Lay | None = None) -> None:
    """Fill a node of the rolled graph from the operator of a value.

    ``lay``: the value holds all steps along this axis; ``p.shape`` is the shape of one step.
    """
    node = v.node
    assert node is not None
    op, at, rank = node.op, node.attrs, len(v.shape)
    p.ins = list(ins)
    p.val = v
    if op in ELEMENTWISE:
        p.op, p.attrs = op, dict(at)
    elif op in RESHAPES:
        p.op = "View"
    elif op == "Transpose":
        p.op = "Transpose"
        p.attrs = {"perm": attr_ints(at, "perm", tuple(reversed(range(rank))))}
    elif op in ("Slice", "Split", "Gather"):
        _piece(p, v, node)
    elif op in ("Expand", "Tile"):
        _expand(p, v, node)
    elif op == "Concat":
        p.op, p.attrs = "Concat", {"axis": norm_axis(attr_int(at, "axis", 0), rank)}
    elif op == "Pad":
        low, high = pad_widths(node)
        value = node.ins[2].const if len(node.ins) > 2 and node.ins[2] is not None else None
        fill = float(value.item()) if value is not None else attr_float(at, "value", 0.0)
        mode = at.get("mode", "constant")
        p.op, p.attrs = "Pad", {"low": low, "high": high, "value": fill, "mode": mode}
    elif op in REDUCES:
        axes = axes_of(node) or tuple(range(len(node.val(0).shape)))
        p.op = "Reduce"
        p.attrs = {
            "kind": op[6:].lower(),
            "axes": tuple(sorted(norm_axis(a, len(node.val(0).shape)) for a in axes)),
            "keepdims": attr_int(at, "keepdims", 1),
        }
    elif op in ALONG:
        p.op, p.attrs = op, {**at, "axis": norm_axis(attr_int(at, "axis", -1), rank)}
    elif op == "Conv":
        kernel = node.val(1).shape[2:]
        p.op, p.attrs = "Conv", {**_window(node, kernel), "group": attr_int(at, "group", 1)}
    elif op in ("MaxPool", "AveragePool"):
        kernel = attr_ints(at, "kernel_shape")
        kind = "max" if op == "MaxPool" else "avg"
        count = attr_int(at, "count_include_pad", 0)
        p.op = "Pool"
        p.attrs = {**_window(node, kernel), "kind": kind, "kernel": kernel, "count_pad": count}
    elif op in ("GlobalAveragePool", "GlobalMaxPool"):
        axes = tuple(range(2, rank))
        kind = "mean" if op == "GlobalAveragePool" else "max"
        p.op, p.attrs = "Reduce", {"kind": kind, "axes": axes, "keepdims": 1}
    elif op == "LayerNormalization":
        axis = norm_axis(attr_int(at, "axis", -1), rank)
        p.op, p.attrs = op, {"axes": tuple(range(axis, rank)), "epsilon": at.get("epsilon", 1e-5)}
    elif op == "InstanceNormalization":
        p.op = op
        p.attrs = {"axes": tuple(range(2, rank)), "epsilon": at.get("epsilon", 1e-5)}
    elif op == "BatchNormalization":
        p.op, p.attrs = op, {**at, "all_steps": int(lay is not None)}
    else:
        p.op, p.attrs = op, dict(at)


def _piece(p: RNode, v: Val, node: OperatorNode) -> None:
    x = node.val(0)
    if node.op == "Slice":
        spec = [list(s) for s in slice_spec(node)]
        cut = [a for a, d in enumerate(x.shape) if spec[a] != [0, d, 1]]
        back = [a for a in cut if spec[a][2] < 0]
        if back and back == cut[:1] == cut:
            p.op, p.attrs = "Take", {"axis": back[0], "indices": tuple(range(*spec[back[0]]))}
            return
    else:
        index = index_of(v)
        if index is None:
            axis = norm_axis(attr_int(node.attrs, "axis", 0), len(x.shape))
            idx = node.val(1)
            if idx.const is None or len(idx.shape) != 1:
                raise ValueError("Gather with these indices is not supported")
            pick = tuple(int(i) % x.shape[axis] for i in np.asarray(idx.const).tolist())
            p.op, p.attrs = "Take", {"axis": axis, "indices": pick}
            return
        spec = [[0, d, 1] for d in x.shape]
        spec[index.axis] = [index.start, index.start + index.length, 1]
    # axes that are taken whole follow the operand's step shape
    full = [s == [0, d, 1] for s, d in zip(spec, x.shape, strict=True)]
    p.op = "Slice"
    p.attrs = {
        "starts": tuple(0 if f else s[0] for s, f in zip(spec, full, strict=True)),
        "ends": tuple(-1 if f else s[1] for s, f in zip(spec, full, strict=True)),
        "strides": tuple(s[2] for s in spec),
        "drop": len(v.shape) < len(x.shape),
    }


def _expand(p: RNode, v: Val, node: OperatorNode) -> None:
    x = node.val(0)
    if node.op == "Tile":
        shape = (1,) * (len(v.shape) - len(x.shape)) + x.shape
        whole = [d == o for d, o in zip(shape, v.shape, strict=True)]
        if not all(w or d == 1 for d, w in zip(shape, whole, strict=True)):
            p.op = "Tile"
            return
    p.op = "Expand"
