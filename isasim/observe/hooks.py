"""Observers of a run: race checker, uninitialised reads, traces.  Off, they cost nothing.

Both schedulers call the methods of :class:`Hooks` at the same points; a run without observers has
no hooks at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.checks import Footprint, check
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.initial import InitShadow
from snncc.isasim.machine.rules import Message
from snncc.isasim.machine.sequencer import Entry
from snncc.isasim.observe.races import RaceChecker


class Tracer(Protocol):
    """Receives what happened, in the order in which it started."""

    def begin(self) -> None:
        """A run begins."""
        ...

    def before(self, core: Core, slot: int, pc: int, time: int) -> None:
        """A unit is about to execute an instruction that touches memory."""
        ...

    def instruction(
        self, core: Core, slot: int, pc: int, start: int, end: int, footprint: Footprint
    ) -> None:
        """A unit executed an instruction; ``footprint`` is what it read and wrote."""
        ...

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int, sent: bool) -> None:
        """Messages with these numbers left (or reached) a core."""
        ...

    def semaphore(
        self, core: Core, slot: int, pc: int, sem: int, n: int, time: int, posted: bool
    ) -> None:
        """A post put ``n`` tokens into a semaphore, or a wait took them."""
        ...

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """A link of the mesh or the bus (:data:`.network.DRAM`) was taken."""
        ...

    def finish(self, end: int) -> None:
        """The run is over."""
        ...


_NOTHING: Footprint = ([], [])


class Hooks:
    """Passes what happens on to the observers that are switched on."""

    def __init__(
        self,
        dram_bytes: int,
        races: RaceChecker | None,
        initial: InitShadow | None,
        tracers: Sequence[Tracer],
    ) -> None:
        self.dram_bytes = dram_bytes
        self.races = races
        self.initial = initial
        self.tracers = tuple(tracers)
        self.current: Footprint = _NOTHING

    def begin(self) -> None:
        """A run begins."""
        self.current = _NOTHING
        if self.races:
            self.races.reset()
        for tracer in self.tracers:
            tracer.begin()

    def finish(self, end: int) -> None:
        """The run is over."""
        for tracer in self.tracers:
            tracer.finish(end)

    def before(self, core: Core, slot: int, entry: Entry, time: int) -> None:
        """An instruction that touches memory is about to execute; may trap."""
        for tracer in self.tracers:
            tracer.before(core, slot, entry[1], time)
        op: Resolved = entry[2]
        self.current = check(op, core.sram.size, self.dram_bytes)
        if self.initial:
            self.initial.check(core.index, op, self.current)
        if self.races:
            self.races.access(core, slot, entry, self.current)

    def done(self, core: Core, slot: int, entry: Entry, start: int, end: int) -> None:
        """The instruction has executed."""
        if self.initial:
            self.initial.written(core.index, self.current)
        for tracer in self.tracers:
            tracer.instruction(core, slot, entry[1], start, end, self.current)
        self.current = _NOTHING

    def waited(self, core: Core, slot: int, sem: int, n: int, entry: Entry, time: int) -> None:
        """A wait has passed."""
        if self.races:
            self.races.waited(core, slot, sem, n, entry)
        for tracer in self.tracers:
            tracer.semaphore(core, slot, entry[1], sem, n, time, False)

    def posted(self, core: Core, slot: int, sem: int, n: int, entry: Entry, time: int) -> None:
        """A post has taken effect."""
        if self.races:
            self.races.posted(core, slot, sem, n, entry)
        for tracer in self.tracers:
            tracer.semaphore(core, slot, entry[1], sem, n, time, True)

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """A shared resource was taken."""
        for tracer in self.tracers:
            tracer.transfer(link, begin, end)

    def sent(self, core: Core, slot: int, entry: Entry) -> Any:
        """A message leaves; return the clock that travels with it."""
        return self.races.sent(core, slot, entry) if self.races else None

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int) -> None:
        """Messages got these numbers."""
        for tracer in self.tracers:
            tracer.message(core, slot, numbers, time, True)

    def received(self, core: Core, slot: int, entry: Entry, message: Message, time: int) -> None:
        """A message was stored."""
        if self.races:
            self.races.received(core, slot, message[2])
        for tracer in self.tracers:
            tracer.message(core, slot, (message[3],), time, False)
