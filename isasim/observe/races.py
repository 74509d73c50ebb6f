"""``check_races``: no two unordered accesses may touch the same bytes, one of them writing.

Happens-before is tracked with vector clocks over actors (core, unit).  Edges: a unit's own order,
the push into a queue, post to wait, send to recv.  The shadow of a memory keeps for every
distinct region, and for reads and writes of every actor, the last access.  An actor runs in
order, so when its last access to a region is ordered before a new one, all its earlier ones are
too: the check is exact although nothing is kept per byte.  Which regions overlap is computed once
per pair.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isasim.engines.footprint.checks import Footprint, Region, overlapping
from snncc.isasim.faults import InstructionLocation
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.decode import SLOTS
from snncc.isasim.machine.sequencer import Entry
from snncc.isasim.reports import location

Clock: TypeAlias = npt.NDArray[np.int64]
Access: TypeAlias = tuple[int, Core, int, int, str]
"""Epoch of the actor, core, slot, pc, operand."""

MAX_RACES: Final = 20


@dataclass(frozen=True)
class Race:
    """Two instructions that nothing orders, and what they share."""

    kind: str
    space: str
    low: int
    high: int
    first: InstructionLocation
    second: InstructionLocation
    detail: str = ""

    def __str__(self) -> str:
        where = f"{self.space} bytes {self.low}..{self.high - 1}" if self.high else self.space
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.kind} on {where}{detail}\n  {self.first}\n  {self.second}"


class _Tile:
    """A distinct region of a memory with its last accesses."""

    __slots__ = ("neighbours", "reads", "region", "writes")

    def __init__(self, region: Region) -> None:
        self.region = region
        self.reads: dict[int, Access] = {}
        self.writes: dict[int, Access] = {}
        self.neighbours: list[_Tile] = [self]


class _Memory:
    """The tiles of one memory."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, ...], _Tile] = {}
        self.order: list[_Tile] = []
        self.lows = np.empty(64, np.int64)
        self.highs = np.empty(64, np.int64)

    def tile(self, region: Region) -> _Tile:
        """Return the tile of a region, new or known."""
        key = (region.start, region.size, region.n0, region.s0, region.n1, region.s1)
        found = self.tiles.get(key)
        return found if found is not None else self._add(key, region)

    def _add(self, key: tuple[int, ...], region: Region) -> _Tile:
        tile = _Tile(region)
        count = len(self.order)
        if count == self.lows.size:
            self.lows = np.resize(self.lows, 2 * count)
            self.highs = np.resize(self.highs, 2 * count)
        low, high = region.extent()
        for i in np.flatnonzero((self.lows[:count] < high) & (self.highs[:count] > low)):
            other = self.order[int(i)]
            if overlapping(other.region, region):
                tile.neighbours.append(other)
                other.neighbours.append(tile)
        self.lows[count], self.highs[count] = low, high
        self.order.append(tile)
        self.tiles[key] = tile
        return tile


