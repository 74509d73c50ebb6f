"""Accumulating instructions on the kernels: gacc, mac, bmac, gouter, outer.

All are rows of accumulators to which selected rows of a binary16 matrix are added in ascending
order: ``gacc`` selects weight rows by spikes, ``gouter`` gradient rows by the transposed spikes,
``mac`` and ``outer`` scale them as well.  From about half of the terms on, the dense kernel is
faster; it gives the same bits when every weight is finite, because an accumulator is never -0 and
adding a zero then changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isasim.engines import kernels_bits as kb
from snncc.isasim.engines import kernels_mac as km
from snncc.isasim.engines import kernels_turn as kt
from snncc.isasim.engines.base import BLOCK, Activity, Resolved, Sram
from snncc.isasim.engines.checks import BIAS, KEEP

DENSE_FROM = 0.5
"""The share of performed terms from which on the dense kernel is used."""

Words: TypeAlias = npt.NDArray[np.uint64]


class Target(NamedTuple):
    """Accumulator rows: where they are and where they start from (addresses)."""

    rows: int
    n: int
    out: int
    out_stride: int
    init: int
    init_stride: int
    keep_alive: object


class Weights(NamedTuple):
    """A binary16 matrix [depth, n] that may be read up to a multiple of 16 columns."""

    depth: int
    n: int
    address: int
    stride: int
    keep_alive: object

    def finite(self) -> bool:
        """Whether no element is infinite or NaN."""
        return bool(kb.finite16(self.address, self.stride, self.depth, self.n))


def make_target(
    sram: Sram, acc: int, stride: int, rows: int, n: int, init: int, bias: int = 0
) -> Target:
    """Return accumulators in a scratchpad."""
    base = sram.ctypes.data
    if init == KEEP:
        return Target(rows, n, base + acc, stride, base + acc, stride, None)
    row = np.zeros(n, np.float32)
    if init == BIAS:
        km.read_halves(base + bias, row)
    return Target(rows, n, base + acc, stride, row.ctypes.data, 0, row)


def make_weights(
    sram: Sram, w: int, stride: int, depth: int, n: int, *, transposed: bool = False
) -> Weights:
    """Return a matrix in a scratchpad, copied where it is transposed or ends with the memory."""
    base, padded = sram.ctypes.data, -(-n // 16) * 16
    highest = w + max(0, (depth - 1) * stride) + 2 * padded
    if depth and not transposed and highest <= sram.shape[0]:
        return Weights(depth, n, base + w, stride, None)
    copy = np.zeros((depth, padded), np.uint16)
    if depth and transposed:
        kt.transpose_shorts(copy.ctypes.data, 2 * padded, base + w, stride, n, depth)
    elif depth:
        copy[:, :n] = np.ndarray((depth, n), np.uint16, sram, w, (stride, 2))
    return Weights(depth, n, copy.ctypes.data, 2 * padded, copy)


def empty_words(rows: int, columns: int) -> Words:
    """Return room for rows of bits."""
    return np.empty((rows, -(-columns // 64)), np.uint64)


def transposed_words(words: Words, rows: int, columns: int) -> Words:
    """Return the transpose of a bit matrix."""
    out = empty_words(columns, rows)
    kb.transpose_bits(words, rows, columns, out)
    return out


def active_blocks(words: Words, rows: int, line: int, taps: int = 1) -> int:
    """Return the blocks with an active input; a row is ``taps`` lines, channels in blocks first."""
    if not rows or not line:
        return 0
    return int(kb.count_blocks(words, rows, taps * (line // BLOCK), line % BLOCK, taps))


def _all_ones(rows: int, columns: int) -> Words:
    out = np.full((rows, -(-columns // 64)), ~np.uint64(0), np.uint64)
    if columns % 64:
        out[:, -1] = (1 << columns % 64) - 1
    return out


class MacKernels:
    """Runs checked accumulating instructions whose operands do not overlap."""

    def __init__(self, half: bool) -> None:
        self.half = int(half)
        self._ones = np.full(64, 0xFFFF, np.uint16)

    def gate(self, n: int) -> int:
        """Return the address of a row of n set mask bits."""
        if 16 * self._ones.shape[0] < n:
            self._ones = np.full(-(-n // 16), 0xFFFF, np.uint16)
        return int(self._ones.ctypes.data)

    def gacc(self, op: Resolved, sram: Sram) -> Activity:
        """Spike-gated accumulate."""
        acc, acc_stride, a, a_stride, w, w_stride, rows, k, n, bias, init = op.values
        words = empty_words(rows, k)
        active = int(kb.read_bits(sram.ctypes.data + a, a_stride, rows, k, words)) if k else 0
        target = make_target(sram, acc, acc_stride, rows, n, init, bias)
        self.gated(words, active, target, make_weights(sram, w, w_stride, k, n))
        return Activity(rows * k * n, active * n, active, blocks=active_blocks(words, rows, k))

    def gouter(self, op: Resolved, sram: Sram) -> Activity:
        """Spike-gated outer product: gacc with the transposed spikes."""
        acc, acc_stride, a, a_stride, g, g_stride, rows, k, n, init = op.values
        words = empty_words(rows, k)
        active = int(kb.read_bits(sram.ctypes.data + a, a_stride, rows, k, words)) if rows else 0
        target = make_target(sram, acc, acc_stride, k, n, init)
        weights = make_weights(sram, g, g_stride, rows, n)
        self.gated(transposed_words(words, rows, k), active, target, weights)
        return Activity(rows * k * n, active * n, active, blocks=active_blocks(words, rows, k))

    def mac(self, op: Resolved, sram: Sram) -> Activity:
        """Multiply-accumulate (mac, bmac)."""
        acc, acc_stride, a, a_stride, w, w_stride, rows, k, n, bias, init, skip, trans = op.values[
            :13
        ]
        base = sram.ctypes.data
        words, terms = empty_words(rows, k), np.zeros(rows, np.int64)
        nonzero = int(kb.read_nonzero(base + a, a_stride, rows, k, words, terms)) if k else 0
        gate, gate_stride, performed = self.gate(n), 0, (nonzero if skip else rows * k) * n
        blocks = active_blocks(words, rows, k) if skip else -1
        computed = out_blocks = -1
        if op.mnemonic == "bmac" and op.values[13] and k:
            gate, gate_stride = base + op.values[14], op.values[15]
            outputs = np.zeros(rows, np.int64)
            kb.popcount_rows(gate, gate_stride, rows, n, outputs)
            computed = int(outputs.sum())
            performed = int(outputs @ terms) if skip else k * computed
            mask = empty_words(rows, n)
            kb.read_bits(gate, gate_stride, rows, n, mask)
            out_blocks = active_blocks(mask, rows, n)
        target = make_target(sram, acc, acc_stride, rows, n, init, bias)
        weights = make_weights(sram, w, w_stride, k, n, transposed=bool(trans))
        place = (base + a, a_stride, 2)
        self.scaled(words, nonzero, bool(skip), target, weights, place, (gate, gate_stride))
        return Activity(rows * k * n, performed, 0, computed, blocks, out_blocks)

    def outer(self, op: Resolved, sram: Sram) -> Activity:
        """Outer product: mac with the transposed inputs."""
        acc, acc_stride, a, a_stride, g, g_stride, rows, k, n, init, skip = op.values
        base = sram.ctypes.data
        words, terms = empty_words(rows, k), np.zeros(rows, np.int64)
        nonzero = int(kb.read_nonzero(base + a, a_stride, rows, k, words, terms)) if rows else 0
        target = make_target(sram, acc, acc_stride, k, n, init)
        weights = make_weights(sram, g, g_stride, rows, n)
        place = (base + a, 2, a_stride)
        gate = (self.gate(n), 0)
        turned = transposed_words(words, rows, k)
        self.scaled(turned, nonzero, bool(skip), target, weights, place, gate)
        blocks = active_blocks(words, rows, k) if skip else -1
        return Activity(rows * k * n, (nonzero if skip else rows * k) * n, blocks=blocks)

    def gated(self, words: Words, active: int, target: Target, weights: Weights) -> None:
        """Add the weight rows whose bit is set."""
        rows, n, out, out_stride, init, init_stride, _ = target
        place = (out, out_stride, weights.address, weights.stride)
        if (
            active > DENSE_FROM * rows * weights.depth
            and rows >= 4
            and not self.half
            and weights.finite()
        ):
            km.dense_rows(
                words, rows, weights.depth, n, init, init_stride, *place, self.gate(n), 0, 0, 0, 0
            )
        else:
            km.gated_rows(words, rows, n, init, init_stride, *place, self.half)

    def scaled(
        self,
        words: Words,
        nonzero: int,
        skip: bool,
        target: Target,
        weights: Weights,
        inputs: tuple[int, int, int],
        gate: tuple[int, int],
    ) -> None:
        """Run mac or outer.  A zero input may be left out or added, unless a weight is special."""
        rows, n, out, out_stride, init, init_stride, _ = target
        depth = weights.depth
        sparse = nonzero <= DENSE_FROM * rows * depth
        dense = not self.half and (not sparse or not skip)
        if dense and (skip or sparse) and weights.finite() == sparse:
            # skip with a special weight, or no skip but few inputs and only plain weights
            dense = False
        place = (out, out_stride, weights.address, weights.stride, *gate, *inputs)
        if dense:
            km.dense_rows(words, rows, depth, n, init, init_stride, *place)
            return
        if not skip and self.half:
            words = _all_ones(rows, depth)
        km.valued_rows(words, rows, n, init, init_stride, *place, self.half)
