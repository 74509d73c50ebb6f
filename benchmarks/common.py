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


@dataclass(slots=True)
class Outcome:
    """The seconds of each run."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    note: str = ""


def measure(case: Case, repeats: int) -> Outcome:
    """Run both sides alternately, after one run of each to warm up."""
    ours, theirs, note = case.prepare()
    outcome = Outcome(note=note)
    for turn in range(repeats + 1):
        for side, times in ((ours, outcome.ours), (theirs, outcome.theirs)):
            if side is None:
                continue
            gc.collect()
            begin = time.perf_counter()
            side()
            spent = time.perf_counter() - begin
            if turn:
                times.append(spent)
    return outcome
