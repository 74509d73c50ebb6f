"""Runs without values: turns of loops that repeat exactly are counted, not run.

The timed state of a machine is everything that decides what happens next, times relative to now:
events, queues, semaphores, messages, when units, DRAM and links are free, where sequencers are.  It
does not hold what loops have counted down to, nor registers: a core takes part only if no size,
trip count or target depends on them (:func:`snncc.isa.cost.trips.steady_loops`).  When a state
comes again after ``P`` cycles and no loop that is under way can end within the next period, the
next period is the last one, ``P`` cycles later; so are all up to the one in which a loop may end.
They are left out: times move on, counters grow by what one period adds.  All counters are integers
(of prices, too: energies are products of their counts), so nothing is rounded differently.

A number of the state may also stay what it was, if it lies in the past: a unit, a link or a core
that has nothing to do during the period.

States are looked at when a unit starts the first instruction of a loop's body, in the way of Brent:
one is kept and compared with those of some turns to come, then there is a pause as long as all that
was before.  Looks are rationed, so a run without periods takes a few percent longer at most.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from snncc.isa.cost.trips import steady_loops
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.decode import LANES, Code
from snncc.isasim.machine.network import DramBus, MeshLinks
from snncc.isasim.measure.activity import Expected, Source
from snncc.isasim.measure.counters import Counters
from snncc.isasim.measure.timeline import Timeline
from snncc.isasim.observe.hooks import Hooks

LEAST_TURNS: Final = 8
"""Shorter loops end before a period is found."""
WORTH: Final = 4
"""Periods are left out when they execute a ``WORTH``-th of the words of all programs at least."""
LOOK: Final = 12
"""A look at a core takes about as long as so many instructions."""
SHARE: Final = 20
"""Looks may take this part of the time, beyond the first ``FREE_LOOKS``."""
FREE_LOOKS: Final = 64
MOST_LOOKS: Final = 64
"""Turns that are compared with one state."""
FIRST_LOOK: Final = 3
"""By then, queues are full."""
_SHIFT: Final = 12


def anchors(chip: Chip) -> dict[int, frozenset[int]]:
    """Return, by core, the addresses at which states are looked at; {} where nothing can repeat."""
    together: dict[int, list[Core]] = {}
    for core in chip.cores:
        together.setdefault(id(core.code.steps), []).append(core)
    found: dict[int, frozenset[int]] = {}
    for cores in together.values():
        heads = _heads(cores[0].code, tuple(core.code.core for core in cores))
        if heads is None:
            return {}
        found.update({core.index: heads for core in cores})
    return found


@functools.lru_cache(maxsize=256)
def _heads(code: Code, cores: tuple[int, ...]) -> frozenset[int] | None:
    """Return where units start in loops; None where sizes change from turn to turn."""
    loops = steady_loops(code.program.code, cores)
    if loops is None:
        return None
    steps = code.steps
    heads: set[int] = set()
    for pc, turns in loops.items():
        if turns >= LEAST_TURNS:
            body = range(pc + 1, min(steps[pc][2], len(steps)))
            first = next((i for i in body if steps[i][0] <= LANES), None)
            if first is not None:
                heads.add(first)
    return frozenset(heads)


@dataclass
class _State:
    """A moment: what must be equal, times, and the counters of the loops under way."""

    now: int
    exact: list[Any]
    times: list[int]
    loops: list[list[tuple[list[int], int]]]

    def turns(self, later: _State) -> tuple[int, bool]:
        """Return how many periods more are certain, and whether ``later`` is this state again."""
        period = later.now - self.now
        if period <= 0 or self.exact != later.exact or len(self.times) != len(later.times):
            return 0, False
        for a, b in zip(self.times, later.times, strict=True):
            if b - a != period and (b != a or a > self.now):
                return 0, False
        most = -1
        for before, after in zip(self.loops, later.loops, strict=True):
            for (one, left), (other, rest) in zip(before, after, strict=True):
                if one is not other:
                    if left != rest:
                        return 0, False
                elif left > rest:
                    turns = (rest - 1) // (left - rest)
                    most = turns if most < 0 else min(most, turns)
        return max(most, 0), most >= 0


@dataclass
class _Counted:
    """Copies of all counters."""

    executed: list[int]
    counts: list[Any]
    spent: list[Any]
    spikes: list[Any]
    busy: list[int]
    waits: list[dict[int, int]]
    uses: list[dict[int, int]]
    stalls: list[dict[str, int]]
    links: dict[Any, int]
    bus: int
    messages: int


@dataclass
class _Watch:
    """What is known at one anchor."""

    seen: int = 0
    look: int = FIRST_LOOK
    """At which turn to look."""
    until: int = 0
    """Up to which turn to compare with what is kept."""
    kept: _State | None = None
    light: Any = None
    executed: int = 0
    failed: int = 0
    due: _State | None = None
    """The state that is expected again, ``period`` later."""
    period: int = 0
    counted: _Counted | None = None

    @property
    def due_at(self) -> int:
        """When the state is expected again."""
        return self.due.now + self.period if self.due is not None else -1

    def reset(self) -> None:
        """Begin anew."""
        self.seen = self.failed = 0
        self.look = FIRST_LOOK
        self.kept = self.due = self.counted = None


class TimedRun(Protocol):
    """What is needed of a timed run (:class:`snncc.isasim.schedulers.timed.Timed`)."""

    chip: Chip
    counters: Counters
    dram: DramBus
    mesh: MeshLinks
    hooks: Hooks | None
    timeline: Timeline | None
    source: Source | None
    values: bool
    left: int
    limit: int
    heap: list[int]
    free: list[int]
    drained: list[int]


class Periodic:
    """Finds and leaves out periods of a run."""

    def __init__(self, run: TimedRun) -> None:
        self.run = run
        self.watches = {
            core: {pc: _Watch() for pc in heads} for core, heads in anchors(run.chip).items()
        }
        self.words = sum(core.code.words for core in run.chip.cores)
        self._price = LOOK * len(run.chip.cores)
        self.looks = 0
        """States that were taken."""
        self.skipped = 0
        self._pending: _Watch | None = None
        """The one watch that expects a state."""
        """Cycles left out."""

    @classmethod
    def of(cls, run: TimedRun) -> Periodic | None:
        """Return it for a run in which turns can repeat."""
        if run.values or run.hooks is not None:
            return None
        if not isinstance(run.source, Expected):
            return None
        found = cls(run)
        return found if any(found.watches.values()) else None

    def at(self, watch: _Watch, core: Core, now: int) -> int:
        """Look at the state when an anchor starts; return the cycles that were left out.

        The scheduler counts the turns, and asks when it is time to look.
        """
        if self._pending is not None and now > self._pending.due_at:
            self._drop()
        if watch.due is not None:
            return self._verify(watch, now)
        seq = core.seq
        if watch.kept is None or watch.seen > watch.until:
            return self._keep(watch, core, now)
        watch.look = watch.seen + 1
        light = (seq.pc, seq.time - now, *map(len, seq.queues))
        if light != watch.light or not self._affordable():
            return 0
        state = self._state(now)
        turns, again = watch.kept.turns(state)
        executed = self._executed() - watch.executed
        if not again:
            watch.failed = min(2 * watch.failed + 1, 63)
            watch.look += watch.failed
        elif self._pending is None and (turns - 1) * executed * WORTH > self.words:
            watch.due, watch.period = state, now - watch.kept.now
            watch.counted, watch.kept = self._counted(), None
            self._pending = watch
            if self.run.timeline is not None:
                self.run.timeline.kept = []
        else:
            watch.kept = None
            watch.look = 2 * watch.seen
        return 0

    def _keep(self, watch: _Watch, core: Core, now: int) -> int:
        """Keep a state to compare the next turns with, if that can be worth it."""
        seq, seen = core.seq, watch.seen
        long = max((loop[0] for loop in seq.loops), default=0) >= LEAST_TURNS
        if watch.kept is not None or not long or not self._affordable():
            watch.kept = None
            watch.look = 2 * seen
            return 0
        watch.kept = self._state(now)
        watch.light = (seq.pc, seq.time - now, *map(len, seq.queues))
        watch.executed = self._executed()
        watch.look, watch.until = seen + 1, seen + min(seen, MOST_LOOKS)
        return 0

    def _drop(self) -> None:
        """Expect nothing any more."""
        if self._pending is not None:
            self._pending.reset()
            self._pending = None
        if self.run.timeline is not None:
            self.run.timeline.kept = None

    def _affordable(self) -> bool:
        """Whether another look fits: all of them may take a small part of the run's time."""
        return self.looks * self._price <= FREE_LOOKS * self._price + self._executed() // SHARE

    def _verify(self, watch: _Watch, now: int) -> int:
        """One more period was run: is it the same?"""
        assert watch.due is not None
        assert watch.counted is not None
        if now < watch.due_at:
            return 0
        due, counted, period = watch.due, watch.counted, watch.period
        timeline = self.run.timeline
        intervals = timeline.kept or [] if timeline is not None else []
        self._drop()
        state = self._state(now)
        turns, again = due.turns(state)
        each = sum(core.seq.executed for core in self.run.chip.cores) - sum(counted.executed)
        turns = min(turns, self.run.left // max(1, each) - 1)
        if not again or turns < 1:
            return 0
        self._count(counted, turns)
        self._move(due, state, turns)
        if timeline is not None:
            timeline.repeat(intervals, period, turns)
        self.skipped += turns * period
        for marks in self.watches.values():
            for other in marks.values():
                other.reset()  # what it kept is of another time
        return turns * period

    def _executed(self) -> int:
        return self.run.limit - self.run.left

    def _state(self, now: int) -> _State:
        run = self.run
        self.looks += 1
        exact: list[Any] = [sorted(key - (now << _SHIFT) for key in run.heap)]
        times: list[int] = []
        loops: list[list[tuple[list[int], int]]] = []
        for core in run.chip.cores:
            exact += [core.halted, core.seq.state(), core.semaphores.state()]
            loops.append([(loop, loop[0]) for loop in core.seq.loops])
            times += core.seq.times()
            first = core.index << 3
            times += run.free[first : first + 8]
            times += run.drained[first : first + 8]
        exact += [run.chip.channels.state(), sorted(run.mesh.free)]
        times += run.chip.channels.times()
        times += [run.mesh.free[link] for link in sorted(run.mesh.free)]
        times.append(run.dram.free)
        return _State(now, exact, times, loops)

    def _move(self, before: _State, after: _State, turns: int) -> None:
        """Let ``turns`` periods pass: all times that moved in the last one move on."""
        run, period = self.run, after.now - before.now
        moved = (
            b + turns * period if b - a == period else b
            for a, b in zip(before.times, after.times, strict=True)
        )
        run.heap[:] = [key + (turns * period << _SHIFT) for key in run.heap]
        for core, old, new in zip(run.chip.cores, before.loops, after.loops, strict=True):
            for (one, left), (other, rest) in zip(old, new, strict=True):
                if one is other:
                    other[0] = rest - turns * (left - rest)
            core.seq.set_times(moved)
            first = core.index << 3
            for table in (run.free, run.drained):
                table[first : first + 8] = [next(moved) for _ in range(8)]
        run.chip.channels.set_times(moved)
        for link in sorted(run.mesh.free):
            run.mesh.free[link] = next(moved)
        run.dram.free = next(moved)

    def _counted(self) -> _Counted:
        counters, chip = self.run.counters, self.run.chip
        cores = chip.cores
        return _Counted(
            [core.seq.executed for core in cores],
            [np.array(core.seq.counts, np.int64) for core in cores],
            [np.array(counters.spent[core.index], np.int64) for core in cores],
            [np.array(counters.spikes[core.index], np.int64) for core in cores],
            counters.busy[:],
            [dict(table) for table in counters.waits],
            [dict(table) for table in counters.uses],
            [dict(table) for table in counters.stalls],
            dict(self.run.mesh.busy),
            self.run.dram.busy,
            chip.channels.sent,
        )

    def _count(self, before: _Counted, turns: int) -> None:
        """Add what ``turns`` periods add, each as much as the last one."""
        run, counters = self.run, self.run.counters
        for i, core in enumerate(run.chip.cores):
            seq = core.seq
            more = turns * (seq.executed - before.executed[i])
            seq.executed += more
            run.left -= more
            _grow(seq.counts, before.counts[i], turns)
            _grow(counters.spent[core.index], before.spent[i], turns)
            _grow(counters.spikes[core.index], before.spikes[i], turns)
        for actor, cycles in enumerate(before.busy):
            counters.busy[actor] += turns * (counters.busy[actor] - cycles)
        for mine, old in zip(counters.waits, before.waits, strict=True):
            _grow_table(mine, old, turns)
        for mine, old in zip(counters.uses, before.uses, strict=True):
            _grow_table(mine, old, turns)
        for stall, was in zip(counters.stalls, before.stalls, strict=True):
            _grow_table(stall, was, turns)
        _grow_table(run.mesh.busy, before.links, turns)
        run.dram.busy += turns * (run.dram.busy - before.bus)
        channels = run.chip.channels
        channels.sent += turns * (channels.sent - before.messages)


def _grow(now: list[int], before: Any, turns: int) -> None:
    more = np.array(now, np.int64) - before
    for i in np.flatnonzero(more).tolist():
        now[i] += turns * int(more[i])


def _grow_table(now: dict[Any, int], before: dict[Any, int], turns: int) -> None:
    for key, value in now.items():
        now[key] = value + turns * (value - before.get(key, 0))
