"""Result types of the structural ops, shared by the graph and the phased stage.

Each function takes the operand types and the attributes and returns the result types; it raises
ValueError with a sentence for people when they do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from snncc.compiler.ir.build import Attrs, broadcast, flag, integer, ints, lift, text
from snncc.compiler.ir.core import Type, seq, tensor
from snncc.isa.numbers.integers import ceil_div


def _same(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


def linear(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """x[..., in], w[in, out] (, b[out]) -> y[..., out]."""
    x, w = t[0].step_shape, t[1].step_shape
    _same(len(w) == 2, f"weight has shape {w}, not [in, out]")
    _same(bool(x) and x[-1] == w[0], f"input has {x[-1:]} features, weight expects {w[0]}")
    if len(t) > 2:
        _same(t[2].step_shape == (w[1],), f"bias has shape {t[2].step_shape}, not {(w[1],)}")
    return [lift(t, (*x[:-1], w[1]), "f16")]


def linear_dx(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """g[..., out], w[in, out] -> [..., in]."""
    g, w = t[0].step_shape, t[1].step_shape
    _same(g[-1] == w[1], f"gradient has {g[-1]} columns, weight {w[1]}")
    return [lift(t, (*g[:-1], w[0]), "f16")]


def linear_dw(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """x[..., in], g[..., out] -> [in, out]."""
    x, g = t[0].step_shape, t[1].step_shape
    _same(x[:-1] == g[:-1], f"input {x} and gradient {g} have different rows")
    lift(t, (), "f16")
    return [tensor((x[-1], g[-1]), "f16")]


def window(
    size: Sequence[int], kernel: Sequence[int], attrs: Attrs, dilated: bool = True
) -> tuple[int, ...]:
    """Output size of a sliding window per spatial axis."""
    n = len(size)
    stride, pad = ints(attrs, "stride", (1,) * n), ints(attrs, "padding", (0,) * (2 * n))
    dil = ints(attrs, "dilation", (1,) * n) if dilated else (1,) * n
    _same(
        len(stride) == n and len(pad) == 2 * n and len(dil) == n,
        f"stride, padding or dilation do not fit {n} spatial axes",
    )
    out: list[int] = []
    for i in range(n):
        span = size[i] + pad[i] + pad[n + i] - dil[i] * (kernel[i] - 1) - 1
        _same(span >= 0, f"kernel {tuple(kernel)} is larger than the padded input {tuple(size)}")
        out.append(span // stride[i] + 1)
    return tuple(out)


def conv(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """x[B, C, spatial], w[O, C/g, k] (, b[O]) -> y[B, O, spatial]."""
    x, w = t[0].step_shape, t[1].step_shape
    rank, groups = integer(attrs, "rank", len(w) - 2), integer(attrs, "groups", 1)
    _same(len(x) == rank + 2 and len(w) == rank + 2, f"input {x}, weight {w}: rank is {rank}")
    _same(x[1] == w[1] * groups and w[0] % groups == 0, f"input has {x[1]} channels, weight {w}")
    return [lift(t, (x[0], w[0], *window(x[2:], w[2:], attrs)), "f16")]


def conv_transpose(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """x[B, C, spatial], w[C, O/g, k] (, b[O]) -> y[B, O, spatial]."""
    x, w = t[0].step_shape, t[1].step_shape
    n, groups = len(w) - 2, integer(attrs, "groups", 1)
    stride, pad = ints(attrs, "stride", (1,) * n), ints(attrs, "padding", (0,) * (2 * n))
    dil, extra = ints(attrs, "dilation", (1,) * n), ints(attrs, "output_padding", (0,) * n)
    _same(x[1] == w[0], f"input has {x[1]} channels, weight {w}")
    size = [
        (x[2 + i] - 1) * stride[i] - pad[i] - pad[n + i] + dil[i] * (w[2 + i] - 1) + extra[i] + 1
        for i in range(n)
    ]
    return [lift(t, (x[0], w[1] * groups, *size), "f16")]


def to_shape(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """-> f16 of step shape ``shape`` (conv_dx, pool_dx)."""
    return [lift(t, ints(attrs, "shape"), "f16")]


def to_tensor(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """-> f16 tensor of shape ``shape``, or f32 with ``wide`` (conv_dw, sum_to)."""
    return [tensor(ints(attrs, "shape"), "f32" if flag(attrs, "wide") else "f16")]


def sum_rows(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """-> [n] of axis ``axis`` of the step shape."""
    return [tensor((t[0].step_shape[integer(attrs, "axis", -1)],), "f16")]


def pool(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """x[B, C, spatial] -> y; the maximum of bits is a bit."""
    x, kernel = t[0].step_shape, ints(attrs, "kernel")
    dtype = t[0].dtype if text(attrs, "kind") == "max" else "f16"
    _same(len(x) == len(kernel) + 2, f"input {x} does not fit kernel {kernel}")
    return [lift(t, (*x[:2], *window(x[2:], kernel, attrs, False)), dtype)]


def matmul(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """a[.., m, k], b[.., k, n] -> [.., m, n]."""
    a, b = t[0].step_shape, t[1].step_shape
    m, k = (a[-1], a[-2]) if flag(attrs, "transpose_a") else (a[-2], a[-1])
    k2, n = (b[-1], b[-2]) if flag(attrs, "transpose_b") else (b[-2], b[-1])
    _same(k == k2, f"inner sizes {k} and {k2} differ")
    return [lift(t, (*broadcast([a[:-2], b[:-2]]), m, n), "f16")]


def reduce(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Reduce step axes."""
    x, axes = t[0].step_shape, ints(attrs, "axes")
    _same(all(0 <= a < len(x) for a in axes), f"axes {axes} do not fit {x}")
    keep = flag(attrs, "keepdims")
    shape = [1 if i in axes else d for i, d in enumerate(x) if keep or i not in axes]
    is_bit = text(attrs, "kind") == "max" and t[0].dtype == "bit"
    dtype = "f32" if flag(attrs, "wide") else "bit" if is_bit else "f16"
    return [lift(t, shape, dtype)]


