"""The oracle: every instruction in plain numpy, written from the table's ``action`` line.

Operands are read completely before anything is written; rows are written in ascending order.  The
arithmetic is :mod:`snncc.isa.numbers.fp16`, one strictly ascending accumulation per output.
"""

from __future__ import annotations

import numpy as np

from snncc.isa.numbers import accumulators, fp16
from snncc.isasim.engines.base import (
    FP32,
    LANE_MNEMONICS,
    WINDOW_MNEMONICS,
    Activity,
    EngineNumerics,
    Resolved,
    Sram,
)
from snncc.isasim.engines.base import operands_error as _unknown
from snncc.isasim.engines.footprint.checks import BIT, F16, F32, MAX, SUM32, check
from snncc.isasim.engines.reference.lanes import run_lanes
from snncc.isasim.engines.reference.memory import (
    Floats,
    active_blocks,
    floats,
    halves,
    initial,
    spikes,
    store,
    view,
)
from snncc.isasim.engines.reference.windows import run_windowed, transpose


class ReferenceEngine:
    """Executes instructions with numpy; slow and plain."""

    name = "reference"

    def __init__(self, numerics: EngineNumerics = FP32) -> None:
        self.numerics = numerics

    def execute(self, op: Resolved, sram: Sram) -> Activity:
        """Execute one instruction; see :class:`snncc.isasim.engines.base.Engine`."""
        _, writes = check(op, sram.shape[0])
        if op.mnemonic in ("gacc", "mac", "bmac"):
            return self._mac(op, sram) if writes else Activity(0, 0)
        if op.mnemonic in ("gouter", "outer"):
            return self._outer(op, sram) if writes else Activity(0, 0)
        if op.mnemonic in LANE_MNEMONICS:
            return run_lanes(op, sram, saturate=self.numerics.saturate)
        if op.mnemonic in WINDOW_MNEMONICS:
            return run_windowed(op, sram, self.numerics) if writes else Activity(0, 0)
        if op.mnemonic == "rowred":
            return self._rowred(op, sram) if writes else Activity(0, 0)
        if op.mnemonic == "colsum":
            return self._colsum(op, sram) if writes else Activity(0, 0)
        if op.mnemonic == "transpose":
            return transpose(op, sram) if writes else Activity(0, 0)
        raise _unknown(op)

    def _mac(self, op: Resolved, sram: Sram) -> Activity:
        acc, acc_stride, a, a_stride, w, w_stride, rows, k, n, bias, init = op.values[:11]
        target = view(sram, np.float32, acc, acc_stride, rows, n)
        first = initial(sram, target, init, bias)
        if op.mnemonic == "gacc":
            gate = spikes(sram, a, a_stride, rows, k) if k else np.zeros((rows, 0), np.bool_)
            weights = halves(sram, w, w_stride, k, n)
            result = accumulators.gated_mac_ordered(
                gate, weights, first, accumulator=self.numerics.accumulator
            )
            store(target, result)
            active = int(gate.sum())
            return Activity(rows * k * n, active * n, active, blocks=active_blocks(gate))
        skip, trans = op.values[11:13]
        x = halves(sram, a, a_stride, rows, k)
        weights = halves(sram, w, w_stride, n, k).T if trans else halves(sram, w, w_stride, k, n)
        result = accumulators.mac_ordered(
            x, weights, first, bool(skip), accumulator=self.numerics.accumulator
        )
        terms = (x != 0).sum(axis=1) if skip else np.full(rows, k)
        outputs, computed, out_blocks = np.full(rows, n), -1, -1
        if op.mnemonic == "bmac" and op.values[13] and k:
            mask = spikes(sram, op.values[14], op.values[15], rows, n)
            result = np.where(mask, result, first)
            outputs = mask.sum(axis=1)
            computed = int(outputs.sum())
            out_blocks = active_blocks(mask)
        store(target, result)
        blocks = active_blocks(x != 0) if skip else -1
        performed = int((terms * outputs).sum())
        return Activity(rows * k * n, performed, 0, computed, blocks, out_blocks)

    def _outer(self, op: Resolved, sram: Sram) -> Activity:
        acc, acc_stride, a, a_stride, g, g_stride, rows, k, n, init = op.values[:10]
        target = view(sram, np.float32, acc, acc_stride, k, n)
        first = initial(sram, target, init, 0)
        grads = halves(sram, g, g_stride, rows, n)
        kind = self.numerics.accumulator
        if op.mnemonic == "gouter":
            gate = spikes(sram, a, a_stride, rows, k)
            store(target, accumulators.gated_mac_ordered(gate.T, grads, first, accumulator=kind))
            active = int(gate.sum())
            return Activity(rows * k * n, active * n, active, blocks=active_blocks(gate))
        skip = bool(op.values[10])
        x = halves(sram, a, a_stride, rows, k)
        store(target, accumulators.mac_ordered(x.T, grads, first, skip, accumulator=kind))
        blocks = active_blocks(x != 0) if skip else -1
        performed = (int((x != 0).sum()) if skip else rows * k) * n
        return Activity(rows * k * n, performed, blocks=blocks)

    def _elements(
        self, sram: Sram, kind: int, base: int, stride: int, rows: int, n: int
    ) -> tuple[Floats, int]:
        """Return rows of an element type as floats, and how many spikes were set."""
        if kind == F16:
            return halves(sram, base, stride, rows, n), 0
        if kind == F32:
            return floats(sram, base, stride, rows, n), 0
        bits = spikes(sram, base, stride, rows, n)
        return bits.astype(np.float32), int(bits.sum())

    def _rowred(self, op: Resolved, sram: Sram) -> Activity:
        dst, dst_stride, x, x_stride, rows, n, kind, red = op.values
        values, active = self._elements(sram, kind, x, x_stride, rows, n)
        if red == MAX:
            total = values[:, 0]
            for j in range(1, n):
                total = fp16.maximum(total, values[:, j])
        else:
            total = accumulators.ordered_sum(values, axis=1)
        if red == SUM32:
            store(view(sram, np.float32, dst, dst_stride, rows, 1), total)
        else:
            bits = fp16.to_bits(accumulators.writeback(total, sat=self.numerics.saturate))
            store(view(sram, np.uint16, dst, dst_stride, rows, 1), bits)
        return Activity(rows * n, active if kind == BIT else rows * n, active)

    def _colsum(self, op: Resolved, sram: Sram) -> Activity:
        acc, x, x_stride, rows, n, kind, init = op.values
        target = view(sram, np.float32, acc, 0, 1, n)
        first = initial(sram, target, init, 0)[0]
        values, active = self._elements(sram, kind, x, x_stride, rows, n)
        store(target, accumulators.ordered_sum(values, axis=0, acc=first)[None, :])
        return Activity(rows * n, active if kind == BIT else rows * n, active)
