"""Where the time axis lies in the tensors of an unrolled or multi-step graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snncc.compiler.frontend.flat.axes import (
    axes_of,
    norm_axis,
    pad_widths,
    padding,
)
from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import (
    Arr,
    OperatorNode,
    Shape,
    Val,
    attr_int,
    attr_ints,
    prod,
)
from snncc.compiler.frontend.flat.shapes import (
    REDUCES,
    slice_spec,
)


@dataclass(frozen=True, slots=True)
class Lay:
    """The time axis: ``shape[axis] == outer * T * inner`` (inner > 1: steps outside samples)."""

    axis: int
    outer: int = 1
    inner: int = 1

    @property
    def pure(self) -> bool:
        """Whether the axis holds nothing but steps."""
        return self.outer == 1 and self.inner == 1


@dataclass(frozen=True, slots=True)
class Index:
    """A contiguous piece of one axis of ``base``; ``keep`` is False when the axis vanishes."""

    base: Val
    axis: int
    start: int
    length: int
    keep: bool


def index_of(v: Val) -> Index | None:
    """Read Slice, Gather with one index and Split as a piece of an axis."""
    node = v.node
    if node is None:
        return None
    if node.op == "Slice":
        spec, base = slice_spec(node), node.val(0)
        part = [i for i, (s, e, p) in enumerate(spec) if (s, e, p) != (0, base.shape[i], 1)]
        if len(part) == 1 and spec[part[0]][2] == 1:
            start, end, _ = spec[part[0]]
            return Index(base, part[0], start, end - start, True)
        if not part and base.shape:
            return Index(base, 0, 0, base.shape[0], True)
        return None
    if node.op == "Gather":
        base, idx = node.val(0), node.val(1)
        axis = norm_axis(attr_int(node.attrs, "axis", 0), len(base.shape))
        if idx.const is None or idx.size != 1 or len(idx.shape) > 1:
            return None
        at = int(np.asarray(idx.const).reshape(-1)[0])
        return Index(base, axis, at % base.shape[axis], 1, bool(idx.shape))
    if node.op == "Split":
        base = node.val(0)
        axis = norm_axis(attr_int(node.attrs, "axis", 0), len(base.shape))
        start = sum(o.shape[axis] for o in node.outs[: v.index])
        return Index(base, axis, start, v.shape[axis], True)
    return None


def locate(shape: Shape, stride: int, steps: int) -> Lay | None:
    """Return where an axis of ``steps`` entries with this stride lies in a tensor."""
    for k in reversed(range(len(shape))):
        below = prod(shape[k + 1 :])
        if below and stride % below == 0:
            inner = stride // below
            if inner and shape[k] % (inner * steps) == 0:
                return Lay(k, shape[k] // (inner * steps), inner)
    return None


def stride_of(shape: Shape, lay: Lay) -> int:
    """Return the distance of consecutive steps in elements."""
    return lay.inner * prod(shape[lay.axis + 1 :])


def step_shape(shape: Shape, lay: Lay) -> Shape:
    """Return the shape of one step: the time axis holds one entry."""
    return (*shape[: lay.axis], lay.outer * lay.inner, *shape[lay.axis + 1 :])


def steps_of(array: Arr, lay: Lay, steps: int) -> Arr:
    """Return the steps of an array ``[T, ...]``, each with the axis that held them."""
    shape = array.shape
    split = array.reshape(*shape[: lay.axis], lay.outer, steps, lay.inner, *shape[lay.axis + 1 :])
    return np.moveaxis(split, lay.axis + 1, 0).reshape(steps, *step_shape(shape, lay))


def joined(each: Arr, lay: Lay) -> Arr:
    """Undo :func:`steps_of`."""
    steps, shape = each.shape[0], each.shape[1:]
    split = each.reshape(steps, *shape[: lay.axis], lay.outer, lay.inner, *shape[lay.axis + 1 :])
    whole = (*shape[: lay.axis], lay.outer * steps * lay.inner, *shape[lay.axis + 1 :])
    return np.moveaxis(split, 0, lay.axis + 1).reshape(whole)


RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
BATCHED = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
     "BatchNormalization", "InstanceNormalization"}
)  # fmt: skip
ALONG = frozenset({"Softmax", "FirstMaximum"})
"""Operators that take the entries of one axis together, ``axis``, and keep the shape."""
SAMEAXES = ALONG | {"Dropout", "LayerNormalization", "Pad"}


def mixes(node: OperatorNode, lay: Lay) -> bool:
    """Whether an operator computes an entry of an axis of its result from several of its operand.

    ``lay`` is that axis of the result, which must hold time: such an operator is no step.
    """
    op, x = node.op, node.val(0)
    rank, axis = len(node.outs[0].shape), lay.axis
    if op in BATCHED and axis:
        return _window_mixes(node, axis)
    if op in ALONG:
        return norm_axis(attr_int(node.attrs, "axis", -1), rank) == axis
    if op == "LayerNormalization":
        return axis >= norm_axis(attr_int(node.attrs, "axis", -1), rank)
    if op == "Pad":
        low, high = pad_widths(node)
        return bool(low[axis] or high[axis])
    if op == "Gemm":
        return axis != 0 or bool(attr_int(node.attrs, "transA", 0))
    if op == "Slice":
        spec = slice_spec(node)[axis]
        return spec != (0, x.shape[axis], 1)
    if op in ("Split", "Concat"):
        return norm_axis(attr_int(node.attrs, "axis", 0), rank) == axis
    if op == "Gather":
        at = norm_axis(attr_int(node.attrs, "axis", 0), len(x.shape))
        return at <= axis < at + len(node.val(1).shape)
    if op == "Tile":
        operand = axis - (rank - len(x.shape))
        return operand >= 0 and x.shape[operand] not in (1, node.outs[0].shape[axis])
    return False


def _window_mixes(node: OperatorNode, axis: int) -> bool:
    """Whether convolution, pooling or normalisation mixes entries of an axis beyond the first."""
    op, at = node.op, node.attrs
    if op == "BatchNormalization":
        return axis == 1  # its channels
    if op in ("Conv", "ConvTranspose", "InstanceNormalization") and axis == 1:
        return True
    if axis == 1:
        return False  # pooling treats every channel alone
    if op not in ("Conv", "MaxPool", "AveragePool"):
        return True
    kernel = node.val(1).shape[2:] if op == "Conv" else attr_ints(at, "kernel_shape")
    n, i = len(kernel), axis - 2
    pads = padding(node, kernel)
    moves = attr_ints(at, "strides", (1,) * n)[i] != 1 or pads[i] or pads[n + i]
    return kernel[i] != 1 or bool(moves)


class Layouts:
    """Finds the time axis of values, forward from what is certainly stacked over time."""

    def __init__(self, steps: int, inputs: dict[int, Lay], cut: dict[int, tuple[Val, Lay]]) -> None:
        """``cut``: values that are cut into steps, by id."""
        self.steps = steps
        self.known: dict[int, Lay | None] = {}
        self.inputs = inputs
        self.created = self._created(list(cut.values()))

    def _created(self, todo: list[tuple[Val, Lay]]) -> dict[int, Lay]:
        """Return the Expand and Tile results whose new axis is the time axis."""
        found: dict[int, Lay] = {}
        seen: set[tuple[int, Lay]] = set()
        while todo:
            v, lay = todo.pop()
            if (v.id, lay) in seen or v.fixed:
                continue
            seen.add((v.id, lay))
            if v.node is None:
                self.inputs.setdefault(v.id, lay)
                continue
            if v.node.op in ("Expand", "Tile"):
                src = v.node.val(0)
                axis = lay.axis - (len(v.shape) - len(src.shape))
                if axis < 0 or src.shape[axis] != v.shape[lay.axis]:
                    found[v.id] = lay
                    continue
            mixed = mixes(v.node, lay)
            for i, operand in operand_layouts(v, lay, self.steps):
                x = v.node.val(i)
                if not mixed or same_length(v, lay, x, operand):
                    todo.append((x, operand))
        return found

    def find(self, v: Val) -> Lay | None:
        """Return the time axis of a value, or None."""
        stack = [v]
        while stack:
            top = stack[-1]
            if top.id in self.known:
                stack.pop()
                continue
            todo = [i for i in self._sources(top) if i.id not in self.known]
            if todo:
                stack.extend(todo)
                continue
            self.known[top.id] = self._find(top)
            stack.pop()
        return self.known[v.id]

    def _sources(self, v: Val) -> list[Val]:
        if v.id in self.inputs or v.id in self.created or v.fixed or v.node is None:
            return []
        if is_stack(v.node, self.steps):
            return []
        return [i for i in v.node.ins if i is not None and not i.fixed]

    def _find(self, v: Val) -> Lay | None:
        if v.id in self.inputs:
            return self.inputs[v.id]
        if v.id in self.created:
            return self.created[v.id]
        node = v.node
        if node is None or v.fixed:
            return None
        if is_stack(node, self.steps):
            axis = norm_axis(attr_int(node.attrs, "axis", 0), len(v.shape))
            return Lay(axis, 1, v.shape[axis] // self.steps)
        lays = [self.known.get(i.id) if i is not None else None for i in node.ins]
        for i, lay in enumerate(lays):
            if lay is not None:
                return forward(node, i, lay, v, self.steps)
        return None


def is_stack(node: OperatorNode, steps: int) -> bool:
    """Whether a Concat joins one piece per step; ``steps=0``: who wrote it knows it does not."""
    if node.attrs.get("steps") == 0:
        return False
    if node.op != "Concat" or len(node.ins) != steps or steps < 2:
        return False
    vals = [node.val(i) for i in range(steps)]
    return all(v.shape == vals[0].shape for v in vals) and not all(v.fixed for v in vals)


def forward(node: OperatorNode, i: int, lay: Lay, out: Val, steps: int) -> Lay | None:
    """Return the time axis of an output, given that of operand ``i``.

    None where the operator does not keep the axis, or cuts or lengthens it.
    """
    found = _forward(node, i, lay, out, steps)
    if found is None or (mixes(node, found) and not same_length(out, found, node.val(i), lay)):
        return None
    return found


def same_length(v: Val, lay: Lay, x: Val, other: Lay) -> bool:
    """Whether two values have as many entries along these axes."""
    within = lay.axis < len(v.shape) and other.axis < len(x.shape)
    return within and v.shape[lay.axis] == x.shape[other.axis]


def _forward(node: OperatorNode, i: int, lay: Lay, out: Val, steps: int) -> Lay | None:
    x, op, rank = node.val(i), node.op, len(out.shape)
    if op in ELEMENTWISE:
        return Lay(lay.axis + rank - len(x.shape), lay.outer, lay.inner)
    if op in RESHAPES:
        return locate(out.shape, stride_of(x.shape, lay), steps)
    if op == "Transpose":
        perm = attr_ints(node.attrs, "perm", tuple(reversed(range(rank))))
        return Lay(perm.index(lay.axis), lay.outer, lay.inner)
    if op in BATCHED:
        return lay if i == 0 and lay.axis != 1 else None
    if op in SAMEAXES:
        return lay
    if op in ("MatMul", "Gemm"):
        axis = lay.axis + rank - len(x.shape)
        return Lay(axis, lay.outer, lay.inner) if lay.axis < len(x.shape) - 1 else None
    if op in REDUCES:
        axes = axes_of(node) or tuple(range(len(x.shape)))
        red = {norm_axis(a, len(x.shape)) for a in axes}
        if lay.axis in red:
            return None
        keep = attr_int(node.attrs, "keepdims", 1)
        return lay if keep else Lay(lay.axis - sum(a < lay.axis for a in red), lay.outer, lay.inner)
    if op == "Concat":
        axis = norm_axis(attr_int(node.attrs, "axis", 0), rank)
        return lay if axis != lay.axis else None
    if op in ("Expand", "Tile"):
        return Lay(lay.axis + rank - len(x.shape), lay.outer, lay.inner)
    index = index_of(out)
    if index is not None:
        if index.axis == lay.axis:
            return lay if index.length == x.shape[lay.axis] else None
        drop = not index.keep and index.axis < lay.axis
        return Lay(lay.axis - drop, lay.outer, lay.inner)
    if op == "Slice":
        return lay if out.shape[lay.axis] == x.shape[lay.axis] else None
    return None


def operand_layouts(v: Val, lay: Lay, steps: int) -> list[tuple[int, Lay]]:
    """Return (operand number, time axis) of the operands that vary with time, going backward."""
    node = v.node
    if node is None:
        return []
    op, rank = node.op, len(v.shape)
    if op in ELEMENTWISE:
        out: list[tuple[int, Lay]] = []
        for i in range(len(node.ins)):
            x = node.val(i)
            axis = lay.axis - (rank - len(x.shape))
            if axis >= 0 and x.shape[axis] == v.shape[lay.axis]:
                out.append((i, Lay(axis, lay.outer, lay.inner)))
        return out
    x = node.val(0)
    if op in RESHAPES:
        found = locate(x.shape, stride_of(v.shape, lay), steps)
        return [(0, found)] if found else []
    if op == "Transpose":
        perm = attr_ints(node.attrs, "perm", tuple(reversed(range(rank))))
        return [(0, Lay(perm[lay.axis], lay.outer, lay.inner))]
    if op in BATCHED or op in SAMEAXES or op == "Gemm":
        return [(0, lay)]
    if op == "MatMul":
        pairs: list[tuple[int, Lay]] = []
        for i in (0, 1):
            x = node.val(i)
            axis = lay.axis - (rank - len(x.shape))
            inside = 0 <= axis < len(x.shape) - (2 if i else 1)
            if inside and x.shape[axis] == v.shape[lay.axis]:
                pairs.append((i, Lay(axis, lay.outer, lay.inner)))
        return pairs
    if op in REDUCES:
        axes = axes_of(node) or tuple(range(len(x.shape)))
        red = sorted(norm_axis(a, len(x.shape)) for a in axes)
        axis = lay.axis
        if not attr_int(node.attrs, "keepdims", 1):
            for a in red:
                axis += a <= axis
        return [(0, Lay(axis, lay.outer, lay.inner))]
    if op == "Concat":
        return [(i, lay) for i in range(len(node.ins))]
    if op in ("Expand", "Tile"):
        axis = lay.axis - (rank - len(x.shape))
        return [(0, Lay(axis, lay.outer, lay.inner))]
    index = index_of(v)
    if index is not None:
        drop = not index.keep and index.axis <= lay.axis
        return [(0, Lay(lay.axis + drop, lay.outer, lay.inner))]
    return [(0, lay)] if op == "Slice" else []


def per_step_operands(v: Val, lay: Lay, steps: int) -> dict[int, Lay] | None:
    """Return the time axis of each operand that varies with time, where steps are told apart.

    None: an entry of the axis is computed from several entries of an operand.
    """
    node = v.node
    assert node is not None
    if mixes(node, lay):
        return None
    lays = dict(operand_layouts(v, lay, steps))
    if node.op in ELEMENTWISE:
        return lays
    if node.op in ("Expand", "Tile"):
        x = node.val(0)
        axis = lay.axis - (len(v.shape) - len(x.shape))
        return lays if axis >= 0 and x.shape[axis] == v.shape[lay.axis] else {}
    # a product of a matrix over time and all steps is no product of its rows
    return lays if any(not node.val(i).fixed for i in lays) else None
