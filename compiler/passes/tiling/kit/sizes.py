"""Chooses tile sizes under the scratchpad's size: least DRAM traffic, few instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from snncc.isa.numbers.integers import ceil_div

INSTRUCTION_CHARGE = 2048
"""Bytes of traffic that one more instruction is worth: keeps tiles from becoming tiny."""


def round_up(value: int, unit: int) -> int:
    """Round up to a multiple of ``unit``."""
    return ceil_div(value, unit) * unit


def share(total: int, granule: int, cores: int) -> int:
    """Return the columns per core when ``total`` is dealt out in granules, evenly."""
    return min(total, ceil_div(ceil_div(total, granule), cores) * granule)


def candidates(limit: int, granule: int) -> list[int]:
    """Return sizes to try: even cuts of ``limit`` into 1, 2, 3, ... tiles, largest first."""
    found: list[int] = []
    pieces = 1
    while True:
        size = min(limit, round_up(ceil_div(limit, pieces), granule))
        if not found or size < found[-1]:
            found.append(size)
        if size <= granule:
            return found
        pieces += max(1, pieces // 4)


@dataclass(frozen=True)
class Room:
    """Bytes of scratchpad: ``most`` that a task may take, and how many leave room for overlap.

    A task that takes no more than ``several`` leaves room for its next tiles, and those of other
    tasks, to be loaded while it computes.
    """

    most: int
    several: int


WORTH = 1.5
"""Tiles that can be loaded while others are computed with may cost so much more."""


@dataclass(frozen=True)
class Choice:
    """Tile sizes and what they cost."""

    sizes: tuple[int, ...]
    cost: int
    bytes: int


def choose(
    axes: Iterable[list[int]],
    memory: Callable[..., int],
    cost: Callable[..., int],
    room: Room,
) -> Choice | None:
    """Return the cheapest combination of sizes whose ``memory`` fits, or None.

    ``axes`` are candidate lists (largest first); the first of equally cheap ones wins.  The bytes
    of a tile are added to its cost: nothing overlaps with its first loads and last stores.  Tiles
    that leave room for the next ones are taken unless they cost :data:`WORTH` times as much.
    """
    best: Choice | None = None
    roomy: Choice | None = None
    lists = list(axes)

    def visit(prefix: tuple[int, ...], rest: list[list[int]]) -> None:
        nonlocal best, roomy
        if rest:
            for size in rest[0]:
                visit((*prefix, size), rest[1:])
            return
        used = memory(*prefix)
        if used > room.most:
            return
        price = cost(*prefix) + used  # the first tile is loaded, the last one stored, alone
        if best is None or price < best.cost:
            best = Choice(prefix, price, used)
        if used <= room.several and (roomy is None or price < roomy.cost):
            roomy = Choice(prefix, price, used)

    visit((), lists)
    if best is not None and roomy is not None and roomy.cost <= WORTH * best.cost:
        return roomy
    return best


def smallest(axes: Iterable[list[int]], memory: Callable[..., int]) -> int:
    """Return the bytes that the smallest tile needs (for 'does not fit' messages)."""
    return memory(*(sizes[-1] for sizes in axes))
