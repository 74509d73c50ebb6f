"""Writing layers: products, convolution, pooling, normalisation, reductions."""

from __future__ import annotations

import numpy as np

from snncc.compiler.frontend.flat.flat import attr_float, attr_int, attr_ints, attr_str
from snncc.compiler.frontend.neurons.metadata import framework_of
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.frontend.writer.base import BATCHNORM_ROLES, Emitter, constant_node, emits
from snncc.compiler.ir.core import Attribute, Value


def linear(
    e: Emitter, node: RNode, trans_b: bool, bias: RNode | None, alpha: float, beta: float
) -> Value:
    """Emit x @ w + bias."""
    x, w = resolve(node.ins[0]), resolve(node.ins[1])
    trans_a = bool(attr_int(node.attrs, "transA", 0))
    b = e.builder(node)
    weight = w.op == "Const" or (
        w.id in e.fixed and not trans_b and e.value(w).type.kind == "tensor"
    )
    if not weight or len(w.shape) != 2 or x.op == "Const" or x.id in e.fixed:
        left = e.operand(x, "weight", 0) if x.op == "Const" else e.value(x)
        right = e.operand(w, "weight", 1) if w.op == "Const" else e.value(w)
        y = b.one("graph.matmul", left, right, transpose_a=trans_a, transpose_b=trans_b)
    else:
        width = w.shape[0] if trans_b else w.shape[1]
        rows = e.value(x)
        if trans_a:
            rows = b.one("graph.transpose", rows, perm=(1, 0))
        kernel = _masked(e, node, x, w, trans_b) if w.op == "Const" else e.value(w)
        operands = [rows, kernel]
        inside = bias is not None and bias.op == "Const" and bias.shape == (width,)
        if inside and bias is not None and alpha == beta == 1.0:
            operands.append(e.operand(bias, "bias", 2))
            bias = None
        y = b.one("graph.linear", *operands)
    if alpha != 1.0:
        y = b.one("graph.mul", y, e.number(alpha))
    if bias is not None:
        z = e.operand(bias, "bias", 2) if bias.op == "Const" else e.value(bias)
        if beta != 1.0:
            z = b.one("graph.mul", z, e.number(beta))
        y = b.one("graph.add", y, z)
    return y


def _masked(e: Emitter, node: RNode, x: RNode, w: RNode, trans_b: bool) -> Value:
    """Return a weight; norse's recurrent ones without self-connections keep them zero.

    The file does not hold the hook that does it; a warning says what is assumed.  That the weight
    is norse's is known by the class that made the product, or by what norse's neurons compute.
    """
    value = e.operand(w, "weight", 1, trans_b)
    array = np.asarray(w.const)
    n = array.shape[0]
    if x.op != "Delay" or array.shape != (n, n) or n < 3:
        return value
    maker = node.val.node if node.val is not None else None
    if "norse" not in (e.framework, framework_of(maker) if maker is not None else ""):
        return value
    if np.diagonal(array).any() or np.count_nonzero(array) < n * (n - 1) // 2:
        return value
    e.sink.warning(
        "E0111",
        "recurrent weights without self-connections: they stay zero, as norse keeps them",
        e.where(w),
    )
    mask = constant_node(1.0 - np.eye(n, dtype=np.float32))
    return e.builder().one("graph.mul", value, e.const(mask))


@emits("Gemm")
def gemm(e: Emitter, node: RNode) -> Value | None:
    """A linear layer, or a product of activations."""
    at = node.attrs
    alpha, beta = attr_float(at, "alpha", 1.0), attr_float(at, "beta", 1.0)
    trans_b = bool(attr_int(at, "transB", 0))
    bias = resolve(node.ins[2]) if len(node.ins) > 2 and beta else None
    return linear(e, node, trans_b, bias, alpha, beta)


@emits("MatMul")
def matmul(e: Emitter, node: RNode) -> Value:
    """A linear layer, or a product of activations."""
    return linear(e, node, False, None, 1.0, 1.0)


def _window_rank(e: Emitter, node: RNode, w: RNode) -> int:
    """Return over how many axes a convolution goes; its kernel may be computed from parameters."""
    rank = len(w.shape) - 2
    if w.op != "Const" and w.id not in e.fixed:
        e.unsupported(
            node,
            f"{node.op} with a kernel that depends on the input",
            "supported: kernels that are parameters, or computed from parameters alone",
        )
    if rank not in (1, 2):
        e.unsupported(node, f"{node.op} over {rank} axes", "supported: 1-D and 2-D")
    return rank


