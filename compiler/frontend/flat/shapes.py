"""Result shapes (and, for the operators that only move data, values) of ONNX operators.

``infer`` returns shape and type of each output; ``fold`` computes outputs from constant inputs.
Both raise ValueError with a sentence for people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from snncc.compiler.frontend.flat.axes import (
    axes_of,
    const_ints,
    norm_axis,
    pad_widths,
    pool_out,
)
from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE, LOGICAL, evaluate
from snncc.compiler.frontend.flat.flat import (
    BOOL,
    I64,
    Arr,
    DType,
    OperatorNode,
    Shape,
    attr_dtype,
    attr_int,
    attr_ints,
    prod,
)
from snncc.isa.numbers.integers import ceil_div

MAX_FOLD = 1 << 26
REDUCERS: dict[str, Callable[..., Arr]] = {
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceMean": np.mean,
    "ReduceProd": np.prod,
}
ZERO: Arr = np.zeros(1, np.float32)
Out = tuple[Shape, DType]


def reshape_target(shape: Shape, wanted: Sequence[int], allowzero: bool) -> Shape:
    """Resolve 0 and -1 of a Reshape."""
    dims = [
        shape[i] if d == 0 and not allowzero and i < len(shape) else d for i, d in enumerate(wanted)
    ]
    if dims.count(-1) > 1 or any(d < -1 for d in dims):
        raise ValueError(f"reshape to {list(wanted)}")
    known = prod(tuple(d for d in dims if d != -1))
    if -1 in dims:
        if known == 0 or prod(shape) % known:
            raise ValueError(f"{list(shape)} cannot be reshaped to {list(wanted)}")
        dims[dims.index(-1)] = prod(shape) // known
    if prod(tuple(dims)) != prod(shape):
        raise ValueError(f"{list(shape)} cannot be reshaped to {list(wanted)}")
    return tuple(dims)


def slice_spec(node: OperatorNode) -> list[tuple[int, int, int]]:
    """Return (start, stop, step) per axis of a Slice, normalised as Python's slice does."""
    x = node.val(0)
    if len(node.ins) > 1:
        starts, ends = const_ints(node.val(1)), const_ints(node.val(2))
        axes = axes_of(node, 3) or tuple(range(len(starts)))
        steps = const_ints(node.val(4)) if len(node.ins) > 4 and node.ins[4] else (1,) * len(axes)
    else:
        starts, ends = attr_ints(node.attrs, "starts"), attr_ints(node.attrs, "ends")
        axes = attr_ints(node.attrs, "axes", tuple(range(len(starts))))
        steps = (1,) * len(axes)
    spec = [(0, d, 1) for d in x.shape]
    for s, e, a, p in zip(starts, ends, axes, steps, strict=True):
        a = norm_axis(a, len(x.shape))
        spec[a] = slice(s, e, p).indices(x.shape[a])
    return spec


def _conv(node: OperatorNode) -> list[Out]:
    x, w = node.val(0), node.val(1)
    kernel = w.shape[2:]
    return [((x.shape[0], w.shape[0], *pool_out(node, kernel)), x.dtype)]


def _conv_transpose(node: OperatorNode) -> list[Out]:
    x, w, at = node.val(0), node.val(1), node.attrs
    n = len(w.shape) - 2
    strides, dil = attr_ints(at, "strides", (1,) * n), attr_ints(at, "dilations", (1,) * n)
    pads, extra = attr_ints(at, "pads", (0,) * (2 * n)), attr_ints(at, "output_padding", (0,) * n)
    size = tuple(
        (x.shape[2 + i] - 1) * strides[i]
        + extra[i]
        + dil[i] * (w.shape[2 + i] - 1)
        + 1
        - pads[i]
        - pads[n + i]
        for i in range(n)
    )
    return [((x.shape[0], w.shape[1] * attr_int(at, "group", 1), *size), x.dtype)]


def _gemm(node: OperatorNode) -> list[Out]:
    a, b = node.val(0).shape, node.val(1).shape
    if len(a) != 2 or len(b) != 2:
        raise ValueError(f"Gemm of {list(a)} and {list(b)}")
    m, k = (a[1], a[0]) if attr_int(node.attrs, "transA", 0) else a
    n, k2 = b if attr_int(node.attrs, "transB", 0) else (b[1], b[0])
    if k != k2:
        raise ValueError(f"Gemm of {list(a)} and {list(b)}: {k} columns meet {k2} rows")
    return [((m, n), node.val(0).dtype)]


def _matmul(node: OperatorNode) -> list[Out]:
    a, b = node.val(0).shape, node.val(1).shape
    a2, b2 = (a if len(a) > 1 else (1, *a)), (b if len(b) > 1 else (*b, 1))
    if not a or not b or a2[-1] != b2[-2]:
        raise ValueError(f"MatMul of {list(a)} and {list(b)}")
    batch = np.broadcast_shapes(a2[:-2], b2[:-2])
    tail = (*((a2[-2],) if len(a) > 1 else ()), *((b2[-1],) if len(b) > 1 else ()))
    return [((*batch, *tail), node.val(0).dtype)]


