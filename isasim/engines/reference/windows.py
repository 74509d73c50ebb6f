"""Reference engine: convolution, pooling and transposition.

The patches of an image stack are gathered by index arithmetic; then one strictly ascending
accumulation per output, in which a tap outside the image is no term.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snncc.isa.numbers import accumulators, fp16
from snncc.isa.numbers.accumulators import Accumulator
from snncc.isa.window import Ints, Window, reduced
from snncc.isasim.engines.base import Activity, EngineNumerics, Resolved, Sram
from snncc.isasim.engines.footprint.regions import BIT, F16, F32, MAX
from snncc.isasim.engines.footprint.windows import pool_result
from snncc.isasim.engines.reference.memory import (
    Bits,
    Floats,
    active_blocks,
    halves,
    initial,
    spikes,
    store,
    view,
)

PATCHES = 1 << 20
"""Elements of patches that are gathered at a time."""


class Stack:
    """An image stack seen through a window."""

    def __init__(
        self, sram: Sram, kind: int, place: tuple[int, int, int], window: Window, images: int
    ) -> None:
        self.sram = sram
        self.kind = kind
        self.place = place
        self.window = window
        rows, columns = window.rows(), window.columns()
        row, column = rows[:, None, :, None], columns[None, :, None, :]
        position = np.where((row >= 0) & (column >= 0), row * window.in_w + column, -1)
        inputs = window.in_h * window.in_w
        position = position.reshape(1, window.positions, window.taps)
        image = np.arange(images)[:, None, None]
        self.position: Ints = np.where(position >= 0, image * inputs + position, -1).reshape(
            -1, window.taps
        )
        """Position in the stack that [row, tap] reads, -1 for none."""

    def read(self, position: Ints, channel: Ints) -> Floats:
        """Return elements of the stack; 0 where the position is -1."""
        start, stride, image = self.place
        inside = position >= 0
        index = np.where(inside, position, 0)
        inputs = self.window.in_h * self.window.in_w
        at = start + index // inputs * image + index % inputs * stride
        at, channel = np.broadcast_arrays(np.where(inside, at, 0), channel)
        if self.kind == BIT:
            byte = self.sram[at + np.where(inside, channel // 8, 0)]
            found = (byte >> (channel % 8).astype(np.uint8) & 1).astype(np.float32)
        elif self.kind == F16:
            memory = self.sram[: self.sram.size // 2 * 2].view("<u2")
            found = fp16.from_bits(memory[at // 2 + np.where(inside, channel, 0)].astype(np.uint16))
        else:
            memory = self.sram[: self.sram.size // 4 * 4].view("<f4")
            found = memory[at // 4 + np.where(inside, channel, 0)].astype(np.float32)
        return np.asarray(np.where(inside, found, np.float32(0.0)))

    def patches(self) -> Iterator[tuple[slice, Floats, Bits]]:
        """Yield rows, their patches [rows, k] in the canonical order, and which taps are inside."""
        tap, channel = reduced(self.window.channels, self.window.taps)
        step = max(1, PATCHES // self.window.depth)
        for low in range(0, self.position.shape[0], step):
            rows = slice(low, min(low + step, self.position.shape[0]))
            position = self.position[rows][:, tap]
            yield rows, self.read(position, channel), position >= 0


def _accumulate(
    x: Floats, inside: Bits, w: Floats, first: Floats, skip: bool, kind: Accumulator
) -> Floats:
    """``first + x @ w``, terms in order; those that are not inside are left out."""
    if skip or inside.all():
        return accumulators.mac_ordered(x, w, first, skip, accumulator=kind)  # outside, x is 0
    out, half = accumulators.load_acc(first), kind == "fp16"
    with np.errstate(all="ignore"):
        for k in range(x.shape[1]):
            live = inside[:, k]
            term: Floats = np.asarray(x[live, k : k + 1] * w[k])
            total: Floats = np.asarray(out[live] + (fp16.round_f16(term) if half else term))
            out[live] = fp16.round_f16(total) if half else total
    return fp16.canonical_f32(out)


def _macw(op: Resolved, sram: Sram, kind: Accumulator) -> Activity:
    window, v = op.window, op.values
    acc, acc_stride, a, a_stride, a_image, w, w_stride, images, n, bias, _, init = v[:12]
    rows, k = images * window.positions, window.depth
    target = view(sram, np.float32, acc, acc_stride, rows, n)
    result = initial(sram, target, init, bias)
    gated = op.mnemonic == "gaccw"
    skip, trans = v[12:14] if not gated else (1, 0)
    weights = halves(sram, w, w_stride, n, k).T if trans else halves(sram, w, w_stride, k, n)
    stack = Stack(sram, BIT if gated else F16, (a, a_stride, a_image), window, images)
    terms = blocks = 0
    for part, x, inside in stack.patches():
        terms += int((x != 0).sum() if skip else inside.sum())
        blocks += active_blocks(x != 0, window.taps)
        if gated:
            mask = x != 0
            result[part] = accumulators.gated_mac_ordered(
                mask, weights, result[part], accumulator=kind
            )
        else:
            result[part] = _accumulate(x, inside, weights, result[part], bool(skip), kind)
    store(target, result)
    spikes = terms if gated else 0
    return Activity(rows * k * n, terms * n, spikes, blocks=blocks if skip else -1)


def _outerw(op: Resolved, sram: Sram, kind: Accumulator) -> Activity:
    window, v = op.window, op.values
    acc, acc_stride, a, a_stride, a_image, g, g_stride, images, n, _, init = v[:11]
    rows, k = images * window.positions, window.depth
    target = view(sram, np.float32, acc, acc_stride, k, n)
    result = initial(sram, target, init, 0)
    gated = op.mnemonic == "gouterw"
    skip = bool(gated or v[11])
    grads = halves(sram, g, g_stride, rows, n)
    stack = Stack(sram, BIT if gated else F16, (a, a_stride, a_image), window, images)
    terms = blocks = 0
    for part, x, inside in stack.patches():
        terms += int((x != 0).sum() if skip else inside.sum())
        blocks += active_blocks(x != 0, window.taps)
        if gated:
            mask = np.asarray(x.T != 0)
            result = accumulators.gated_mac_ordered(mask, grads[part], result, accumulator=kind)
        else:
            result = _accumulate(x.T, inside.T, grads[part], result, skip, kind)
    store(target, result)
    spikes = terms if gated else 0
    return Activity(rows * k * n, terms * n, spikes, blocks=blocks if skip else -1)


def _pool(op: Resolved, sram: Sram, saturate: bool) -> Activity:
    window = op.window
    dst, dst_stride, x, x_stride, x_image, images, _, kind, red = op.values
    rows, channels = images * window.positions, window.channels
    stack = Stack(sram, kind, (x, x_stride, x_image), window, images)
    lowest = -np.inf if red == MAX and kind != BIT else 0.0
    total: Floats = np.full((rows, channels), lowest, np.float32)
    terms, ones = 0, 0
    for tap in range(window.taps):
        inside = stack.position[:, tap : tap + 1] >= 0
        value = stack.read(stack.position[:, tap : tap + 1], np.arange(channels))
        with np.errstate(all="ignore"):
            new = fp16.maximum(total, value) if red == MAX else np.asarray(total + value)
        total = np.where(inside, new, total)
        terms += int(inside.sum()) * channels
        ones += int((value != 0).sum()) if kind == BIT else 0
    result = pool_result(kind, red)
    if result == BIT:
        packed = fp16.pack_bits(total)
        store(view(sram, np.uint8, dst, dst_stride, rows, packed.shape[1]), packed)
    elif result == F32:
        store(view(sram, np.float32, dst, dst_stride, rows, channels), accumulators.load_acc(total))
    else:
        halved = fp16.to_bits(accumulators.writeback(total, sat=saturate))
        store(view(sram, np.uint16, dst, dst_stride, rows, channels), halved)
    return Activity(rows * window.depth, ones if kind == BIT else terms, ones)


def _poolgrad(op: Resolved, sram: Sram, saturate: bool) -> Activity:
    window = op.window
    dst, dst_stride, dst_image, g, g_stride, x, x_stride, x_image, y, y_stride, images = op.values[
        :11
    ]
    kind = op.values[12]
    rows, channels, inputs = images * window.positions, window.channels, window.in_h * window.in_w
    stack = Stack(sram, kind, (x, x_stride, x_image), window, images)
    grads = halves(sram, g, g_stride, rows, channels)
    best: Floats = (
        spikes(sram, y, y_stride, rows, channels).astype(np.float32)
        if kind == BIT
        else halves(sram, y, y_stride, rows, channels)
    )
    total: Floats = np.zeros((images * inputs, channels), np.float32)
    taken = np.zeros((rows, channels), np.bool_)
    for tap in range(window.taps):
        position = stack.position[:, tap]
        value = stack.read(position[:, None], np.arange(channels))
        hit = (value == best) & (position >= 0)[:, None] & ~taken
        taken |= hit
        row, channel = np.nonzero(hit)  # rows ascending
        with np.errstate(all="ignore"):
            np.add.at(total, (position[row], channel), grads[row, channel])
    halved = fp16.to_bits(accumulators.writeback(total, sat=saturate))
    for i in range(images):
        target = view(sram, np.uint16, dst + i * dst_image, dst_stride, inputs, channels)
        store(target, halved[i * inputs : (i + 1) * inputs])
    return Activity(rows * window.depth, int(taken.sum()))


def run_windowed(op: Resolved, sram: Sram, numerics: EngineNumerics) -> Activity:
    """Execute a windowed instruction that has been checked and writes something."""
    if op.mnemonic == "pool":
        return _pool(op, sram, numerics.saturate)
    if op.mnemonic == "poolgrad":
        return _poolgrad(op, sram, numerics.saturate)
    if op.mnemonic in ("gouterw", "outerw"):
        return _outerw(op, sram, numerics.accumulator)
    return _macw(op, sram, numerics.accumulator)


def transpose(op: Resolved, sram: Sram) -> Activity:
    """Execute transpose."""
    dst, dst_stride, src, src_stride, rows, cols = op.values
    source = view(sram, np.uint16, src, src_stride, rows, cols).T.copy()
    store(view(sram, np.uint16, dst, dst_stride, cols, rows), source)
    return Activity(rows * cols, rows * cols)
