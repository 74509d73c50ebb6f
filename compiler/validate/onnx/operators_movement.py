"""ONNX operators that move, choose and count elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from snncc.compiler.validate.arithmetic import Array
from snncc.compiler.validate.onnx.operators import (
    Call,
    UnknownOperator,
    integers,
    is_real,
    operator,
)
from snncc.isa.numbers.integers import ceil_div


@operator("Reshape")
def _reshape(c: Call, x: Array, shape: Array | None = None) -> Array:
    dims = integers(shape if shape is not None else c.get("shape"))
    if not c.get("allowzero", 0):
        dims = [x.shape[i] if d == 0 else d for i, d in enumerate(dims)]
    return x.reshape(dims)


@operator("Flatten")
def _flatten(c: Call, x: Array) -> Array:
    axis = c.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Squeeze")
def _squeeze(c: Call, x: Array, axes: Array | None = None) -> Array:
    given = axes if axes is not None else c.get("axes")
    chosen = [i for i, d in enumerate(x.shape) if d == 1] if given is None else integers(given)
    return np.asarray(np.squeeze(x, tuple(chosen)))


@operator("Unsqueeze")
def _unsqueeze(c: Call, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(integers(axes if axes is not None else c.get("axes"))))


@operator("Expand")
def _expand(c: Call, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(integers(shape))))


@operator("Transpose")
def _transpose(c: Call, x: Array) -> Array:
    return x.transpose(c.get("perm") or tuple(reversed(range(x.ndim))))


@operator("Slice")
def _slice(c: Call, x: Array, *rest: Array | None) -> Array:
    given = [integers(r) if r is not None else [] for r in rest]
    starts = given[0] if given else integers(c.get("starts"))
    ends = given[1] if len(given) > 1 else integers(c.get("ends"))
    axes = given[2] if len(given) > 2 else integers(c.get("axes"))
    steps = given[3] if len(given) > 3 and given[3] else [1] * len(starts)
    axes = axes or list(range(len(starts)))
    cut: list[slice] = [slice(None)] * x.ndim
    for s, e, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[axis % x.ndim] = slice(s, e, step)
    return x[tuple(cut)]


@operator("Gather")
def _gather(c: Call, x: Array, i: Array) -> Array:
    return np.asarray(np.take(x, i, axis=c.get("axis", 0)))


@operator("GatherElements")
def _gather_elements(c: Call, x: Array, i: Array) -> Array:
    return np.asarray(x[_elements(x, i, c.get("axis", 0))])


def _elements(x: Array, i: Array, axis: int) -> tuple[Array, ...]:
    """Return the places in ``x`` that indices along an axis stand for."""
    at: list[Array] = [np.asarray(each) for each in np.indices(i.shape)]
    at[axis] = np.where(i < 0, i + x.shape[axis], i)
    return tuple(at)


@operator("GatherND")
def _gather_nd(c: Call, x: Array, i: Array) -> Array:
    if c.get("batch_dims", 0):
        raise UnknownOperator("GatherND with batch_dims")
    return np.asarray(x[tuple(np.moveaxis(i, -1, 0))])


@operator("Split")
def _split(c: Call, x: Array, sizes: Array | None = None) -> list[Array]:
    axis = c.get("axis", 0)
    given = integers(sizes if sizes is not None else c.get("split"))
    if not given:
        n = c.get("num_outputs", c.outputs)
        each = ceil_div(x.shape[axis], n)
        given = [min(each, x.shape[axis] - k * each) for k in range(n)]
    return np.split(x, np.cumsum(given)[:-1], axis)


@operator("Concat")
def _concat(c: Call, *xs: Array) -> Array:
    return np.concatenate(xs, c.get("axis"))


@operator("Tile")
def _tile(c: Call, x: Array, repeats: Array) -> Array:
    return np.tile(x, integers(repeats))


@operator("Pad")
def _pad(
    c: Call,
    x: Array,
    pads: Array | None = None,
    value: Array | None = None,
    axes: Array | None = None,
) -> Array:
    given = integers(pads if pads is not None else c.get("pads") or c.get("paddings"))
    chosen = integers(axes) if axes is not None else list(range(x.ndim))
    n, mode = len(given) // 2, c.get("mode", "constant")
    low, high = [0] * x.ndim, [0] * x.ndim
    for k, axis in enumerate(chosen):
        low[axis], high[axis] = given[k], given[n + k]
    cut = tuple(
        slice(max(-a, 0), d - max(-b, 0)) for a, b, d in zip(low, high, x.shape, strict=True)
    )
    x = x[cut]
    frame = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
    if mode == "constant":
        fill = c.get("value", 0.0) if value is None or not value.size else value.reshape(()).item()
        return np.pad(x, frame, constant_values=fill)
    if mode not in ("edge", "reflect", "wrap"):
        raise UnknownOperator(f"Pad of mode {mode}")
    return np.pad(x, frame, mode=mode)


@operator("DepthToSpace")
def _depth_to_space(c: Call, x: Array) -> Array:
    b, (n, d, h, w) = c.get("blocksize"), x.shape
    rest = d // (b * b)
    if c.get("mode", "DCR") == "CRD":
        return (
            x.reshape(n, rest, b, b, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, rest, h * b, -1)
        )
    return x.reshape(n, b, b, rest, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, rest, h * b, -1)


@operator("SpaceToDepth")
def _space_to_depth(c: Call, x: Array) -> Array:
    b, (n, d, h, w) = c.get("blocksize"), x.shape
    cut = x.reshape(n, d, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return cut.reshape(n, d * b * b, h // b, w // b)


@operator("ScatterND")
def _scatter_nd(c: Call, x: Array, i: Array, u: Array) -> Array:
    out = np.array(x, np.result_type(x, u))
    at = tuple(np.moveaxis(i, -1, 0))
    how = c.get("reduction", "none")
    if how == "none":
        out[at] = u
    elif how == "add":
        np.add.at(out, at, u)
    else:
        raise UnknownOperator(f"ScatterND with reduction {how}")
    return out


@operator("ScatterElements", "Scatter")
def _scatter_elements(c: Call, x: Array, i: Array, u: Array) -> Array:
    axis, how = c.get("axis", 0), c.get("reduction", "none")
    out = np.array(x, np.result_type(x, u))
    at = _elements(x, i, axis)
    if how == "none":
        out[at] = u
    elif how == "add":
        np.add.at(out, at, u)
    else:
        raise UnknownOperator(f"ScatterElements with reduction {how}")
    return out


@operator("Trilu")
def _trilu(c: Call, x: Array, k: Array | None = None) -> Array:
    shift = 0 if k is None else int(k)
    rows, columns = np.indices(x.shape[-2:])
    keep = columns - rows >= shift if c.get("upper", 1) else columns - rows <= shift
    return np.asarray(np.where(keep, x, np.zeros((), x.dtype)))


@operator("OneHot")
def _one_hot(c: Call, i: Array, depth: Array, values: Array) -> Array:
    n = int(np.real(depth).reshape(()))
    axis = c.get("axis", -1)
    at = np.real(i).astype(np.int64)
    made = np.full((*at.shape, n), values[0], values.dtype)
    np.put_along_axis(made, np.where(at < 0, at + n, at)[..., None], values[1], -1)
    return np.asarray(np.moveaxis(made, -1, axis))


@operator("Shape")
def _shape(c: Call, x: Array) -> Array:
    return np.array(x.shape[c.get("start", 0) : c.get("end", x.ndim)], np.int64)


@operator("Size")
def _size(c: Call, x: Array) -> Array:
    return np.asarray(x.size, np.int64)


@operator("Range")
def _range(c: Call, start: Array, limit: Array, delta: Array) -> Array:
    a, b, d = (float(np.real(v).reshape(())) for v in (start, limit, delta))
    out: Array = np.asarray(np.arange(a, b, d))
    return out.astype(np.float64 if is_real(start) else np.int64)


@operator("ConstantOfShape")
def _constant_of_shape(c: Call, shape: Array) -> Array:
    fill = c.get("value")
    value = np.zeros(1) if fill is None else np.asarray(fill)
    value = value.astype(np.float64) if is_real(value) else value
    return np.full(integers(shape), value.reshape(()))


@operator("EyeLike")
def _eye_like(c: Call, x: Array) -> Array:
    return np.eye(x.shape[0], x.shape[1], c.get("k", 0))


@operator("NonZero")
def _non_zero(c: Call, x: Array) -> Array:
    return np.array(np.nonzero(np.real(x)), np.int64)


@operator("ArgMax")
def _argmax(c: Call, x: Array) -> Array:
    return _argument(c, np.real(x))


@operator("ArgMin")
def _argmin(c: Call, x: Array) -> Array:
    return _argument(c, -np.real(x))


def _argument(c: Call, x: Array) -> Array:
    axis = c.get("axis", 0) % x.ndim
    if c.get("select_last_index", 0):
        out = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis)
    else:
        out = np.argmax(x, axis)
    return np.asarray(np.expand_dims(out, axis) if c.get("keepdims", 1) else out)


@operator("TopK")
def _top_k(c: Call, x: Array, k: Array) -> list[Array]:
    axis, n = c.get("axis", -1), int(np.asarray(k).reshape(-1)[0])
    order = np.argsort(-np.real(x) if c.get("largest", 1) else np.real(x), axis, kind="stable")
    order = np.take(order, range(n), axis)
    return [np.take_along_axis(x, order, axis), order]


@operator("Resize", "Upsample")
def _resize(c: Call, x: Array, *rest: Array | None) -> Array:
    roi_first = len(rest) > 1 or c.opset > 10
    at = 1 if roi_first else 0
    scales = rest[at] if at < len(rest) else None
    sizes = rest[2] if len(rest) > 2 else None
    if scales is None and "scales" in c.attributes:
        scales = np.asarray(c.get("scales"))
    if (roi_first and rest and rest[0] is not None and rest[0].size) and c.get(
        "coordinate_transformation_mode", ""
    ) == "tf_crop_and_resize":
        raise UnknownOperator("Resize of a region")
    ratios: list[float] | None = None
    if scales is not None and scales.size:
        ratios = [float(s) for s in np.real(scales)]
        size = [math.floor(d * s) for d, s in zip(x.shape, ratios, strict=True)]
    else:
        size = integers(sizes)
        if len(size) != x.ndim or "axes" in c.attributes:
            raise UnknownOperator("Resize of some axes")
    for axis in range(x.ndim):
        if x.shape[axis] != size[axis]:
            ratio = ratios[axis] if ratios else size[axis] / x.shape[axis]
            x = _resized(c, x, axis, size[axis], ratio)
    return x


def _resized(c: Call, x: Array, axis: int, size: int, ratio: float) -> Array:
    n, i = x.shape[axis], np.arange(size, dtype=np.float64)
    where = c.get("coordinate_transformation_mode", "half_pixel" if c.opset > 10 else "asymmetric")
    places: dict[str, Any] = {
        "asymmetric": i / ratio,
        "align_corners": i * (n - 1) / max(size - 1, 1),
        "half_pixel": (i + 0.5) / ratio - 0.5,
        "pytorch_half_pixel": (i + 0.5) / ratio - 0.5 if size > 1 else 0 * i,
    }
    if where not in places:
        raise UnknownOperator(f"Resize with {where}")
    at, mode = places[where], c.get("mode", "nearest")
    if mode == "nearest":
        how = c.get("nearest_mode", "round_prefer_floor" if c.opset > 10 else "floor")
        rounded = {
            "floor": np.floor(at),
            "ceil": np.ceil(at),
            "round_prefer_floor": np.ceil(at - 0.5),
            "round_prefer_ceil": np.floor(at + 0.5),
        }[how]
        return np.asarray(np.take(x, np.clip(rounded, 0, n - 1).astype(np.int64), axis))
    if mode not in ("linear", "cubic") or c.get("antialias", 0) or c.get("exclude_outside", 0):
        raise UnknownOperator(f"Resize of mode {mode}")
    low = np.floor(at)
    if mode == "cubic":
        return _cubic(x, axis, at - low, low, c.get("cubic_coeff_a", -0.75))
    share = (at - low).reshape(-1, *(1,) * (x.ndim - axis - 1))
    first, second = (np.clip(v, 0, n - 1).astype(np.int64) for v in (low, low + 1))
    return np.asarray(np.take(x, first, axis) * (1 - share) + np.take(x, second, axis) * share)


def _cubic(x: Array, axis: int, t: Array, low: Array, a: float) -> Array:
    """Four pixels around each place, weighted by the cubic convolution of coefficient ``a``."""
    shares = (
        a * (t**3 - 2 * t**2 + t),
        (a + 2) * t**3 - (a + 3) * t**2 + 1,
        -(a + 2) * t**3 + (2 * a + 3) * t**2 - a * t,
        a * (t**2 - t**3),
    )
    form, total = (-1, *(1,) * (x.ndim - axis - 1)), 0
    for k, share in enumerate(shares, -1):
        pixel = np.clip(low + k, 0, x.shape[axis] - 1).astype(np.int64)
        total = total + np.take(x, pixel, axis) * share.reshape(form)
    return np.asarray(total)