def _reduce(node: OperatorNode) -> list[Out]:
    x = node.val(0)
    axes = axes_of(node)
    if not axes:
        if attr_int(node.attrs, "noop_with_empty_axes", 0):
            return [(x.shape, x.dtype)]
        axes = tuple(range(len(x.shape)))
    red = {norm_axis(a, len(x.shape)) for a in axes}
    keep = attr_int(node.attrs, "keepdims", 1)
    return [
        (tuple(1 if i in red else d for i, d in enumerate(x.shape) if keep or i not in red),
         x.dtype)
    ]  # fmt: skip


def _split_sizes(node: OperatorNode) -> tuple[int, list[int]]:
    x = node.val(0)
    axis = norm_axis(attr_int(node.attrs, "axis", 0), len(x.shape))
    if len(node.ins) > 1 and node.ins[1] is not None:
        sizes = list(const_ints(node.val(1)))
    elif node.attrs.get("split") is not None:
        sizes = list(attr_ints(node.attrs, "split"))
    else:
        n = attr_int(node.attrs, "num_outputs", attr_int(node.attrs, "_outputs", 1))
        each = ceil_div(x.shape[axis], n)
        sizes = [each] * (n - 1) + [x.shape[axis] - each * (n - 1)]
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise ValueError(f"Split of {x.shape[axis]} into {sizes}")
    return axis, sizes


def _moved(node: OperatorNode) -> list[Out]:
    """Operators that only move data: infer by a zero-stride dummy, no memory is used."""
    x = node.val(0)
    dummy = np.broadcast_to(np.zeros((), x.dtype), x.shape)
    return [(o.shape, x.dtype) for o in move(node, dummy)]


def move(node: OperatorNode, x: Arr) -> list[Arr]:
    """Evaluate a data-moving operator on an array."""
    op, at, rank = node.op, node.attrs, x.ndim
    if op == "Reshape":
        zero = bool(attr_int(at, "allowzero", 0))
        return [x.reshape(reshape_target(x.shape, const_ints(node.val(1)), zero))]
    if op == "Flatten":
        a = attr_int(at, "axis", 1)
        a = a + rank if a < 0 else a
        return [x.reshape(prod(x.shape[:a]), prod(x.shape[a:]))]
    if op == "Squeeze":
        axes = axes_of(node)
        drop = [i for i, d in enumerate(x.shape) if d == 1] if axes is None else axes
        return [np.squeeze(x, tuple(norm_axis(a, rank) for a in drop))]
    if op == "Unsqueeze":
        axes = axes_of(node) or ()
        return [np.expand_dims(x, tuple(norm_axis(a, rank + len(axes)) for a in axes))]
    if op == "Transpose":
        return [np.transpose(x, attr_ints(at, "perm", tuple(reversed(range(rank)))))]
    if op == "Slice":
        return [x[tuple(_py_slice(s, e, p) for s, e, p in slice_spec(node))]]
    if op == "Split":
        axis, sizes = _split_sizes(node)
        return list(np.split(x, np.cumsum(sizes)[:-1].tolist(), axis))
    if op == "Expand":
        target = np.broadcast_shapes(x.shape, const_ints(node.val(1)))
        return [np.broadcast_to(x, target)]
    raise ValueError(f"{op} is not a data movement")


def _py_slice(start: int, stop: int, step: int) -> slice:
    return slice(start, None if step < 0 and stop < 0 else stop, step)


def _tile(node: OperatorNode) -> list[Out]:
    x, reps = node.val(0), const_ints(node.val(1))
    return [(tuple(d * r for d, r in zip(x.shape, reps, strict=True)), x.dtype)]


def _gather(node: OperatorNode) -> list[Out]:
    x, idx = node.val(0), node.val(1)
    axis = norm_axis(attr_int(node.attrs, "axis", 0), len(x.shape))
    return [((*x.shape[:axis], *idx.shape, *x.shape[axis + 1 :]), x.dtype)]


def _concat(node: OperatorNode) -> list[Out]:
    vals = [node.val(i) for i in range(len(node.ins))]
    axis = norm_axis(attr_int(node.attrs, "axis", 0), len(vals[0].shape))
    first = list(vals[0].shape)
    for v in vals[1:]:
        same = len(v.shape) == len(first)
        if not same or any(v.shape[i] != first[i] for i in range(len(first)) if i != axis):
            raise ValueError(f"cannot join {[list(x.shape) for x in vals[:4]]} along axis {axis}")
    first[axis] = sum(v.shape[axis] for v in vals)
    return [(tuple(first), vals[0].dtype)]


def _pad(node: OperatorNode) -> list[Out]:
    x = node.val(0)
    low, high = pad_widths(node)
    return [(tuple(a + d + b for a, d, b in zip(low, x.shape, high, strict=True)), x.dtype)]


