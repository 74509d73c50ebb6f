"""Evaluating values of the file and nodes of the rolled step on the same random numbers.

Two expressions that agree on random inputs are taken as equal; this accepts steps that an exporter
folded or reordered.  Convolution and pooling are replaced by random linear maps of each row (both
sides use the same map), so a check costs little whatever the layers are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np

from snncc.compiler.frontend.flat.axes import (
    PAD_MODES,
    axes_of,
    norm_axis,
    pad_widths,
)
from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE, evaluate
from snncc.compiler.frontend.flat.flat import (
    Arr,
    Attrs,
    DType,
    OperatorNode,
    Shape,
    Val,
    attr_float,
    attr_int,
    attr_ints,
    attr_key,
    attr_str,
    prod,
)
from snncc.compiler.frontend.flat.shapes import (
    MOVES,
    move,
)
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.frontend.time.timing import Lay, joined, steps_of

RANDOM_OPS = frozenset({"Conv", "ConvTranspose", "Pool", "MaxPool", "AveragePool", "Dropout"})
RANK = 3
SCALES = (1.0, 0.2, 4.0)
"""Of the inputs, by draw."""
SPIKES_OFF = 1e-3
"""Share of elements that rounding in the exporter may have moved across a threshold."""


def noise(key: tuple[int, ...], shape: Shape, dtype: DType) -> Arr:
    """Return reproducible random numbers."""
    rng = np.random.default_rng([abs(k) for k in key])
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    return rng.normal(0.0, 1.5, shape)


def row_map(x: Arr, shape: Shape, key: int) -> Arr:
    """Apply a random linear map to each row of axis 0."""
    flat = np.asarray(x, np.float64).reshape(x.shape[0], -1)
    inside = noise((key, 1), (RANK, flat.shape[1]), np.dtype(np.float64))
    outside = noise((key, 2), (RANK, prod(shape[1:])), np.dtype(np.float64))
    scale = 1.0 / np.sqrt(max(1, flat.shape[1]))
    return np.asarray(((flat @ inside.T) * scale @ outside).reshape(shape))


def _layer_key(node: OperatorNode) -> int:
    """Return what the stand-in of a layer depends on: its weights and attributes, at no step."""
    weights = node.ins[1].id if len(node.ins) > 1 and node.ins[1] is not None else 0
    return crc32(repr((node.op, weights, attr_key(node.attrs))).encode())


def _affine(op: str, ins: Sequence[Arr], at: Attrs) -> Arr:
    if op == "MatMul":
        return np.asarray(np.matmul(ins[0], ins[1]))
    if op == "Gemm":
        a = ins[0].T if attr_int(at, "transA", 0) else ins[0]
        b = ins[1].T if attr_int(at, "transB", 0) else ins[1]
        y = attr_float(at, "alpha", 1.0) * (a @ b)
        return np.asarray(y + attr_float(at, "beta", 1.0) * ins[2] if len(ins) > 2 else y)
    if op == "BatchNormalization":
        x, scale, shift, mean, var = ins[:5]
        form = (1, -1, *(1,) * (x.ndim - 2))
        inv = scale / np.sqrt(var + attr_float(at, "epsilon", 1e-5))
        return np.asarray((x - mean.reshape(form)) * inv.reshape(form) + shift.reshape(form))
    if op in ("LayerNormalization", "InstanceNormalization"):
        x, scale = ins[0], ins[1]
        shift = ins[2] if len(ins) > 2 else np.zeros(())
        axes = attr_ints(at, "axes", tuple(range(2, x.ndim)))
        if op == "LayerNormalization" and "axes" not in at:
            axes = tuple(range(attr_int(at, "axis", -1) % x.ndim, x.ndim))
        if op == "InstanceNormalization":
            scale, shift = (a.reshape(-1, *(1,) * (x.ndim - 2)) for a in (scale, shift))
        d = x - x.mean(axis=axes, keepdims=True)
        var = (d * d).mean(axis=axes, keepdims=True)
        return np.asarray(d / np.sqrt(var + attr_float(at, "epsilon", 1e-5)) * scale + shift)
    if op == "FirstMaximum":
        last = bool(attr_int(at, "last", 0))
        return first_maximum(ins[0], attr_int(at, "axis", -1), last)
    if op == "Softmax":
        axis = attr_int(at, "axis", -1)
        e = np.exp(ins[0] - ins[0].max(axis=axis, keepdims=True))
        return np.asarray(e / e.sum(axis=axis, keepdims=True))
    raise ValueError(f"cannot evaluate {op}")


def first_maximum(x: Arr, axis: int, last: bool) -> Arr:
    """Return 1 at the first (last) maximum along an axis, else 0."""
    most = x == x.max(axis=axis, keepdims=True)
    counted = np.flip(most, axis) if last else most
    first = np.logical_and(counted, np.cumsum(counted, axis) == 1)
    return np.asarray(np.flip(first, axis) if last else first, x.dtype)


REDUCERS: dict[str, Callable[..., Arr]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
}


class Probe:
    """Values of a flat graph and its rolled step on one random input."""

    def __init__(self, steps: int, time_inputs: dict[int, Lay], draw: int = 0) -> None:
        """``draw``: which random inputs."""
        self.steps = steps
        self.time_inputs = time_inputs
        self.draw = draw
        self.flat: dict[int, Arr] = {}
        self.rolled: dict[tuple[int, int], Arr] = {}
        self.input_vals: dict[int, Arr] = {}
        self.states: set[int] = set()

    def equal(self, node: RNode, t: int, v: Val) -> bool:
        """Whether a node at a step equals a value of the file."""
        try:
            a, b = self.node(node, t), self.value(v)
        except ValueError:
            return False
        try:
            a, b = np.broadcast_arrays(a.astype(np.float64), b.astype(np.float64))
        except ValueError:
            return False
        scale = float(np.abs(b).max(initial=0.0)) + 1e-6
        return bool(np.mean(np.abs(a - b) <= 1e-4 * scale) > 1 - SPIKES_OFF)

    # ------------------------------------------------------------------ values of the file
    def input(self, v: Val) -> Arr:
        """Return the random content of a graph input."""
        if v.id not in self.input_vals:
            zero = v.id in self.states
            drawn = noise((v.id, 7, self.draw), v.shape, v.dtype)
            if v.dtype.kind == "f":
                drawn = drawn * SCALES[self.draw]
            self.input_vals[v.id] = np.zeros(v.shape) if zero else drawn
        return self.input_vals[v.id]

    def value(self, v: Val) -> Arr:
        """Return a value of the file."""
        stack = [v]
        while stack:
            top = stack[-1]
            if top.id in self.flat:
                stack.pop()
                continue
            node = top.node
            if top.const is not None:
                self.flat[top.id] = np.asarray(top.const)
            elif node is None:
                self.flat[top.id] = self.input(top)
            else:
                todo = [i for i in node.ins if i is not None and i.id not in self.flat]
                if todo:
                    stack.extend(todo)
                    continue
                ins = [self.flat[i.id] for i in node.ins if i is not None]
                for out, array in zip(node.outs, self._flat_op(top, ins), strict=False):
                    self.flat[out.id] = array
            stack.pop()
        return self.flat[v.id]

    def _flat_op(self, v: Val, ins: Sequence[Arr]) -> list[Arr]:
        node = v.node
        assert node is not None
        op, at = node.op, node.attrs
        if op in ELEMENTWISE:
            return [_ew(op, ins, at)]
        if op in RANDOM_OPS:
            return [row_map(ins[0], v.shape, _layer_key(node))]
        if op in MOVES:
            return move(node, ins[0])
        if op == "Gather":
            return [np.take(ins[0], ins[1], norm_axis(attr_int(at, "axis", 0), ins[0].ndim))]
        if op == "Concat":
            return [np.concatenate(ins, attr_int(at, "axis", 0))]
        if op == "Tile":
            return [np.tile(ins[0], ins[1])]
        if op == "Pad":
            fill = float(ins[2].item()) if len(node.ins) > 2 and node.ins[2] is not None else 0.0
            return [_padded(ins[0], *pad_widths(node), attr_str(at, "mode", "constant"), fill)]
        if op.startswith("Reduce"):
            axes = axes_of(node)
            pick = tuple(norm_axis(a, ins[0].ndim) for a in axes) if axes else None
            keep = bool(attr_int(at, "keepdims", 1))
            return [np.asarray(REDUCERS[op[6:].lower()](ins[0], axis=pick, keepdims=keep))]
        if op.startswith("Global"):
            axes = tuple(range(2, ins[0].ndim))
            fn = np.mean if "Average" in op else np.max
            return [np.asarray(fn(ins[0], axis=axes, keepdims=True))]
        return [_affine(op, ins, at)]

    # ------------------------------------------------------------------ nodes of the step
    def node(self, node: RNode, t: int) -> Arr:
        """Return a node's value at a step."""
        stack = [(resolve(node), t)]
        while stack:
            n, s = stack[-1]
            key = (n.id, s)
            if key in self.rolled:
                stack.pop()
                continue
            if n.op == "Delay":
                source = (resolve(n.ins[0]), s - 1)
                if s <= 0 and len(n.ins) > 1:
                    first = (resolve(n.ins[1]), 0)
                    if (first[0].id, 0) not in self.rolled:
                        stack.append(first)
                        continue
                    whole = np.broadcast_to(self.rolled[(first[0].id, 0)], n.shape)
                    self.rolled[key] = whole
                elif s <= 0:
                    init = n.init if n.init is not None else np.zeros(n.shape)
                    self.rolled[key] = np.broadcast_to(np.asarray(init, np.float64), n.shape)
                elif (source[0].id, s - 1) in self.rolled:
                    self.rolled[key] = self.rolled[(source[0].id, s - 1)]
                else:
                    stack.append(source)
                    if len(stack) > 200_000:
                        raise ValueError("endless recurrence")
                    continue
            else:
                needs = [(resolve(i), t) for i in n.ins for t in self._at(n, s)]
                todo = [x for x in needs if (x[0].id, x[1]) not in self.rolled]
                if todo:
                    stack.extend(todo)
                    if len(stack) > 200_000:
                        raise ValueError("endless recurrence")
                    continue
                self.rolled[key] = self._step_op(n, [self.rolled[(x.id, t)] for x, t in needs], s)
            stack.pop()
        return self.rolled[(resolve(node).id, t)]

    def _at(self, n: RNode, t: int) -> range:
        """Return the steps at which a node needs its operands."""
        if n.op == "TimeToAxis":
            return range(self.steps)
        if n.op == "StepOf":
            return range(attr_int(n.attrs, "step", 0), attr_int(n.attrs, "step", 0) + 1)
        return range(1) if n.op == "AxisToTime" else range(t, t + 1)

    def _step_op(self, n: RNode, ins: list[Arr], t: int) -> Arr:
        op, at = n.op, n.attrs
        if op == "Const":
            assert n.const is not None
            return np.asarray(n.const)
        if op == "SeqConst":
            assert n.const is not None
            if not attr_int(at, "first", 0) <= t < attr_int(at, "last", self.steps):
                return noise((n.id, t, self.draw), n.const.shape[1:], n.const.dtype)
            return np.asarray(n.const[t])
        if op in ("Input", "SeqInput"):
            assert n.val is not None
            return self._input_step(n, t)
        if op in ("View", "StepOf"):
            return ins[0].reshape(n.shape)
        if op in ("TimeToAxis", "AxisToTime"):
            lay = at["lay"]
            assert isinstance(lay, Lay)
            if op == "AxisToTime":
                return np.asarray(steps_of(ins[0], lay, self.steps)[t]).reshape(n.shape)
            return joined(np.stack(ins), lay).reshape(n.shape)
        if op in ELEMENTWISE:
            return _ew(op, ins, at)
        if op in RANDOM_OPS:
            assert n.val is not None
            assert n.val.node is not None
            return row_map(ins[0], n.shape, _layer_key(n.val.node))
        if op == "Reduce":
            fn = REDUCERS[attr_str(at, "kind", "sum")]
            keep = bool(attr_int(at, "keepdims", 1))
            return np.asarray(fn(ins[0], axis=attr_ints(at, "axes"), keepdims=keep)).reshape(
                n.shape
            )
        return move_step(n, ins)

    def _input_step(self, n: RNode, t: int) -> Arr:
        assert n.val is not None
        x = self.input(n.val)
        lay = self.time_inputs.get(n.val.id)
        if n.op == "Input" or lay is None or self.steps == 1:
            return x
        return np.asarray(steps_of(x, lay, self.steps)[t]).reshape(n.shape)