class RaceChecker:
    """Watches a run and collects races (at most :data:`MAX_RACES`)."""

    def __init__(self, cores: int) -> None:
        self.actors = cores * 8
        self.races: list[Race] = []
        self._seen: set[tuple[object, ...]] = set()
        self._memories: dict[int, _Memory] = {}
        self.reset()

    def reset(self) -> None:
        """Start a new run."""
        self._clocks: list[Clock | None] = [None] * self.actors
        self._tokens: dict[tuple[int, int], deque[list[Any]]] = {}
        self._takers: dict[tuple[int, int], tuple[int, int, InstructionLocation]] = {}
        for memory in self._memories.values():
            for tile in memory.order:
                tile.reads.clear()
                tile.writes.clear()

    def _clock(self, actor: int, issuer: Any) -> Clock:
        clock = self._clocks[actor]
        if clock is None:
            clock = self._clocks[actor] = np.zeros(self.actors, np.int64)
            clock[actor] = 1
        if issuer is not None:
            np.maximum(clock, issuer, out=clock)
        return clock

    def access(self, core: Core, slot: int, entry: Entry, footprint: Footprint) -> None:
        """Check an instruction against all earlier ones."""
        actor = core.index << 3 | slot
        clock = self._clock(actor, entry[3])
        epoch = int(clock[actor])
        for regions, writing in ((footprint[0], False), (footprint[1], True)):
            for region in regions:
                space = -1 if region.space == "dram" else core.index
                memory = self._memories.get(space)
                if memory is None:
                    memory = self._memories[space] = _Memory()
                tile = memory.tile(region)
                new = (epoch, core, slot, entry[1], region.operand)
                for other in tile.neighbours:
                    self._compare(clock, actor, new, region, other, other.writes, writing, True)
                    if writing:
                        self._compare(clock, actor, new, region, other, other.reads, True, False)
                (tile.writes if writing else tile.reads)[actor] = new

    def _compare(
        self, clock: Clock, actor: int, new: Access, region: Region, other: _Tile,
        accesses: dict[int, Access], writing: bool, wrote: bool,
    ) -> None:  # fmt: skip
        for their, access in accesses.items():
            if their != actor and clock[their] < access[0]:
                self._report(new, region, access, other.region, writing, wrote)

    def _report(
        self, new: Access, region: Region, old: Access, theirs: Region, writing: bool, wrote: bool
    ) -> None:
        key = (old[1].index, old[2], old[3], new[1].index, new[2], new[3])
        if key in self._seen or len(self.races) >= MAX_RACES:
            return
        self._seen.add(key)
        kind = "write/write" if writing and wrote else "read/write" if writing else "write/read"
        (a, b), (c, d) = region.extent(), theirs.extent()
        space = "dram" if region.space == "dram" else f"sram of core {new[1].index}"
        self.races.append(
            Race(
                kind, space, max(a, c), min(b, d), location(*old[1:4]), location(*new[1:4]),
                f"{old[4]} and {new[4]}",
            )
        )  # fmt: skip

    def posted(self, core: Core, slot: int, sem: int, n: int, entry: Entry) -> None:
        """Tokens carry the clock of what was done before them."""
        actor = core.index << 3 | slot
        clock = self._clock(actor, entry[3])
        box = self._tokens.setdefault((core.index, sem), deque())
        box.append([n, clock.copy(), actor, location(core, slot, entry[1])])
        clock[actor] += 1

    def waited(self, core: Core, slot: int, sem: int, n: int, entry: Entry) -> None:
        """Taking tokens orders the taker after their posters."""
        actor = core.index << 3 | slot
        clock = self._clock(actor, entry[3])
        box = self._tokens.setdefault((core.index, sem), deque())
        here = location(core, slot, entry[1])
        posters: set[int] = set()
        while n > 0 and box:
            token = box[0]
            taken = min(n, token[0])
            n -= taken
            token[0] -= taken
            posters.add(token[2])
            np.maximum(clock, token[1], out=clock)
            if not token[0]:
                box.popleft()
        stranger = next((t for t in box if t[2] not in posters), None) if posters else None
        if stranger is not None:
            self._ambiguous(core, sem, stranger[3], here, "tokens of several units, not all taken")
        last = self._takers.get((core.index, sem))
        if last is not None and last[0] != actor and clock[last[0]] < last[1]:
            self._ambiguous(core, sem, last[2], here, "two units take tokens, unordered")
        self._takers[core.index, sem] = (actor, int(clock[actor]), here)
        if slot == 0:
            core.seq.clock = clock.copy()
            clock[actor] += 1

    def _ambiguous(
        self,
        core: Core,
        sem: int,
        first: InstructionLocation,
        second: InstructionLocation,
        why: str,
    ) -> None:
        key = ("sem", core.index, sem, first.pc, second.pc)
        if key not in self._seen and len(self.races) < MAX_RACES:
            self._seen.add(key)
            self.races.append(
                Race("token", f"sem{sem} of core {core.index}", 0, 0, first, second, why)
            )

    def sent(self, core: Core, slot: int, entry: Entry) -> Clock:
        """Return the clock that travels with a message."""
        actor = core.index << 3 | slot
        clock = self._clock(actor, entry[3])
        copy = clock.copy()
        clock[actor] += 1
        return copy

    def received(self, core: Core, slot: int, sender: Any) -> None:
        """Receiving orders the receiver after the sender."""
        clock = self._clock(core.index << 3 | slot, None)
        if sender is not None:
            np.maximum(clock, sender, out=clock)


__all__ = ["MAX_RACES", "SLOTS", "Race", "RaceChecker"]
