"""Writing element-wise operators and data movement."""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.frontend.flat.axes import PAD_MODES
from snncc.compiler.frontend.flat.flat import attr_float, attr_int, attr_ints, attr_str
from snncc.compiler.frontend.time.parameters import holds_parameter
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.frontend.writer.base import Emitter, emits
from snncc.compiler.frontend.writer.layers import linear
from snncc.compiler.ir.core import Attribute, Value

UNARY = {
    "Neg": "neg",
    "Abs": "abs",
    "Sign": "sign",
    "Sqrt": "sqrt",
    "Floor": "floor",
    "Trunc": "trunc",
    "Exp": "exp",
    "Log": "log",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Reciprocal": "recip",
    "Atan": "atan",
    "Erf": "erf",
    "Sin": "sin",
    "Cos": "cos",
    "Softplus": "softplus",
}
BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "max", "Min": "min"}


@emits(*UNARY)
def unary(e: Emitter, node: RNode) -> Value:
    """A function of one operand."""
    return e.builder(node).one("graph.unary", e.value(node.ins[0]), fn=UNARY[node.op])


@emits("Norm")
def norm(e: Emitter, node: RNode) -> Value:
    """sqrt(x + 1 - s) * s with s = sign(x): the root, and neither it nor its slope at 0."""
    b, x = e.builder(node), e.value(node.ins[0])
    s = b.one("graph.unary", x, fn="sign")
    beside_zero = b.one("graph.add", x, b.one("graph.sub", e.number(1.0), s))
    return b.one("graph.mul", b.one("graph.unary", beside_zero, fn="sqrt"), s)


@emits(*BINARY)
def binary(e: Emitter, node: RNode) -> Value:
    """Element-wise arithmetic; a constant that the file names is a parameter."""
    a, b = node.ins
    fused = _bias(e, node, a, b) or _bias(e, node, b, a)
    if fused is not None:
        return fused
    role = {"Add": "bias", "Sub": "bias", "Mul": "scale", "Div": "scale"}.get(node.op, "const")
    operands: list[Value] = []
    for slot, i in enumerate(node.ins):
        if i.op == "Const":
            trained = holds_parameter(i) and not (i.shape == () and node.id in e.recurrent)
            operands.append(e.operand(i, role if trained else "const", slot))
        else:
            operands.append(e.value(i))
    return e.builder(node).one(f"graph.{BINARY[node.op]}", *operands)


def _bias(e: Emitter, node: RNode, x: RNode, k: RNode) -> Value | None:
    """Return a product with its bias when an addition is one."""
    if x.id in e.done or x.op not in ("MatMul", "Gemm") or k.op != "Const":
        return None
    trans = bool(attr_int(x.attrs, "transB", 0))
    user, e.user = e.user, x
    value = linear(e, x, trans, k, 1.0, 1.0)
    e.user = user
    return value


@emits("Relu")
def relu(e: Emitter, node: RNode) -> Value:
    """max(x, 0)."""
    return e.builder(node).one("graph.relu", e.value(node.ins[0]))


@emits("Clip")
def clip(e: Emitter, node: RNode) -> Value:
    """Clip with numbers."""
    attrs: dict[str, Attribute] = {}
    for key, name in (("min", "low"), ("max", "high")):
        if node.attrs.get(key) is not None:
            attrs[name] = attr_float(node.attrs, key, 0.0)
    return e.builder(node).op("graph.clip", e.value(node.ins[0]), attrs=attrs).result


@emits("Cast")
def cast(e: Emitter, node: RNode) -> Value:
    """Bits count as 0 and 1 wherever numbers are needed."""
    return e.value(node.ins[0])


@emits("View")
def view(e: Emitter, node: RNode) -> Value:
    """Any reshape."""
    return e.reshaped(e.value(node.ins[0]), e.shape(node))


@emits("Transpose")
def transpose(e: Emitter, node: RNode) -> Value:
    """Permutation of step axes."""
    perm = attr_ints(node.attrs, "perm")
    return e.builder(node).one("graph.transpose", e.value(node.ins[0]), perm=perm)


@emits("Expand")
def expand(e: Emitter, node: RNode) -> Value:
    """Repetition along axes of size one."""
    x = e.value(node.ins[0])
    return e.builder(node).one("graph.expand", x, shape=e.shape(node))


