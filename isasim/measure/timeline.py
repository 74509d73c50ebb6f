"""How busy everything was over time, in a few hundred bins whatever the length of the run."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from snncc.isa.numbers.integers import ceil_div
from snncc.isasim.machine.decode import SLOTS
from snncc.isasim.machine.network import DRAM, Link

BINS: Final = 240


class Timeline:
    """Busy cycles per bin: units by actor (``core << 3 | slot``), the DRAM bus and the links.

    Bins are a power of two wide; when a run outgrows them, neighbours are merged.
    """

    def __init__(self) -> None:
        self.units: dict[int, list[int]] = {}
        self.links: dict[Link, list[int]] = {}
        self.shift = 0
        self.kept: list[tuple[list[int], int, int]] | None = None
        """While it is a list: everything that is added (row, begin, end)."""

    @property
    def width(self) -> int:
        """Cycles per bin."""
        return 1 << self.shift

    def reset(self) -> None:
        """A run begins."""
        self.units.clear()
        self.links.clear()
        self.shift = 0
        self.kept = None

    def add(self, actor: int, begin: int, end: int) -> None:
        """A unit was busy."""
        row = self.units.get(actor)
        if row is None:
            row = self.units[actor] = [0] * BINS
        self._add(row, begin, end)

    def transfer(self, link: Link, begin: int, end: int) -> None:
        """A link, or the DRAM bus, was taken."""
        row = self.links.get(link)
        if row is None:
            row = self.links[link] = [0] * BINS
        self._add(row, begin, end)

    def _add(self, row: list[int], begin: int, end: int) -> None:
        if end <= begin:
            return
        if self.kept is not None:
            self.kept.append((row, begin, end))
        while (end - 1) >> self.shift >= BINS:
            self._merge()
        shift = self.shift
        first, last = begin >> shift, (end - 1) >> shift
        if first == last:
            row[first] += end - begin
            return
        row[first] += (first + 1 << shift) - begin
        row[last] += end - (last << shift)
        for i in range(first + 1, last):
            row[i] += 1 << shift

    def repeat(self, kept: list[tuple[list[int], int, int]], period: int, turns: int) -> None:
        """Add again what was added in one period: ``turns`` times, each ``period`` later."""
        last = max((end for _, _, end in kept), default=0) + turns * period
        while last and (last - 1) >> self.shift >= BINS:
            self._merge()
        edges = np.arange(BINS + 1, dtype=np.int64) << self.shift
        for row, begin, end in kept:
            # busy before x: every interval that began before it, less what of the last is after it
            first, long = begin + period, end - begin
            begun = np.clip(-((first - edges) // period), 0, turns)
            after = np.maximum(0, first + (begun - 1) * period + long - edges)
            before = begun * long - np.where(begun > 0, after, 0)
            row[:] = [a + b for a, b in zip(row, np.diff(before).tolist(), strict=True)]

    def _merge(self) -> None:
        for row in (*self.units.values(), *self.links.values()):
            row[:] = [row[i] + row[i + 1] for i in range(0, BINS, 2)] + [0] * (BINS // 2)
        self.shift += 1

    def as_json(self, cycles: int) -> dict[str, Any]:
        """Return the bins up to the end of the run."""
        count = min(BINS, ceil_div(cycles, self.width)) if cycles else 0
        units: dict[str, dict[str, list[int]]] = {}
        for actor, row in sorted(self.units.items()):
            units.setdefault(str(actor >> 3), {})[SLOTS[actor & 7]] = row[:count]
        links = [row for link, row in self.links.items() if link != DRAM and link[0] != link[1]]
        return {
            "cycles_per_bin": self.width,
            "units": units,
            "dram": self.links.get(DRAM, [0] * count)[:count],
            "links": [sum(row[i] for row in links) for i in range(count)],
        }
