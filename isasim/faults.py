"""How a run ends: stop reasons with exit codes, traps, and the report of a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

TRAP_KINDS: tuple[str, ...] = (
    "alignment",
    "bounds",
    "core",
    "division",
    "illegal",
    "length",
    "loop",
    "microprogram",
    "operand",
    "overflow",
    "overlap",
    "token",
    "uninitialised",
    "window",
)


class StopReason(Enum):
    """Why a run ended; the value is the exit code of ``snncc run``."""

    HALT = 0
    TRAP = 3
    LIMIT = 4
    DEADLOCK = 5


class Trap(Exception):
    """An instruction that must not be executed; nothing has changed when it is raised.

    ``kind`` is one of :data:`TRAP_KINDS`, ``message`` says why, with the values.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class InstructionLocation:
    """An instruction of a core: where it is and where it came from."""

    core: int
    unit: str
    pc: int
    text: str
    source: str = ""

    @property
    def address(self) -> int:
        """Byte address of the instruction in the core's program."""
        return 16 * self.pc

    def __str__(self) -> str:
        place = f"core {self.core} {self.unit} {self.address:08x}: {self.text}"
        return f"{place}  ({self.source})" if self.source else place


@dataclass(frozen=True)
class Waiting:
    """One actor of a deadlock: what it waits for and which actors could provide it.

    ``later``: who might provide it as well, by an instruction that is not issued yet.
    """

    core: int
    unit: str
    reason: str
    providers: tuple[tuple[int, str], ...]
    where: InstructionLocation | None = None
    later: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        at = f" at {self.where.address:08x} ({self.where.text})" if self.where else ""
        who = ", ".join(f"core {c} {u}" for c, u in self.providers) or "nobody"
        return f"core {self.core} {self.unit}{at} waits for {self.reason}; provider: {who}"


@dataclass(frozen=True)
class Fault:
    """The report of a run that did not halt."""

    reason: StopReason
    kind: str
    message: str
    where: InstructionLocation | None = None
    waiting: tuple[Waiting, ...] = ()
    cycle: tuple[tuple[int, str], ...] = field(default=())

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.message}"]
        if self.where:
            lines.append(f"  at {self.where}")
        lines += [f"  {w}" for w in self.waiting]
        if self.cycle:
            ring = " -> ".join(f"core {c} {u}" for c, u in (*self.cycle, self.cycle[0]))
            lines.append(f"  circle: {ring}")
        return "\n".join(lines)


def find_cycle(waiting: Sequence[Waiting]) -> tuple[tuple[int, str], ...]:
    """Return a circle among the waiting actors (following first providers first), or ``()``."""
    edges = {(w.core, w.unit): w.providers for w in waiting}
    done: set[tuple[int, str]] = set()
    for start in edges:
        path: list[tuple[int, str]] = []
        on_path: dict[tuple[int, str], int] = {}
        stack = [(start, iter(edges[start]))] if start not in done else []
        while stack:
            node, rest = stack[-1]
            if node not in on_path:
                on_path[node] = len(path)
                path.append(node)
            following = next((n for n in rest if n in edges and n not in done), None)
            if following is None:
                done.add(node)
                path.pop()
                del on_path[node]
                stack.pop()
            elif following in on_path:
                return tuple(path[on_path[following] :])
            else:
                stack.append((following, iter(edges[following])))
    return ()