@emits("Tile")
def tile(e: Emitter, node: RNode) -> Value:
    """Copies side by side."""
    x, shape = e.value(node.ins[0]), e.shape(node)
    x = e.reshaped(x, (1,) * (len(shape) - len(x.type.step_shape)) + x.type.step_shape)
    for axis, (d, whole) in enumerate(zip(x.type.step_shape, shape, strict=True)):
        if d != whole:
            x = e.builder(node).one("graph.concat", *([x] * (whole // d)), axis=axis)
    return x


@emits("Concat")
def concat(e: Emitter, node: RNode) -> Value:
    """Joining along a step axis; a number that fills an operand is widened to what it joins."""
    axis, whole = attr_int(node.attrs, "axis", 0), e.shape(node)
    batch = e.batches.known.get(node.id)
    parts: list[Value] = []
    for x in node.ins:
        if batch is not None and batch.axis == axis and not e.batches.same:
            if e.batches.known.get(resolve(x).id) is None:
                e.unsupported(
                    node,
                    "a constant is joined to samples along their axis: it holds as many as the "
                    "batch that the file was exported for",
                    "leave --batch out, or export the model for this batch size",
                )
        shape = (*whole[:axis], e.shape(x)[axis], *whole[axis + 1 :])
        parts.append(e.fit(e.value(x), node, shape))
    return e.builder(node).one("graph.concat", *parts, axis=axis)


@emits("Slice")
def piece(e: Emitter, node: RNode) -> Value | None:
    """A piece of every axis."""
    x = e.value(node.ins[0])
    dims = x.type.step_shape
    ends = [d if e == -1 else e for e, d in zip(attr_ints(node.attrs, "ends"), dims, strict=True)]
    strides = attr_ints(node.attrs, "strides")
    if any(s < 1 for s in strides):
        e.unsupported(node, "Slice that runs backwards")
    attrs: dict[str, Attribute] = {
        "starts": attr_ints(node.attrs, "starts"),
        "ends": tuple(ends),
        "strides": strides,
    }
    y = e.builder(node).op("graph.slice", x, attrs=attrs).result
    return e.reshaped(y, e.shape(node))


@emits("Take")
def take(e: Emitter, node: RNode) -> Value:
    """Entries of an axis in a new order: slices, joined."""
    x = e.value(node.ins[0])
    return _entries(e, node, x, attr_int(node.attrs, "axis", 0), attr_ints(node.attrs, "indices"))


def _entries(e: Emitter, node: RNode, x: Value, axis: int, indices: Sequence[int]) -> Value:
    """Join entries of an axis; neighbours that stay neighbours are one slice."""
    dims = x.type.step_shape
    runs: list[list[int]] = []
    for i in indices:
        if runs and runs[-1][1] == i:
            runs[-1][1] = i + 1
        else:
            runs.append([i, i + 1])
    parts: list[Value] = []
    for first, end in runs:
        starts = tuple(first if a == axis else 0 for a in range(len(dims)))
        ends = tuple(end if a == axis else d for a, d in enumerate(dims))
        parts.append(e.builder(node).one("graph.slice", x, starts=starts, ends=ends))
    return e.builder(node).one("graph.concat", *parts, axis=axis) if len(parts) > 1 else parts[0]


@emits("Pad")
def pad(e: Emitter, node: RNode) -> Value | None:
    """A frame of one number, or of the entries that the mode says."""
    mode = attr_str(node.attrs, "mode", "constant")
    low, high = attr_ints(node.attrs, "low"), attr_ints(node.attrs, "high")
    if mode in PAD_MODES and min(*low, *high) >= 0:
        x = e.value(node.ins[0])
        for axis, (a, b, d) in enumerate(zip(low, high, x.type.step_shape, strict=True)):
            if a or b:
                x = _entries(e, node, x, axis, PAD_MODES[mode](d, a, b))
        return x
    if mode != "constant":
        e.unsupported(node, f"Pad in mode {mode}", "supported: constant, reflect, edge, wrap")
    fill = attr_float(node.attrs, "value", 0.0)
    x = e.value(node.ins[0])
    if fill and x.type.dtype == "bit":
        x = e.builder(node).one("graph.cast", x, to="f16")
    return e.builder(node).one("graph.pad", x, low=low, high=high, value=fill)
