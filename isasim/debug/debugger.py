"""A debugger: stops a run where somebody wants to look, and says what there is to see.

It is a :class:`~snncc.isasim.observe.hooks.Tracer`.  ``prompt`` is asked for a command whenever
the run stops and returns None to go on to the end; ``say`` gets the answers; ``execute`` is
:func:`snncc.isasim.debug.commands.execute`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snncc.isa.spec import WORD_BYTES
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.checks import Footprint, Region, overlapping
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.decode import SLOTS

if TYPE_CHECKING:
    from snncc.isasim.system import SimulationResult, System

Prompt = Callable[[str], str | None]
Say = Callable[[str], None]


class DebugError(ValueError):
    """A command that cannot be done; the run goes on waiting for another."""


class Quit(Exception):
    """Leave the run at once."""


@dataclass(frozen=True)
class RunPlace:
    """An instruction about to be executed, or just executed."""

    core: Core
    slot: int
    pc: int
    time: int
    op: Resolved | None = None
    """The instruction with the values that its registers held, unless it is a wait or post."""

    def __str__(self) -> str:
        source = self.core.code.source(self.pc)
        return (
            f"cycle {self.time}  core {self.core.index} {SLOTS[self.slot]} "
            f"{WORD_BYTES * self.pc:08x}: {self.core.code.text(self.pc)}"
            + (f"  ({source})" if source else "")
        )


@dataclass(frozen=True)
class Breakpoint:
    """Where to stop; what is not given fits everything."""

    core: int | None = None
    unit: str | None = None
    address: int | None = None
    line: int | None = None
    file: str | None = None
    layer: str | None = None
    phase: str | None = None

    def hits(self, place: RunPlace) -> bool:
        """Whether the instruction is one to stop at."""
        if self.core is not None and place.core.index != self.core:
            return False
        if self.unit is not None and SLOTS[place.slot] != self.unit:
            return False
        if self.address is not None and WORD_BYTES * place.pc != self.address:
            return False
        if self.line is None and self.file is None and self.layer is None and self.phase is None:
            return True
        source = place.core.code.program.source(place.pc)
        if source is None:
            return False
        return (
            self.line in (None, source.line)
            and (self.file is None or source.file.endswith(self.file))
            and self.layer in (None, source.layer)
            and self.phase in (None, source.phase)
        )

    def __str__(self) -> str:
        parts = [
            f"{name} {value:#x}" if name == "address" else f"{name} {value}"
            for name in ("core", "unit", "address", "file", "line", "layer", "phase")
            if (value := getattr(self, name)) is not None
        ]
        return "break " + (" ".join(parts) or "everywhere")


@dataclass(frozen=True)
class MemoryWatch:
    """Memory of which every write stops the run."""

    name: str
    core: int
    region: Region

    def __str__(self) -> str:
        r = self.region
        where = "dram" if r.space == "dram" else f"core {self.core}"
        return f"watch {self.name}: {where} {r.start:#x}..{r.start + r.size - 1:#x}"


NOWHERE: Final = -1


class Debugger:
    """Stops, counts executions, and lets commands look around."""

    def __init__(self, prompt: Prompt, say: Say, execute: Callable[[Debugger, str], bool]) -> None:
        self.prompt = prompt
        self.say = say
        self.execute = execute
        """Does one command; True when the run goes on."""
        self.stops: dict[int, Breakpoint | MemoryWatch] = {}
        self.system: System | None = None
        self.result: SimulationResult | None = None
        self.place: RunPlace | None = None
        self.counts: dict[tuple[int, int], int] = {}
        self._number = 0
        self._steps = 1
        """Instructions until the next stop; NOWHERE: none."""
        self._same: tuple[int, int] | None = None
        """Steps count only on this core and slot."""

    @property
    def loaded(self) -> System:
        """The system; without one there is nothing to look at."""
        if self.system is None:
            raise DebugError("nothing is loaded")
        return self.system

    @property
    def core(self) -> Core:
        """The core where the run stands, at first that of the first program."""
        return self.place.core if self.place is not None else self.loaded.chip.cores[0]

    @property
    def pc(self) -> int:
        """The instruction where the run stands, or that of the first core's sequencer."""
        return self.place.pc if self.place is not None else self.core.seq.pc
        self._asked: tuple[int, int, int, int] | None = None

    def attach(self, system: System) -> None:
        """Say which system is run; the tracer is made before it."""
        self.system = system

    def run(self) -> SimulationResult | None:
        """Run the program under the debugger; None when somebody quit."""
        assert self.system is not None
        try:
            self.result = self.system.run()
            if self.result.fault is not None:
                self.say(str(self.result.fault))
            else:
                self.say(
                    f"halt after {self.result.cycles} cycles, "
                    f"{self.result.instructions} instructions"
                )
            self._ask()
        except Quit:
            return self.result
        return self.result

    # --- what commands use ---------------------------------------------------------------------

    def add(self, stop: Breakpoint | MemoryWatch) -> int:
        """Add a breakpoint or a watch; return its number."""
        self._number += 1
        self.stops[self._number] = stop
        return self._number

    def go(self, steps: int = NOWHERE, *, same: bool = False) -> None:
        """Let the run go on: to a breakpoint, or for some instructions (of the same unit)."""
        if self.result is not None:
            raise DebugError("the program has ended; print, mem, waits and quit still work")
        self._steps = steps
        here = self.place
        self._same = (here.core.index, here.slot) if same and here is not None else None

    # --- what the run tells --------------------------------------------------------------------

    def begin(self) -> None:
        """A run begins."""
        self.counts.clear()
        self.place = self._asked = None
        if self.system is not None and self._steps > 0:
            self.say("before the first instruction; `help` lists the commands")
            self._ask()

    def interrupt(self) -> None:
        """Stop at the next instruction of any unit."""
        self._steps, self._same = 1, None

    def _arrived(self, core: Core, slot: int, pc: int, time: int) -> None:
        """An instruction is about to start: stop here?"""
        queue = core.seq.queues[slot]
        op = queue[0][2] if queue and queue[0][1] == pc else None
        self.place = RunPlace(core, slot, pc, time, op if isinstance(op, Resolved) else None)
        found = [
            number
            for number, stop in self.stops.items()
            if isinstance(stop, Breakpoint) and stop.hits(self.place)
        ]
        if self._same in (None, (core.index, slot)) and self._steps > 0:
            self._steps -= 1
        if found or self._steps == 0:
            which = f"breakpoint {found[0]}: " if found else ""
            self.say(f"{which}{self.place}")
            self._ask()

    def _ask(self) -> None:
        self._steps = 0
        while True:
            line = self.prompt("(snncc) ")
            if line is None:
                self._steps = NOWHERE
                self.stops.clear()
                return
            try:
                if self.execute(self, line):
                    return
            except DebugError as error:
                self.say(f"error: {error}")

    def before(self, core: Core, slot: int, pc: int, time: int) -> None:
        """An instruction that touches memory is about to start."""
        self._arrived(core, slot, pc, time)
        self._asked = (core.index, slot, pc, time)

    def instruction(
        self, core: Core, slot: int, pc: int, start: int, end: int, footprint: Footprint
    ) -> None:
        """An instruction was executed: did it write what is watched?"""
        if self._asked is None:
            self._arrived(core, slot, pc, start)  # a wait or post: it touches no memory
        self._asked = None
        key = (core.index, pc)
        self.counts[key] = self.counts.get(key, 0) + 1
        for number, stop in self.stops.items():
            if isinstance(stop, MemoryWatch) and self._writes(core, footprint, stop):
                here = self.place
                known = here is not None and here.pc == pc and here.slot == slot
                op = here.op if here is not None and known else None
                self.place = RunPlace(core, slot, pc, start, op)
                self.say(f"watch {number}: {stop.name} written by {self.place}")
                self._ask()
                return

    def _writes(self, core: Core, footprint: Footprint, watch: MemoryWatch) -> bool:
        return any(
            region.space == watch.region.space
            and (region.space == "dram" or core.index == watch.core)
            and overlapping(region, watch.region)
            for region in footprint[1]
        )

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int, sent: bool) -> None:
        """Nothing to do."""

    def semaphore(
        self, core: Core, slot: int, pc: int, sem: int, n: int, time: int, posted: bool
    ) -> None:
        """The sequencer's own waits and posts are instructions as well."""
        if slot == 0:
            self._arrived(core, slot, pc, time)

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """Nothing to do."""

    def finish(self, end: int) -> None:
        """Nothing to do."""
