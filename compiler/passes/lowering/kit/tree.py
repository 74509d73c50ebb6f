"""A task as a tree of operations and loops, with the scratchpad buffers each operation touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from snncc.compiler.ir.core import Block, Op, Value
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.spec import Unit

Affine = tuple[int, ...]
StreamUse = tuple[int, Affine, int, int]


@dataclass(eq=False)
class Semaphore:
    """One entry of a unit's queue: ``post`` or ``wait`` of a semaphore."""

    kind: str
    unit: Unit
    number: int


@dataclass(eq=False)
class TaskNode:
    """An operation or a loop; ``before`` and ``after`` hold the semaphores around it."""

    op: Op
    parent: LoopNode | None
    index: int
    before: list[Semaphore] = field(default_factory=list[Semaphore])
    after: list[Semaphore] = field(default_factory=list[Semaphore])
    touches: dict[Value, dict[Unit, bool]] = field(
        default_factory=dict["Value", "dict[Unit, bool]"]
    )
    """Per buffer and unit: whether it is written (else only read)."""

    def note(self, buffer: Value, unit: Unit, write: bool) -> None:
        """Record an access here and in all enclosing loops."""
        node: TaskNode | None = self
        while node is not None:
            mine = node.touches.setdefault(buffer, {})
            mine[unit] = mine.get(unit, False) or write
            node = node.parent

    def conflicts(self, buffer: Value, unit: Unit, write: bool) -> bool:
        """Whether an access of ``unit`` in here must be ordered with another one."""
        written = self.touches.get(buffer, {}).get(unit)
        return written is not None and (written or write)


@dataclass(eq=False)
class LeafNode(TaskNode):
    """One operation on a unit."""

    unit: Unit = Unit.DMA
    accesses: dict[Value, bool] = field(default_factory=dict[Value, bool])


@dataclass(eq=False)
class LoopNode(TaskNode):
    """A loop, or the whole task (``trips`` 1, no parent)."""

    trips: int = 1
    outer: int = 0
    """For a whole task: the number of loops over time around it."""
    children: list[TaskNode] = field(default_factory=list[TaskNode])

    def leaves(self) -> Iterator[LeafNode]:
        """Yield the operations in program order."""
        for child in self.children:
            if isinstance(child, LoopNode):
                yield from child.leaves()
            elif isinstance(child, LeafNode):
                yield child


def is_sram(value: Value) -> bool:
    """Whether a value is a scratchpad buffer."""
    return value.type.kind == "sram"


def accesses_of(op: Op, programs: Mapping[str, MicroProgram]) -> dict[Value, bool]:
    """Return the scratchpad buffers of an operation: True where it writes."""
    found: dict[Value, bool] = {}

    def note(value: Value, write: bool) -> None:
        if is_sram(value):
            found[value] = found.get(value, False) or write

    row = BY_MNEMONIC[op.name.partition(".")[2]]
    if "streams" in op.attrs:
        streams = cast("tuple[StreamUse, ...]", op.attrs["streams"])
        program = programs[op.str_attr("prog")]
        for inst in program.code:
            if inst.op.imm == "stream":
                index = streams[inst.imm][0]
                if index >= 0:
                    note(op.operands[index], inst.op.name.startswith(("st.", "state.")))
        return found
    for name, value in zip(op.strs_attr("addr"), op.operands, strict=True):
        note(value, row.at(name).writes)
    return found


def build_tree(task: Op, programs: Mapping[str, MicroProgram]) -> LoopNode:
    """Return the tree of a mapped task."""
    root = LoopNode(task, None, 0)
    _fill(root, task.regions[0], programs)
    return root


def _fill(loop: LoopNode, block: Block, programs: Mapping[str, MicroProgram]) -> None:
    for op in block.ops:
        if op.name == "tile.sram":
            continue
        if op.name == "tile.loop":
            inner = LoopNode(op, loop, len(loop.children), trips=op.int_attr("trips"))
            loop.children.append(inner)
            _fill(inner, op.regions[0], programs)
            continue
        unit = BY_MNEMONIC[op.name.partition(".")[2]].unit
        leaf = LeafNode(op, loop, len(loop.children), unit=unit)
        leaf.accesses = accesses_of(op, programs)
        loop.children.append(leaf)
        for buffer, write in leaf.accesses.items():
            leaf.note(buffer, unit, write)
