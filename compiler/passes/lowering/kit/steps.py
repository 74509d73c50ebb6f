"""A core's tasks as steps: operations in program order, loops unrolled as far as that pays.

What is unrolled can be ordered freely, and every step has buffers of its own (versions).  Large
loops stay loops; their bodies hold several iterations each.  All cores run the same steps; those of
iterations that not all cores have are guarded, and parallel loops that are alike are one loop with
numbers that depend on the iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias, cast

from snncc.compiler.ir.core import Block, Op, Value
from snncc.compiler.ir.portions import Portion, portions, whole
from snncc.compiler.passes.lowering.kit.footprint import (
    Affine,
    StreamUse,
    Touch,
    mnemonic_of,
    touches,
)
from snncc.compiler.passes.lowering.kit.scalars import (
    Scalar,
    between,
    blend,
    compute,
    count,
    first,
    has,
)
from snncc.compiler.passes.mapping.kit.alike import alike, registers_of, written
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.spec import Unit

UNROLL = 64
"""Operations of one task, iterations of its loops counted, that are written out."""
OPEN = 4 * UNROLL
"""Guarded operations of a parallel loop that are written out: with more, its trips are counted."""


Place: TypeAlias = tuple[Scalar, Affine]
"""An offset in a buffer: base, and a coefficient per loop."""


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
    loop that is kept, outermost first (loops over time included).  Where parallel loops are alike
    it stands for an operation of each of them, and numbers depend on a core's iteration.
    """

    op: Op
    task: Op
    unit: Unit
    at: tuple[Place, ...]
    uses: tuple[BufferUse, ...]
    """Of all loops that it stands for."""
    variants: tuple[tuple[BufferUse, ...], ...]
    """Of each of them."""
    values: dict[str, Scalar]
    """Operands in registers."""
    strides: tuple[tuple[Scalar, Scalar], ...]
    """Of streams: distances between steps and between rows."""
    guard: Scalar = 1
    """How often it is done: 1, or 0 on cores that have too few iterations."""


@dataclass(eq=False, slots=True)
class Repeat:
    """A loop that is kept."""

    trips: Scalar
    children: list[Node] = field(default_factory=list["Node"])


Node: TypeAlias = "CoreStep | Repeat"


@dataclass(frozen=True, slots=True)
class _Turn:
    """How a loop's iteration number follows from a kept loop's: ``scale * turn + offset``."""

    scale: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Iteration:
    """Where in parallel loops that are alike a core is.

    ``first + index`` counts iterations; ``place``: which of the loops around an operation it is;
    ``begins``: the numbers of the first
    iterations of the loops, counted in all; ``reached``: see :func:`blend`.
    """

    first: Scalar
    index: int
    place: int
    begins: tuple[int, ...]
    reached: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class _Around:
    """What is around an operation: the loops, and which of a core's iterations it belongs to."""

    task: Op
    turns: tuple[_Turn, ...]
    iteration: _Iteration | None = None
    guard: Scalar = 1

    def inside(self, scale: int, offset: int) -> _Around:
        """Return the surroundings in an iteration of one more loop."""
        return replace(self, turns=(*self.turns, _Turn(scale, offset)))


def steps_of(nodes: Sequence[Node]) -> Iterator[CoreStep]:
    """Yield the steps in program order, those of loops once."""
    for node in nodes:
        if isinstance(node, Repeat):
            yield from steps_of(node.children)
        else:
            yield node


