"""Layers without memory as ONNX nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from snncc.compiler.ir.build import number, stairs_of
from snncc.compiler.ir.core import Op, Value


@dataclass(slots=True)
class Writer:
    """Nodes and initializers; values of all steps are [T, B, ...], in a ``step`` [B, ...]."""

    steps: int
    step: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    initializers: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])
    names: dict[Value, str] = field(default_factory=dict[Value, str])
    swapped: set[Value] = field(default_factory=set[Value])
    """Parameters whose initializer is the transpose."""
    flat: dict[Value, str] = field(default_factory=dict[Value, str])
    known: set[str] = field(default_factory=set[str])
    count: int = 0

    def node(self, kind: str, *ins: str, **attrs: Any) -> str:
        """Add a node with one output."""
        self.count += 1
        name = f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, list(ins), [name], name=name, **attrs))
        return name

    def initializer(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """Add an initializer, once."""
        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def number(self, value: float) -> str:
        """Add a scalar."""
        self.count += 1
        return self.initializer(f"number_{self.count}", np.asarray(value, np.float32))

    def ints(self, values: Sequence[int]) -> str:
        """Add a list of integers (a shape, axes)."""
        self.count += 1
        return self.initializer(f"ints_{self.count}", np.asarray(values, np.int64))

    def value(self, v: Value) -> str:
        """Return a value's name; parameters are turned as the IR has them."""
        if v in self.swapped:
            return self.node("Transpose", self.names[v], perm=[1, 0])
        return self.names[v]

    def lead(self, v: Value) -> int:
        """Return the number of axes in front of the batch: 1 for time."""
        return int(v.type.kind == "seq" and not self.step)

    def shape(self, v: Value) -> tuple[int, ...]:
        """Return a value's shape in the file."""
        return ((self.steps,) if self.lead(v) else ()) + v.type.step_shape

    def folded(self, v: Value) -> str:
        """Return a value with time and batch in one axis."""
        if not self.lead(v):
            return self.value(v)
        if v not in self.flat:
            shape = v.type.step_shape
            self.flat[v] = self.node(
                "Reshape", self.value(v), self.ints((self.steps * shape[0], *shape[1:]))
            )
        return self.flat[v]

    def unfolded(self, name: str, v: Value) -> str:
        """Return what was computed of a folded value."""
        if not self.lead(v):
            return name
        return self.node("Reshape", name, self.ints(self.shape(v)))


Emit = Callable[[Writer, Op], str]


def _linear(w: Writer, op: Op) -> str:
    x, weight = op.operands[:2]
    bias = [w.value(v) for v in op.operands[2:]]
    if len(x.type.step_shape) == 2:
        ins = [w.folded(x), w.names[weight], *bias]
        made = w.node("Gemm", *ins, transB=int(weight in w.swapped))
        return w.unfolded(made, op.result)
    made = w.node("MatMul", w.value(x), w.value(weight))
    return w.node("Add", made, *bias) if bias else made


def _conv(w: Writer, op: Op) -> str:
    rank = len(op.operands[0].type.step_shape) - 2
    attrs: dict[str, Any] = {
        "strides": op.ints_attr("stride", (1,) * rank),
        "pads": op.ints_attr("padding", (0,) * (2 * rank)),
        "dilations": op.ints_attr("dilation", (1,) * rank),
        "group": op.int_attr("groups", 1),
    }
    kind = "Conv"
    if op.name == "graph.conv_transpose":
        kind, attrs["output_padding"] = "ConvTranspose", op.ints_attr("output_padding", (0,) * rank)
    ins = [w.folded(op.operands[0]), *(w.value(v) for v in op.operands[1:])]
    return w.unfolded(w.node(kind, *ins, **attrs), op.result)


