"""The timed scheduler: one discrete-event simulation that yields values, times and energies.

An event is one integer, ``time << 12 | core << 3 | slot``: the order (time, core, slot) is total
and an actor has at most one event, so runs are deterministic.  A unit's event is the moment at
which the head of its queue may start; it then starts, or leaves its name with what it waits for.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, heappushpop
from typing import Final

from snncc.isasim.engines.base import Engine
from snncc.isasim.faults import Fault, Trap
from snncc.isasim.machine import movement
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.decode import (
    DMA_KIND,
    ENGINE_KIND,
    LOCAL_KIND,
    POST_KIND,
    POST_SLOT,
    SEND_KIND,
    WAIT_KIND,
)
from snncc.isasim.machine.network import DramBus, MeshLinks
from snncc.isasim.machine.sequencer import FULL, HALTED, LIMIT, TRAPPED, Entry
from snncc.isasim.measure.activity import Source
from snncc.isasim.measure.counters import (
    CREDIT,
    DRAM,
    EMPTY,
    LATENCY,
    LINK,
    MESSAGE,
    QUEUE,
    SEMAPHORE,
    USE_BITS,
    Counters,
)
from snncc.isasim.measure.critical import BUSY, CriticalPath, Node
from snncc.isasim.measure.pricing import Price, Pricing
from snncc.isasim.measure.timeline import Timeline
from snncc.isasim.observe.hooks import Hooks
from snncc.isasim.reports import deadlock_fault, limit_fault, trap_fault
from snncc.isasim.schedulers.periodic import Periodic

SHIFT: Final = 12
MASK: Final = (1 << SHIFT) - 1
MAX_CORES: Final = 1 << (SHIFT - 3)


class Timed:
    """One timed run of a chip."""

    def __init__(
        self, chip: Chip, engine: Engine, pricing: Pricing, counters: Counters, dram: DramBus,
        mesh: MeshLinks, limit: int, hooks: Hooks | None, timeline: Timeline | None = None,
        source: Source | None = None, values: bool = True, path: CriticalPath | None = None,
        extrapolate: bool = False,
    ) -> None:  # fmt: skip
        self.chip = chip
        self.path = path
        self.engine = engine
        self.pricing = pricing
        self.counters = counters
        self.dram = dram
        self.mesh = mesh
        self.left = limit
        self.limit = limit
        self.hooks = hooks
        self.timeline = timeline
        self.source = source
        self.values = values
        self.heap: list[int] = []
        self.free = [0] * (chip.count * 8)
        self.drained = [0] * (chip.count * 8)
        self.queues: list[deque[Entry]] = []
        self.table: list[Core] = []
        for core in chip.by_index:
            self.table.append(core or chip.cores[0])  # a core without program has no events
            self.queues += core.seq.queues if core else [deque()] * 8
        self.held = 0
        """Cycles for which the instruction under way waited for a shared resource."""
        self.sent: tuple[int, ...] = ()
        """Where the last message went."""
        self.end = 0
        self.ends: dict[int, int] = {}
        self.periodic = Periodic.of(self) if extrapolate else None

    def run(self) -> Fault | None:
        """Run to the end; return the fault that stopped it, if one did."""
        for core in self.chip.cores:
            fault = self._advance(core)
            if fault:
                return fault
        fault = self._loop()
        if fault is None:
            fault = deadlock_fault(self.chip)
        for core in self.chip.cores:
            first = core.index << 3
            units = slice(first, first + 8)
            last = max(core.seq.time, *self.free[units], *self.drained[units])
            self.ends[core.index] = last
            self.end = max(self.end, last)
        return fault

    def _loop(self) -> Fault | None:
        """Handle events in order until none is left or something stops the run."""
        heap, free, drained, queues = self.heap, self.free, self.drained, self.queues
        table, counters, hooks = self.table, self.counters, self.hooks
        execute, price = self.engine.execute, self.pricing.engine
        busy, wait = counters.busy, counters.wait
        timeline, source, path = self.timeline, self.source, self.path
        periodic = self.periodic
        core, slot, pc = self.chip.cores[0], 0, 0
        pending = -1  # the next event of the unit just served; saves a push and a pop
        try:
            while heap or pending >= 0:
                key = heappop(heap) if pending < 0 else heappushpop(heap, pending)
                pending = -1
                time = key >> SHIFT
                actor = key & MASK
                slot = actor & 7
                index = actor >> 3
                core = table[index]
                if slot == 0 or slot == POST_SLOT:
                    pc = core.seq.pc
                    fault = self._sequencer_event(core, time, slot)
                    if fault:
                        return fault
                    continue
                queue = queues[actor]
                entry = queue[0]
                issue, pc, op, _ = entry
                if periodic is not None:
                    watch = periodic.watches[index].get(pc)
                    if watch is not None:
                        watch.seen += 1
                        if watch.seen >= watch.look:
                            skipped = periodic.at(watch, core, time)
                            if skipped:
                                time += skipped
                                entry = queue[0]
                                issue = entry[0]
                                path = self.path = None  # it would have holes
                kind = core.kinds[pc]
                ready = free[actor]
                if issue > ready:
                    wait(index, actor, pc, EMPTY, issue - ready)
                    free[actor] = ready = issue  # not counted twice when it must try again
                    if path is not None:
                        path.last[actor] = path.step(issue, BUSY, index, 0, pc, entry[3])
                if kind == ENGINE_KIND:
                    if hooks is not None:
                        hooks.before(core, slot, entry, time)
                    activity = execute(op, core.sram) if source is None else source(core, pc, op)
                    cost = price(op, activity)
                    end = time + cost[0]
                    drained[actor] = max(drained[actor], end + cost[1])
                    counters.spikes[index][pc] += activity[2]
                    uses = counters.uses[index]
                    use = pc << USE_BITS | cost[-1]
                    uses[use] = uses.get(use, 0) + 1
                elif kind == WAIT_KIND:
                    sem, n = op
                    if not core.semaphores.take(sem, n, actor):
                        continue
                    end = time + 1
                    if time > ready:
                        wait(index, actor, pc, SEMAPHORE, time - ready)
                    if hooks is not None:
                        hooks.waited(core, slot, sem, n, entry, time)
                elif kind == POST_KIND:
                    sem, n = op
                    woken = core.semaphores.post(sem, n)
                    end = time + 1
                    if time > ready:
                        wait(index, actor, pc, LATENCY, time - ready)
                    if hooks is not None:
                        hooks.posted(core, slot, sem, n, entry, time)
                    if woken:
                        for waiter in woken:
                            heappush(heap, time << SHIFT | waiter)
                elif kind == LOCAL_KIND or kind == DMA_KIND:
                    end = self._move(core, slot, time, entry)
                else:
                    end = self._message(core, slot, time, entry)
                    if end < 0:
                        continue
                before: Node | None = None
                if path is not None:
                    before = path.served(
                        kind, actor, pc, time, ready, end, self.held, drained[actor], op, self.sent
                    )
                queue.popleft()
                counters.spent[index][pc] += end - time
                busy[actor] += end - time
                free[actor] = end
                if timeline is not None:
                    timeline.add(actor, time + self.held, end)
                self.held = 0
                if hooks is not None:
                    hooks.done(core, slot, entry, time, end)
                if queue:
                    issue, pc, _, _ = queue[0]
                    if issue > end:
                        end = issue
                    if core.kinds[pc] == POST_KIND and drained[actor] > end:
                        end = drained[actor]
                    pending = end << SHIFT | actor
                seq = core.seq
                if seq.full_slot == slot:
                    if time > seq.time:
                        wait(index, actor - slot, seq.pc, QUEUE, time - seq.time)
                        seq.time = time
                        if path is not None:
                            seq.clock = before
                    fault = self._advance(core)
                    if fault:
                        return fault
        except Trap as trap:
            return trap_fault(core, slot, pc, trap)
        return None

    def _advance(self, core: Core) -> Fault | None:
        """Let a sequencer run on and schedule what it started."""
        seq, heap = core.seq, self.heap
        executed = seq.executed
        status = seq.run(self.left)
        self.left -= seq.executed - executed
        first = core.index << 3
        if seq.touched:
            for slot in seq.touched:
                issue, pc, _, _ = seq.queues[slot][0]
                start = max(issue, self.free[first | slot])
                if core.kinds[pc] == POST_KIND:
                    start = max(start, self.drained[first | slot])
                heappush(heap, start << SHIFT | first | slot)
            seq.touched.clear()
        if seq.posts and not seq.post_pending:
            seq.post_pending = True
            heappush(heap, seq.posts[0][0] << SHIFT | first | POST_SLOT)
        if status == FULL and self.left >= 0:
            return None
        if status == LIMIT or self.left < 0:
            return limit_fault(core, self.limit)
        if status == HALTED:
            core.halted = True
        else:
            heappush(heap, seq.time << SHIFT | first)
        return None

    def _sequencer_event(self, core: Core, time: int, slot: int) -> Fault | None:
        """A post of the sequencer takes effect, or its wait or trap is due."""
        seq = core.seq
        if slot == POST_SLOT:
            _, pc, sem, n, clock = seq.posts[0]
            try:
                woken = core.semaphores.post(sem, n)
            except Trap as trap:
                return trap_fault(core, 0, pc, trap)
            seq.posts.popleft()
            if self.path is not None:
                node = self.path.step(time, BUSY, core.index, 0, pc, clock)
                self.path.posted[core.index, sem] = node
            if self.hooks is not None:
                self.hooks.posted(core, 0, sem, n, (time, pc, None, clock), time)
            for waiter in woken:
                heappush(self.heap, time << SHIFT | waiter)
            seq.post_pending = bool(seq.posts)
            if seq.posts:
                heappush(self.heap, seq.posts[0][0] << SHIFT | core.index << 3 | POST_SLOT)
            return None
        if seq.status == TRAPPED:
            assert seq.trap is not None
            return trap_fault(core, 0, seq.pc, seq.trap)
        assert seq.wait is not None
        sem, n = seq.wait
        if not core.semaphores.take(sem, n, core.index << 3):
            return None
        if self.hooks is not None:
            self.hooks.waited(core, 0, sem, n, (time, seq.pc, None, seq.clock), time)
        if time > seq.time:
            self.counters.wait(core.index, core.index << 3, seq.pc, SEMAPHORE, time - seq.time)
            seq.time = time
            if self.path is not None:
                seq.clock = self.path.posted[core.index, sem]
        return self._advance(core)

    def _use(self, actor: int, pc: int, price: Price, end: int) -> None:
        """Count a transfer; ``end`` is when its unit is free."""
        uses = self.counters.uses[actor >> 3]
        use = pc << USE_BITS | price[-1]
        uses[use] = uses.get(use, 0) + 1
        self.drained[actor] = max(self.drained[actor], end + price[1])

    def _stall(self, actor: int, pc: int, cause: int, cycles: int) -> None:
        """Cycles of an instruction that its unit only waited for a shared resource."""
        self.counters.wait(actor >> 3, actor, pc, cause, cycles)
        self.counters.busy[actor] -= cycles
        self.counters.spent[actor >> 3][pc] -= cycles
        self.held = cycles

    def _move(self, core: Core, slot: int, time: int, entry: Entry) -> int:
        """Execute a DMA instruction; return when its unit is free."""
        op = entry[2]
        actor = core.index << 3 | slot
        if self.hooks is not None:
            self.hooks.before(core, slot, entry, time)
        if self.values:
            self.chip.move(core, op)
        price = self.pricing.move(op)
        end = time + price[0]
        transfer = price.transfer
        if transfer:
            begin, free = self.dram.request(time, transfer)
            if begin > time:
                self._stall(actor, entry[1], DRAM, begin - time)
                end = begin + price[0]
            if free > end:
                end = free
        self._use(actor, entry[1], price, end)
        return end

    def _message(self, core: Core, slot: int, time: int, entry: Entry) -> int:
        """Execute a message instruction; return when it is done or -1 when it must wait."""
        chip, channels, op = self.chip, self.chip.channels, entry[2]
        actor = core.index << 3 | slot
        waited = time - self.free[actor]
        if core.kinds[entry[1]] == SEND_KIND:
            targets = self.sent = chip.targets(core, op)
            if not channels.may_send(core.index, targets):
                return -1
            if self.hooks is not None:
                self.hooks.before(core, slot, entry, time)
            price = self.pricing.send(op, self.mesh.links(core.index, targets))
            data = movement.payload(op, core.sram) if self.values else b""
            begin, done, arrivals = self.mesh.send(core.index, targets, time, price.transfer)
            clock = self.hooks.sent(core, slot, entry) if self.hooks is not None else None
            numbers, woken = channels.send(core.index, op[1][1], data, targets, arrivals, clock)
            if self.hooks is not None:
                self.hooks.message(core, slot, numbers, time)
            for target, arrival in woken:
                heappush(self.heap, arrival << SHIFT | target << 3 | slot)
            self.counters.wait(core.index, actor, entry[1], CREDIT, waited)
            if begin > time:
                self._stall(actor, entry[1], LINK, begin - time)
            end = max(done, begin + price[0])
            self._use(actor, entry[1], price, end)
            return end
        source, tag = op[1][:2]
        chip.check_core(op, source)
        message = channels.first(core.index, source, tag)
        if message is None:
            return -1
        if message[0] > time:
            heappush(self.heap, message[0] << SHIFT | actor)
            return -1
        if self.hooks is not None:
            self.hooks.before(core, slot, entry, time)
        if self.values:
            movement.receive(op, core.sram, message[1])
        sender_waits = channels.take(core.index, source, tag)
        if self.hooks is not None:
            self.hooks.received(core, slot, entry, message, time)
        self.counters.wait(core.index, actor, entry[1], MESSAGE, waited)
        if sender_waits:
            heappush(self.heap, time << SHIFT | source << 3 | slot)
        price = self.pricing.receive(op)
        self._use(actor, entry[1], price, time + price[0])
        return time + price[0]
