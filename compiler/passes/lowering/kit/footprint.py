"""Which bytes of its scratchpad buffers a tile operation touches, from the rows of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from snncc.compiler.ir.core import Op
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.microprograms.code import is_load, is_state, is_store
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.roles import FORMATS, MemoryRole, alternatives, condition
from snncc.isa.spec import Insn
from snncc.isa.window import Window

Affine = tuple[int, ...]
StreamUse = tuple[int, Affine, int, int]
"""Operand (-1: a counter), offset, distance between steps, distance between rows."""


class Touch(NamedTuple):
    """Bytes ``low`` to ``high`` (exclusive), relative to where a place of an operation points.

    ``place``: which address operand or stream.  ``whole``: every byte between is touched; else the
    range only bounds what is.
    """

    place: int
    operand: int
    low: int
    high: int
    reads: bool
    writes: bool
    whole: bool


def mnemonic_of(op: Op) -> str:
    """Return the mnemonic that a tile operation stands for."""
    return op.name.partition(".")[2]


def touches(op: Op, programs: Mapping[str, MicroProgram]) -> tuple[Touch, ...]:
    """Return the touches of an operation, those of DRAM left out."""
    if "streams" in op.attrs:
        return tuple(_lanes(op, programs[op.str_attr("prog")]))
    return tuple(_operands(op, BY_MNEMONIC[mnemonic_of(op)]))


def _span(size: int, dims: Sequence[tuple[int, int]]) -> tuple[int, int, bool]:
    """Return the range of rows of ``size`` bytes and whether they fill it.

    ``dims``: counts and distances, outermost first.
    """
    low, high, whole = 0, size, True
    for count, distance in reversed(dims):
        if count <= 1:
            continue
        whole = whole and distance == high - low
        reach = distance * (count - 1)
        low, high = low + min(0, reach), high + max(0, reach)
    return low, high, whole


class _Sizes:
    """Looks up the operands of an operation."""

    def __init__(self, op: Op, row: Insn) -> None:
        self.op, self.row = op, row
        self.fixed = dict(row.fixed)
        window = op.attrs.get("window")
        self.window = Window(*cast("Affine", window)) if window is not None else None

    def number(self, name: str) -> int:
        """Return an operand's value or a fact of the window."""
        if self.window is not None:
            if name == "inputs":
                return self.window.in_h * self.window.in_w
            if name in ("positions", "taps", "channels", "depth"):
                return cast("int", getattr(self.window, name))
        value = self.op.attrs.get(name, self.fixed.get(name, 0))
        return value if isinstance(value, int) else 0

    def extent(self, text: str) -> int:
        """Return the product that an extent is."""
        product = 1
        for part in text.split("*"):
            product *= int(part) if part.isdecimal() else self.number(part)
        return product

    def holds(self, text: str) -> bool:
        """Whether a condition of the table holds."""
        name, word = condition(text)
        return self.op.attrs.get(name) == word if word else self.number(name) != 0

    def element(self, memory: MemoryRole) -> str:
        """Return the format of a role's elements."""
        for conditions, name in alternatives(memory.element):
            if all(self.holds(c) for c in conditions):
                return name if name in FORMATS else self.op.str_attr(name)
        raise AssertionError(f"{self.op.name}: {memory.address} has no element format")


def _row_bytes(element: str, n: int) -> int:
    if element == "byte":
        return n
    return 2 * ceil_div(n, 16) if element == "bit" else FORMATS[element] * n


def _operands(op: Op, row: Insn) -> Iterator[Touch]:
    sizes = _Sizes(op, row)
    names = op.strs_attr("addr")
    for memory in row.memory:
        if memory.space != "sram" or memory.address not in names:
            continue
        if not all(sizes.holds(c) for c in memory.when):
            continue
        length = sizes.extent(memory.row)
        counts = [sizes.extent(extent) for extent, _ in memory.rows]
        if memory.turned and sizes.number(memory.turned):
            length, counts[-1] = counts[-1], length
        distances = [sizes.number(name) for _, name in memory.rows]
        if not length or not all(counts):
            continue
        dims = list(zip(counts, distances, strict=True))
        low, high, whole = _span(_row_bytes(sizes.element(memory), length), dims)
        reads = memory.reads and all(sizes.holds(c) for c in memory.read_when)
        at = names.index(memory.address)
        yield Touch(at, at, low, high, reads, memory.writes, whole)


def _lanes(op: Op, program: MicroProgram) -> Iterator[Touch]:
    streams = cast("tuple[StreamUse, ...]", op.attrs["streams"])
    steps, rows, cols = (op.int_attr(name) for name in ("steps", "rows", "cols"))
    if not steps * rows * cols:
        return
    for inst in program.code:
        if not (is_load(inst.op) or is_store(inst.op) or is_state(inst.op)):
            continue
        operand, _, step, distance = streams[inst.imm]
        kind = inst.op.name.rsplit(".", 1)[-1]
        if kind == "m":
            size = 2 * ceil_div(cols, 16)
        else:
            each = 4 if kind in ("f", "acc", "i") else 2
            size = each if ".row." in inst.op.name else each * cols
        low, high, whole = _span(
            size, [(1 if is_state(inst.op) else steps, step), (rows, distance)]
        )
        reads, writes = not is_store(inst.op), not is_load(inst.op)
        yield Touch(inst.imm, operand, low, high, reads, writes, whole)
