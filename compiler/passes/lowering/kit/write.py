"""Arranged parts of a program as a tree: addresses, semaphores, names of buffers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.lowering.kit.footprint import StreamUse
from snncc.compiler.passes.lowering.kit.program import Barrier, KeptLoop, Part, Placed, Segment
from snncc.compiler.passes.lowering.kit.scalars import compute
from snncc.compiler.passes.lowering.kit.steps import Place
from snncc.compiler.passes.lowering.kit.tokens import PAIRS, StepTokens
from snncc.compiler.passes.lowering.kit.tree import (
    BarrierNode,
    BufferName,
    FenceNode,
    LeafNode,
    LoopNode,
    Semaphore,
    Source,
)
from snncc.compiler.passes.lowering.kit.versions import Version
from snncc.isa.spec import Unit


def source_of(task: Op, op: Op | None = None) -> Source:
    """Return to which layer and phase an operation of a task belongs."""
    layer = task.str_attr("layer", "") or task.str_attr("name", "")
    phase = task.str_attr("phase", "")
    return Source(layer, op.str_attr("phase", phase) if op is not None else phase, task.loc)


def _posts(unit: Unit, tokens: StepTokens) -> list[Semaphore]:
    return [Semaphore("post", unit, PAIRS[unit, other]) for other in tokens.posts]


def _waits(unit: Unit, tokens: StepTokens) -> list[Semaphore]:
    return [Semaphore("wait", unit, PAIRS[other, unit]) for other in tokens.waits]


class TreeBuilder:
    """Builds the tree of a program."""

    def __init__(self, drams: Mapping[Value, int]) -> None:
        """``drams``: the addresses of DRAM tensors."""
        self.drams = drams
        self.left: Counter[Version] = Counter()
        """Steps of each version that are still to come."""
        self.numbers: dict[Version, int] = {}
        self.tensors: dict[tuple[int, Value], str] = {}
        self.named: set[int] = set()

    def build(self, parts: Sequence[Part], source: Source) -> LoopNode:
        """Return the tree of a whole program."""
        self._count(parts)
        root = LoopNode(source)
        self._parts(parts, root, False)
        return root

    def _count(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part, KeptLoop):
                self._count(part.body)
                continue
            for item in part.items:
                if isinstance(item, Placed):
                    self.left.update(set(item.versions.values()))

    def _parts(self, parts: Sequence[Part], into: LoopNode, in_loop: bool) -> None:
        for i, part in enumerate(parts):
            if isinstance(part, KeptLoop):
                source = source_of(part.op) if not part.over_time else _sync(part.op)
                loop = LoopNode(source, into, part.trips, part.over_time)
                self._parts(part.body, loop, True)
                into.children.append(loop)
                continue
            if in_loop or i > 0:
                self._fence(part, into, start=True)
            self._segment(part, into)
            if in_loop or i < len(parts) - 1:
                self._fence(part, into, start=False)

    @staticmethod
    def _fence(part: Segment, into: LoopNode, *, start: bool) -> None:
        """Let the DMA unit wait for the units of a segment, or these for it."""
        entries: list[Semaphore] = []
        for unit in part.units():
            source, target = (Unit.DMA, unit) if start else (unit, Unit.DMA)
            entries += [
                Semaphore("post", source, PAIRS[source, target]),
                Semaphore("wait", target, PAIRS[source, target]),
            ]
        if entries:
            item = part.items[part.order[0 if start else -1]]
            source_ = source_of(item.step.task) if isinstance(item, Placed) else _sync(item.op)
            into.children.append(FenceNode(source_, entries))

    def _segment(self, part: Segment, into: LoopNode) -> None:
        for number in part.order:
            item, tokens = part.items[number], part.tokens[number]
            if isinstance(item, Barrier):
                into.children.append(
                    BarrierNode(_sync(item.op), _waits(Unit.NOC, tokens), _posts(Unit.NOC, tokens))
                )
            else:
                into.children.append(self._leaf(item, tokens, into))

    def _leaf(self, item: Placed, tokens: StepTokens, parent: LoopNode) -> LeafNode:
        step = item.step
        leaf = LeafNode(
            step,
            source_of(step.task, step.op),
            self._addresses(item),
            parent,
            _waits(step.unit, tokens),
            _posts(step.unit, tokens),
        )
        for version in dict.fromkeys(item.versions.values()):
            if version not in self.numbers:
                self.numbers[version] = len(self.numbers)
                leaf.begins.append(self._name(version, step.task))
            self.left[version] -= 1
            if not self.left[version]:
                leaf.ends.append(self.numbers[version])
        return leaf

    def _addresses(self, item: Placed) -> tuple[Place, ...]:
        op, found = item.step.op, list[Place]()
        operands: Sequence[Value | None] = op.operands
        if "streams" in op.attrs:
            streams: tuple[StreamUse, ...] = op.attrs["streams"]  # type: ignore[assignment]
            operands = [op.operands[i] if i >= 0 else None for i, _, _, _ in streams]
        for operand, (base, loops) in zip(operands, item.step.at, strict=True):
            if operand is None:
                found.append((base, loops))
            elif operand in item.versions:
                found.append((compute("add", base, item.versions[operand].address), loops))
            elif operand in self.drams:
                found.append((compute("add", base, self.drams[operand]), loops))
            else:  # it is not touched (a bias where sums go on)
                found.append((0, (0,) * len(loops)))
        return tuple(found)

    def _name(self, version: Version, task: Op) -> BufferName:
        owner = version.buffer.owner
        assert isinstance(owner, Op), "a buffer is declared in its task"
        return BufferName(
            self.numbers[version],
            f"{task.str_attr('name')}.{owner.str_attr('name')}",
            version.address,
            version.size,
            self._tensor(version.buffer, task),
        )

    def _tensor(self, buffer: Value, task: Op) -> str:
        """Return of which tensor a buffer holds a part, for those who look into a run."""
        if id(task) not in self.named:
            self.named.add(id(task))
            for each in task.walk():
                if each.name in {"tile.ld", "tile.st"}:
                    names = [_tensor_name(v) for v in each.operands]
                    for value, other in zip(each.operands, reversed(names), strict=True):
                        if other:
                            self.tensors.setdefault((id(task), value), other)
        return self.tensors.get((id(task), buffer), "")


def _tensor_name(value: Value) -> str:
    owner = value.owner
    named = isinstance(owner, Op) and owner.name == "tile.dram"
    return owner.str_attr("name") if named and isinstance(owner, Op) else ""


def _sync(op: Op) -> Source:
    return Source("", "sync", op.loc)
