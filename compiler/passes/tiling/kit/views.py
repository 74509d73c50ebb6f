"""How tensors lie in DRAM: steps x rows x columns, rows contiguous."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Type, Value
from snncc.compiler.ir.orders import KERNEL, Order
from snncc.compiler.passes.tiling.kit.task import ZERO, At

ELEMENT_BYTES = {"f16": 2, "f32": 4, "i32": 4}


def row_bytes(dtype: str, cols: int) -> int:
    """Return the bytes of ``cols`` elements of one row; spikes are packed in units of 16."""
    return (cols + 15) // 16 * 2 if dtype == "bit" else cols * ELEMENT_BYTES[dtype]


def col_offset(dtype: str, at: At) -> At:
    """Return the byte offset of a column offset (a multiple of 16 for packed spikes)."""
    return at.exact_div(8) if dtype == "bit" else at * ELEMENT_BYTES[dtype]


@dataclass(frozen=True)
class View:
    """A DRAM tensor seen as steps x rows x columns.

    ``step`` and ``row`` are byte strides (0: the same data for every step or row).
    """

    dram: Value
    dtype: str
    steps: int
    rows: int
    cols: int
    step: int
    row: int
    start: At = ZERO
    """Byte offset of the first element within the tensor."""

    def at(self, t: At | int = 0, r: At | int = 0, c: At | int = 0) -> At:
        """Return the byte offset of an element."""
        t, r, c = (v if isinstance(v, At) else At(v) for v in (t, r, c))
        return t * self.step + r * self.row + col_offset(self.dtype, c) + self.start

    def flat(self) -> View:
        """Return the same tensor with steps and rows merged into rows."""
        if self.steps > 1 and self.step != self.rows * self.row:
            raise ValueError("steps and rows are not contiguous")
        return View(
            self.dram, self.dtype, 1, self.steps * self.rows, self.cols, 0, self.row, self.start
        )


def storage_shape(type_: Type, order: Order) -> tuple[int, ...]:
    """Return the step shape as it lies in memory, slowest axis first.

    Kernel order pads the input channels to whole blocks: ``[blocks, taps, 16, outputs]``.
    """
    shape = type_.step_shape
    if order == KERNEL:
        taps = 1
        for d in shape[2:]:
            taps *= d
        return ((shape[1] + 15) // 16, taps, 16, shape[0])
    return tuple(shape[a] for a in order) if order else shape


def geometry(type_: Type, order: Order = ()) -> tuple[int, int, int]:
    """Return (steps, rows, columns) of a tensor: columns are its last axis in memory.

    ``seq<TxBxF>`` is (T, B, F), ``tensor<BxF>`` (1, B, F), a vector (1, 1, F), a scalar (1, 1, 1).
    """
    steps = type_.shape[0] if type_.kind == "seq" else 1
    shape = storage_shape(type_, order)
    rows = 1
    for d in shape[:-1]:
        rows *= d
    return steps, rows, shape[-1] if shape else 1


def view(type_: Type, dram: Value, order: Order = ()) -> View:
    """Return the natural view of a tensor."""
    steps, rows, cols = geometry(type_, order)
    row = row_bytes(type_.dtype, cols)
    return View(dram, type_.dtype, steps, rows, cols, rows * row if steps > 1 else 0, row)
