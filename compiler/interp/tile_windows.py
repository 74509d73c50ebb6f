"""Windowed tile operations: convolution, pooling and their gradients; transposition.

The attribute ``window`` of these operations is a :class:`snncc.isa.window.Window`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.tile_memory import TileError
from snncc.compiler.interp.tile_ops import ALIGN, Bits, Call, Floats, flag, start
from snncc.isa.numbers import accumulators, fp16
from snncc.isa.window import Window, reduced

Ints = npt.NDArray[np.int64]


def window_of(c: Call) -> Window:
    """Return the window of an operation."""
    window = Window(*c.op.ints_attr("window"))
    problem = window.problem()
    if problem:
        raise TileError(f"the window is illegal: {problem}")
    return window


def sources(window: Window) -> Ints:
    """Return the input position of [output position, tap], -1 for none."""
    rows, columns = window.rows(), window.columns()
    place = rows[:, None, :, None] * window.in_w + columns[None, :, None, :]
    inside = (rows >= 0)[:, None, :, None] & (columns >= 0)[None, :, None, :]
    return np.where(inside, place, -1).reshape(window.positions, window.taps).astype(np.int64)


def stack(c: Call, name: str, kind: str, window: Window) -> Floats:
    """Return [images, input positions, channels] as numbers; what no tap reaches is 0."""
    images, channels = c["images"], window.channels
    found = np.zeros((images, window.in_h * window.in_w, channels), np.float32)
    reached = np.unique(sources(window))
    reached = reached[reached >= 0]
    place = c.place(name)
    size = {"f16": 2 * channels, "f32": 4 * channels}.get(kind, fp16.packed_bytes(channels))
    starts = np.arange(images)[:, None] * c[f"{name}_image"] + reached * c[f"{name}_stride"]
    raw = place.memory.gather(place.at + starts.astype(np.int64), size, ALIGN[kind])
    if kind == "f16":
        found[:, reached] = fp16.from_bits(raw)
    elif kind == "f32":
        found[:, reached] = raw.view(np.float32)
    else:
        found[:, reached] = fp16.unpack_bits(raw.view(np.uint8), channels)
    return found


def operand(c: Call, kind: str, window: Window) -> tuple[Floats, Bits]:
    """Return the first operand as [rows, k] and which terms exist."""
    place = sources(window)
    tap, channel = reduced(window.channels, window.taps)
    x = stack(c, "a", kind, window)
    inside = np.broadcast_to(place[:, tap] >= 0, (x.shape[0], place.shape[0], tap.size))
    terms = x[:, place[:, tap], channel]
    return terms.reshape(-1, tap.size), inside.reshape(-1, tap.size)


def accumulate(a: Floats, live: Bits, w: Floats, first: Floats) -> Floats:
    """Add ``a[:, k] * w[k]`` where live, k ascending."""
    total = np.array(first)
    for k in range(a.shape[1]):
        rows = np.flatnonzero(live[:, k])
        if rows.size:
            total[rows] += a[rows, k, None] * w[k]
    return fp16.canonical_f32(total)


def _macw(c: Call) -> None:
    window, n, stride = window_of(c), c["n"], c["acc_stride"]
    rows = c["images"] * window.positions
    if not rows or not n:
        return
    first = start(c, rows, n, stride)
    depth = window.depth
    if flag(c, "trans"):
        w = c.place("w").halves([(n, c["w_stride"])], depth).T
    else:
        w = c.place("w").halves([(depth, c["w_stride"])], n)
    bits = c.op.name == "tile.gaccw"
    a, inside = operand(c, "bit" if bits else "f16", window)
    if bits:
        total = accumulators.gated_mac_ordered((a != 0) & inside, np.ascontiguousarray(w), first)
    else:
        total = accumulate(a, inside & (a != 0) if flag(c, "skip") else inside, w, first)
    c.place("acc").put_floats([(rows, stride)], total)


def _outerw(c: Call) -> None:
    window, n, stride = window_of(c), c["n"], c["acc_stride"]
    if c.word("init") == "bias":
        raise TileError("an outer product has no bias")
    if not n:
        return
    depth, rows = window.depth, c["images"] * window.positions
    first = start(c, depth, n, stride)
    g = c.place("g").halves([(rows, c["g_stride"])], n)
    bits = c.op.name == "tile.gouterw"
    a, inside = operand(c, "bit" if bits else "f16", window)
    if bits:
        total = accumulators.gated_mac_ordered(((a != 0) & inside).T, g, first)
    else:
        live = inside & (a != 0) if flag(c, "skip") else inside
        total = accumulate(a.T, live.T, g, first)
    c.place("acc").put_floats([(depth, stride)], total)


def _pool(c: Call) -> None:
    window, kind, images = window_of(c), c.word("type"), c["images"]
    if not images:
        return
    place, x, red = sources(window), stack(c, "x", kind, window), c.word("op")
    lines = [(images * window.positions, c["dst_stride"])]
    low = 0.0 if red != "max" or kind == "bit" else -np.inf
    total = np.full((images, window.positions, window.channels), low, np.float32)
    for tap in range(window.taps):
        here = np.flatnonzero(place[:, tap] >= 0)
        value = x[:, place[here, tap]]
        if red == "max":
            total[:, here] = fp16.maximum(total[:, here], value)
        else:
            total[:, here] += value
    total = fp16.canonical_f32(total.reshape(-1, window.channels))
    if red == "max" and kind == "bit":
        c.place("dst").put_bits(lines, total != 0)
    elif red == "sum32":
        c.place("dst").put_floats(lines, total)
    else:
        c.place("dst").put_halves(lines, accumulators.writeback(total))


def _poolgrad(c: Call) -> None:
    window, kind, images = window_of(c), c.word("type"), c["images"]
    if not images:
        return
    if kind == "f32":
        raise TileError("no maximum of binary32")
    channels, shape = window.channels, (images, window.positions, window.channels)
    place, x = sources(window), stack(c, "x", kind, window)
    rows = images * window.positions
    g = c.place("g").halves([(rows, c["g_stride"])], channels).reshape(shape)
    lines = [(rows, c["y_stride"])]
    y_place = c.place("y")
    y: Floats = (
        y_place.halves(lines, channels)
        if kind == "f16"
        else y_place.bits(lines, channels).astype(np.float32)
    ).reshape(shape)
    taken = np.zeros(shape, np.bool_)
    inputs = window.in_h * window.in_w
    total = np.zeros((images, inputs, channels), np.float32)
    for tap in range(window.taps):
        for out in np.flatnonzero(place[:, tap] >= 0):
            at = place[out, tap]
            chosen = (x[:, at] == y[:, out]) & ~taken[:, out]
            taken[:, out] |= chosen
            total[:, at] = np.where(chosen, total[:, at] + g[:, out], total[:, at])
    found = accumulators.writeback(fp16.canonical_f32(total))
    c.place("dst").put_halves([(images, c["dst_image"]), (inputs, c["dst_stride"])], found)


def _transpose(c: Call) -> None:
    rows, cols = c["rows"], c["cols"]
    source, target = c.place("src"), c.place("dst")
    if source.memory is target.memory:
        raise TileError("transposes within one buffer")
    found = source.memory.read(source.at, [(rows, c["src_stride"])], 2 * cols)
    turned = np.ascontiguousarray(found.T)
    target.memory.write(target.at, [(cols, c["dst_stride"])], turned)


WINDOW_OPS: dict[str, Callable[[Call], None]] = {
    "gaccw": _macw,
    "macw": _macw,
    "bmacw": _macw,
    "gouterw": _outerw,
    "outerw": _outerw,
    "pool": _pool,
    "poolgrad": _poolgrad,
    "transpose": _transpose,
}
