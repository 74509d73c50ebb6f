"""Losses: the arithmetic of docs/design/ir.md, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.interp.kernels import Call
from snncc.compiler.interp.numerics import Array
from snncc.compiler.ir.build import integer, number


def _rows(c: Call) -> tuple[Array, Array]:
    """Logits as [rows, classes] and one label per row."""
    z = c.num.number(c.args[0])
    flat = z.reshape(-1, z.shape[-1])
    labels = c.args[1].reshape(-1)
    repeats = flat.shape[0] // labels.shape[0]
    return flat, np.concatenate([labels] * repeats) if repeats > 1 else labels


def _factor(c: Call, k: float) -> Array:
    """Return what the gradient is multiplied by: a number, times a scale that is an operand."""
    fixed = np.asarray(k, c.num.real)
    return c.num.binary("mul", fixed, c.args[2], "f32") if len(c.args) > 2 else fixed


def softmax_ce(c: Call) -> Sequence[Array]:
    """Cross-entropy of every row and its gradient."""
    num, (z, labels) = c.num, _rows(c)
    batch, scale = integer(c.op.attrs, "batch"), number(c.op.attrs, "scale")
    smoothing, classes = number(c.op.attrs, "smoothing", 0.0), z.shape[1]
    real = num.real
    d = num.binary("sub", z, np.max(z, axis=1, keepdims=True), "f16")
    e = num.table("exp", d)
    total = num.total(e.T)[:, None]
    hot: Array = np.equal(labels.reshape(-1, 1), np.arange(classes, dtype=np.int64))
    p = num.binary("div", e, total, "f32")
    wanted = np.where(hot, np.asarray(1 - smoothing, real), np.zeros((), real))
    if smoothing:
        share = np.asarray(smoothing / classes, real)
        wanted = np.where(hot, np.asarray(1 - smoothing + smoothing / classes, real), share)
        q = num.binary("sub", p, wanted, "f32")
    else:
        q = np.where(hot, num.binary("sub", p, np.ones((), real), "f32"), p)
    k = _factor(c, scale / batch)
    gradient = num.round(num.binary("mul", q, k, "f32"), "f16")
    log = num.table("log", num.round(total, "f16"))
    own = np.where(hot, d, np.zeros((), d.dtype))
    if smoothing:
        own = num.round(num.binary("mul", d.astype(real), wanted, "f32"), "f16")
    said = num.total(own.T)  # without smoothing one term per row: exact
    per_row = num.binary("sub", log[:, 0], said.astype(real), "f32")
    return [per_row.reshape(c.args[0].shape[:-1]), gradient.reshape(c.args[0].shape)]


def total(c: Call) -> Sequence[Array]:
    """A factor times the sum of all elements."""
    factor = np.asarray(number(c.op.attrs, "factor"), c.num.real)
    return [c.num.round(c.num.total(c.args[0].reshape(-1)) * factor, "f16")]


def seed(c: Call) -> Sequence[Array]:
    """Nothing: the op says where back-propagation begins."""
    return []
