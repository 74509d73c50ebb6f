"""Accumulating instructions on the kernels: gacc, mac, bmac, gouter, outer, plain and windowed.

All are rows of accumulators to which selected rows of a binary16 matrix are added in ascending
order: ``gacc`` selects weight rows by spikes, ``gouter`` gradient rows by the transposed spikes,
``mac`` and ``outer`` scale them as well.  There are two ways: the dense kernels multiply every term
by its input, the lists visit the active ones.  Both give the same bits when every weight is finite,
because an accumulator is never -0 and adding a zero then changes nothing; so the choice is one of
speed (:mod:`snncc.isasim.engines.fast.choice`).  What depends on the instruction alone is worked
out once, when it is bound.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isa.roles import Family
from snncc.isasim.engines.base import BLOCK, Activity, Resolved, Sram
from snncc.isasim.engines.fast.choice import apart_pays, dense_from
from snncc.isasim.engines.fast.inputs import Inputs, empty_words, matrix, stack
from snncc.isasim.engines.fast.spike_lists import SpikeLists, turned
from snncc.isasim.engines.footprint.checks import BIAS, KEEP
from snncc.isasim.engines.kernels import bits as kb
from snncc.isasim.engines.kernels import dense as kd
from snncc.isasim.engines.kernels import mac as km
from snncc.isasim.engines.kernels import panel as kp
from snncc.isasim.engines.kernels import turn as kt

Floats: TypeAlias = npt.NDArray[np.float32]

SCRATCH = 1 << 20
"""Bytes of patches that are gathered at a time for lists, roughly."""


@dataclass(frozen=True, slots=True)
class Accumulation:
    """A bound instruction: ``out[r] = start[r] + sum of a[r, t] * w[t] over t ascending``.

    Addresses are absolute.  With ``outer`` the rows of the inputs are the terms.  ``start`` is a
    row of zeros or room for the bias; without one accumulators go on.  ``ends`` is where the
    scratchpad ends; a ``gate`` other than 0 is a packed mask of the outputs.  Above
    ``dense_above`` active inputs the dense kernels run, with ``apart`` a position or tap at a time.
    """

    inputs: Inputs
    outer: bool
    skip: bool
    n: int
    out: int
    out_stride: int
    start: Floats | None
    bias: int
    w: int
    w_stride: int
    transposed: bool
    ends: int
    gate: int
    gate_stride: int
    rows: int
    terms: int
    start_at: int
    apart: bool
    dense_above: float

    def begin(self) -> tuple[int, int]:
        """Return address and row distance of the initial values."""
        if self.start is None:
            return self.out, self.out_stride
        if self.bias:
            kp.read_halves(self.bias, self.start)
        return self.start_at, 0

    def halves(self, term0: int, term1: int) -> tuple[int, int, object]:
        """Return address and stride of some rows of weights.

        They may be read up to a multiple of 16 columns: they are copied where they are
        transposed or end with the memory.
        """
        w, stride, depth, n = self.w, self.w_stride, term1 - term0, self.n
        padded = -(-n // 16) * 16
        if not self.transposed:
            w += term0 * stride
            if not depth or w + max(0, (depth - 1) * stride) + 2 * padded <= self.ends:
                return w, stride, None
        copy = np.zeros((depth, padded), np.uint16)
        place = int(copy.ctypes.data)
        if self.transposed:
            kt.transpose_shorts(place, 2 * padded, w + 2 * term0, stride, n, depth)
        else:
            kt.copy_shorts(place, 2 * padded, w, stride, depth, n)
        return place, 2 * padded, copy


class MacKernels:
    """Runs checked accumulating instructions whose operands do not overlap."""

    def __init__(self, half: bool) -> None:
        self.half = int(half)
        self._own = threading.local()

    def bind(self, op: Resolved, sram: Sram) -> Callable[[], Activity]:
        """Return a function that executes an instruction."""
        found = _bound(op, sram)
        if found.gate:
            return partial(self._masked, found)
        return partial(self._run, found)

    def _run(self, op: Accumulation) -> Activity:
        inputs = op.inputs
        active, blocks = inputs.count()
        dense = inputs.rows * inputs.depth * op.n
        performed = active * op.n if op.skip else inputs.inside * op.n
        if inputs.bits:
            self._gated(op, active)
            return Activity(dense, performed, active, blocks=blocks)
        self._scaled(op, active)
        return Activity(dense, performed, blocks=blocks if op.skip else -1)

    def _masked(self, op: Accumulation) -> Activity:
        """Run a bmac with a mask."""
        inputs, n = op.inputs, op.n
        rows, k = inputs.rows, inputs.depth
        active, blocks = inputs.count()
        outputs = np.zeros(rows, np.int64)
        kb.popcount_rows(op.gate, op.gate_stride, rows, n, outputs)
        computed = int(outputs.sum())
        performed = k * computed
        if op.skip:
            words, terms = empty_words(rows, k), np.zeros(rows, np.int64)
            kb.read_nonzero(inputs.address, inputs.image, rows, k, words, terms)
            performed = int(outputs @ terms)
        mask = matrix(op.gate, op.gate_stride, rows, n, op.ends, bits=True)
        self._scaled(op, active)
        return Activity(
            rows * k * n, performed, 0, computed, blocks if op.skip else -1, mask.count()[1]
        )

    def _lists(self) -> SpikeLists:
        own = self._own
        if not hasattr(own, "lists"):
            own.lists = SpikeLists()
        found: SpikeLists = own.lists
        return found

    def _panel(self, op: Accumulation) -> tuple[int, int, bool]:
        """Return address and row distance of the weights as binary32, and whether all are finite.

        They are in a scratch of the thread until its next panel.
        """
        stride = 64 * (-(-op.n // 16))
        size, own = op.terms * stride // 4, self._own
        if getattr(own, "size", -1) < size:
            own.panel, own.size = np.empty(size, np.float32), size
            own.place = int(own.panel.ctypes.data)
        finite = kp.read_weights(
            op.w, op.w_stride, op.terms, op.n, op.transposed, op.ends, own.place, stride
        )
        return own.place, stride, bool(finite)

    def _dense(self, op: Accumulation, panel: int, stride: int) -> None:
        a = op.inputs
        place = (a.bits, a.address, a.image, a.pixels, a.channels, a.limit, op.apart, a.rows, op.n)
        target = (*op.begin(), op.out, op.out_stride, panel, stride)
        if op.outer:
            kd.dense_outer(*place, *target)
        else:
            kd.dense_inner(*place, *target, op.gate, op.gate_stride)

    def _gated(self, op: Accumulation, active: int) -> None:
        """Add the weight rows whose spike is set."""
        if not self.half and active > op.dense_above:
            panel, stride, finite = self._panel(op)
            if finite:
                self._dense(op, panel, stride)
                return
        init, init_stride = op.begin()
        lists = self._lists().find(op.inputs, op.outer, active)
        if lists is not None:
            w, stride, _copy = op.halves(0, op.terms)
            km.gated_lists(
                lists.index, lists.start, op.n, init, init_stride, op.out, op.out_stride, w, stride,
                self.half,
            )  # fmt: skip
            return
        for low, high in _parts(op.inputs, packed_bytes(op.inputs.depth)):
            words = op.inputs.words(low, high)
            if op.outer:
                w, stride, _copy = op.halves(low, high)
                words, rows = turned(words, high - low, op.inputs.depth), op.rows
                target = (rows, op.n, init, init_stride, op.out, op.out_stride)
            else:
                w, stride, _copy = op.halves(0, op.terms)
                out, rows = op.out + low * op.out_stride, high - low
                target = (rows, op.n, init + low * init_stride, init_stride, out, op.out_stride)
            km.gated_rows(words, *target, w, stride, self.half)
            if op.outer:
                init, init_stride = op.out, op.out_stride

    def _scaled(self, op: Accumulation, active: int) -> None:
        """Add the weight rows times their input; a zero input is left out only with ``skip``."""
        every = False
        if not self.half:
            pays = active > op.dense_above
            if pays or not op.skip:
                panel, stride, finite = self._panel(op)
                if finite and pays:
                    self._dense(op, panel, stride)
                    return
                every = not finite
        every = not op.skip and (every or bool(self.half))
        gate, gate_stride = op.gate, op.gate_stride
        if not gate:
            ones = np.full(-(-op.n // BLOCK), 0xFFFF, np.uint16)
            gate, gate_stride = int(ones.ctypes.data), 0
        init, init_stride = op.begin()
        for low, high in _parts(op.inputs, 2 * op.inputs.depth):
            a, a_row, _patches = op.inputs.halves(low, high)
            rows, k = high - low, op.inputs.depth
            if every:
                words = op.inputs.taps_inside(low, high)
            else:
                words = empty_words(rows, k)
                kb.read_nonzero(a, a_row, rows, k, words, np.empty(rows, np.int64))
            if op.outer:
                w, stride, _copy = op.halves(low, high)
                target = (op.rows, op.n, init, init_stride, op.out, op.out_stride)
                place = (w, stride, gate, gate_stride, a, 2, a_row)
                words = turned(words, rows, k)
            else:
                w, stride, _copy = op.halves(0, op.terms)
                out, start = op.out + low * op.out_stride, init + low * init_stride
                target = (rows, op.n, start, init_stride, out, op.out_stride)
                place = (w, stride, gate + low * gate_stride, gate_stride, a, a_row, 2)
            km.valued_rows(words, *target, *place, self.half)
            if op.outer:
                init, init_stride = op.out, op.out_stride


def _parts(inputs: Inputs, row_bytes: int) -> list[tuple[int, int]]:
    """Cut the rows so that their patches fit the scratch; there is always a part."""
    rows = inputs.rows
    step = rows if inputs.plain else max(64, SCRATCH // max(1, row_bytes) // 64 * 64)
    if rows <= step:
        return [(0, rows)]
    return [(low, min(rows, low + step)) for low in range(0, rows, step)]


def _bound(op: Resolved, sram: Sram) -> Accumulation:
    """Bind an instruction to its memory."""
    row, o = BY_MNEMONIC[op.mnemonic], op.operands
    base = int(sram.ctypes.data)
    ends = base + sram.shape[0]
    if row.windowed:
        inputs = stack(base + o.a, o.a_stride, o.a_image, o.images, op.window, ends, bits=row.gated)
    else:
        inputs = matrix(base + o.a, o.a_stride, o.rows, o.k, ends, bits=row.gated)
    gate, bias = (0, 0), 0
    outer = row.family is Family.OUTER
    if outer:
        rows, terms = inputs.depth, inputs.rows
        w, w_stride, turned = o.g, o.g_stride, False
    else:
        rows, terms = inputs.rows, inputs.depth
        w, w_stride, turned = o.w, o.w_stride, bool(o.trans)
        bias = base + o.bias if o.init == BIAS else 0
        if o.masked and terms:
            gate = (base + o.mask, o.mask_stride)
    n = o.n
    start = None if o.init == KEEP else np.zeros(n, np.float32)
    return Accumulation(
        inputs, outer, bool(o.skip), n, base + o.acc, o.acc_stride, start, bias, base + w, w_stride,
        turned, ends, *gate, rows, terms, 0 if start is None else int(start.ctypes.data),
        not gate[0] and apart_pays(inputs, n, outer), dense_from(inputs, n, outer),
    )  # fmt: skip
