"""The critical path of a timed run: for every cycle, the one thing that the end waited for.

A *node* says: up to ``end`` the path was at ``key``; before that it was where ``parent`` was.
Every actor keeps the node that led to its last event.  What starts late takes over the node of what
it waited for: a post, a message, a credit, room in a queue, the issue by the sequencer.  The chain
that ends last, walked back, covers the cycles of the run once each: its parts add up to them.

Neighbours with the same key are merged, and a chain that nothing refers to any more is forgotten:
memory grows with the number of changes of layer and unit on the paths alive, not with the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from snncc.isasim.machine.chip import Chip
from snncc.isasim.machine.decode import POST_KIND, RECV_KIND, SEND_KIND, SLOTS, WAIT_KIND

Key: TypeAlias = tuple[str, int, int, int]
"""What it was (:data:`CAUSES`), the core, the slot, the number of the layer and phase."""
Node: TypeAlias = tuple[int, Key, Any]
"""End, key, parent node or None."""

BUSY: Final = "busy"
DRAM: Final = "dram"
LINK: Final = "link"
LATENCY: Final = "latency"
MESSAGE: Final = "message"
FETCH: Final = "fetch"
CAUSES: Final = (BUSY, DRAM, LINK, LATENCY, MESSAGE, FETCH)
"""At work; waiting for the DRAM bus or a link; results or a message under way; loading of code."""


class CriticalPath:
    """Collects the chains of one run."""

    def __init__(self, chip: Chip, starts: Sequence[int]) -> None:
        self.labels: list[tuple[str, str]] = []
        numbers: dict[tuple[str, str], int] = {}
        self._label: list[list[int]] = [[] for _ in chip.by_index]
        self.last: list[Node | None] = [None] * (chip.count * 8)
        """How the last entry of an actor came to its end."""
        self.drained: list[Node | None] = [None] * (chip.count * 8)
        """How the last results of an actor came out."""
        self.posted: dict[tuple[int, int], Node | None] = {}
        self.credit: dict[int, Node | None] = {}
        self.flight: dict[tuple[int, int, int], deque[tuple[Node | None, int]]] = {}
        self._chip = chip
        for core, start in zip(chip.cores, starts, strict=True):
            program = core.code.program
            mine = self._label[core.index]
            for pc in range(len(program.code)):
                line = program.source(pc)
                about = (line.layer, line.phase) if line else ("", "")
                mine.append(numbers.setdefault(about, len(numbers)))
            mine.append(numbers.setdefault(("", ""), len(numbers)))
            core.seq.clock = (start, (FETCH, core.index, 0, mine[0]), None)
        self.labels = list(numbers)

    def step(
        self, end: int, cause: str, core: int, slot: int, pc: int, parent: Node | None
    ) -> Node:
        """Return the node of something that followed on ``parent``."""
        key = (cause, core, slot, self._label[core][pc])
        if parent is not None and parent[1] == key:
            return end, key, parent[2]
        return end, key, parent

    def served(
        self, kind: int, actor: int, pc: int, time: int, ready: int, end: int, held: int,
        drained: int, op: Any, targets: tuple[int, ...],
    ) -> Node | None:  # fmt: skip
        """Note an entry that started at ``time``; return how the run came there.

        ``ready``: when its unit was free and the entry issued; ``held``: cycles of ``end - time``
        for which a shared resource was taken; ``drained``: when the results of its unit are out;
        ``targets`` of a message.
        """
        core, slot = actor >> 3, actor & 7
        before = self._cause(kind, actor, time, ready, op)
        node = before
        if held:
            node = self.step(time + held, LINK if kind == SEND_KIND else DRAM, core, slot, pc, node)
        node = self.last[actor] = self.step(end, BUSY, core, slot, pc, node)
        out = self.drained[actor]
        if drained > end and (out is None or out[0] < drained):
            self.drained[actor] = self.step(drained, LATENCY, core, slot, pc, node)
        if kind == POST_KIND:
            self.posted[core, op[0]] = before
        elif kind == SEND_KIND:
            for target in targets:
                there = core, target, op[1][1]
                self.flight.setdefault(there, deque()).append((before, pc))
        return before

    def _cause(self, kind: int, actor: int, time: int, ready: int, op: Any) -> Node | None:
        """Return the node that ends where an entry starts."""
        core = actor >> 3
        sent: tuple[Node | None, int] | None = None
        if kind == RECV_KIND:
            sent = self.flight[op[1][0], core, op[1][1]].popleft()
        if time <= ready:
            before = self.last[actor]
        elif kind == WAIT_KIND:
            before = self.posted[core, op[0]]
        elif kind == POST_KIND:
            before = self.drained[actor]
        elif sent is not None:
            before = self.step(time, MESSAGE, op[1][0], actor & 7, sent[1], sent[0])
        else:
            before = self.credit[core]
        if sent is not None:
            self.credit[op[1][0]] = before
        return before

    def parts(self, end: int) -> dict[Key, int]:
        """Return the cycles of the run, which has ended at ``end``, by what the path was at."""
        ends: list[Node] = [n for n in (*self.last, *self.drained) if n is not None]
        for core in self._chip.cores:
            ends.append(self.step(core.seq.time, BUSY, core.index, 0, core.seq.pc, core.seq.clock))
        out: dict[Key, int] = {}
        for key, cycles in _walk(max(ends, key=lambda n: n[0]), end):
            out[key] = out.get(key, 0) + cycles
        return out

    def as_json(self, end: int) -> list[dict[str, Any]]:
        """Return the parts by unit, cause, layer and phase, the largest first."""
        sums: dict[tuple[str, str, str, str], dict[int, int]] = {}
        for (cause, core, slot, label), cycles in self.parts(end).items():
            what = (SLOTS[slot], cause, *self.labels[label])
            cores = sums.setdefault(what, {})
            cores[core] = cores.get(core, 0) + cycles
        rows = [
            {"unit": unit, "cause": cause, "layer": layer, "phase": phase,
             "cycles": sum(cores.values()), "cores": {str(c): n for c, n in sorted(cores.items())}}
            for (unit, cause, layer, phase), cores in sums.items()
        ]  # fmt: skip
        return sorted(rows, key=lambda r: (-r["cycles"], r["unit"], r["layer"], r["phase"]))


def _walk(node: Node | None, end: int) -> Iterator[tuple[Key, int]]:
    """Yield the stretches of a path, from its end back to cycle 0."""
    while node is not None:
        parent: Node | None = node[2]
        start = parent[0] if parent is not None else 0
        if end > start:
            yield node[1], end - start
        node, end = parent, start
