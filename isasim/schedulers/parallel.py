"""Values on several threads: every core runs ahead on its own, time is worked out afterwards.

A correct program is a Kahn network, so cores may compute in any order; only messages and the DRAM
connect them, and whoever reads what another core wrote has received a message first.  A core is one
task at a time; kernels release the interpreter lock, so tasks really run side by side.  What every
instruction did is recorded, and a run without values (:mod:`snncc.isasim.measure.activity`) then
gives the same cycles and counters as a run in order would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

from snncc.isasim.engines.base import Activity, Engine
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.sequencer import Entry
from snncc.isasim.measure.activity import ActivityRecorder
from snncc.isasim.measure.counters import Counters
from snncc.isasim.schedulers.untimed import Untimed

GRACE: Final = 5.0
"""Seconds that an interrupted run waits for its threads; a kernel may still have to be compiled."""
_LOOK: Final = 0.02
"""Seconds between two attempts to stop sequencers."""


class _CoreRun(Untimed):
    """One core; whoever else must be woken is told to the pool."""

    def __init__(
        self, core: Core, chip: Chip, counters: Counters, limit: int, recorder: ActivityRecorder,
        pool: Parallel,
    ) -> None:  # fmt: skip
        engine = recorder.engine
        assert engine is not None
        super().__init__(chip, engine, counters, limit, None, None, recorder)
        self.core = core
        self.pool = pool

    def _wake(self, actor: int) -> None:
        if actor >> 3 == self.core.index:
            super()._wake(actor)
        else:
            self.pool.wake(actor)

    def _message(self, core: Core, slot: int, entry: Entry) -> bool:
        with self.pool.lock:  # inboxes, credits and who waits for them belong to two cores
            return super()._message(core, slot, entry)

    def advance(self, actors: Sequence[int]) -> bool:
        """Run until everything of this core waits; False when something stopped it."""
        for actor in actors:
            super()._wake(actor)
        while self.ready:
            if self.pool.stopped:
                return False
            actor = self.ready.popleft()
            self.queued.discard(actor)
            slot = actor & 7
            fault = self._unit(self.core, slot) if slot else self._sequencer(self.core)
            if fault is not None or self.trapped is not None:
                return False
        return True


class Parallel:
    """One run of all cores on a number of threads."""

    def __init__(
        self, chip: Chip, make_engine: Callable[[], Engine], threads: int, limit: int
    ) -> None:
        self.chip = chip
        self.threads = threads
        self.limit = limit
        self.lock = threading.RLock()
        self._recorders = {core.index: ActivityRecorder(make_engine()) for core in chip.cores}
        self._pending: dict[int, list[int]] = {}
        self._busy: set[int] = set()
        self._tasks = 0
        self._done = threading.Event()
        self._failed: list[BaseException] = []
        self.stopped = False
        """Whether all threads shall end."""
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        """Cores that can go on; None ends a thread."""

    def run(self) -> bool:
        """Run all cores; False when something went wrong: then a run in order says what."""
        counters = Counters(self.chip)
        self._runs = {
            core.index: _CoreRun(
                core, self.chip, counters, self.limit, self._recorders[core.index], self
            )
            for core in self.chip.cores
        }
        # daemons: whatever they hang in, a process that is told to end does
        workers = [
            threading.Thread(target=self._work, name=f"snncc-core-{n}", daemon=True)
            for n in range(self.threads)
        ]
        try:
            for worker in workers:
                worker.start()
            with self.lock:
                for core in self.chip.cores:
                    self.wake(core.index << 3)
            self._done.wait()
        except BaseException:
            self._interrupt()
            raise
        finally:
            for _ in workers:
                self._queue.put(None)
        for worker in workers:
            worker.join()
        if self._failed:
            raise self._failed[0]
        executed = sum(core.seq.executed for core in self.chip.cores)
        return not self.stopped and executed <= self.limit and self._ended()

    def activities(self) -> dict[tuple[int, int], list[Activity]]:
        """Return what every instruction did."""
        found: dict[tuple[int, int], list[Activity]] = {}
        for recorder in self._recorders.values():
            found |= recorder.found
        return found

    def wake(self, actor: int) -> None:
        """Something that an actor of another core waits for has happened."""
        with self.lock:
            core = actor >> 3
            self._pending.setdefault(core, []).append(actor)
            if core not in self._busy:
                self._busy.add(core)
                self._tasks += 1
                self._queue.put(core)

    def _work(self) -> None:
        """Be one of the threads."""
        while (core := self._queue.get()) is not None:
            try:
                self._task(core)
            except BaseException as error:  # handed to the thread that called run()
                self._failed.append(error)
                self.stopped = True
            with self.lock:
                self._tasks -= 1
                if not self._tasks:
                    self._done.set()

    def _task(self, core: int) -> None:
        """Run a core as far as it goes."""
        while True:
            with self.lock:
                actors = self._pending.pop(core, ())
                if not actors or self.stopped:
                    self._busy.discard(core)  # from here on wake() makes a new task
                    return
            if not self._runs[core].advance(actors):
                self.stopped = True

    def _interrupt(self) -> None:
        """Stop the threads: after the instruction at hand, sequencers after the turn of a loop."""
        self.stopped = True
        waited = 0.0
        while self._tasks and waited < GRACE and not self._done.wait(_LOOK):
            waited += _LOOK
            for core in self.chip.cores:
                core.seq.stop = 0

    def _ended(self) -> bool:
        return all(c.halted and not any(c.seq.queues) for c in self.chip.cores)
