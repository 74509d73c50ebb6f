"""A case with two sides, measured in turns so that both see the same noise."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Side = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """``prepare`` returns our side and the peer's (None: missing, then ``note`` says why).

    ``budget`` is the peer's time where the peer is a number of seconds, not a program.
    """

    name: str
    peer: str
    prepare: Callable[[], tuple[Side, Side | None, str]]
    limit: float = 1.0
    budget: float | None = None
    clock: Callable[[], float] = time.process_time
    """CPU seconds by default: with one thread that is the wall time of an idle computer."""
    warm: int = 1
    """Runs of each side before the measured ones."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A number that is no time; ``theirs``: what it is divided by before it is judged.

    ``higher``: the number must be at least ``limit``, else at most.
    """

    name: str
    ours: float
    theirs: float | None
    unit: str
    limit: float
    higher: bool = False
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether the number keeps its limit."""
        value = self.ours / self.theirs if self.theirs else self.ours
        return value >= self.limit if self.higher else value <= self.limit


@dataclass(slots=True)
class Outcome:
    """The seconds of each run."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    note: str = ""


def measure(case: Case, repeats: int) -> Outcome:
    """Run both sides alternately, after some runs of each to warm up."""
    ours, theirs, note = case.prepare()
    outcome = Outcome(note=note)
    for turn in range(case.warm + repeats):
        for side, times in ((ours, outcome.ours), (theirs, outcome.theirs)):
            if side is None:
                continue
            gc.collect()
            begin = case.clock()
            side()
            spent = case.clock() - begin
            if turn >= case.warm:
                times.append(spent)
    return outcome
