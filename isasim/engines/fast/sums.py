"""Column and row reductions on the kernels: colsum, rowred."""

from __future__ import annotations

from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isasim.engines.base import Activity, Engine, Resolved, Sram
from snncc.isasim.engines.footprint.regions import BIT, F16, KEEP
from snncc.isasim.engines.kernels import sum as ks


class SumKernels:
    """Runs checked reductions whose operands do not overlap."""

    def __init__(self, reference: Engine, saturate: bool) -> None:
        self.reference = reference
        self.saturate = int(saturate)

    def colsum(self, op: Resolved, sram: Sram) -> Activity:
        """Add rows to one row of accumulators."""
        o = op.operands
        x, rows, n, kind = o.x, o.rows, o.n, o.type
        padded = -(-n // 16) * 16
        size = packed_bytes(padded) if kind == BIT else padded * (2 if kind == F16 else 4)
        if rows and x + max(0, (rows - 1) * o.x_stride) + size > sram.shape[0]:
            return self.reference.execute(op, sram)  # whole groups would leave the memory
        base = int(sram.ctypes.data)
        acc = base + o.acc
        start = acc if o.init == KEEP else 0
        ones = int(ks.sum_columns(kind, start, acc, base + x, o.x_stride, rows, n))
        return Activity(rows * n, ones if kind == BIT else rows * n, ones)

    def rowred(self, op: Resolved, sram: Sram) -> Activity:
        """Reduce each row to one number."""
        o = op.operands
        rows, n, kind = o.rows, o.n, o.type
        base = int(sram.ctypes.data)
        ones = int(
            ks.reduce_rows(
                kind, o.op, base + o.dst, o.dst_stride, base + o.x, o.x_stride, rows, n,
                self.saturate,
            )
        )  # fmt: skip
        return Activity(rows * n, ones if kind == BIT else rows * n, ones)