@emits("Conv")
def conv(e: Emitter, node: RNode) -> Value | None:
    """Convolution over one or two axes."""
    w = resolve(node.ins[1])
    rank = _window_rank(e, node, w)
    operands = [e.value(node.ins[0]), e.operand(w, "weight", 1)]
    if len(node.ins) > 2:
        operands.append(e.operand(resolve(node.ins[2]), "bias", 2))
    attrs: dict[str, Attribute] = {
        "stride": attr_ints(node.attrs, "strides"),
        "padding": attr_ints(node.attrs, "pads"),
        "dilation": attr_ints(node.attrs, "dilations"),
        "groups": attr_int(node.attrs, "group", 1),
        "rank": rank,
    }
    return e.builder(node).op("graph.conv", *operands, attrs=attrs).result


@emits("ConvTranspose")
def conv_transpose(e: Emitter, node: RNode) -> Value | None:
    """Transposed convolution."""
    w, at = resolve(node.ins[1]), node.attrs
    rank = _window_rank(e, node, w)
    if at.get("output_shape") is not None:
        e.unsupported(node, "transposed convolution with an output_shape", "use output_padding")
    operands = [e.value(node.ins[0]), e.operand(w, "weight", 1)]
    if len(node.ins) > 2:
        operands.append(e.operand(resolve(node.ins[2]), "bias", 2))
    attrs: dict[str, Attribute] = {
        "stride": attr_ints(at, "strides", (1,) * rank),
        "padding": attr_ints(at, "pads", (0,) * (2 * rank)),
        "dilation": attr_ints(at, "dilations", (1,) * rank),
        "output_padding": attr_ints(at, "output_padding", (0,) * rank),
        "groups": attr_int(at, "group", 1),
        "rank": rank,
    }
    return e.builder(node).op("graph.conv_transpose", *operands, attrs=attrs).result


@emits("Pool")
def pool(e: Emitter, node: RNode) -> Value | None:
    """Maximum, average or sum over windows."""
    at = node.attrs
    beyond, pads = attr_ints(at, "extra", ()), attr_ints(at, "pads")
    count = bool(attr_int(at, "count_pad", 0))
    count = count and beyond != pads  # ceil_mode alone: what lies beyond the input never counts
    if any(d != 1 for d in attr_ints(at, "dilations")) or (any(beyond) and count):
        e.unsupported(node, "pooling with dilation, or ceil_mode with counted padding")
    attrs: dict[str, Attribute] = {
        "kind": attr_str(at, "kind", "max"),
        "kernel": attr_ints(at, "kernel"),
        "stride": attr_ints(at, "strides"),
        "padding": attr_ints(at, "pads"),
    }
    if attrs["kind"] == "avg":
        attrs["count_pad"] = count
    return e.builder(node).op("graph.pool", e.value(node.ins[0]), attrs=attrs).result


def _complement(momentum: float) -> float:
    """Return 1 - momentum; the file holds binary32: 0.9 there was 0.9 for whoever wrote it."""
    return round(1.0 - float(str(np.float32(momentum))), 9)


@emits("BatchNormalization")
def batchnorm(e: Emitter, node: RNode) -> Value:
    """Batch normalisation; the configuration decides which statistics are used."""
    operands = [e.value(node.ins[0])]
    for slot, role in enumerate(BATCHNORM_ROLES, 1):
        operands.append(e.operand(resolve(node.ins[slot]), role, slot))
    if any(v.type.kind == "seq" for v in operands[1:]):  # of its own at every step
        operands = [_every_step(e, v) for v in operands]
    attrs: dict[str, Attribute] = {
        "eps": attr_float(node.attrs, "epsilon", 1e-5),
        "momentum": _complement(attr_float(node.attrs, "momentum", 0.9)),
        "axis": 1,
    }
    if not node.attrs.get("all_steps", 0):  # a node of one step normalises that step alone
        attrs["per_step"] = True
    return e.builder(node).op("graph.batchnorm", *operands, attrs=attrs).result


def _every_step(e: Emitter, x: Value) -> Value:
    """Return a value as a sequence, the same at every step where it was a tensor."""
    if x.type.kind == "seq":
        return x
    b, shape = e.builder(), x.type.shape
    one = b.one("graph.reshape", x, shape=(1, *shape))
    return b.one("graph.axis_to_time", b.one("graph.expand", one, shape=(e.steps, *shape)))


