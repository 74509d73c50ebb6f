"""Derives semaphores from hazards on scratchpad buffers.

The rules are in docs/design/tiling-mapping-lowering.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Value
from snncc.compiler.passes.lowering.kit.tree import LeafNode, LoopNode, Semaphore, TaskNode
from snncc.isa.spec import QUEUED_UNITS, SEMAPHORES, Unit

START = {u: SEMAPHORES - 2 * (i + 1) for i, u in enumerate(QUEUED_UNITS)}
"""Posted by the DMA unit when a task may start on a unit."""
END = {u: SEMAPHORES - 2 * (i + 1) + 1 for i, u in enumerate(QUEUED_UNITS)}
"""Posted by a unit when it is done with a task."""
TASK_SEMAPHORES = min(START.values())


@dataclass
class _Task:
    root: LoopNode
    count: int = 0
    forward: dict[tuple[LoopNode, Unit, Unit], list[tuple[int, int]]] = field(
        default_factory=dict["tuple[LoopNode, Unit, Unit]", "list[tuple[int, int]]"]
    )
    carried: dict[tuple[LoopNode, Unit, Unit], list[tuple[int, int]]] = field(
        default_factory=dict["tuple[LoopNode, Unit, Unit]", "list[tuple[int, int]]"]
    )
    awaited: set[int] = field(default_factory=set[int])
    """Semaphores that the DMA unit takes."""

    def number(self) -> int:
        """Return a fresh semaphore."""
        if self.count >= TASK_SEMAPHORES:
            fail(
                "E0602",
                f"task {self.root.op.str_attr('name')} needs more than {TASK_SEMAPHORES} "
                "semaphores",
                where=str(self.root.op.loc),
                help="larger tiles need fewer: choose a machine with more scratchpad",
            )
        self.count += 1
        return self.count - 1

    def order(self, first: TaskNode, then: TaskNode, source: Unit, target: Unit) -> None:
        """Make ``target`` wait at ``then`` for ``source`` to be through with ``first``."""
        assert first.parent is not None
        known = self.forward.setdefault((first.parent, source, target), [])
        if any(f >= first.index and t <= then.index for f, t in known):
            return
        known.append((first.index, then.index))
        number = self.number()
        if target is Unit.DMA:
            self.awaited.add(number)
        first.after.append(Semaphore("post", source, number))
        then.before.append(Semaphore("wait", target, number))

    def order_carried(
        self, last: TaskNode, node: TaskNode, loop: LoopNode, source: Unit, target: Unit
    ) -> None:
        """As :meth:`order`, from one iteration of ``loop`` to the next."""
        known = self.carried.setdefault((loop, source, target), [])
        if any(f >= last.index and t <= node.index for f, t in known):
            return
        known.append((last.index, node.index))
        number = self.number()
        if target is Unit.DMA:
            self.awaited.add(number)
        loop.before.append(Semaphore("post", target, number))
        node.before.append(Semaphore("wait", target, number))
        last.after.append(Semaphore("post", source, number))
        loop.after.append(Semaphore("wait", target, number))


def _others(task: LoopNode, buffer: Value, unit: Unit) -> Iterator[Unit]:
    for other in task.touches.get(buffer, {}):
        if other is not unit:
            yield other


def _order_access(task: _Task, leaf: LeafNode, buffer: Value, write: bool, source: Unit) -> None:
    """Order one access after the latest conflicting one of another unit."""
    node: TaskNode = leaf
    while node.parent is not None:
        siblings = node.parent.children
        for earlier in reversed(siblings[: node.index]):
            if earlier.conflicts(buffer, source, write):
                task.order(earlier, node, source, leaf.unit)
                return
        loop = node.parent
        if loop.parent is not None:
            for later in reversed(siblings[node.index :]):
                if later.conflicts(buffer, source, write):
                    task.order_carried(later, node, loop, source, leaf.unit)
                    break
        node = loop


def synchronise(root: LoopNode) -> None:
    """Add semaphores around the nodes of one task."""
    task = _Task(root)
    units: list[Unit] = []
    for leaf in root.leaves():
        if leaf.unit not in units:
            units.append(leaf.unit)
        for buffer, write in leaf.accesses.items():
            for source in _others(root, buffer, leaf.unit):
                _order_access(task, leaf, buffer, write, source)
    last = _last_entries(root)
    for unit in units:
        if unit is Unit.DMA:
            continue
        root.before += [
            Semaphore("post", Unit.DMA, START[unit]),
            Semaphore("wait", unit, START[unit]),
        ]
        if last[unit] not in task.awaited:
            root.after += [
                Semaphore("post", unit, END[unit]),
                Semaphore("wait", Unit.DMA, END[unit]),
            ]


def _last_entries(root: LoopNode) -> dict[Unit, int]:
    """Return for each unit the semaphore that its last entry in the task posts (-1: none)."""
    last: dict[Unit, int] = {}

    def visit(node: TaskNode) -> None:
        for entry in node.before:
            last[entry.unit] = -1
        if isinstance(node, LeafNode):
            last[node.unit] = -1
        elif isinstance(node, LoopNode):
            for child in node.children:
                visit(child)
        for entry in node.after:
            last[entry.unit] = entry.number if entry.kind == "post" else -1

    visit(root)
    return last