class StepReader:
    """Turns mapped tasks into steps."""

    def __init__(
        self, programs: Mapping[str, MicroProgram], cores: int, limit: int = UNROLL
    ) -> None:
        self.programs = programs
        self.cores = cores
        self.limit = limit
        self.known: dict[Op, tuple[Touch, ...]] = {}

    def read(self, task: Op) -> list[Node]:
        """Return a task's nodes."""
        found: list[Node] = []
        everything = whole(task, self.cores)
        around = _Around(task, (_Turn(1, 0),) * task.int_attr("outer", 0))
        if not everything.each:
            around = replace(around, guard=has(everything, 0))
        together = {group[0]: group for group in alike(task)}
        dealt = portions(task, self.cores)
        for op in task.regions[0].ops:
            if op.name != "tile.parallel":
                self._operation((op,), around, found)
            elif op in together:
                self._alike(together[op], dealt, around, found)
        return found

    def _block(self, blocks: Sequence[Block], around: _Around, into: list[Node]) -> None:
        for ops in zip(*(block.ops for block in blocks), strict=True):
            self._operation(ops, around, into)

    def _operation(self, ops: Sequence[Op], around: _Around, into: list[Node]) -> None:
        if ops[0].name == "tile.loop":
            self._loop(ops, around, into)
        elif ops[0].name != "tile.sram":
            into.append(self._step(ops, around))

    def _alike(
        self, loops: Sequence[Op], dealt: Mapping[Op, Portion], around: _Around, into: list[Node]
    ) -> None:
        """Read parallel loops that are alike, as one where they follow one another."""
        each = [dealt[loop] for loop in loops]
        joined = replace(each[0], trips=sum(portion.trips for portion in each))
        neighbours = all(a.start + a.trips == b.start for a, b in pairwise(each))
        _, most = joined.counts()
        if neighbours and (most <= 2 or most * self._count(loops[0].regions[0]) <= OPEN):
            self._iterations(loops, joined, around, into)
            return
        for loop, portion in zip(loops, each, strict=True):
            self._iterations([loop], portion, around, into)

    def _iterations(
        self, loops: Sequence[Op], portion: Portion, around: _Around, into: list[Node]
    ) -> None:
        """Read the iterations that a core has of loops that are alike."""
        blocks = [loop.regions[0] for loop in loops]
        begins = tuple(accumulate((loop.int_attr("trips") for loop in loops[:-1]), initial=0))
        least, most = portion.counts()
        start, guarded = first(portion), (most - least) * self._count(blocks[0])
        around = replace(around, guard=1)

        def at(iteration: int) -> _Around:
            here = compute("add", start, iteration)
            reached = tuple(between(compute("sub", here, b - 1), 0, 1) for b in begins[1:])
            mine = _Iteration(start, iteration, len(around.turns), begins, reached)
            guard = has(portion, iteration) if iteration >= least else 1
            return replace(around, iteration=mine, guard=guard)

        if len(loops) == 1 and guarded > OPEN:
            loop = Repeat(count(portion))
            self._block(blocks, replace(at(0), guard=1).inside(1, 0), loop.children)
            into.append(loop)
            return
        done = 0
        if len(loops) == 1:
            several = self._together(most, blocks[0])
            done = self._kept(blocks, least, several, replace(at(0), guard=1), into)
        for i in range(done, most):
            self._block(blocks, at(i).inside(0, 0), into)

    def _loop(self, ops: Sequence[Op], around: _Around, into: list[Node]) -> None:
        trips, blocks = ops[0].int_attr("trips"), [op.regions[0] for op in ops]
        done = self._kept(blocks, trips, self._together(trips, blocks[0]), around, into)
        for i in range(done, trips):
            self._block(blocks, around.inside(0, i), into)

    def _together(self, trips: int, body: Block) -> int:
        """Return how many iterations are written out together; a small remainder is left."""
        size = max(1, self._count(body))
        return max(1, trips // ceil_div(trips * size, self.limit)) if trips else 1

    def _kept(
        self, blocks: Sequence[Block], trips: int, several: int, around: _Around, into: list[Node]
    ) -> int:
        """Read iterations as a loop that is kept, if that pays; return how many."""
        turns = trips // several
        if turns <= 1:
            return 0
        loop = Repeat(turns)
        for i in range(several):
            self._block(blocks, around.inside(several, i), loop.children)
        into.append(loop)
        return turns * several

    def _count(self, block: Block) -> int:
        """Return how many operations a block executes."""
        total = 0
        for op in block.ops:
            if op.name == "tile.loop":
                total += op.int_attr("trips") * self._count(op.regions[0])
            else:
                total += op.name != "tile.sram"
        return total

    def _step(self, ops: Sequence[Op], around: _Around) -> CoreStep:
        """Return the step of an operation, or of one in each of loops that are alike."""
        op, mine = ops[0], around.iteration
        reached = mine.reached if mine is not None else ()
        folded = [tuple(_fold(a, around.turns) for a in written(each)) for each in ops]
        at: list[Place] = []
        for i, offset in enumerate(written(op)):
            bases = [places[i][0] for places in folded]
            base: Scalar = 0
            if mine is not None:
                slope = offset[1 + mine.place]
                bases = [b - slope * begin for b, begin in zip(bases, mine.begins, strict=True)]
                base = compute("mul", mine.first, slope)
                base = compute("add", base, slope * mine.index)
            at.append((compute("add", base, blend(bases, reached)), folded[0][i][1:]))
        variants = tuple(
            tuple(_use(each, touch, places[touch.place]) for touch in self._touches(each))
            for each, places in zip(ops, folded, strict=True)
        )
        return CoreStep(
            op,
            around.task,
            BY_MNEMONIC[mnemonic_of(op)].unit,
            tuple(at),
            tuple(dict.fromkeys(use for uses in variants for use in uses)),
            variants,
            {n: blend([each.int_attr(n) for each in ops], reached) for n in registers_of(op)},
            _strides(ops, reached),
            around.guard,
        )

    def _touches(self, op: Op) -> tuple[Touch, ...]:
        known = self.known.get(op)
        if known is None:
            known = self.known[op] = touches(op, self.programs)
        return known


def _strides(ops: Sequence[Op], reached: Sequence[Scalar]) -> tuple[tuple[Scalar, Scalar], ...]:
    if "streams" not in ops[0].attrs:
        return ()
    each = [cast("tuple[StreamUse, ...]", op.attrs["streams"]) for op in ops]
    return tuple(
        (blend([use[2] for use in uses], reached), blend([use[3] for use in uses], reached))
        for uses in zip(*each, strict=True)
    )


def _use(op: Op, touch: Touch, at: Affine) -> BufferUse:
    buffer = op.operands[touch.operand]
    if any(at[1:]):  # another place in every turn
        return BufferUse(buffer, 0, buffer.type.size, touch.reads, touch.writes, False)
    base = at[0]
    return BufferUse(
        buffer, base + touch.low, base + touch.high, touch.reads, touch.writes, touch.whole
    )


def _fold(at: Affine, turns: Sequence[_Turn]) -> Affine:
    base = at[0]
    kept: list[int] = []
    for coefficient, turn in zip(at[1:], turns, strict=True):
        base += coefficient * turn.offset
        if turn.scale:
            kept.append(coefficient * turn.scale)
    return (base, *kept)
