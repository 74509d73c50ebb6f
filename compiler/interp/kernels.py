"""The structural ops on arrays: one kernel per op name, shared by the graph and phased stages.

A kernel gets the operands as arrays and, per operand, whether a time axis leads.  ``KERNELS`` maps
the name without dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from snncc.compiler.interp import windows
from snncc.compiler.interp.numerics import Array, Numerics
from snncc.compiler.ir.build import flag, integer, ints, number, text
from snncc.compiler.ir.core import Op


@dataclass(frozen=True)
class Call:
    """One evaluation of an op: arithmetic, op, operands and which of them have a time axis."""

    num: Numerics
    op: Op
    args: Sequence[Array]
    seqs: Sequence[bool]

    @property
    def seq(self) -> bool:
        """Whether the result has a time axis."""
        return any(self.seqs)

    def folded(self, i: int) -> Array:
        """Operand ``i`` with time folded into the batch axis."""
        a = self.args[i]
        return a.reshape(-1, *a.shape[2:]) if self.seqs[i] else a

    def unfolded(self, a: Array, i: int = 0) -> Array:
        """Undo :meth:`folded` on a result."""
        return a.reshape(self.args[i].shape[0], -1, *a.shape[1:]) if self.seqs[i] else a

    def axis(self, step_axis: int) -> int:
        """Array axis of a step axis of operand 0."""
        rank = self.args[0].ndim - int(self.seqs[0])
        return step_axis % rank + int(self.seqs[0])


Kernel: TypeAlias = Callable[[Call], Sequence[Array]]


def aligned(args: Sequence[Array], seqs: Sequence[bool]) -> list[Array]:
    """Insert axes after time so that step shapes broadcast on trailing axes."""
    if not any(seqs):
        return list(args)
    rank = max(a.ndim - int(s) for a, s in zip(args, seqs, strict=True))
    return [
        a.reshape(a.shape[0], *(1,) * (rank - a.ndim + 1), *a.shape[1:]) if s else a
        for a, s in zip(args, seqs, strict=True)
    ]


def _linear(c: Call) -> list[Array]:
    x, w = c.args[0], c.args[1]
    flat = c.num.mac(x.reshape(-1, x.shape[-1]), w, c.args[2] if len(c.args) > 2 else None)
    return [flat.reshape(*x.shape[:-1], w.shape[1])]


def _linear_dx(c: Call) -> list[Array]:
    g, w = c.args
    return [c.num.mac(g.reshape(-1, g.shape[-1]), w.T).reshape(*g.shape[:-1], w.shape[0])]


def _repeated(c: Call, i: int) -> Array:
    """Operand ``i`` with a time axis when any operand has one."""
    a = c.args[i]
    if not c.seq:
        return a[None]
    if c.seqs[i]:
        return a
    steps = next(b.shape[0] for b, s in zip(c.args, c.seqs, strict=True) if s)
    return np.broadcast_to(a, (steps, *a.shape))


def ordered(c: Call, i: int = 0) -> Array:
    """Operand ``i`` as [rows, ...]: micro-batch, then t descending, then sample."""
    a = _repeated(c, i)
    batch = a.shape[1] if a.ndim > 1 else 1
    if a.ndim == 1:
        return a[::-1]
    micro = integer(c.op.attrs, "microbatch", batch)
    backward = a[::-1]
    parts = [
        backward[:, lo : lo + micro].reshape(-1, *a.shape[2:]) for lo in range(0, batch, micro)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _linear_dw(c: Call) -> list[Array]:
    x, g = (_rows_of_features(c, i) for i in (0, 1))
    return [c.num.mac(x.T, g)]


def _rows_of_features(c: Call, i: int) -> Array:
    """Operand ``i`` as [rows, features], ordered; a step without a batch axis is one row."""
    if c.args[i].ndim - int(c.seqs[i]) > 1:
        a = ordered(c, i)
        return a.reshape(-1, a.shape[-1])
    return _repeated(c, i)[::-1]


def _conv(c: Call) -> list[Array]:
    bias = c.args[2] if len(c.args) > 2 else None
    return [c.unfolded(windows.conv(c.num, c.folded(0), c.args[1], bias, c.op.attrs))]


def _conv_dx(c: Call) -> list[Array]:
    size = ints(c.op.attrs, "shape")[2:]
    return [c.unfolded(windows.conv_dx(c.num, c.folded(0), c.args[1], None, c.op.attrs, size))]


def _conv_transpose(c: Call) -> list[Array]:
    size = c.op.results[0].type.step_shape[2:]
    bias = c.args[2] if len(c.args) > 2 else None
    return [c.unfolded(windows.conv_dx(c.num, c.folded(0), c.args[1], bias, c.op.attrs, size))]


def _conv_dw(c: Call) -> list[Array]:
    shape = ints(c.op.attrs, "shape")
    return [windows.conv_dw(c.num, ordered(c, 0), ordered(c, 1), c.op.attrs, shape)]


def _sum_rows(c: Call) -> list[Array]:
    rank = c.args[0].ndim - int(c.seqs[0])
    if rank == 1:
        return [c.num.round(c.num.total(_rows_of_features(c, 0)), "f16")]
    rows = ordered(c)
    axis = integer(c.op.attrs, "axis", -1) % rank
    moved = np.moveaxis(rows, axis, -1)  # the batch axis is axis 0 of the rows
    return [c.num.round(c.num.total(moved.reshape(-1, moved.shape[-1])), "f16")]


def _sum_to(c: Call) -> list[Array]:
    shape = ints(c.op.attrs, "shape")
    a = _repeated(c, 0)
    step = a.shape[1:]
    target = (1,) * (len(step) - len(shape)) + tuple(shape)
    keep = [i for i, d in enumerate(target) if d == step[i] and d != 1]
    gone = [i for i in range(len(step)) if i not in keep]
    if 0 in keep or not step:  # the batch survives: only steps and features are summed
        rows = a[::-1]
        order = [0, *(i + 1 for i in gone), *(i + 1 for i in keep)]
        flat = rows.transpose(order)
    else:
        rows = ordered(c)
        flat = rows.transpose([0, *(i for i in gone if i), *keep])
    kept = tuple(step[i] for i in keep)
    total = c.num.total(flat.reshape(-1, *kept)).reshape(shape)
    return [c.num.round(total, "f32" if flag(c.op.attrs, "wide") else "f16")]


def _matmul(c: Call) -> list[Array]:
    a, b = aligned(c.args, c.seqs)
    if flag(c.op.attrs, "transpose_a"):
        a = np.swapaxes(a, -1, -2)
    if flag(c.op.attrs, "transpose_b"):
        b = np.swapaxes(b, -1, -2)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = np.broadcast_to(a, (*lead, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    b = np.broadcast_to(b, (*lead, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
    out = np.stack([c.num.mac(x, y) for x, y in zip(a, b, strict=True)])
    return [out.reshape(*lead, *out.shape[-2:])]


def _pool(c: Call) -> list[Array]:
    return [c.unfolded(windows.pool(c.num, c.folded(0), c.op.attrs))]


def _pool_dx(c: Call) -> list[Array]:
    size = ints(c.op.attrs, "shape")[2:]
    full = [_repeated(c, i) for i in range(len(c.args))]
    folded = [a.reshape(-1, *a.shape[2:]) for a in full]
    x, y = (folded[1], folded[2]) if len(folded) == 3 else (None, None)
    out = windows.pool_dx(c.num, folded[0], x, y, c.op.attrs, size)
    return [out.reshape(full[0].shape[0], -1, *out.shape[1:]) if c.seq else out]


def _largest(c: Call, x: Array) -> Array:
    """Maximum over the first axis as the engines see it: -0 < +0, NaN if any is NaN."""
    if x.dtype == np.bool_:
        return np.asarray(np.max(x, axis=0))
    best: Array = x[0]
    for each in x[1:]:
        best = c.num.binary("max", best, each, "f16")
    return best


def _reduce(c: Call) -> list[Array]:
    x, kind = c.args[0], text(c.op.attrs, "kind")
    shift = int(c.seqs[0])
    axes = [a + shift for a in ints(c.op.attrs, "axes")]
    rest = [i for i in range(x.ndim) if i not in axes]
    dtype = c.op.results[0].type.dtype
    moved = x.transpose([*axes, *rest]).reshape(-1, *(x.shape[i] for i in rest))
    if kind == "max":
        out = _largest(c, moved)
    else:
        out = c.num.total(moved)
        if kind == "mean":
            out = out / np.asarray(moved.shape[0], out.dtype)
        out = c.num.round(out, dtype)
    if flag(c.op.attrs, "keepdims"):
        out = out.reshape([1 if i in axes else d for i, d in enumerate(x.shape)])
    return [out]


def _reduce_time(c: Call) -> list[Array]:
    x, kind = c.args[0], text(c.op.attrs, "kind")
    if kind == "last":
        return [x[-1]]
    if kind == "max":
        return [_largest(c, x)]
    out = c.num.total(x)
    if kind == "mean":
        out = out / np.asarray(x.shape[0], out.dtype)
    return [c.num.round(out, "f16")]


def _argmax_time(c: Call) -> list[Array]:
    x = c.num.number(c.args[0])
    index = np.argmax(x, axis=0)
    return [np.take_along_axis(c.args[0], index[None], axis=0)[0], index.astype(np.int64)]


def _select_time(c: Call) -> list[Array]:
    g, steps = c.args[0], integer(c.op.attrs, "steps")
    out = np.zeros((steps, *g.shape), g.dtype)
    if len(c.args) > 1:
        for t in range(steps):
            out[t] = np.where(c.args[1] == t, g, out[t])
    else:
        out[integer(c.op.attrs, "at")] = g
    return [out]


def _reshape(c: Call) -> list[Array]:
    a, shape = c.args[0], ints(c.op.attrs, "shape")
    return [a.reshape(a.shape[0], *shape) if c.seq else a.reshape(shape)]


def _expand(c: Call) -> list[Array]:
    shape = ints(c.op.attrs, "shape")
    a = c.args[0]
    if c.seq:
        a = a.reshape(a.shape[0], *(1,) * (len(shape) - a.ndim + 1), *a.shape[1:])
        return [np.broadcast_to(a, (a.shape[0], *shape))]
    return [np.broadcast_to(a, shape)]


def _transpose(c: Call) -> list[Array]:
    perm = [p + int(c.seq) for p in ints(c.op.attrs, "perm")]
    return [c.args[0].transpose([0, *perm] if c.seq else perm)]


def _concat(c: Call) -> list[Array]:
    parts = [_repeated(c, i) if c.seq else c.args[i] for i in range(len(c.args))]
    if len({p.dtype for p in parts}) > 1:
        parts = [c.num.number(p) for p in parts]
    return [np.concatenate(parts, axis=c.axis(integer(c.op.attrs, "axis")))]


def _slice(c: Call) -> list[Array]:
    starts, ends = ints(c.op.attrs, "starts"), ints(c.op.attrs, "ends")
    strides = ints(c.op.attrs, "strides", (1,) * len(starts))
    cut = [slice(a, b, s) for a, b, s in zip(starts, ends, strides, strict=True)]
    return [c.args[0][(*([slice(None)] if c.seq else []), *cut)]]


def _slice_dx(c: Call) -> list[Array]:
    g, shape = c.args[0], ints(c.op.attrs, "shape")
    out = np.zeros((*g.shape[: int(c.seq)], *shape), g.dtype)
    starts, strides = ints(c.op.attrs, "starts"), ints(c.op.attrs, "strides")
    step = g.shape[int(c.seq) :]
    cut = [slice(a, a + (n - 1) * s + 1, s) for a, s, n in zip(starts, strides, step, strict=True)]
    out[(*([slice(None)] if c.seq else []), *cut)] = g
    return [out]


def _pad(c: Call) -> list[Array]:
    low, high = ints(c.op.attrs, "low"), ints(c.op.attrs, "high")
    widths = [*([(0, 0)] if c.seq else []), *zip(low, high, strict=True)]
    value = c.num.value(np.float64(number(c.op.attrs, "value", 0.0)), "f16")
    return [np.pad(c.args[0], widths, constant_values=value.item())]


def _per_channel(c: Call, a: Array) -> Array:
    """[rows, C, ...] or [T, B, C, ...] -> [terms, C]."""
    axis = integer(c.op.attrs, "axis", 1)
    moved = np.moveaxis(a, axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _each_step(kernel: Kernel, c: Call) -> list[Array]:
    """Apply a kernel to each step alone and stack its results."""
    steps = next(a.shape[0] for a, s in zip(c.args, c.seqs, strict=True) if s)
    found = [
        kernel(Call(c.num, c.op, [a[t] if s else a for a, s in zip(c.args, c.seqs, strict=True)],
                    [False] * len(c.args)))
        for t in range(steps)
    ]  # fmt: skip
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def bn_stats(c: Call) -> list[Array]:
    """Mean and biased variance per channel in f32, of all steps or of each."""
    if flag(c.op.attrs, "per_step") and c.seqs[0]:
        return _each_step(bn_stats, c)
    x = _repeated(c, 0)
    terms = _per_channel(c, c.num.number(x).reshape(-1, *x.shape[2:]))
    count = np.asarray(terms.shape[0], c.num.real)
    mean = c.num.round(c.num.total(terms) / count, "f32")
    d = terms - mean
    return [mean, c.num.round(c.num.total(d * d) / count, "f32")]


def _bn_sums(c: Call) -> list[Array]:
    if flag(c.op.attrs, "per_step") and c.seq:
        return _each_step(_bn_sums, c)
    head = Call(c.num, c.op, c.args[:2], c.seqs[:2])
    g, x = _per_channel(c, ordered(head, 0)), _per_channel(c, c.num.number(ordered(head, 1)))
    normal = (x - c.args[2]) * c.args[3]
    return [c.num.total(g), c.num.total(g * normal)]


def batchnorm(c: Call) -> list[Array]:
    """Operands x, mean, inv (f32), scale, shift: y = f16(x*k + m) with f32 inside."""
    x, (mean, inv, scale, shift) = c.num.number(c.args[0]), c.args[1:]
    f = c.num.binary
    k = f("mul", scale, inv, "f32")
    m = f("sub", shift, f("mul", mean, k, "f32"), "f32")
    shape = [1] * x.ndim
    shape[c.axis(integer(c.op.attrs, "axis", 1))] = k.shape[-1]
    if k.ndim > 1:  # statistics of every step
        shape[0] = k.shape[0]
    scaled = f("mul", x, k.reshape(shape), "f32")
    return [c.num.round(f("add", scaled, m.reshape(shape), "f32"), "f16")]


KERNELS: Mapping[str, Kernel] = {
    "linear": _linear,
    "linear_dx": _linear_dx,
    "linear_dw": _linear_dw,
    "conv": _conv,
    "conv_dx": _conv_dx,
    "conv_dw": _conv_dw,
    "conv_transpose": _conv_transpose,
    "sum_rows": _sum_rows,
    "sum_to": _sum_to,
    "matmul": _matmul,
    "pool": _pool,
    "pool_dx": _pool_dx,
    "reduce": _reduce,
    "reduce_time": _reduce_time,
    "argmax_time": _argmax_time,
    "select_time": _select_time,
    "relayout": lambda c: [c.args[0]],
    "time_to_axis": lambda c: [c.args[0]],
    "axis_to_time": lambda c: [c.args[0]],
    "reshape": _reshape,
    "expand": _expand,
    "transpose": _transpose,
    "concat": _concat,
    "slice": _slice,
    "slice_dx": _slice_dx,
    "pad": _pad,
    "bn_stats": bn_stats,
    "bn_sums": _bn_sums,
    "batchnorm": batchnorm,
}
