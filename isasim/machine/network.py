"""Shared resources in time: the DRAM bus and the links of the mesh.

Requests are granted in the order in which they are made, and the scheduler makes them in the order
of time, so a resource is one number: when it is next free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

Link: TypeAlias = tuple[int, int]
"""A link of the mesh: node and next node; (n, n) leads into the core at n."""
DRAM: Final[Link] = (-1, -1)
"""The DRAM bus, where links are watched."""
Watcher: TypeAlias = Callable[[Link, int, int], None]
"""Is told which link was taken from when to when."""


class DramBus:
    """One bus, first come first served; a request holds it for its transfer."""

    __slots__ = ("busy", "free", "watcher")

    def __init__(self) -> None:
        self.free = 0
        self.busy = 0
        self.watcher: Watcher | None = None

    def reset(self) -> None:
        """Forget all requests."""
        self.free = 0
        self.busy = 0

    def request(self, time: int, transfer: int) -> tuple[int, int]:
        """Grant the bus for ``transfer`` cycles; return when it begins and when it is free."""
        begin = self.free if self.free > time else time
        self.free = begin + transfer
        self.busy += transfer
        if self.watcher is not None and transfer:
            self.watcher(DRAM, begin, self.free)
        return begin, self.free


class MeshLinks:
    """A 2-D mesh with XY routing: first along the row, then along the column.

    Each node has a link to each neighbour and one into its own core (the last of every path).  A
    message holds a link for its flits; its head goes on ``hop`` cycles after it got a link.
    """

    def __init__(self, width: int, height: int, hop: int) -> None:
        self.width = width
        self.height = height
        self.hop = hop
        self.free: dict[tuple[int, int], int] = {}
        self.busy: dict[tuple[int, int], int] = {}
        self.watcher: Watcher | None = None
        self._paths: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {}

    def reset(self) -> None:
        """Forget all messages."""
        self.free.clear()
        self.busy.clear()

    def path(self, source: int, target: int) -> tuple[tuple[int, int], ...]:
        """Return the links from core to core as (node, next node); the last is (target, target)."""
        key = (source, target)
        found = self._paths.get(key)
        if found is None:
            nodes = [source]
            x, y = source % self.width, source // self.width
            to_x, to_y = target % self.width, target // self.width
            while x != to_x:
                x += 1 if to_x > x else -1
                nodes.append(y * self.width + x)
            while y != to_y:
                y += 1 if to_y > y else -1
                nodes.append(y * self.width + x)
            nodes.append(target)
            found = self._paths[key] = tuple(pairwise(nodes))
        return found

    def hops(self, source: int, target: int) -> int:
        """Return the links between routers on the way."""
        return len(self.path(source, target)) - 1

    def links(self, source: int, targets: Sequence[int]) -> int:
        """Return how many router links a (multicast) message takes: shared ones count once."""
        union = {link for target in targets for link in self.path(source, target)}
        return sum(a != b for a, b in union)

    def send(
        self, source: int, targets: Sequence[int], time: int, flits: int
    ) -> tuple[int, int, list[int]]:
        """Send a message of ``flits`` at ``time``.

        Returns when the first link is taken, when the sender is free again, and per target when the
        last flit arrives.
        """
        free, busy, hop, watcher = self.free, self.busy, self.hop, self.watcher
        heads: dict[tuple[int, int], int] = {}
        begin, done = time, time + flits
        arrivals: list[int] = []
        for target in targets:
            at = time
            for link in self.path(source, target):
                granted = heads.get(link)
                if granted is None:
                    granted = free.get(link, 0)
                    if granted < at:
                        granted = at
                    heads[link] = granted
                    free[link] = granted + flits
                    busy[link] = busy.get(link, 0) + flits
                    if watcher is not None:
                        watcher(link, granted, granted + flits)
                    if link[0] == source and granted + flits > done:
                        begin, done = granted, granted + flits
                at = granted + hop if link[0] != link[1] else granted
            arrivals.append(at + flits)
        return begin, done, arrivals
