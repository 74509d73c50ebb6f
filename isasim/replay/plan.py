"""A plan: everything about a run that does not depend on data, worked out once.

Control flow never depends on data, so each core issues the same resolved instructions in every run.
They are recorded once, put into a legal order (a correct program is a Kahn network: any legal order
gives the same bits) and checked; later runs repeat them without sequencers and queues.  There is no
plan for a program that would trap, wait for ever, exceed a limit or is too long to be kept: the
schedulers run such a program and report what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np

from snncc.isa.spec import REG, SEED_REGISTER
from snncc.isasim.engines.base import LANE_MNEMONICS
from snncc.isasim.engines.footprint.checks import check
from snncc.isasim.faults import Trap
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.decode import DMA_KIND, POST_KIND, RECV_KIND, SEND_KIND, WAIT_KIND
from snncc.isasim.machine.movement import message_bytes
from snncc.isasim.machine.moves import Moves
from snncc.isasim.machine.rules import Channels, Semaphores
from snncc.isasim.machine.sequencer import HALTED, WAITING, Sequencer

MAX_STEPS: Final = 1 << 21
"""Instructions of all cores that are followed before giving up."""
MAX_ENTRIES: Final = 1 << 18
"""Instructions of units that a plan keeps."""

PUSH: Final = 0
SEQ_WAIT: Final = 1
SEQ_POST: Final = 2
HALT: Final = 3

Event: TypeAlias = tuple[int, int, int, int, int]
"""What a sequencer does: number of the instruction, PUSH.., slot and item (or semaphore and n),
address."""


class PlanItem(NamedTuple):
    """An instruction of a unit."""

    core: Core
    slot: int
    pc: int
    kind: int
    op: Any


@dataclass
class SentMessage:
    """What an item sends: bytes, and per target the core and the number of the message."""

    size: int
    targets: list[tuple[int, int]]


@dataclass
class RunPlan:
    """What one run of a chip does."""

    seed: int | None
    """The only seed for which the plan holds; None: any."""
    items: list[PlanItem] = field(default_factory=list[PlanItem])
    """By core and slot, in program order."""
    first: list[int] = field(default_factory=list[int])
    """Per actor (core << 3 | slot): its first item; one more at the end."""
    events: list[list[Event]] = field(default_factory=list[list[Event]])
    """Per core of ``chip.cores``."""
    order: list[int] = field(default_factory=list[int])
    """Items that touch memory, in a legal order."""
    sends: dict[int, SentMessage] = field(default_factory=dict[int, SentMessage])
    receives: dict[int, int] = field(default_factory=dict[int, int])
    """Item to the number of the message that it takes."""
    moved: list[int] = field(default_factory=list[int])
    """Items that move data between DRAM and a scratchpad; ``moves`` are their operands."""
    moves: Moves = field(default_factory=lambda: Moves([]))
    senders: list[int] = field(default_factory=list[int])
    """Per message: the item that sends it."""
    counts: list[list[int]] = field(default_factory=list[list[int]])
    executed: list[int] = field(default_factory=list[int])
    sems: list[list[int]] = field(default_factory=list[list[int]])
    registers: list[tuple[list[int], list[tuple[int, ...]]]] = field(
        default_factory=list[tuple[list[int], list[tuple[int, ...]]]]
    )
    leftovers: tuple[str, ...] = ()

    def add_send(self, place: int, targets: Sequence[int], size: int) -> None:
        """Let an item send a message of ``size`` bytes to each target."""
        first = len(self.senders)
        self.senders += [place] * len(targets)
        self.sends[place] = SentMessage(
            size, [(target, first + i) for i, target in enumerate(targets)]
        )

    def finish(self, chip: Chip, seed: int) -> None:
        """Leave the cores as a run with a seed leaves them."""
        for core, counts, executed, sems, (registers, streams) in zip(
            chip.cores, self.counts, self.executed, self.sems, self.registers, strict=True
        ):
            core.halted = True
            core.semaphores.values[:] = sems
            core.seq.counts[:] = counts
            core.seq.executed = executed
            core.seq.registers[:] = registers
            if self.seed is None:
                core.seq.registers[SEED_REGISTER] = seed
            core.seq.streams[:] = streams


class NoPlan(Exception):
    """The schedulers have to run this program."""


def make_plan(chip: Chip, seed: int, limit: int) -> RunPlan | None:
    """Return the plan of a program, or None when it must be run step by step."""
    plan = RunPlan(None if _any_seed(chip) else seed)
    try:
        record(plan, chip, seed)
        if sum(plan.executed) > limit:
            return None
        _Order(plan, chip).run()
        _check(plan, chip)
    except (NoPlan, Trap):
        return None
    return plan


def _check(plan: RunPlan, chip: Chip) -> None:
    """Raise the trap that an instruction deserves."""
    sram, dram = chip.sram_bytes, chip.dram.size
    plan.moved = [i for i, item in enumerate(plan.items) if item.kind == DMA_KIND]
    plan.moves = Moves([plan.items[place].op for place in plan.moved])
    for number in np.flatnonzero(~plan.moves.inside(sram, dram)).tolist():
        check(plan.items[plan.moved[number]].op, sram, dram)
    for item in plan.items:
        if item.kind not in (WAIT_KIND, POST_KIND, DMA_KIND):
            check(item.op, sram, dram)


def _any_seed(chip: Chip) -> bool:
    """Whether the seed register is only read by lane instructions, as their seed."""
    for core in chip.cores:
        for inst in core.code.program.code:
            row = inst.insn
            for operand, value in zip(row.operands, inst.values, strict=True):
                if operand.kind is REG and value == SEED_REGISTER:
                    if row.mnemonic not in LANE_MNEMONICS or operand.name != "seed":
                        return False
    return True


def record(plan: RunPlan, chip: Chip, seed: int) -> None:
    """Follow every sequencer from its start to its end."""
    left, kept = MAX_STEPS, 0
    make: Callable[[tuple[Any, ...]], PlanItem] = partial(cast(Any, tuple).__new__, PlanItem)
    plan.first = [0]
    for core in chip.by_index:
        if core is None:
            plan.first += [len(plan.items)] * 8
            continue
        seq = Sequencer(core.code, MAX_ENTRIES, 1, core.seq.loop_depth)
        seq.reset(0, seed)
        events: list[Event] = []
        while (status := seq.run(left - seq.executed)) == WAITING and seq.wait is not None:
            events.append((seq.time, SEQ_WAIT, *seq.wait, seq.pc))
            seq.wait = None
        left -= seq.executed
        kept += sum(map(len, seq.queues)) + len(seq.posts)
        if status != HALTED or left < 0 or kept > MAX_ENTRIES:
            raise NoPlan
        events += [(time, SEQ_POST, sem, n, pc) for time, pc, sem, n, _ in seq.posts]
        events.append((seq.executed - 1, HALT, 0, 0, seq.pc))
        kinds, items = core.kinds, plan.items
        for slot, queue in enumerate(seq.queues):
            begin = len(items)
            items += [make((core, slot, pc, kinds[pc], op)) for _, pc, op, _ in queue]
            events += [
                (entry[0], PUSH, slot, place, entry[1]) for place, entry in enumerate(queue, begin)
            ]
            plan.first.append(len(items))
        events.sort()
        plan.events.append(events)
        plan.counts.append(seq.counts)
        plan.executed.append(seq.executed)
        plan.registers.append((seq.registers, seq.streams))


_DMA, _NOC = 1, 2
_FIRST_COMPUTE = 3  # fp, bp, wg, vpu


class _Order:
    """An untimed run of what was recorded, by the rules of every run: it keeps the order.

    Cores take turns, each goes on until it must wait.  Messages carry their number of bytes.
    """

    def __init__(self, plan: RunPlan, chip: Chip) -> None:
        self.plan = plan
        self.chip = chip
        self.depth = chip.cores[0].seq.depth
        self.semaphores = [Semaphores(chip.cores[0].semaphores.most) for _ in range(chip.count)]
        self.channels = Channels(chip.count, chip.channels.credits)
        self.head = plan.first[:-1]
        self.tail = plan.first[:-1]
        self.asleep = [False] * len(self.head)
        """Per actor: whether it waits for a semaphore to which nothing was added since."""

    def run(self) -> None:
        plan, chip = self.plan, self.chip
        places = [0] * len(chip.cores)
        progress = True
        while progress:
            progress = False
            for number, core in enumerate(chip.cores):
                begin = len(plan.order), places[number]
                places[number] = self._core(core, plan.events[number], places[number])
                progress = progress or begin != (len(plan.order), places[number])
        if any(at < len(events) for at, events in zip(places, plan.events, strict=True)):
            raise NoPlan
        if self.head != plan.first[1:]:
            raise NoPlan
        plan.sems = [self.semaphores[core.index].values for core in chip.cores]
        self._leftovers()

    def _take(self, actor: int, sem: int, n: int) -> bool:
        taken = self.semaphores[actor >> 3].take(sem, n, actor)
        self.asleep[actor] = not taken
        return taken

    def _post(self, core: Core, sem: int, n: int) -> None:
        for actor in self.semaphores[core.index].post(sem, n):
            self.asleep[actor] = False

    def _core(self, core: Core, events: list[Event], at: int) -> int:
        """Run a core until it must wait for others.

        Whatever can compute does so before the next transfer: tiles are then used while the host
        has them in its cache.
        """
        first = core.index << 3
        head, tail, asleep = self.head, self.tail, self.asleep
        while True:
            before = at
            at = self._sequencer(core, events, at)
            moved = False
            for actor in range(first + _FIRST_COMPUTE, first + _FIRST_COMPUTE + 4):
                if head[actor] < tail[actor] and not asleep[actor] and self._unit(actor):
                    moved = True
            if moved:
                continue
            if self._may(first | _NOC) or self._may(first | _DMA, 1) or at != before:
                continue
            return at

    def _may(self, actor: int, most: int = MAX_ENTRIES) -> bool:
        """Run a unit unless it is known to wait."""
        return not self.asleep[actor] and self._unit(actor, most)

    def _sequencer(self, core: Core, events: list[Event], at: int) -> int:
        me = core.index << 3
        while at < len(events) and not self.asleep[me]:
            _, what, a, b, _ = events[at]
            if what == PUSH:
                actor = me | a
                if self.tail[actor] - self.head[actor] >= self.depth:
                    break
                self.tail[actor] += 1
            elif what == SEQ_WAIT:
                if not self._take(me, a, b):
                    break
            elif what == SEQ_POST:
                self._post(core, a, b)
            at += 1
        return at

    def _unit(self, actor: int, most: int = MAX_ENTRIES) -> bool:
        """Run a unit until it must wait, or has executed ``most`` instructions."""
        plan, begin = self.plan, self.head[actor]
        for place in range(begin, min(self.tail[actor], begin + most)):
            core, _, _, kind, op = plan.items[place]
            if kind == WAIT_KIND:
                if not self._take(actor, op[0], op[1]):
                    break
            elif kind == POST_KIND:
                self._post(core, op[0], op[1])
            elif kind == SEND_KIND:
                if not self._send(place, core, op):
                    break
            elif kind == RECV_KIND:
                if not self._receive(place, core, op):
                    break
            if kind != WAIT_KIND and kind != POST_KIND:
                plan.order.append(place)
            self.head[actor] += 1
        return self.head[actor] > begin

    def _send(self, place: int, core: Core, op: Any) -> bool:
        targets = self.chip.targets(core, op)
        if not self.channels.may_send(core.index, targets):
            return False
        _, tag, _, size = op[1]
        self.plan.add_send(place, targets, size)
        self.channels.send(core.index, tag, size, targets, [0] * len(targets))
        return True

    def _receive(self, place: int, core: Core, op: Any) -> bool:
        source, tag, _, _ = op[1]
        self.chip.check_core(op, source)
        message = self.channels.first(core.index, source, tag)
        if message is None:
            return False
        if message[1] != message_bytes(op):
            raise NoPlan
        self.channels.take(core.index, source, tag)
        self.plan.receives[place] = message[3] - 1
        return True

    def _leftovers(self) -> None:
        """Find what is left, in the words of :func:`snncc.isasim.reports.leftovers`."""
        if any(any(box.values()) for box in self.channels.inboxes):
            raise NoPlan  # not the program of a compiler; let the scheduler tell
        self.plan.leftovers = tuple(
            f"core {core.index}: sem{i} is {n}"
            for core in self.chip.cores
            for i, n in enumerate(self.semaphores[core.index].values)
            if n
        )
