"""Semaphores between the units of a core, from the dependences of its steps in order of issue.

One semaphore per pair of units.  A unit that waits for a step of another one needs not wait for
earlier steps of that unit, nor for what the other had itself waited for; what is left over lets
posts and waits of a pair come in the same order, so the n-th wait takes the n-th post.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from snncc.compiler.passes.lowering.kit.order import Issue
from snncc.isa.spec import QUEUED_UNITS, Unit

PAIRS: dict[tuple[Unit, Unit], int] = {
    pair: number
    for number, pair in enumerate(
        (source, target) for source in QUEUED_UNITS for target in QUEUED_UNITS if source != target
    )
}
"""The semaphore that the first unit posts and the second one takes."""


@dataclass(eq=False, slots=True)
class StepTokens:
    """What surrounds an entry: for whom its unit waits before, whom it tells afterwards."""

    waits: list[Unit] = field(default_factory=list[Unit])
    posts: list[Unit] = field(default_factory=list[Unit])


def tokens(entries: Sequence[Issue], order: Sequence[int]) -> tuple[list[StepTokens], int]:
    """Return the tokens of every entry, by number, and how many one semaphore may ever hold."""
    found = [StepTokens() for _ in entries]
    index = {unit: i for i, unit in enumerate(QUEUED_UNITS)}
    known = [[-1] * len(QUEUED_UNITS) for _ in QUEUED_UNITS]
    """Per unit, the place (in order of issue) up to which it knows each unit to be through."""
    then: list[list[int]] = [[] for _ in entries]
    """What an entry's unit knew when it was through with it."""
    places = [0] * len(entries)
    for place, number in enumerate(order):
        entry = entries[number]
        places[number] = place
        mine = known[index[entry.unit]]
        for before in sorted(entry.after, key=lambda n: -places[n]):
            source = index[entries[before].unit]
            if mine[source] >= places[before]:
                continue
            found[before].posts.append(entry.unit)
            found[number].waits.append(entries[before].unit)
            for i, other in enumerate(then[before]):
                mine[i] = max(mine[i], other)
        mine[index[entry.unit]] = place
        then[number] = list(mine)
    return found, _most(entries, order, found, then)


def _most(
    entries: Sequence[Issue], order: Sequence[int], found: Sequence[StepTokens],
    then: Sequence[Sequence[int]],
) -> int:  # fmt: skip
    """Return a bound on the tokens that a semaphore holds, whoever is how fast.

    Those that a unit posted, less those whose takers it knows to be through.
    """
    index = {unit: i for i, unit in enumerate(QUEUED_UNITS)}
    taken: dict[tuple[Unit, Unit], list[int]] = {pair: [] for pair in PAIRS}
    """Places of the waits of a pair."""
    for place, number in enumerate(order):
        for source in found[number].waits:
            taken[source, entries[number].unit].append(place)
    posted = dict.fromkeys(PAIRS, 0)
    most = 0
    for number in order:
        unit = entries[number].unit
        for other in found[number].posts:
            posted[unit, other] += 1
            through = bisect_right(taken[unit, other], then[number][index[other]])
            most = max(most, posted[unit, other] - through)
    return most