def reduce_time(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Seq -> tensor."""
    _same(t[0].kind == "seq", "the operand has no time axis")
    keeps = text(attrs, "kind") in ("max", "last") and t[0].dtype == "bit"
    return [tensor(t[0].step_shape, "bit" if keeps else "f16")]


def time_to_axis(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Seq of T steps -> tensor[T, ...]."""
    _same(t[0].kind == "seq", "the operand has no time axis")
    return [tensor(t[0].shape, t[0].dtype)]


def axis_to_time(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """tensor[T, ...] -> seq of T steps."""
    _same(t[0].kind == "tensor", "the operand has a time axis already")
    _same(bool(t[0].shape), "the operand has no axis that could hold the steps")
    return [seq(t[0].shape, t[0].dtype)]


def argmax_time(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Seq -> maximum, first step that has it."""
    _same(t[0].kind == "seq", "the operand has no time axis")
    return [tensor(t[0].step_shape, t[0].dtype), tensor(t[0].step_shape, "i32")]


def select_time(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Tensor (, index) -> seq."""
    return [seq((integer(attrs, "steps"), *t[0].step_shape), t[0].dtype)]


def reshape(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Same elements, other step shape."""
    shape = ints(attrs, "shape")
    _same(
        math.prod(shape) == math.prod(t[0].step_shape),
        f"{t[0].step_shape} cannot be reshaped to {shape}",
    )
    return [lift(t, shape, t[0].dtype)]


def expand(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Broadcast to a step shape."""
    shape = ints(attrs, "shape")
    _same(
        broadcast([t[0].step_shape, shape]) == shape,
        f"{t[0].step_shape} does not expand to {shape}",
    )
    return [lift(t, shape, t[0].dtype)]


def transpose(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Permute step axes."""
    x, perm = t[0].step_shape, ints(attrs, "perm")
    _same(sorted(perm) == list(range(len(x))), f"{perm} is no permutation of {len(x)} axes")
    return [lift(t, [x[p] for p in perm], t[0].dtype)]


def concat(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Join along a step axis; mixed bits and numbers become numbers."""
    axis, first = integer(attrs, "axis"), list(t[0].step_shape)
    for other in t[1:]:
        o = other.step_shape
        _same(
            len(o) == len(first) and all(o[i] == first[i] for i in range(len(o)) if i != axis),
            f"cannot join {o} to {tuple(first)} along axis {axis}",
        )
    first[axis] = sum(other.step_shape[axis] for other in t)
    dtypes = {other.dtype for other in t}
    return [lift(t, first, dtypes.pop() if len(dtypes) == 1 else "f16")]


def slice_(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Starts, ends, strides for every step axis."""
    x = t[0].step_shape
    starts, ends = ints(attrs, "starts"), ints(attrs, "ends")
    strides = ints(attrs, "strides", (1,) * len(x))
    _same(len(starts) == len(ends) == len(strides) == len(x), "one start, end and stride per axis")
    _same(
        all(0 <= a < b <= d and s > 0 for a, b, d, s in zip(starts, ends, x, strides, strict=True)),
        f"slice {starts}..{ends} does not fit {x}",
    )
    shape = [ceil_div(b - a, s) for a, b, s in zip(starts, ends, strides, strict=True)]
    return [lift(t, shape, t[0].dtype)]


def pad(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Low and high padding per step axis."""
    x, low, high = t[0].step_shape, ints(attrs, "low"), ints(attrs, "high")
    _same(len(low) == len(high) == len(x), "one low and high padding per axis")
    return [lift(t, [a + d + b for a, d, b in zip(low, x, high, strict=True)], t[0].dtype)]


def same(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """As the first operand, f16."""
    return [lift(t, t[0].step_shape, "f16")]


def identity(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """As the first operand."""
    return [t[0]]


def elementwise(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Broadcast, f16."""
    return [lift(t, broadcast([x.step_shape for x in t]), "f16")]


def logical(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Broadcast of bits, bit."""
    _same(all(x.dtype == "bit" for x in t), "the operands must be bits")
    return [lift(t, broadcast([x.step_shape for x in t]), "bit")]


def channels(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """-> two f32 vectors, one entry per channel (axis ``axis``); ``per_step``: for every step."""
    shape = (t[0].step_shape[integer(attrs, "axis", 1)],)
    made = lift(t, shape, "f32") if flag(attrs, "per_step") else tensor(shape, "f32")
    return [made, made]


def row_losses(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """-> loss of every row (f32), gradient."""
    rows = lift([t[0]], t[0].step_shape[:-1], "f32")
    return [rows, t[0].with_(dtype="f16")]


def total(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """-> scalar."""
    if t[0].dtype != "f32":
        raise ValueError(f"the terms are {t[0].dtype}, not f32")
    return [tensor((), "f16")]


def nothing(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """No results."""
    return []
