"""Deals a product's work out to cores along two axes at once.

Each part of one axis needs everything that belongs to the other: parts of the output channels each
load all inputs, parts of the images each load all weights.  So balance alone is no guide; the time
that a grid takes on the machine is (every term performed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snncc.compiler.passes.tiling.kit.sizes import share
from snncc.compiler.passes.tiling.kit.task import At, TaskBuilder
from snncc.isa.machine.machine import Machine
from snncc.isa.machine.parts import Array
from snncc.isa.numbers.integers import ceil_div

EXPOSED = 0.25
"""First loads and last products of a task overlap with nothing."""


@dataclass(frozen=True)
class Axis:
    """``size`` elements, dealt out in granules; ``bytes`` of DRAM are indexed by them."""

    size: int
    granule: int
    bytes: int

    def shares(self, cores: int) -> list[int]:
        """Return the sizes of a part that dealing out to 1, 2, .. cores can give."""
        return list(dict.fromkeys(share(self.size, self.granule, n + 1) for n in range(cores)))


@dataclass(frozen=True)
class Grid:
    """How many elements of each axis a part has."""

    first: int
    second: int


def deal(first: Axis, second: Axis, terms: int, array: Array, machine: Machine, cores: int) -> Grid:
    """Return the grid that takes the least time.

    ``terms``: multiply-accumulates per pair of elements.  Time, in cycles: the longer one of the
    largest part's terms on a full array and the loads through the shared DRAM port or a core's own
    DMA; of the shorter one a part (:data:`EXPOSED`) is not hidden behind it.
    """
    rate = array.rows * array.cols

    def cycles(a: int, b: int) -> float:
        parts_a, parts_b = ceil_div(first.size, a), ceil_div(second.size, b)
        total = parts_b * first.bytes + parts_a * second.bytes
        own = first.bytes * a / first.size + second.bytes * b / second.size
        loads = max(total / machine.dram.bytes_per_cycle, own / machine.dma.bytes_per_cycle)
        work = a * b * terms / rate
        return max(work, loads) + EXPOSED * min(work, loads)

    grids = [
        (cycles(a, b), Grid(a, b))
        for a in first.shares(cores)
        for b in second.shares(cores)
        if ceil_div(first.size, a) * ceil_div(second.size, b) <= cores
    ]
    return min(grids, key=lambda found: found[0])[1]


Part = Callable[[At, int, At, int], None]
"""Called with the start and the size of a part on either axis."""


def deal_parts(b: TaskBuilder, first: int, second: int, grid: Grid, body: Part) -> None:
    """Emit the parallel loops over all parts of two axes of given sizes.

    The axis with more parts becomes the loop; the other one's parts are written out.
    """
    if ceil_div(first, grid.first) < ceil_div(second, grid.second):
        deal_parts(b, second, first, Grid(grid.second, grid.first), _swapped(body))
        return

    def column(at: int) -> None:
        size = min(grid.second, second - at)
        b.tiles(first, grid.first, lambda start, n, _: body(start, n, At(at), size), parallel=True)

    for at in range(0, second, grid.second):
        column(at)


def _swapped(body: Part) -> Part:
    return lambda a_at, a, b_at, b: body(b_at, b, a_at, a)
