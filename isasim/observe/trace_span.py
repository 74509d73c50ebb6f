"""The part of a run that a trace is about: from one cycle to another, and no more than so much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from snncc.isasim.engines.footprint.checks import Footprint
from snncc.isasim.machine.chip import Core
from snncc.isasim.observe.hooks import Tracer

MOST: Final = 2_000_000
"""Instructions in a trace, unless somebody asks for more; some 100 to 200 bytes each."""
FOREVER: Final = 1 << 62


@dataclass
class TraceSpan:
    """What happens from cycle ``first`` to before ``last`` is traced, also an instruction that
    only reaches into that; the first ``most`` instructions of it."""

    first: int = 0
    last: int = FOREVER
    most: int = MOST
    taken: int = 0
    cut: int | None = None
    """The cycle from which on nothing was traced because there was too much."""

    def holds(self, time: int) -> bool:
        """Whether something at ``time`` belongs to the trace."""
        return self.first <= time < self.last and self.cut is None

    def takes(self, start: int, end: int) -> bool:
        """Whether an instruction of these cycles is traced; counts it."""
        if end <= self.first or start >= self.last or self.cut is not None:
            return False
        if self.taken >= self.most:
            self.cut = start
            return False
        self.taken += 1
        return True


class SpanTrace:
    """A tracer that hears only of its span."""

    def __init__(self, tracer: Tracer, span: TraceSpan) -> None:
        self.tracer = tracer
        self.span = span

    def begin(self) -> None:
        """A run begins."""
        self.tracer.begin()

    def before(self, core: Core, slot: int, pc: int, time: int) -> None:
        """An instruction is about to start."""
        if self.span.holds(time):
            self.tracer.before(core, slot, pc, time)

    def instruction(
        self, core: Core, slot: int, pc: int, start: int, end: int, footprint: Footprint
    ) -> None:
        """An instruction was executed."""
        if self.span.takes(start, end):
            self.tracer.instruction(core, slot, pc, start, end, footprint)

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int, sent: bool) -> None:
        """A message left or arrived."""
        if self.span.holds(time):
            self.tracer.message(core, slot, numbers, time, sent)

    def semaphore(
        self, core: Core, slot: int, pc: int, sem: int, n: int, time: int, posted: bool
    ) -> None:
        """A post or wait took effect."""
        if self.span.holds(time):
            self.tracer.semaphore(core, slot, pc, sem, n, time, posted)

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """A shared resource was taken."""
        if self.span.holds(begin):
            self.tracer.transfer(link, begin, end)

    def finish(self, end: int) -> None:
        """The run is over."""
        self.tracer.finish(end)
