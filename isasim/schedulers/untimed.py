"""The untimed scheduler: values only, in any legal order.

Runnable actors take turns; with a seed, an order is drawn at random and every turn is one
instruction, which is how tests check that values do not depend on timing.
"""

from __future__ import annotations

import random
from collections import deque

from snncc.isasim.engines.base import Engine
from snncc.isasim.faults import Fault, Trap
from snncc.isasim.machine import movement
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.decode import (
    DMA_KIND,
    ENGINE_KIND,
    LOCAL_KIND,
    POST_KIND,
    SEND_KIND,
    WAIT_KIND,
)
from snncc.isasim.machine.sequencer import HALTED, LIMIT, TRAPPED, WAITING, Entry
from snncc.isasim.measure.activity import Source
from snncc.isasim.measure.counters import Counters
from snncc.isasim.observe.hooks import Hooks
from snncc.isasim.reports import deadlock_fault, limit_fault, trap_fault

_NOC_SLOT = 2


class Untimed:
    """One run of a chip without time."""

    def __init__(
        self, chip: Chip, engine: Engine, counters: Counters, limit: int,
        hooks: Hooks | None, seed: int | None, source: Source | None = None,
    ) -> None:  # fmt: skip
        self.chip = chip
        self.engine = engine
        self.counters = counters
        self.left = limit
        self.limit = limit
        self.hooks = hooks
        self.source = source
        self.random = None if seed is None else random.Random(seed)
        self.ready: deque[int] = deque()
        self.queued: set[int] = set()
        self.trapped: Core | None = None

    def run(self) -> Fault | None:
        """Run to the end; return the fault that stopped it, if one did."""
        ready, queued = self.ready, self.queued
        by_index = self.chip.by_index
        for core in self.chip.cores:
            self._wake(core.index << 3)
        while ready:
            if self.random:
                ready.rotate(self.random.randrange(len(ready)))
            actor = ready.popleft()
            queued.discard(actor)
            at = by_index[actor >> 3]
            assert at is not None
            fault = self._unit(at, actor & 7) if actor & 7 else self._sequencer(at)
            if fault:
                return fault
        if self.trapped is not None:
            seq = self.trapped.seq
            assert seq.trap is not None
            return trap_fault(self.trapped, 0, seq.pc, seq.trap)
        return deadlock_fault(self.chip)

    def _wake(self, actor: int) -> None:
        if actor not in self.queued:
            self.queued.add(actor)
            self.ready.append(actor)

    def _sequencer(self, core: Core) -> Fault | None:
        seq = core.seq
        if core.halted or seq.status == TRAPPED:
            return None
        if seq.status == WAITING and seq.wait is not None:
            sem, n = seq.wait
            if not core.semaphores.take(sem, n, core.index << 3):
                return None
            if self.hooks is not None:
                self.hooks.waited(core, 0, sem, n, (0, seq.pc, None, seq.clock), 0)
            seq.wait = None
        before = seq.executed
        status = seq.run(self.left)
        self.left -= seq.executed - before
        if self.left < 0:
            status = LIMIT
        for slot in seq.touched:
            self._wake(core.index << 3 | slot)
        seq.touched.clear()
        while seq.posts:
            _, pc, sem, n, clock = seq.posts.popleft()
            try:
                self._post(core, 0, sem, n, (0, pc, None, clock))
            except Trap as trap:
                return trap_fault(core, 0, pc, trap)
        if status == HALTED:
            core.halted = True
        elif status == TRAPPED:
            if self.trapped is None or core.index < self.trapped.index:
                self.trapped = core
        elif status == LIMIT:
            return limit_fault(core, self.limit)
        elif status == WAITING:
            self._wake(core.index << 3)
        return None

    def _post(self, core: Core, slot: int, sem: int, n: int, entry: Entry) -> None:
        woken = core.semaphores.post(sem, n)
        if self.hooks is not None:
            self.hooks.posted(core, slot, sem, n, entry, 0)
        for waiter in woken:
            self._wake(waiter)

    def _unit(self, core: Core, slot: int) -> Fault | None:
        """Execute the entries of a queue until it is empty or its head must wait."""
        queue = core.seq.queues[slot]
        actor = core.index << 3 | slot
        counters, index = self.counters, core.index
        hooks, sram, kinds = self.hooks, core.sram, core.kinds
        execute, source = self.engine.execute, self.source
        pc = 0
        try:
            while queue:
                entry = queue[0]
                _, pc, op, _ = entry
                kind = kinds[pc]
                if kind == ENGINE_KIND:
                    if hooks is not None:
                        hooks.before(core, slot, entry, 0)
                    activity = execute(op, sram) if source is None else source(core, pc, op)
                    counters.dense[index][pc] += activity[0]
                    counters.performed[index][pc] += activity[1]
                    counters.spikes[index][pc] += activity[2]
                elif kind == WAIT_KIND:
                    sem, n = op
                    if not core.semaphores.take(sem, n, actor):
                        return None
                    if hooks is not None:
                        hooks.waited(core, slot, sem, n, entry, 0)
                elif kind == POST_KIND:
                    self._post(core, slot, op[0], op[1], entry)
                elif kind == LOCAL_KIND or kind == DMA_KIND:
                    if hooks is not None:
                        hooks.before(core, slot, entry, 0)
                    self.chip.move(core, op)
                elif not self._message(core, slot, entry):
                    return None
                queue.popleft()
                if hooks is not None:
                    hooks.done(core, slot, entry, 0, 0)
                if core.seq.full_slot == slot:
                    self._wake(core.index << 3)
                if self.random and queue:
                    self._wake(actor)
                    return None
        except Trap as trap:
            return trap_fault(core, slot, pc, trap)
        return None

    def _message(self, core: Core, slot: int, entry: Entry) -> bool:
        """Execute a message instruction; False when it must wait."""
        chip, channels, op, hooks = self.chip, self.chip.channels, entry[2], self.hooks
        if core.kinds[entry[1]] == SEND_KIND:
            targets = chip.targets(core, op)
            if not channels.may_send(core.index, targets):
                return False
            if hooks is not None:
                hooks.before(core, slot, entry, 0)
            clock = hooks.sent(core, slot, entry) if hooks is not None else None
            data = movement.payload(op, core.sram)
            arrivals = [0] * len(targets)
            numbers, woken = channels.send(core.index, op[1][1], data, targets, arrivals, clock)
            if hooks is not None:
                hooks.message(core, slot, numbers, 0)
            for target, _ in woken:
                self._wake(target << 3 | _NOC_SLOT)
            return True
        source, tag = op[1][:2]
        chip.check_core(op, source)
        message = channels.first(core.index, source, tag)
        if message is None:
            return False
        if hooks is not None:
            hooks.before(core, slot, entry, 0)
        movement.receive(op, core.sram, message[1])
        sender_waits = channels.take(core.index, source, tag)
        if hooks is not None:
            hooks.received(core, slot, entry, message, 0)
        if sender_waits:
            self._wake(source << 3 | _NOC_SLOT)
        return True
