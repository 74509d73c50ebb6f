"""ONNX operators of layers: products, windows, normalisation, reductions, recurrent cells.

Over 400 lines: a table, one function for each operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snncc.compiler.validate.arithmetic import Array
from snncc.compiler.validate.onnx.operators import (
    Call,
    UnknownOperator,
    integers,
    is_real,
    largest,
    mean,
    operator,
    total,
)
from snncc.isa.numbers.integers import ceil_div


# ------------------------------------------------------------------------------- products
@operator("MatMul")
def _matmul(c: Call, x: Array, y: Array) -> Array:
    return np.asarray(x @ y)


@operator("Gemm")
def _gemm(c: Call, x: Array, y: Array, z: Array | None = None) -> Array:
    x = x.T if c.get("transA", 0) else x
    y = y.T if c.get("transB", 0) else y
    out = x @ y
    alpha, beta = c.get("alpha", 1.0), c.get("beta", 1.0)
    out = out if alpha == 1.0 else alpha * out
    return out if z is None else out + (z if beta == 1.0 else beta * z)


@operator("Einsum")
def _einsum(c: Call, *xs: Array) -> Array:
    return np.asarray(np.einsum(c.get("equation").replace(" ", ""), *xs, optimize=len(xs) > 2))


# ------------------------------------------------------------------------------- windows
def _spatial_pads(
    c: Call, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:  # fmt: skip
    """Return the frame before and after each spatial axis."""
    n, mode = len(kernel), c.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = c.get("pads") or [0] * 2 * n
        return list(pads[:n]), list(pads[n:])
    if mode == "VALID":
        return [0] * n, [0] * n
    low: list[int] = []
    high: list[int] = []
    for d, k, s, e in zip(size, kernel, strides, dilations, strict=True):
        need = max(0, (ceil_div(d, s) - 1) * s + e * (k - 1) + 1 - d)
        low.append(need // 2 if mode == "SAME_UPPER" else need - need // 2)
        high.append(need - low[-1])
    return low, high


def _framed(x: Array, low: Sequence[int], high: Sequence[int], value: float = 0.0) -> Array:
    frame = [(0, 0), (0, 0), *zip(low, high, strict=True)]
    return np.pad(x, frame, constant_values=value) if any(map(any, frame)) else x


def _windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """[N, C, size...] -> [N, C, places..., taps...], a view."""
    n = len(kernel)
    span = tuple(e * (k - 1) + 1 for k, e in zip(kernel, dilations, strict=True))
    view = sliding_window_view(x, span, axis=tuple(range(2, 2 + n)))
    places = tuple(slice(None, None, s) for s in strides)
    taps = tuple(slice(None, None, e) for e in dilations)
    return view[(slice(None), slice(None), *places, *taps)]


@operator("Conv")
def _conv(c: Call, x: Array, w: Array, b: Array | None = None) -> Array:
    n, groups = w.ndim - 2, c.get("group", 1)
    strides, dilations = c.get("strides") or [1] * n, c.get("dilations") or [1] * n
    kernel = w.shape[2:]
    x = _framed(x, *_spatial_pads(c, x.shape[2:], kernel, strides, dilations))
    seen = _windows(x, kernel, strides, dilations)
    batch, places = x.shape[0], seen.shape[2 : 2 + n]
    per = x.shape[1] // groups
    cut = seen.reshape(batch, groups, per, *seen.shape[2:])
    # [groups, batch * places, per * taps]
    order = (1, 0, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n))
    columns = cut.transpose(order).reshape(groups, batch * math.prod(places), -1)
    weights = w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
    out = columns @ weights
    out = out.reshape(groups, batch, *places, -1)
    out = np.moveaxis(out, (1, 0, out.ndim - 1), (0, 1, 2))
    out = out.reshape(batch, w.shape[0], *places)
    return out if b is None else out + b.reshape(-1, *(1,) * n)


@operator("ConvTranspose")
def _conv_transpose(c: Call, x: Array, w: Array, b: Array | None = None) -> Array:
    n, groups = w.ndim - 2, c.get("group", 1)
    strides, dilations = c.get("strides") or [1] * n, c.get("dilations") or [1] * n
    more = c.get("output_padding") or [0] * n
    kernel, per = w.shape[2:], w.shape[0] // groups
    full = [
        (d - 1) * s + e * (k - 1) + 1 + o
        for d, s, e, k, o in zip(x.shape[2:], strides, dilations, kernel, more, strict=True)
    ]
    low, high = _transposed_pads(c, full, x.shape[2:], strides, n)
    out = np.zeros((x.shape[0], w.shape[1] * groups, *full), np.result_type(x, w))
    for g in range(groups):
        own = x[:, g * per : (g + 1) * per]
        to = slice(g * w.shape[1], (g + 1) * w.shape[1])
        for tap in np.ndindex(*kernel):
            part = np.einsum(
                "nc...,co->no...", own, w[(slice(g * per, (g + 1) * per), slice(None), *tap)]
            )
            at = tuple(
                slice(k * e, k * e + (d - 1) * s + 1, s)
                for k, e, d, s in zip(tap, dilations, x.shape[2:], strides, strict=True)
            )
            out[(slice(None), to, *at)] += part
    cut = tuple(slice(a, f - z) for a, z, f in zip(low, high, full, strict=True))
    out = out[(slice(None), slice(None), *cut)]
    return out if b is None else out + b.reshape(-1, *(1,) * n)


def _transposed_pads(
    c: Call, full: Sequence[int], size: Sequence[int], strides: Sequence[int], n: int
) -> tuple[list[int], list[int]]:
    wanted = c.get("output_shape")
    if wanted is None and c.get("auto_pad", "NOTSET") in ("NOTSET", ""):
        pads = c.get("pads") or [0] * 2 * n
        return list(pads[:n]), list(pads[n:])
    if c.get("auto_pad", "NOTSET") == "VALID":
        return [0] * n, [0] * n
    wanted = wanted or [d * s for d, s in zip(size, strides, strict=True)]
    need = [f - d for f, d in zip(full, wanted[-n:], strict=True)]
    if c.get("auto_pad") == "SAME_UPPER":
        low = [v // 2 for v in need]
    else:
        low = [v - v // 2 for v in need]
    return low, [v - a for v, a in zip(need, low, strict=True)]


def _pool_windows(c: Call, x: Array, fill: float) -> tuple[Array, Array, Array]:
    """Return the windows, and how many elements of each lie in the input and in its frame."""
    kernel = c.get("kernel_shape")
    n = len(kernel)
    strides, dilations = c.get("strides") or [1] * n, c.get("dilations") or [1] * n
    low, high = _spatial_pads(c, x.shape[2:], kernel, strides, dilations)
    beyond = [0] * n
    if c.get("ceil_mode", 0):
        for i in range(n):
            size = x.shape[2 + i] + low[i] + high[i] - dilations[i] * (kernel[i] - 1) - 1
            places = ceil_div(size, strides[i]) + 1
            if (places - 1) * strides[i] >= x.shape[2 + i] + low[i]:
                places -= 1  # a window never starts in the frame behind
            end = (places - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1
            beyond[i] = max(0, end - x.shape[2 + i] - low[i] - high[i])
    ones = np.ones((1, 1, *x.shape[2:]))
    inside = _framed(_framed(ones, low, high), [0] * n, beyond)
    frame = _framed(_framed(ones, low, high, 1.0), [0] * n, beyond)
    framed = _framed(_framed(x, low, high, fill), [0] * n, beyond, fill)
    shapes = (kernel, strides, dilations)
    return _windows(framed, *shapes), _windows(inside, *shapes), _windows(frame, *shapes)


@operator("MaxPool")
def _max_pool(c: Call, x: Array) -> Array:
    if c.outputs > 1:
        raise UnknownOperator("MaxPool with indices")
    seen, _, _ = _pool_windows(c, x, -math.inf)
    n = len(c.get("kernel_shape"))
    return largest(c, seen.reshape(*seen.shape[:-n], -1), [-1], keep=False)


@operator("AveragePool")
def _average_pool(c: Call, x: Array) -> Array:
    seen, inside, frame = _pool_windows(c, x, 0.0)
    n = len(c.get("kernel_shape"))
    axes = tuple(range(-n, 0))
    counts = np.sum(frame if c.get("count_include_pad", 0) else inside, axis=axes)
    return np.asarray(np.sum(seen, axis=axes) / counts)


@operator("GlobalAveragePool")
def _global_average(c: Call, x: Array) -> Array:
    return mean(x, range(2, x.ndim), True)


@operator("GlobalMaxPool")
def _global_max(c: Call, x: Array) -> Array:
    return largest(c, x, range(2, x.ndim), keep=True)


# ------------------------------------------------------------------------------- normalisation
def _normal(c: Call, x: Array, axes: Sequence[int], epsilon: float) -> Array:
    centred = x - mean(x, axes, True)
    return centred * c.arithmetic.function("rsqrt", mean(centred * centred, axes, True) + epsilon)


@operator("BatchNormalization")
def _batch_norm(c: Call, x: Array, scale: Array, bias: Array, *statistics: Array) -> Array:
    if c.outputs > 1 and not c.get("training_mode", 0):
        raise UnknownOperator("BatchNormalization with statistics as outputs")
    form, epsilon = (1, -1, *(1,) * (x.ndim - 2)), c.get("epsilon", 1e-5)
    if c.batch_statistics:  # what the file's training_mode says gives way to the configuration
        y = _normal(c, x, [i for i in range(x.ndim) if i != 1], epsilon)
    else:
        centre, variance = (s.reshape(form) for s in statistics[:2])
        y = (x - centre) * c.arithmetic.function("rsqrt", variance + epsilon)
    return y * scale.reshape(form) + bias.reshape(form)


@operator("LayerNormalization")
def _layer_norm(c: Call, x: Array, scale: Array, bias: Array | None = None) -> Array:
    axes = range(c.get("axis", -1) % x.ndim, x.ndim)
    y = _normal(c, x, axes, c.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


@operator("RMSNormalization")
def _rms_norm(c: Call, x: Array, scale: Array) -> Array:
    axes = range(c.get("axis", -1) % x.ndim, x.ndim)
    size = mean(x * x, axes, True) + c.get("epsilon", 1e-5)
    return x * c.arithmetic.function("rsqrt", size) * scale


@operator("InstanceNormalization")
def _instance_norm(c: Call, x: Array, scale: Array, bias: Array) -> Array:
    form = (1, -1, *(1,) * (x.ndim - 2))
    y = _normal(c, x, range(2, x.ndim), c.get("epsilon", 1e-5))
    return y * scale.reshape(form) + bias.reshape(form)


@operator("GroupNormalization")
def _group_norm(c: Call, x: Array, scale: Array, bias: Array) -> Array:
    groups = c.get("num_groups")
    cut = x.reshape(x.shape[0], groups, -1)
    y = _normal(c, cut, [2], c.get("epsilon", 1e-5)).reshape(x.shape)
    if scale.size == groups != x.shape[1]:  # before opset 21: one factor for each group
        scale, bias = (np.repeat(v, x.shape[1] // groups) for v in (scale, bias))
    form = (1, -1, *(1,) * (x.ndim - 2))
    return y * scale.reshape(form) + bias.reshape(form)


@operator("LpNormalization")
def _lp_norm(c: Call, x: Array) -> Array:
    axis = [c.get("axis", -1)]
    if c.get("p", 2) == 2:
        return x * c.arithmetic.function("rsqrt", total(x * x, axis, True))
    return np.asarray(x / total(c.arithmetic.absolute(x), axis, True))


def _softmax_axes(c: Call, x: Array) -> list[int]:
    if c.opset >= 13:
        return [c.get("axis", -1) % x.ndim]
    return list(range(c.get("axis", 1) % x.ndim, x.ndim))  # all axes from this one on


@operator("Softmax")
def _softmax(c: Call, x: Array) -> Array:
    axes = _softmax_axes(c, x)
    e = c.arithmetic.function("exp", x - np.max(np.real(x), axis=tuple(axes), keepdims=True))
    return np.asarray(e / total(e, axes, True))


@operator("LogSoftmax")
def _log_softmax(c: Call, x: Array) -> Array:
    axes = _softmax_axes(c, x)
    d = x - np.max(np.real(x), axis=tuple(axes), keepdims=True)
    return np.asarray(
        d - c.arithmetic.function("log", total(c.arithmetic.function("exp", d), axes, True))
    )


# ------------------------------------------------------------------------------- reductions
def _reduction(name: str, fn: Callable[[Call, Array, list[int], bool], Any]) -> None:
    @operator(name)
    def run(c: Call, x: Array, axes: Array | None = None) -> Array:
        chosen = integers(axes if axes is not None else c.get("axes"))
        if not chosen:
            if c.get("noop_with_empty_axes", 0):
                return x
            chosen = list(range(x.ndim))
        found = fn(c, x, [a % x.ndim for a in chosen], bool(c.get("keepdims", 1)))
        return np.asarray(found if is_real(x) or found.dtype.kind != "f" else found.astype(x.dtype))


def _largest_of(c: Call, x: Array, axes: list[int], keep: bool) -> Array:
    if x.dtype.kind == "b":
        return np.asarray(np.any(x, axis=tuple(axes), keepdims=keep))
    return largest(c, x, axes, keep)


_reduction("ReduceSum", lambda c, x, axes, keep: total(x, axes, keep))
_reduction("ReduceMean", lambda c, x, axes, keep: mean(x, axes, keep))
_reduction("ReduceMax", _largest_of)
_reduction("ReduceMin", lambda c, x, axes, keep: -largest(c, -x, axes, keep))
_reduction("ReduceProd", lambda c, x, axes, keep: np.prod(x, axis=tuple(axes), keepdims=keep))
_reduction("ReduceSumSquare", lambda c, x, axes, keep: total(x * x, axes, keep))
_reduction("ReduceL1", lambda c, x, axes, keep: total(c.arithmetic.absolute(x), axes, keep))
_reduction(
    "ReduceL2",
    lambda c, x, axes, keep: c.arithmetic.function("sqrt", total(x * x, axes, keep)),
)
_reduction(
    "ReduceLogSum",
    lambda c, x, axes, keep: c.arithmetic.function("log", total(x, axes, keep)),
)


def _log_sum_exp(c: Call, x: Array, axes: list[int], keep: bool) -> Array:
    top = np.max(np.real(x), axis=tuple(axes), keepdims=True)
    found = c.arithmetic.function("log", total(c.arithmetic.function("exp", x - top), axes, True))
    found = found + top
    return np.asarray(found if keep else np.squeeze(found, tuple(axes)))


_reduction("ReduceLogSumExp", _log_sum_exp)


@operator("CumSum")
def _cumsum(c: Call, x: Array, axis: Array) -> Array:
    at = int(np.asarray(axis).reshape(-1)[0])
    y = np.flip(x, at) if c.get("reverse", 0) else x
    out = np.cumsum(y, at)
    out = out - y if c.get("exclusive", 0) else out
    return np.flip(out, at) if c.get("reverse", 0) else out


# ------------------------------------------------------------------------------- recurrent cells
def _sequence(
    c: Call, x: Array, w: Array, r: Array, b: Array | None, h: Array | None, gates: int,
    cell: Callable[..., tuple[Array, Any]], memory: Any = None,
) -> list[Array]:  # fmt: skip
    """Run a cell over the steps, in the directions of the node; x is [T, B, I]."""
    way = c.get("direction", "forward")
    if c.get("layout", 0) or c.get("clip") is not None:
        raise UnknownOperator("a recurrent layer with layout or clip")
    n, count = r.shape[-1], w.shape[0]
    outs: list[Array] = []
    lasts: list[Array] = []
    memories: list[Any] = []
    for d in range(count):
        back = way == "reverse" or d == 1
        state = np.zeros((x.shape[1], n)) if h is None else h[d]
        kept = None if memory is None else memory[d]
        bias = np.zeros(2 * gates * n) if b is None else b[d]
        rows: list[Array] = []
        for xt in x[::-1] if back else x:
            state, kept = cell(
                xt @ w[d].T + bias[: gates * n], state, r[d], bias[gates * n :], n, kept
            )
            rows.append(state)
        outs.append(np.stack(rows[::-1] if back else rows))
        lasts.append(state)
        memories.append(kept)
    found = [np.stack(outs, 1), np.stack(lasts)]
    return found if memory is None else [*found, np.stack(memories)]


def _activation(c: Call, names: Sequence[str]) -> list[Callable[[Array], Array]]:
    chosen = [str(a).lower() for a in c.get("activations") or names]
    known: dict[str, Callable[[Array], Array]] = {
        "tanh": lambda x: c.arithmetic.function("tanh", x),
        "sigmoid": lambda x: c.arithmetic.function("sigmoid", x),
        "relu": c.arithmetic.relu,
    }
    if any(a not in known for a in chosen) or c.get("activation_alpha"):
        raise UnknownOperator(f"a recurrent layer with {', '.join(chosen)}")
    return [known[a] for a in chosen]


@operator("RNN")
def _rnn(
    c: Call, x: Array, w: Array, r: Array, b: Array | None = None, lens: Array | None = None,
    h: Array | None = None,
) -> list[Array]:  # fmt: skip
    f = _activation(c, ["Tanh"])[0]

    def cell(i: Array, s: Array, r: Array, rb: Array, n: int, kept: Any) -> tuple[Array, Any]:
        return f(i + s @ r.T + rb), None

    return _sequence(c, x, w, r, b, h, 1, cell)


@operator("GRU")
def _gru(
    c: Call, x: Array, w: Array, r: Array, b: Array | None = None, lens: Array | None = None,
    h: Array | None = None,
) -> list[Array]:  # fmt: skip
    f, g = _activation(c, ["Sigmoid", "Tanh"])[:2]

    def cell(i: Array, s: Array, r: Array, rb: Array, n: int, kept: Any) -> tuple[Array, Any]:
        z = f(i[:, :n] + s @ r[:n].T + rb[:n])
        q = f(i[:, n : 2 * n] + s @ r[n : 2 * n].T + rb[n : 2 * n])
        if c.get("linear_before_reset", 0):
            inner = q * (s @ r[2 * n :].T + rb[2 * n :])
        else:
            inner = (q * s) @ r[2 * n :].T + rb[2 * n :]
        return (1 - z) * g(i[:, 2 * n :] + inner) + z * s, None

    return _sequence(c, x, w, r, b, h, 3, cell)


@operator("LSTM")
def _lstm(
    c: Call, x: Array, w: Array, r: Array, b: Array | None = None, lens: Array | None = None,
    h: Array | None = None, m: Array | None = None, p: Array | None = None,
) -> list[Array]:  # fmt: skip
    if p is not None:
        raise UnknownOperator("LSTM with peepholes")
    f, g, last = _activation(c, ["Sigmoid", "Tanh", "Tanh"])[:3]
    if m is None:
        m = np.zeros((w.shape[0], x.shape[1], r.shape[-1]))

    def cell(i: Array, s: Array, r: Array, rb: Array, n: int, kept: Any) -> tuple[Array, Any]:
        a = i + s @ r.T + rb
        i_, o, f_, g_ = (a[:, k * n : (k + 1) * n] for k in range(4))
        now = f(f_) * kept + f(i_) * g(g_)
        return f(o) * last(now), now

    return _sequence(c, x, w, r, b, h, 4, cell, m)
