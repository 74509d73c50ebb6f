"""Versions of scratchpad buffers: what is written afresh needs not lie where the old value lies.

A buffer that tile after tile is loaded into holds a new value each time.  Where no byte of the old
value is read any more, a new *version* begins, with a place of its own: so the next tile can be
loaded while the one before is still computed with.  Which bytes are read and written is known
exactly or bounded from above (:mod:`footprint`); what is only bounded never ends a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from snncc.compiler.ir.core import Value
from snncc.compiler.passes.lowering.kit.steps import CoreStep, Node, Repeat

ALIGNMENT = 64


@dataclass(eq=False, slots=True)
class Version:
    """One value of a buffer: its bytes, and the first and the last step that touches it."""

    buffer: Value
    first: int
    last: int
    size: int = 0
    address: int = -1
    steps: list[int] = field(default_factory=list[int])


class Spans:
    """A set of bytes as sorted disjoint ranges."""

    __slots__ = ("ranges",)

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def add(self, low: int, high: int) -> None:
        """Add bytes."""
        kept: list[tuple[int, int]] = []
        for a, b in self.ranges:
            if b < low or a > high:
                kept.append((a, b))
            else:
                low, high = min(a, low), max(b, high)
        kept.append((low, high))
        kept.sort()
        self.ranges = kept

    def remove(self, low: int, high: int) -> None:
        """Remove bytes."""
        kept: list[tuple[int, int]] = []
        for a, b in self.ranges:
            if b <= low or a >= high:
                kept.append((a, b))
                continue
            if a < low:
                kept.append((a, low))
            if b > high:
                kept.append((high, b))
        self.ranges = kept


def segments(nodes: Sequence[Node]) -> list[list[CoreStep]]:
    """Return the runs of steps between the borders of kept loops, in program order."""
    found: list[list[CoreStep]] = [[]]

    def visit(children: Sequence[Node]) -> None:
        for node in children:
            if isinstance(node, Repeat):
                found.append([])
                visit(node.children)
                found.append([])
            else:
                found[-1].append(node)

    visit(nodes)
    return [one for one in found if one]


def _backwards(part: Sequence[CoreStep], variant: int) -> tuple[dict[Value, set[int]], set[Value]]:
    """Return, per buffer, the steps at which a version may begin, and the buffers that are read
    before they are written, in one of loops that are alike."""
    live: dict[Value, Spans] = {}
    begins: dict[Value, set[int]] = {}
    for i in range(len(part) - 1, -1, -1):
        variants = part[i].variants
        uses = variants[min(variant, len(variants) - 1)]
        written: set[Value] = set()
        for use in uses:
            spans = live.setdefault(use.buffer, Spans())
            if use.writes:
                written.add(use.buffer)
                if use.whole:
                    spans.remove(use.low, use.high)
        for use in uses:
            if use.reads:
                live[use.buffer].add(use.low, use.high)
        for buffer in written:
            if not live[buffer].ranges:
                begins.setdefault(buffer, set()).add(i)
    return begins, {buffer for buffer, spans in live.items() if spans.ranges}


def _analysed(part: Sequence[CoreStep]) -> tuple[dict[Value, set[int]], set[Value]]:
    """Return what holds whichever of loops that are alike an iteration is in.

    No value goes from one iteration of a parallel loop to another, so they need not be mixed.
    """
    begins, exposed = _backwards(part, 0)
    for variant in range(1, max(len(step.variants) for step in part)):
        others, more = _backwards(part, variant)
        exposed |= more
        begins = {b: places & others[b] for b, places in begins.items() if b in others}
    return begins, exposed


def find_versions(nodes: Sequence[Node]) -> tuple[list[Version], list[dict[Value, Version]]]:
    """Return a task's versions and, per step in program order, the version of each buffer.

    Steps are numbered from 0.  A buffer whose value is used across the border of a kept loop has
    one version for the whole task.
    """
    parts = segments(nodes)
    analysed = [_analysed(part) for part in parts]
    pinned = {value for _, exposed in analysed for value in exposed}
    versions: list[Version] = []
    maps: list[dict[Value, Version]] = []
    total = sum(len(part) for part in parts)
    fixed: dict[Value, Version] = {}
    at = 0
    for part, (begins, _) in zip(parts, analysed, strict=True):
        current: dict[Value, Version] = {}
        for i, step in enumerate(part):
            mine: dict[Value, Version] = {}
            for use in step.uses:
                buffer = use.buffer
                if buffer in pinned:
                    if buffer not in fixed:
                        fixed[buffer] = Version(buffer, 0, total - 1, buffer.type.size)
                        versions.append(fixed[buffer])
                    version = fixed[buffer]
                else:
                    fresh = buffer not in mine and i in begins.get(buffer, ())
                    if fresh or buffer not in current:
                        current[buffer] = Version(buffer, at, at)
                        versions.append(current[buffer])
                    version = current[buffer]
                    version.last = at
                mine[buffer] = version
                if not version.steps or version.steps[-1] != at:
                    version.steps.append(at)
                version.size = max(version.size, use.high)
            maps.append(mine)
            at += 1
    versions.sort(key=lambda v: v.first)
    return versions, maps


def aligned(size: int) -> int:
    """Round bytes up to whole lines of the scratchpad."""
    return max(ALIGNMENT, (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