def move_step(n: RNode, ins: list[Arr]) -> Arr:
    """Evaluate data movement and matrix products of the rolled graph."""
    op, at = n.op, n.attrs
    if op == "Transpose":
        return np.transpose(ins[0], attr_ints(at, "perm"))
    if op == "Slice":
        ends = [
            d if e == -1 else e for e, d in zip(attr_ints(at, "ends"), ins[0].shape, strict=True)
        ]
        cut = zip(attr_ints(at, "starts"), ends, attr_ints(at, "strides"), strict=True)
        return ins[0][tuple(slice(s, e, p) for s, e, p in cut)].reshape(n.shape)
    if op == "Take":
        return np.take(ins[0], attr_ints(at, "indices"), attr_int(at, "axis", 0))
    if op == "Expand":
        return np.broadcast_to(ins[0], n.shape)
    if op == "Concat":
        return np.concatenate(ins, attr_int(at, "axis", 0))
    if op == "Pad":
        widths = attr_ints(at, "low"), attr_ints(at, "high")
        mode = attr_str(at, "mode", "constant")
        return _padded(ins[0], *widths, mode, attr_float(at, "value", 0.0))
    return _affine(op, ins, at)


def _padded(x: Arr, low: Sequence[int], high: Sequence[int], mode: str, fill: float) -> Arr:
    if mode not in PAD_MODES:
        return np.pad(x, list(zip(low, high, strict=True)), constant_values=fill)
    for axis, (a, b) in enumerate(zip(low, high, strict=True)):
        x = np.take(x, PAD_MODES[mode](x.shape[axis], a, b), axis)
    return x


def _ew(op: str, ins: Sequence[Arr], at: Attrs) -> Arr:
    wide = [i.astype(np.float64) if i.dtype.kind == "f" else i for i in ins]
    return evaluate(op, wide, at)
