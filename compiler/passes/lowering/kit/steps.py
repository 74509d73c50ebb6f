"""A core's tasks as steps: operations in program order, loops unrolled as far as that pays.

What is unrolled can be ordered freely, and every step has buffers of its own (versions).  Large
loops stay loops; their bodies hold several iterations each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, cast

from snncc.compiler.ir.core import Block, Op, Value
from snncc.compiler.passes.lowering.kit.footprint import (
    Affine,
    StreamUse,
    Touch,
    mnemonic_of,
    touches,
)
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.spec import Unit

UNROLL = 64
"""Operations of one task, iterations of its loops counted, that are written out."""


class BufferUse(NamedTuple):
    """A step's touch of a scratchpad buffer: bytes ``low`` to ``high`` (exclusive) of it.

    ``whole``: every byte between is touched; else the range only bounds what is.
    """

    buffer: Value
    low: int
    high: int
    reads: bool
    writes: bool
    whole: bool


@dataclass(eq=False, slots=True)
class CoreStep:
    """One operation with the iterations of unrolled loops put in.

    ``at``: per address operand or stream the offset in its buffer: base, then a coefficient per
    loop that is kept, outermost first (loops over time included).
    """

    op: Op
    task: Op
    unit: Unit
    at: tuple[Affine, ...]
    uses: tuple[BufferUse, ...]


@dataclass(eq=False, slots=True)
class Repeat:
    """A loop that is kept."""

    trips: int
    children: list[Node] = field(default_factory=list["Node"])


Node: TypeAlias = "CoreStep | Repeat"


@dataclass(frozen=True, slots=True)
class _Turn:
    """How a loop's iteration number follows from a kept loop's: ``scale * turn + offset``."""

    scale: int
    offset: int


def steps_of(nodes: Sequence[Node]) -> Iterator[CoreStep]:
    """Yield the steps in program order, those of loops once."""
    for node in nodes:
        if isinstance(node, Repeat):
            yield from steps_of(node.children)
        else:
            yield node


class StepReader:
    """Turns mapped tasks into steps."""

    def __init__(self, programs: Mapping[str, MicroProgram], limit: int = UNROLL) -> None:
        self.programs = programs
        self.limit = limit
        self.known: dict[Op, tuple[Touch, ...]] = {}

    def read(self, task: Op) -> list[Node]:
        """Return a task's nodes."""
        found: list[Node] = []
        outer = [_Turn(1, 0)] * task.int_attr("outer", 0)
        self._block(task.regions[0], task, outer, found)
        return found

    def _block(self, block: Block, task: Op, turns: list[_Turn], into: list[Node]) -> None:
        for op in block.ops:
            if op.name == "tile.sram":
                continue
            if op.name == "tile.loop":
                self._loop(op, task, turns, into)
            else:
                into.append(self._step(op, task, turns))

    def _loop(self, op: Op, task: Op, turns: list[_Turn], into: list[Node]) -> None:
        trips, body = op.int_attr("trips"), op.regions[0]
        size = max(1, self._count(body))
        several = max(1, trips // ceil_div(trips * size, self.limit))  # leaves a small remainder
        kept = trips // several if several < trips else 0
        if kept > 1:
            repeat = Repeat(kept)
            for i in range(several):
                self._block(body, task, [*turns, _Turn(several, i)], repeat.children)
            into.append(repeat)
        else:
            kept = 0
        for i in range(kept * several, trips):
            self._block(body, task, [*turns, _Turn(0, i)], into)

    def _count(self, block: Block) -> int:
        """Return how many operations a block executes."""
        total = 0
        for op in block.ops:
            if op.name == "tile.loop":
                total += op.int_attr("trips") * self._count(op.regions[0])
            else:
                total += op.name != "tile.sram"
        return total

    def _step(self, op: Op, task: Op, turns: list[_Turn]) -> CoreStep:
        known = self.known.get(op)
        if known is None:
            known = self.known[op] = touches(op, self.programs)
        if "streams" in op.attrs:
            streams = cast("tuple[StreamUse, ...]", op.attrs["streams"])
            at = tuple(_fold(a, turns) for _, a, _, _ in streams)
        else:
            at = tuple(_fold(a, turns) for a in cast("tuple[Affine, ...]", op.attrs["at"]))
        uses = tuple(_use(op, touch, at[touch.place]) for touch in known)
        return CoreStep(op, task, BY_MNEMONIC[mnemonic_of(op)].unit, at, uses)


def _use(op: Op, touch: Touch, at: Affine) -> BufferUse:
    buffer = op.operands[touch.operand]
    if any(at[1:]):  # another place in every turn
        return BufferUse(buffer, 0, buffer.type.size, touch.reads, touch.writes, False)
    base = at[0]
    return BufferUse(
        buffer, base + touch.low, base + touch.high, touch.reads, touch.writes, touch.whole
    )


def _fold(at: Affine, turns: list[_Turn]) -> Affine:
    base = at[0]
    kept: list[int] = []
    for coefficient, turn in zip(at[1:], turns, strict=True):
        base += coefficient * turn.offset
        if turn.scale:
            kept.append(coefficient * turn.scale)
    return (base, *kept)