def _pool(w: Writer, op: Op) -> str:
    kernel = op.ints_attr("kernel")
    kind = op.str_attr("kind")
    attrs: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": op.ints_attr("stride", (1,) * len(kernel)),
        "pads": op.ints_attr("padding", (0,) * (2 * len(kernel))),
    }
    if kind != "max":
        attrs["count_include_pad"] = int(kind == "sum" or op.bool_attr("count_pad", False))
    x = w.folded(op.operands[0])
    made = w.node("MaxPool" if kind == "max" else "AveragePool", x, **attrs)
    if kind == "sum":
        made = w.node("Mul", made, w.number(math.prod(kernel)))
    return w.unfolded(made, op.result)


def _batchnorm(w: Writer, op: Op) -> str:
    ins = [w.folded(op.operands[0]), *(w.value(v) for v in op.operands[1:])]
    made = w.node("BatchNormalization", *ins, epsilon=number(op.attrs, "eps", 1e-5),
                  momentum=1 - number(op.attrs, "momentum", 0.1))  # fmt: skip
    return w.unfolded(made, op.result)


def _plain(kind: str) -> Emit:
    return lambda w, op: w.node(kind, *(w.value(v) for v in op.operands))


def _iand(w: Writer, op: Op) -> str:
    a, b = (w.value(v) for v in op.operands)
    return w.node("Mul", w.node("Sub", w.number(1.0), a), b)


UNARY = {"neg": "Neg", "abs": "Abs", "sqrt": "Sqrt", "floor": "Floor", "exp": "Exp", "log": "Log",
         "tanh": "Tanh", "sigmoid": "Sigmoid", "recip": "Reciprocal", "atan": "Atan",
         "sign": "Sign", "erf": "Erf", "softplus": "Softplus", "sin": "Sin",
         "cos": "Cos"}  # fmt: skip


def _unary(w: Writer, op: Op) -> str:
    fn, x = op.str_attr("fn"), w.value(op.operands[0])
    if fn in UNARY:
        return w.node(UNARY[fn], x)
    if fn == "rsqrt":
        return w.node("Reciprocal", w.node("Sqrt", x))
    if fn == "trunc":
        return w.node("Mul", w.node("Sign", x), w.node("Floor", w.node("Abs", x)))
    if fn == "exp2":
        return w.node("Pow", w.number(2.0), x)
    return w.node("Div", w.node("Log", x), w.number(math.log(2)))


def _clip(w: Writer, op: Op) -> str:
    x = w.value(op.operands[0])
    low, high = op.attrs.get("low"), op.attrs.get("high")
    if isinstance(low, (int, float)):
        x = w.node("Max", x, w.number(float(low)))
    return w.node("Min", x, w.number(float(high))) if isinstance(high, (int, float)) else x


def _bool(w: Writer, v: Value) -> str:
    return w.node("Cast", w.value(v), to=onnx.TensorProto.BOOL)


def _float(w: Writer, name: str) -> str:
    return w.node("Cast", name, to=onnx.TensorProto.FLOAT)


def _spike(w: Writer, op: Op) -> str:
    h, theta = (w.value(v) for v in op.operands)
    compare = op.str_attr("compare", "strict")
    if compare == "multi":
        above = _float(w, w.node("Greater", h, w.number(0.0)))
        return w.node("Mul", w.node("Floor", w.node("Div", h, theta)), above)
    if compare == "stairs":
        steps = [_float(w, w.node("Greater" if strict else "GreaterOrEqual", h, w.number(level)))
                 for level, strict in stairs_of(op.attrs)]  # fmt: skip
        total = steps[0]
        for step in steps[1:]:
            total = w.node("Add", total, step)
        return total
    kind = "Greater" if compare == "strict" else "GreaterOrEqual"
    return _float(w, w.node(kind, h, theta))


def _select(w: Writer, op: Op) -> str:
    mask, a, b = op.operands
    return w.node("Where", _bool(w, mask), w.value(a), w.value(b))


