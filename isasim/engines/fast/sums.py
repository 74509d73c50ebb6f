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
        acc, x, x_stride, rows, n, kind, init = op.values
        padded = -(-n // 16) * 16
        size = packed_bytes(padded) if kind == BIT else padded * (2 if kind == F16 else 4)
        if rows and x + max(0, (rows - 1) * x_stride) + size > sram.shape[0]:
            return self.reference.execute(op, sram)  # whole groups would leave the memory
        base = int(sram.ctypes.data)
        start = base + acc if init == KEEP else 0
        ones = int(ks.sum_columns(kind, start, base + acc, base + x, x_stride, rows, n))
        return Activity(rows * n, ones if kind == BIT else rows * n, ones)

    def rowred(self, op: Resolved, sram: Sram) -> Activity:
        """Reduce each row to one number."""
        dst, dst_stride, x, x_stride, rows, n, kind, red = op.values
        base = int(sram.ctypes.data)
        ones = int(
            ks.reduce_rows(
                kind, red, base + dst, dst_stride, base + x, x_stride, rows, n, self.saturate
            )
        )
        return Activity(rows * n, ones if kind == BIT else rows * n, ones)
