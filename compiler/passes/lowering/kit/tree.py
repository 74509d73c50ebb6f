"""What is written for the cores: a tree of operations and loops, in order of issue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from snncc.compiler.ir.core import Location
from snncc.compiler.passes.lowering.kit.scalars import Scalar
from snncc.compiler.passes.lowering.kit.steps import CoreStep, Place
from snncc.isa.spec import Unit


@dataclass(eq=False, slots=True)
class Semaphore:
    """One entry of a unit's queue: ``post`` or ``wait`` of a semaphore."""

    kind: str
    unit: Unit
    number: int


@dataclass(frozen=True, slots=True)
class Source:
    """To what an instruction belongs, for reports."""

    layer: str
    phase: str
    loc: Location


@dataclass(frozen=True, slots=True)
class BufferName:
    """What lies at a place of the scratchpad from one operation to another."""

    number: int
    name: str
    address: int
    size: int
    tensor: str


@dataclass(eq=False, slots=True)
class LeafNode:
    """One operation; ``before`` and ``after`` hold the semaphores around it.

    ``at``: per address operand or stream its address: base, then a coefficient per enclosing loop.
    """

    step: CoreStep
    source: Source
    at: tuple[Place, ...]
    parent: LoopNode
    before: list[Semaphore] = field(default_factory=list[Semaphore])
    after: list[Semaphore] = field(default_factory=list[Semaphore])
    begins: list[BufferName] = field(default_factory=list[BufferName])
    ends: list[int] = field(default_factory=list[int])


@dataclass(eq=False, slots=True)
class BarrierNode:
    """A core's messages at a barrier."""

    source: Source
    before: list[Semaphore] = field(default_factory=list[Semaphore])
    after: list[Semaphore] = field(default_factory=list[Semaphore])


@dataclass(eq=False, slots=True)
class FenceNode:
    """Semaphores between two segments."""

    source: Source
    entries: list[Semaphore]


@dataclass(eq=False, slots=True)
class LoopNode:
    """A loop, or a whole program (``trips`` 1, no parent)."""

    source: Source
    parent: LoopNode | None = None
    trips: Scalar = 1
    over_time: bool = False
    children: list[TreeNode] = field(default_factory=list["TreeNode"])

    def leaves(self) -> Iterator[LeafNode]:
        """Yield the operations in order of issue."""
        for child in self.children:
            if isinstance(child, LoopNode):
                yield from child.leaves()
            elif isinstance(child, LeafNode):
                yield child


TreeNode = LeafNode | BarrierNode | FenceNode | LoopNode
