"""Losses: the arithmetic of docs/design/ir.md, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.interp.kernels import Call
from snncc.compiler.interp.numerics import Array
from snncc.compiler.ir.build import integer, number


def _rows(c: Call) -> tuple[Array, Array]:
    """Logits as [rows, classes] and one label (or target row) per row."""
    z = c.num.number(c.args[0])
    flat = z.reshape(-1, z.shape[-1])
    labels = c.args[1]
    per_row = labels if labels.dtype.kind == "i" else labels.reshape(-1, z.shape[-1])
    repeats = flat.shape[0] // per_row.shape[0]
    return flat, np.concatenate([per_row] * repeats) if repeats > 1 else per_row


def one_hot(labels: Array, classes: int) -> Array:
    """Return the bits [rows, classes]."""
    return np.asarray(labels.reshape(-1, 1) == np.arange(classes))


def _factor(c: Call, k: float) -> Array:
    """Return what the gradient is multiplied by: a number, times a scale that is an operand."""
    fixed = np.asarray(k, c.num.real)
    return c.num.binary("mul", fixed, c.args[2], "f32") if len(c.args) > 2 else fixed


def softmax_ce(c: Call) -> Sequence[Array]:
    """Cross-entropy and its gradient."""
    num, (z, labels) = c.num, _rows(c)
    batch, scale = integer(c.op.attrs, "batch"), number(c.op.attrs, "scale")
    real = num.real
    d = num.binary("sub", z, np.max(z, axis=1, keepdims=True), "f16")
    e = num.table("exp", d)
    total = num.total(e.T)[:, None]
    hot = one_hot(labels, z.shape[1])
    p = num.binary("div", e, total, "f32")
    q = np.where(hot, num.binary("sub", p, np.ones((), real), "f32"), p)
    k = _factor(c, scale / batch)
    gradient = num.round(num.binary("mul", q, k, "f32"), "f16")
    log = num.table("log", num.round(total, "f16"))
    own = np.sum(np.where(hot, d, 0), axis=1)  # one term per row: exact
    per_row = num.binary("sub", log[:, 0], own.astype(real), "f32")
    loss = num.round(num.total(per_row) * np.asarray(1 / batch, real), "f16")
    return [loss, gradient.reshape(c.args[0].shape)]


def mse(c: Call) -> Sequence[Array]:
    """Mean squared error and its gradient."""
    num, (z, target) = c.num, _rows(c)
    if target.dtype.kind == "i":
        target = one_hot(target, z.shape[1])
    count = integer(c.op.attrs, "batch") * z.shape[1]
    d = num.binary("sub", z, num.number(target), "f16")
    k = _factor(c, 2 * number(c.op.attrs, "scale") / count)
    gradient = num.round(num.binary("mul", d, k, "f32"), "f16")
    squares = num.binary("mul", d, d, "f32")
    loss = num.round(num.total(squares.reshape(-1)) * np.asarray(1 / count, num.real), "f16")
    return [loss, gradient.reshape(c.args[0].shape)]