@emits("LayerNormalization", "InstanceNormalization")
def normalisation(e: Emitter, node: RNode) -> Value:
    """(x - mean)/sqrt(var + eps) over some axes of each sample, then scale and shift."""
    axes, eps = attr_ints(node.attrs, "axes"), attr_float(node.attrs, "epsilon", 1e-5)
    b, x = e.builder(node), e.value(node.ins[0])
    d = b.one("graph.sub", x, b.one("graph.reduce", x, kind="mean", axes=axes, keepdims=True))
    square = b.one("graph.mul", d, d)
    var = b.one("graph.reduce", square, kind="mean", axes=axes, keepdims=True)
    sd = b.one("graph.unary", b.one("graph.add", var, e.number(eps)), fn="sqrt")
    y = b.one("graph.div", d, sd)
    for slot, role, op in ((1, "scale", "mul"), (2, "shift", "add")):
        k = resolve(node.ins[slot]) if slot < len(node.ins) else None
        if k is None or _neutral(k, 1.0 if op == "mul" else 0.0):
            continue
        value = e.operand(k, role, slot)
        if node.op == "InstanceNormalization":
            value = e.reshaped(value, (*k.shape, *(1,) * len(axes)))
        y = b.one(f"graph.{op}", y, value)
    return y


def _neutral(k: RNode, value: float) -> bool:
    """Whether a nameless constant does nothing (a group norm's inner scale and shift)."""
    return k.uniform == value and (k.val is None or not k.val.param)


@emits("Softmax")
def softmax(e: Emitter, node: RNode) -> Value:
    """Softmax along one axis."""
    axis = attr_int(node.attrs, "axis", -1)
    return e.builder(node).one("graph.softmax", e.value(node.ins[0]), axis=axis)


@emits("FirstMaximum")
def first_maximum(e: Emitter, node: RNode) -> Value:
    """1 at the first (``last``: last) maximum along the last axis, else 0: no gradient passes.

    ``relu(1 + sign(x - max))`` marks the maxima; those with others before them are taken off.
    """
    b = e.builder(node)
    x = b.one("graph.stop_gradient", e.value(node.ins[0]))
    axis, n = len(x.type.step_shape) - 1, x.type.step_shape[-1]
    top = b.one("graph.reduce", x, kind="max", axes=(axis,), keepdims=True)
    sign = b.one("graph.unary", b.one("graph.sub", x, top), fn="sign")
    maxima = b.one("graph.relu", b.one("graph.add", sign, e.number(1.0)))
    ones = np.ones((n, n), np.float32)  # [earlier, later]
    before = np.tril(ones, -1) if attr_int(node.attrs, "last", 0) else np.triu(ones, 1)
    others = b.one("graph.matmul", maxima, e.const(constant_node(before)))
    return b.one("graph.relu", b.one("graph.sub", maxima, others))


@emits("Dropout")
def dropout(e: Emitter, node: RNode) -> Value:
    """Dropout; every node has its own stream of random numbers."""
    e.dropouts += 1
    rate = attr_float(node.attrs, "rate", 0.5)
    x = e.value(node.ins[0])
    return e.builder(node).one("graph.dropout", x, rate=rate, stream=e.dropouts)


@emits("Reduce")
def reduce(e: Emitter, node: RNode) -> Value | None:
    """Reduction over step axes."""
    kind, axes = attr_str(node.attrs, "kind", "sum"), attr_ints(node.attrs, "axes")
    if kind not in ("sum", "mean", "max"):
        e.unsupported(node, f"Reduce{kind.capitalize()} of data", "supported: sum, mean, max, min")
    keep = bool(attr_int(node.attrs, "keepdims", 1))
    x = e.value(node.ins[0])
    y = e.builder(node).one("graph.reduce", x, kind=kind, axes=axes, keepdims=keep)
    return e.reshaped(y, e.shape(node))


@emits("TimeReduce")
def reduce_time(e: Emitter, node: RNode) -> Value:
    """Reduction over the steps."""
    kind = attr_str(node.attrs, "kind", "sum")
    x = e.value(node.ins[0])
    if x.type.kind != "seq":
        return _static_reduce(e, node, x, kind)
    if kind == "mean" and e.rolled.steps != e.steps and e.rolled.steps > 1:
        e.sink.warning(
            "E0111",
            f"the file averages {e.rolled.steps} steps, the configuration asks for {e.steps}",
            e.where(node),
        )
    return e.builder(node).one("graph.reduce_time", x, kind=kind)


def _static_reduce(e: Emitter, node: RNode, x: Value, kind: str) -> Value:
    if kind != "sum":
        return x
    return e.builder(node).one("graph.mul", x, e.number(float(e.steps)))