def _matmul(w: Writer, op: Op) -> str:
    ins: list[str] = []
    for v, flag in zip(op.operands, ("transpose_a", "transpose_b"), strict=True):
        name, rank = w.value(v), len(w.shape(v))
        if op.bool_attr(flag, False):
            name = w.node("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])
        ins.append(name)
    return w.node("MatMul", *ins)


def _softmax(w: Writer, op: Op) -> str:
    axis = op.int_attr("axis") % len(op.result.type.step_shape)
    return w.node("Softmax", w.value(op.operands[0]), axis=axis + w.lead(op.result))


def _reduce(w: Writer, op: Op) -> str:
    kind = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}[op.str_attr("kind")]
    axes = [a + w.lead(op.operands[0]) for a in op.ints_attr("axes")]
    keep = int(op.bool_attr("keepdims", False))
    return w.node(kind, w.value(op.operands[0]), w.ints(axes), keepdims=keep)


def _reduce_time(w: Writer, op: Op) -> str:
    x, kind = w.value(op.operands[0]), op.str_attr("kind")
    if kind == "last":
        last = w.initializer("last", np.asarray(w.steps - 1, np.int64))
        return w.node("Gather", x, last, axis=0)
    name = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}[kind]
    return w.node(name, x, w.ints((0,)), keepdims=0)


def _reshape(w: Writer, op: Op) -> str:
    return w.node("Reshape", w.value(op.operands[0]), w.ints(w.shape(op.result)))


def _expand(w: Writer, op: Op) -> str:
    return w.node("Expand", w.value(op.operands[0]), w.ints(w.shape(op.result)))


def _transpose(w: Writer, op: Op) -> str:
    lead = w.lead(op.result)
    perm = [*range(lead), *(p + lead for p in op.ints_attr("perm"))]
    return w.node("Transpose", w.value(op.operands[0]), perm=perm)


def _concat(w: Writer, op: Op) -> str:
    names = [w.value(v) for v in op.operands]
    for i, v in enumerate(op.operands):
        if w.lead(op.result) and not w.lead(v):
            names[i] = w.node("Expand", names[i], w.ints((w.steps, *v.type.step_shape)))
    axis = op.int_attr("axis") % len(op.result.type.step_shape)
    return w.node("Concat", *names, axis=axis + w.lead(op.result))


def _slice(w: Writer, op: Op) -> str:
    x, starts = op.operands[0], op.ints_attr("starts")
    axes = [a + w.lead(x) for a in range(len(starts))]
    strides = op.ints_attr("strides", (1,) * len(starts))
    ins = (w.ints(starts), w.ints(op.ints_attr("ends")), w.ints(axes), w.ints(strides))
    return w.node("Slice", w.value(x), *ins)


def _pad(w: Writer, op: Op) -> str:
    zeros = (0,) * w.lead(op.operands[0])
    pads = (*zeros, *op.ints_attr("low"), *zeros, *op.ints_attr("high"))
    fill = w.number(number(op.attrs, "value", 0.0))
    return w.node("Pad", w.value(op.operands[0]), w.ints(pads), fill)


def _dropout(w: Writer, op: Op) -> str:
    return w.node("Dropout", w.value(op.operands[0]), w.number(number(op.attrs, "rate")))


LAYERS: Mapping[str, Emit] = {
    "linear": _linear,
    "conv": _conv,
    "conv_transpose": _conv,
    "pool": _pool,
    "batchnorm": _batchnorm,
    **{n: _plain(k) for n, k in {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div",
       "min": "Min", "max": "Max", "and": "Mul", "or": "Max", "relu": "Relu",
       "cast": "Identity", "stop_gradient": "Identity"}.items()},
    "iand": _iand,
    "unary": _unary,
    "clip": _clip,
    "spike": _spike,
    "select": _select,
    "matmul": _matmul,
    "softmax": _softmax,
    "reduce": _reduce,
    "reduce_time": _reduce_time,
    "reshape": _reshape,
    "expand": _expand,
    "transpose": _transpose,
    "concat": _concat,
    "slice": _slice,
    "pad": _pad,
    "dropout": _dropout,
}  # fmt: skip
