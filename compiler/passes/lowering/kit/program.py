"""The program of all cores: runs of steps and barriers that are ordered freely, and loops.

Between two segments, and between the turns of a loop that is kept, all units drain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.lowering.kit.hazards import DramHazards, SramHazards, dram_access
from snncc.compiler.passes.lowering.kit.order import Issue, arrange
from snncc.compiler.passes.lowering.kit.placement import FreeSpace, place, stack
from snncc.compiler.passes.lowering.kit.prices import Prices
from snncc.compiler.passes.lowering.kit.scalars import Scalar
from snncc.compiler.passes.lowering.kit.steps import CoreStep, Node, Repeat, StepReader, steps_of
from snncc.compiler.passes.lowering.kit.tokens import StepTokens, tokens
from snncc.compiler.passes.lowering.kit.versions import Version, find_versions
from snncc.isa.spec import Unit


@dataclass(eq=False, slots=True)
class Placed:
    """A step and where its buffers lie."""

    step: CoreStep
    versions: dict[Value, Version]


@dataclass(eq=False, slots=True)
class Barrier:
    """The end of an epoch: the core says that it is there and learns when all others are.

    Only the network unit waits for that; transfers that need what others wrote wait for it.
    """

    epoch: int
    op: Op


Item: TypeAlias = "Placed | Barrier"


@dataclass(eq=False, slots=True)
class Segment:
    """Steps and barriers; ``order`` and ``tokens`` once they are arranged."""

    items: list[Item] = field(default_factory=list["Item"])
    order: list[int] = field(default_factory=list[int])
    tokens: list[StepTokens] = field(default_factory=list[StepTokens])

    def units(self) -> list[Unit]:
        """Return the units that work in it, the DMA unit left out."""
        found = {
            item.step.unit if isinstance(item, Placed) else Unit.NOC: None for item in self.items
        }
        return [unit for unit in found if unit is not Unit.DMA]


@dataclass(eq=False, slots=True)
class KeptLoop:
    """A loop over parts of a program; ``op``: the task that it is in, or a loop over time."""

    trips: Scalar
    op: Op
    body: list[Part]

    @property
    def over_time(self) -> bool:
        """Whether a register counts its turns."""
        return self.op.name == "tile.steps"


Part: TypeAlias = "Segment | KeptLoop"


@dataclass
class Writes:
    """In which epochs, between two barriers each, a tensor is written."""

    epochs: dict[Value, list[int]] = field(default_factory=dict["Value", "list[int]"])

    def note(self, task: Op, epoch: int) -> None:
        """Record the stores of a task."""
        for each in task.walk():
            if each.name == "tile.st":
                found = self.epochs.setdefault(each.operands[0], [])
                if not found or found[-1] != epoch:
                    found.append(epoch)

    def last(self, tensor: Value, epoch: int) -> int:
        """Return the last epoch before ``epoch`` in which a tensor is written, or -1."""
        found = self.epochs.get(tensor, [])
        at = bisect_left(found, epoch)
        return found[at - 1] if at else -1


class ProgramBuilder:
    """Collects the parts of a program."""

    def __init__(self, reader: StepReader, pad: int) -> None:
        self.reader = reader
        self.pad = FreeSpace(pad)
        self.clock = 0
        self.parts: list[Part] = [Segment()]

    def task(self, task: Op) -> None:
        """Append a task."""
        nodes = self.reader.read(task)
        versions, maps = find_versions(nodes)
        if not place(versions, self.pad, self.clock):
            stack(versions, self.pad, self.clock + len(maps))
        self.clock += len(maps)
        placed = dict(zip(steps_of(nodes), maps, strict=True))
        self._append(nodes, placed, task, self.parts)

    def _append(
        self,
        nodes: Sequence[Node],
        placed: Mapping[CoreStep, dict[Value, Version]],
        task: Op,
        into: list[Part],
    ) -> None:
        for node in nodes:
            if isinstance(node, Repeat):
                loop = KeptLoop(node.trips, task, [Segment()])
                self._append(node.children, placed, task, loop.body)
                into += [loop, Segment()]
            else:
                last = into[-1]
                assert isinstance(last, Segment)
                last.items.append(Placed(node, placed[node]))

    def inner(self) -> ProgramBuilder:
        """Return the builder of a loop's body."""
        return ProgramBuilder(self.reader, self.pad.size)

    def barrier(self, op: Op, epoch: int) -> None:
        """Append a barrier that ends an epoch."""
        last = self.parts[-1]
        assert isinstance(last, Segment)
        last.items.append(Barrier(epoch, op))

    def over_time(self, op: Op, body: list[Part]) -> None:
        """Append a loop over time."""
        self.parts += [KeptLoop(op.int_attr("trips"), op, body), Segment()]

    def finish(self) -> list[Part]:
        """Return the parts, empty segments left out."""
        return _without_empty(self.parts)


def _without_empty(parts: Iterable[Part]) -> list[Part]:
    found: list[Part] = []
    for part in parts:
        if isinstance(part, KeptLoop):
            part.body = _without_empty(part.body)
            found.append(part)
        elif part.items:
            found.append(part)
    return found


@dataclass(frozen=True)
class Surroundings:
    """What arranging a segment needs to know beside its items.

    ``sharing``: for a tensor those that lie at its addresses at another time.
    """

    cores: int
    prices: Prices
    sharing: Mapping[Value, tuple[Value, ...]]
    writes: Writes | None
    """None in loops over time: every load is behind the barrier before it."""


def arrange_parts(parts: Sequence[Part], around: Surroundings) -> None:
    """Order the items of all segments and find their tokens."""
    epoch = 0
    for part in parts:
        if isinstance(part, KeptLoop):
            inside = replace(around, writes=None) if part.over_time else around
            arrange_parts(part.body, inside)
        else:
            epoch = _arrange(part, epoch, around)


def _arrange(segment: Segment, epoch: int, around: Surroundings) -> int:
    """Arrange a segment that begins in an epoch; return the epoch in which it ends."""
    sram, dram = SramHazards(), DramHazards(around.sharing)
    entries: list[Issue] = []
    transfers: set[int] = set()
    """Transfers since the last barrier."""
    barriers: dict[int, int] = {}
    newest = -1
    for number, item in enumerate(segment.items):
        if isinstance(item, Barrier):
            entries.append(Issue(number, Unit.NOC, around.prices.barrier(), 0, transfers))
            transfers = set()
            newest = barriers[item.epoch] = number
            epoch = item.epoch + 1
            continue
        step = item.step
        after = sram.add(number, step, item.versions)
        access = dram_access(step, around.cores)
        if access is not None:
            tensor, where = access
            after |= dram.add(number, tensor, where)
            behind = newest
            if not where.region.write and around.writes is not None:
                behind = barriers.get(around.writes.last(tensor, epoch), -1)
            if behind >= 0:
                after.add(behind)
        entries.append(Issue(number, step.unit, *around.prices.of(step.op), after))
        if step.unit is Unit.DMA:
            transfers.add(number)
    segment.order = arrange(entries)
    segment.tokens, held = tokens(entries, segment.order)
    limit = around.prices.machine.sequencer.semaphore_max
    held += 1  # the token of a fence
    if held > limit:
        fail(
            "E0604",
            f"a core may keep {held} tokens in a semaphore, which holds {limit}",
            help="give the machine a larger sequencer.semaphore_max",
        )
    return epoch
