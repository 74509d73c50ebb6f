"""The order in which a core issues its steps: whoever can start first, by the cost model.

A list schedule: engines take their steps in program order, the DMA unit the most urgent transfer
that can start.  So tiles are loaded while the ones before them are computed with, across tasks too.
The order respects all dependences, so it changes no bit; that every step waits for steps issued
before it also excludes deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from snncc.isa.spec import Unit


@dataclass(eq=False, slots=True)
class Issue:
    """Something to be issued.

    ``cycles``: its unit is busy; ``latency``: further cycles until others may use its result.
    """

    number: int
    unit: Unit
    cycles: int
    latency: int
    after: set[int] = field(default_factory=set[int])
    """Numbers of entries that must be through."""


def arrange(entries: Sequence[Issue]) -> list[int]:
    """Return the numbers of entries, which are their places, in the order of issue."""
    waiting_for = [0] * len(entries)
    followers: list[list[int]] = [[] for _ in entries]
    last: dict[Unit, int] = {}
    for entry in entries:
        befores = set(entry.after)
        if entry.unit is not Unit.DMA:
            if entry.unit in last:
                befores.add(last[entry.unit])
            last[entry.unit] = entry.number
        waiting_for[entry.number] = len(befores)
        for before in befores:
            followers[before].append(entry.number)
    units = list(dict.fromkeys(entry.unit for entry in entries))
    early: dict[Unit, list[tuple[int, int]]] = {u: [] for u in units}
    """By the time at which they can start."""
    ready: dict[Unit, list[int]] = {u: [] for u in units}
    """Those that could start when their unit is free, by number."""
    free = dict.fromkeys(units, 0)
    begin = [0] * len(entries)
    for entry in entries:
        if not waiting_for[entry.number]:
            heappush(early[entry.unit], (0, entry.number))
    order: list[int] = []
    while len(order) < len(entries):
        best: tuple[int, int, Unit] | None = None
        for unit in units:
            while early[unit] and early[unit][0][0] <= free[unit]:
                heappush(ready[unit], heappop(early[unit])[1])
            if ready[unit]:
                candidate = (free[unit], ready[unit][0], unit)
            elif early[unit]:
                candidate = (early[unit][0][0], early[unit][0][1], unit)
            else:
                continue
            if best is None or candidate[:2] < best[:2]:
                best = candidate
        assert best is not None, "dependences of a program in order have no circle"
        start, number, unit = best
        if ready[unit]:
            heappop(ready[unit])
        else:
            heappop(early[unit])
        entry = entries[number]
        order.append(number)
        free[unit] = start + entry.cycles
        for follower in followers[number]:
            waiting_for[follower] -= 1
            other = entries[follower]
            done = free[unit] + (entry.latency if other.unit is not unit else 0)
            begin[follower] = max(begin[follower], done)
            if not waiting_for[follower]:
                heappush(early[other.unit], (begin[follower], follower))
    return order