MOVES = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Expand"}
)
REDUCES = frozenset(REDUCERS)
SAME = frozenset(
    {
        "BatchNormalization",
        "Softmax",
        "Dropout",
        "LayerNormalization",
        "InstanceNormalization",
        "FirstMaximum",
    }
)


def supported(op: str) -> bool:
    """Whether an operator of the flat graph is known."""
    return op in ELEMENTWISE or op in MOVES or op in REDUCES or op in SAME or op in _INFER


def infer(node: OperatorNode) -> list[Out]:
    """Return shape and type of each output."""
    op = node.op
    if op in ELEMENTWISE:
        vals = [node.val(i) for i in range(len(node.ins))]
        dtype = BOOL if op in LOGICAL else vals[-1].dtype
        if op == "Cast":
            dtype = attr_dtype(node.attrs, "to")
        return [(tuple(np.broadcast_shapes(*(v.shape for v in vals))), dtype)]
    if op in MOVES:
        return _moved(node)
    if op in REDUCES:
        return _reduce(node)
    if op in SAME:
        return [(node.val(0).shape, node.val(0).dtype)]
    if op in _INFER:
        return _INFER[op](node)
    raise KeyError(op)


def _max_pool(node: OperatorNode) -> list[Out]:
    x = node.val(0)
    return [((*x.shape[:2], *pool_out(node, attr_ints(node.attrs, "kernel_shape"))), x.dtype)]


def _global_pool(node: OperatorNode) -> list[Out]:
    x = node.val(0)
    return [((*x.shape[:2], *(1 for _ in x.shape[2:])), x.dtype)]


def _const_shape(node: OperatorNode) -> list[Out]:
    value = node.attrs.get("value")
    dtype = cast("Arr", value).dtype if isinstance(value, np.ndarray) else np.dtype(np.float32)
    return [(const_ints(node.val(0)), dtype)]


def _range(node: OperatorNode) -> list[Out]:
    s, e, d = (node.val(i).const for i in range(3))
    if s is None or e is None or d is None or not d.item():
        raise ValueError("Range needs constants")
    return [((max(0, int(np.ceil((e.item() - s.item()) / d.item()))),), node.val(0).dtype)]


_INFER: dict[str, Callable[[OperatorNode], list[Out]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "AveragePool": _max_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "Shape": lambda n: [((len(_shape_of(n)),), I64)],
    "Size": lambda n: [((), I64)],
    "ConstantOfShape": _const_shape,
    "Range": _range,
    "Tile": _tile,
    "Gather": _gather,
    "Concat": _concat,
    "Pad": _pad,
}


def _shape_of(node: OperatorNode) -> Shape:
    shape = node.val(0).shape
    end = node.attrs.get("end")
    stop = int(end) if isinstance(end, int) else len(shape)
    return shape[attr_int(node.attrs, "start", 0) : stop]


def fold(node: OperatorNode) -> list[Arr] | None:
    """Return the outputs when they are known now, else None."""
    op = node.op
    if op == "Shape":
        return [np.array(_shape_of(node), np.int64)]
    if op == "Size":
        return [np.array(node.val(0).size, np.int64)]
    if any(v is not None and v.const is None for v in node.ins):
        return None
    if any(o.size > MAX_FOLD for o in node.outs):
        raise OverflowError(f"a constant of {max(o.size for o in node.outs)} elements")
    ins = [np.asarray(v.const) for v in node.ins if v is not None]
    at = node.attrs
    if op in ELEMENTWISE:
        return [evaluate(op, ins, at)]
    if op in MOVES:
        return move(node, ins[0])
    if op == "ConstantOfShape":
        value = at.get("value")
        fill = cast("Arr", value).reshape(-1)[:1] if isinstance(value, np.ndarray) else ZERO
        return [np.broadcast_to(fill, const_ints(node.val(0))).copy()]
    if op == "Range":
        return [np.arange(ins[0].item(), ins[1].item(), ins[2].item(), dtype=ins[0].dtype)]
    if op == "Gather":
        axis = norm_axis(attr_int(at, "axis", 0), ins[0].ndim)
        return [np.asarray(np.take(ins[0], ins[1], axis))]
    if op == "Concat":
        return [np.concatenate(ins, attr_int(at, "axis", 0))]
    if op == "Tile":
        return [np.tile(ins[0], ins[1])]
    if op in REDUCES:
        return [_fold_reduce(node, ins[0])]
    return None


def _fold_reduce(node: OperatorNode, x: Arr) -> Arr:
    axes = axes_of(node)
    if not axes and attr_int(node.attrs, "noop_with_empty_axes", 0):
        return x
    pick = tuple(norm_axis(a, x.ndim) for a in axes) if axes else None
    keep = bool(attr_int(node.attrs, "keepdims", 1))
    return np.asarray(REDUCERS[node.op](x, axis=pick, keepdims=keep)).astype(x.dtype)
