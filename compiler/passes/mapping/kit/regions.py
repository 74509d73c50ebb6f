"""Which parts of DRAM tensors a task touches: rectangles of rows and column bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from snncc.compiler.ir.core import Block, Op, Value

Affine = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes ``row*R + column`` with row and column in half-open ranges (R: the row's bytes)."""

    write: bool
    row_low: int
    row_high: int
    col_low: int
    col_high: int

    def meets(self, other: Region) -> bool:
        """Whether two regions of one tensor share a byte, one of them written."""
        return (
            (self.write or other.write)
            and self.row_low < other.row_high
            and other.row_low < self.row_high
            and self.col_low < other.col_high
            and other.col_low < self.col_high
        )


def affine_of(op: Op, index: int) -> Affine:
    """Return the offset of operand ``index`` of a non-lane operation."""
    at = cast("tuple[Affine, ...]", op.attrs["at"])
    return at[index]


@dataclass(frozen=True, slots=True)
class Turns:
    """A loop around an operation: the first of its iterations, and how many."""

    first: int
    count: int


def accesses(
    block: Block, mine: Mapping[Op, range], around: tuple[Turns, ...] = ()
) -> Iterator[tuple[Op, tuple[Turns, ...]]]:
    """Yield every leaf operation with its loops, outermost first; ``mine``: of parallel ones."""
    for op in block.ops:
        if op.name in {"tile.loop", "tile.parallel"}:
            turns = mine[op] if op in mine else range(op.int_attr("trips"))
            if turns:
                inside = (*around, Turns(turns.start, len(turns)))
                yield from accesses(op.regions[0], mine, inside)
        elif op.name != "tile.sram":
            yield op, around


def dram_regions(task: Op, mine: Mapping[Op, range]) -> Iterator[tuple[Value, Region]]:
    """Yield (tensor, region) for every DMA operation of a core's part of a task.

    ``mine``: which iterations of the parallel loops it has.
    """
    for op, loops in accesses(task.regions[0], mine):
        if op.name not in {"tile.ld", "tile.st"}:
            continue
        write = op.name == "tile.st"
        side, index = ("dst", 0) if write else ("src", 1)
        spans = [
            (op.int_attr(f"{side}0"), op.int_attr("n0")),
            (op.int_attr(f"{side}1"), op.int_attr("n1")),
        ]
        base, *coefficients = affine_of(op, index)
        for coefficient, turns in zip(coefficients, loops, strict=True):
            base += coefficient * turns.first
            spans.append((coefficient, turns.count))
        tensor = op.operands[index]
        yield tensor, rectangle(write, base, spans, op.int_attr("bytes"), tensor)


def row_bytes_of(tensor: Value) -> int:
    """Return the bytes of one row of a DRAM tensor."""
    owner = tensor.owner
    assert isinstance(owner, Op)
    return owner.int_attr("row_bytes")


def rectangle(
    write: bool, base: int, spans: list[tuple[int, int]], size: int, tensor: Value
) -> Region:
    """Return the rectangle of ``size`` bytes at ``base``, repeated along ``spans`` (distance,
    count); it bounds what is touched."""
    row = row_bytes_of(tensor)
    row_low = row_high = base // row
    col_low = base % row
    col_high = col_low + size
    for stride, count in spans:
        reach = stride * (count - 1)
        if reach == 0:
            continue
        if stride % row == 0:
            row_low += min(0, reach // row)
            row_high += max(0, reach // row)
        else:
            col_low += min(0, reach)
            col_high += max(0, reach)
    if col_low < 0 or col_high > row:  # columns run over: whole rows
        row_low += col_low // row
        row_high += (col_high - 1) // row
        col_low, col_high = 0, row
    return Region(write, row_low, row_high + 1, col_low, col_high)
