"""The time of a plan: events on arrays, run by a kernel with the rules of the timed scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.spec import SEMAPHORES
from snncc.isasim.engines.base import Activity
from snncc.isasim.engines.kernels import events as ke
from snncc.isasim.faults import Fault, Trap
from snncc.isasim.machine.chip import Chip
from snncc.isasim.machine.decode import (
    DMA_KIND,
    ENGINE_KIND,
    LOCAL_KIND,
    POST_KIND,
    RECV_KIND,
    SEND_KIND,
    WAIT_KIND,
)
from snncc.isasim.machine.network import DramBus, MeshLinks
from snncc.isasim.machine.sequencer import FULL, WAITING
from snncc.isasim.measure.counters import CAUSE_BITS, STALL_CAUSES, USE_BITS, Counters
from snncc.isasim.measure.pricing import Price, Pricing
from snncc.isasim.replay.plan import HALT, SEQ_POST, SEQ_WAIT, PlanItem, RunPlan
from snncc.isasim.reports import deadlock_fault, trap_fault

Ints: TypeAlias = npt.NDArray[np.int64]
Activities: TypeAlias = list[Activity | None]


class Times(NamedTuple):
    """When things happened; ``counters`` are worked out when asked for."""

    fault: Fault | None
    cycles: int
    ends: dict[int, int]
    """When each core was done."""
    counters: Callable[[], Counters]


_WITH_OPERANDS = (WAIT_KIND, POST_KIND, RECV_KIND, SEND_KIND)


def _table(rows: Sequence[Sequence[int]], columns: int) -> Ints:
    return np.array(rows, np.int64).reshape(-1, columns)


class Schedule:
    """Times of a plan on a machine."""

    def __init__(self, plan: RunPlan, chip: Chip, pricing: Pricing, mesh: MeshLinks) -> None:
        self.plan = plan
        self.chip = chip
        self.pricing = pricing
        self.mesh = mesh
        self._prices: object = None
        self._numbers: Ints = np.zeros(len(plan.items), np.int64)
        self._last: dict[int, tuple[Activity, Price]] = {}
        self._bases = np.cumsum([0, *(core.code.words for core in chip.cores)]).tolist()
        number = {core.index: i for i, core in enumerate(chip.cores)}
        targets: list[list[int]] = []
        ways: list[list[int]] = []
        self._links: dict[tuple[int, int], int] = {}
        items, bases = plan.items, {i: self._bases[n] for i, n in number.items()}
        self._items = np.zeros((len(items), 7), np.int64)
        self._items[:, ke.KIND] = [item[3] for item in items]
        self._items[:, ke.PLACE] = [bases[item[0].index] + item[2] for item in items]
        self._items[:, ke.CYCLES] = 1
        pairs = [
            self._operands(place, item, targets, ways) if item[3] in _WITH_OPERANDS else (0, 0)
            for place, item in enumerate(items)
        ]
        self._items[:, ke.A : ke.B + 1] = _table(pairs, 2)
        self._targets, self._ways = _table(targets, 4), _table(ways, 2)
        self._events_and_posts()
        engines = [p for p, item in enumerate(plan.items) if item.kind == ENGINE_KIND]
        self._counted = [p for p in engines if plan.items[p].op.micro is None]
        self._engines = [(items[p].core.index, items[p].pc, p) for p in engines]
        self._priced = list(self._uses())

    def _uses(self) -> Iterator[tuple[int, Ints, Ints]]:
        """Return per core the items that have a price, and their addresses."""
        for core in self.chip.cores:
            low, high = (self.plan.first[actor] for actor in (core.index << 3, core.index + 1 << 3))
            mine = [
                place
                for place in range(low, high)
                if self.plan.items[place].kind not in (WAIT_KIND, POST_KIND)
            ]
            pcs = [self.plan.items[place].pc for place in mine]
            yield core.index, np.array(mine, np.intp), np.array(pcs, np.int64)

    def _operands(
        self, place: int, item: PlanItem, targets: list[list[int]], ways: list[list[int]]
    ) -> tuple[int, int]:
        if item.kind == WAIT_KIND or item.kind == POST_KIND:
            return item.op[0], item.op[1]
        if item.kind == RECV_KIND:
            return self.plan.receives[place], item.op[1][0]
        begin, source = len(targets), item.core.index
        for target, message in self.plan.sends[place].targets:
            first = len(ways)
            for link in self.mesh.path(source, target):
                number = self._links.setdefault(link, len(self._links))
                ways.append([number, (link[0] == source) | (link[0] == link[1]) << 1])
            targets.append([target, message, first, len(ways)])
        return begin, len(targets)

    def _events_and_posts(self) -> None:
        events: list[Sequence[int]] = []
        posts: list[list[int]] = []
        self._first_event: list[int] = []
        self._first_post: list[int] = []
        for base, mine in zip(self._bases, self.plan.events, strict=False):
            self._first_event.append(len(events))
            self._first_post.append(len(posts))
            for event in mine:
                if event[1] == SEQ_POST:
                    posts.append([len(events), 0])
                events.append((*event[:4], base + event[4]))
        self._events, self._posts = _table(events, 5), _table(posts, 2)

    def _price(self, places: list[int], prices: list[Price]) -> None:
        if places:
            rows = [(p[0], p[1], p[-2], p[-1]) for p in prices]  # transfer, number
            table = np.array(rows, np.int64)
            self._items[places, ke.CYCLES : ke.TRANSFER + 1] = table[:, :3]
            self._numbers[places] = table[:, 3]

    def _fixed(self) -> None:
        """Price what does not depend on data; again when the numbers of prices are void."""
        if self._prices is self.pricing.prices:
            return
        self._prices = self.pricing.prices
        self._last.clear()
        nothing = Activity(0, 0)
        places: list[int] = []
        prices: list[Price] = []
        for place, (core, _, _, kind, op) in enumerate(self.plan.items):
            if kind == DMA_KIND or kind == LOCAL_KIND:
                prices.append(self.pricing.move(op))
            elif kind == SEND_KIND:
                found = [target for target, _ in self.plan.sends[place].targets]
                prices.append(self.pricing.send(op, self.mesh.links(core.index, found)))
            elif kind == RECV_KIND:
                prices.append(self.pricing.receive(op))
            elif kind == ENGINE_KIND and op.micro is not None:
                prices.append(self.pricing.engine(op, nothing))
            else:
                continue
            places.append(place)
        self._price(places, prices)

    def _counts(self, found: Activities) -> None:
        """Price what depends on the activity."""
        places: list[int] = []
        prices: list[Price] = []
        for place in self._counted:
            activity = found[place]
            assert activity is not None, "values come before times"
            last = self._last.get(place)
            if last is None or last[0] != activity:
                price = self.pricing.engine(self.plan.items[place].op, activity)
                self._last[place] = activity, price
                places.append(place)
                prices.append(price)
        self._price(places, prices)

    def run(self, found: Activities, starts: Sequence[int], bus: DramBus) -> Times:
        """Work out when everything happens."""
        chip, cores = self.chip, self.chip.cores
        self._fixed()
        self._counts(found)
        actors = np.zeros((chip.count * 8, 6), np.int64)
        actors[:, ke.HEAD] = actors[:, ke.TAIL] = self.plan.first[:-1]
        actors[:, ke.WANTED] = -1
        seqs = np.zeros((chip.count, 8), np.int64)
        for i, (core, start) in enumerate(zip(cores, starts, strict=True)):
            post = self._first_post[i]
            seqs[core.index] = self._first_event[i], start, -1, start, post, post, 0, core.seq.tick
        order = np.array([core.index for core in cores], np.int64)
        links = np.zeros((len(self._links), 4), np.int64)
        stalls = np.zeros((chip.count * 8, ke.CAUSES), np.int64)
        sems, waiters = np.zeros((2, chip.count, SEMAPHORES), np.int64)
        cycles = np.zeros((self._bases[-1], 1 + ke.CAUSES), np.int64)
        messages = np.full(len(self.plan.senders), -1, np.int64)
        denied = np.zeros((chip.count, chip.count), np.int64)
        state = np.zeros(ke.REGISTERS, np.int64)
        state[ke.DRAM_FREE], state[ke.DRAM_BUSY] = bus.free, bus.busy
        state[ke.DEPTH], state[ke.CREDITS] = cores[0].seq.depth, chip.channels.credits
        state[ke.HOP], state[ke.TOKENS] = self.mesh.hop, cores[0].semaphores.most
        trapped = ke.run_events(
            self._items, self._events, order, self._posts, self._targets, self._ways, links, seqs,
            actors, stalls, sems, waiters, cycles, messages, denied, state,
        )  # fmt: skip
        bus.free, bus.busy = int(state[ke.DRAM_FREE]), int(state[ke.DRAM_BUSY])
        for link, number in self._links.items():
            self.mesh.busy[link] = int(links[number, ke.L_BUSY])
        fault = None
        if trapped:
            fault = self._overflow(state, actors, seqs, sems)
        elif (actors[:, ke.HEAD] != self.plan.first[1:]).any() or (
            self._events[seqs[order, ke.POS], ke.WHAT] != HALT
        ).any():
            fault = self._deadlock(actors, seqs, sems, denied)
        ends = {
            core.index: int(
                max(
                    seqs[core.index, ke.TIME], *actors[core.index * 8 : core.index * 8 + 8, :2].flat
                )
            )
            for core in cores
        }
        numbers, prices = self._numbers.copy(), self.pricing.prices

        def counters() -> Counters:
            made = Counters(chip, prices)
            self._count(made, found, numbers, (actors, stalls, cycles))
            return made

        return Times(fault, max(ends.values()), ends, counters)

    def _deadlock(self, actors: Ints, seqs: Ints, sems: Ints, denied: Ints) -> Fault | None:
        """Units took the tokens of others: tell who waits; races are possible then as well."""
        for number, core in enumerate(self.chip.cores):
            seq, at = core.seq, int(seqs[core.index, ke.POS])
            _, what, a, b, place = self._events[at].tolist()
            core.halted = what == HALT
            seq.pc = place - self._bases[number]
            seq.status = WAITING if what == SEQ_WAIT else FULL
            seq.wait, seq.full_slot = ((a, b), -1) if what == SEQ_WAIT else (None, a)
            core.semaphores.values[:] = sems[core.index].tolist()
            for slot, queue in enumerate(seq.queues):
                low, high = actors[core.index << 3 | slot, ke.HEAD : ke.TAIL + 1].tolist()
                queue.extend((0, i.pc, i.op, None) for i in self.plan.items[low:high])
            channels = self.chip.channels
            channels.lacking[core.index] = tuple(np.flatnonzero(denied[core.index]).tolist())
            head, _, wanted = actors[core.index << 3 | ke.NOC_SLOT, ke.HEAD :].tolist()
            if wanted >= 0:
                first: int = head
                waits: PlanItem = self.plan.items[first]
                channels.wanted[core.index] = waits.op[1][:2]
        return deadlock_fault(self.chip)

    def _overflow(self, state: Ints, actors: Ints, seqs: Ints, sems: Ints) -> Fault:
        """A semaphore would hold too much."""
        actor = int(state[ke.TRAP_ACTOR])
        core, slot = self.chip.by_index[actor >> 3], actor & 7
        assert core is not None, "only cores with a program post"
        if slot == 7:
            event = self._posts[seqs[core.index, ke.POST], 0]
            place, slot = self._events[event, ke.E_PLACE], 0
        else:
            place = self._items[actors[actor, ke.HEAD], ke.PLACE]
        core.semaphores.values[:] = sems[core.index].tolist()
        base = self._bases[self.chip.cores.index(core)]
        try:
            core.semaphores.post(int(state[ke.TRAP_SEM]), int(state[ke.TRAP_N]))
        except Trap as trap:
            return trap_fault(core, slot, int(place) - base, trap)
        raise AssertionError("the semaphore has room")

    def _count(
        self, counters: Counters, found: Activities, numbers: Ints, tables: tuple[Ints, Ints, Ints]
    ) -> None:
        """Fill counters from what the kernel left."""
        actors, stalls, cycles = tables
        counters.busy[:] = actors[:, ke.BUSY].tolist()
        for mine, row in zip(counters.stalls, stalls.tolist(), strict=True):
            mine.update(zip(STALL_CAUSES, row, strict=False))
        for core, (low, high) in zip(self.chip.cores, pairwise(self._bases), strict=True):
            counters.spent[core.index] = cycles[low:high, 0].tolist()
            waited = cycles[low:high, 1:]
            places, causes = np.nonzero(waited)
            keys = places << CAUSE_BITS | causes
            counters.waits[core.index] = dict(
                zip(keys.tolist(), waited[places, causes].tolist(), strict=True)
            )
        for index, places, pcs in self._priced:
            uses = pcs << USE_BITS | numbers[places]
            keys, first, times = np.unique(uses, return_index=True, return_counts=True)
            order = np.argsort(first)  # sums of energies follow the order of uses
            counters.uses[index] = dict(
                zip(keys[order].tolist(), times[order].tolist(), strict=True)
            )
        for index, pc, place in self._engines:
            activity = found[place]
            if activity is not None:
                counters.spikes[index][pc] += activity[2]
        counters.counts, counters.executed = self.plan.counts, self.plan.executed
