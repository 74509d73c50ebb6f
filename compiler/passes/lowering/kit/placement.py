"""Places of buffer versions in a core's scratchpad, in program order.

The place that was given back longest ago is taken first, so that what a new version must wait for
lies as far back as can be.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.core import Op
from snncc.compiler.passes.lowering.kit.versions import Version, aligned

MOST_GAPS = 48
"""With more, neighbours are joined: looking for a place shall stay cheap."""


class FreeSpace:
    """The free bytes of a scratchpad, each gap with the time at which it was given back."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.gaps: list[tuple[int, int, int]] = [(0, size, -1)]
        """Begin, end, time; sorted, neighbours with different times are not joined."""

    def take(self, size: int) -> int:
        """Return the address of ``size`` bytes that have been free longest, or -1."""
        best: tuple[int, int, int, int] | None = None  # time, address, first gap, last gap
        gaps = self.gaps
        for i in range(len(gaps)):
            begin, end, newest = gaps[i]
            j = i
            while end - begin < size and j + 1 < len(gaps) and gaps[j + 1][0] == end:
                j += 1
                end = gaps[j][1]
                newest = max(newest, gaps[j][2])
            if end - begin >= size and (best is None or newest < best[0]):
                best = newest, begin, i, j
        if best is None:
            return -1
        _, begin, i, j = best
        stop = begin + size
        gaps[i : j + 1] = [(max(a, stop), b, t) for a, b, t in gaps[i : j + 1] if b > stop]
        return begin

    def give(self, address: int, size: int, time: int) -> None:
        """Give bytes back."""
        self.gaps.append((address, address + size, time))
        self.gaps.sort()
        if len(self.gaps) > MOST_GAPS:
            self._join()

    def _join(self) -> None:
        joined: list[tuple[int, int, int]] = []
        for begin, end, time in self.gaps:
            if joined and joined[-1][1] == begin:
                joined[-1] = (joined[-1][0], end, max(joined[-1][2], time))
            else:
                joined.append((begin, end, time))
        self.gaps = joined


def place(versions: Sequence[Version], pad: FreeSpace, clock: int) -> bool:
    """Give a task's versions addresses, the scratchpad being free; False when that fails.

    ``clock``: the number of the task's first step in the core's program.
    """
    before = list(pad.gaps)
    living: list[Version] = []
    for version in versions:
        for other in [v for v in living if v.last < version.first]:
            living.remove(other)
            pad.give(other.address, aligned(other.size), clock + other.last)
        version.address = pad.take(aligned(version.size))
        if version.address < 0:
            pad.gaps = before
            return False
        living.append(version)
    for other in living:
        pad.give(other.address, aligned(other.size), clock + other.last)
    return True


def stack(versions: Sequence[Version], pad: FreeSpace, clock: int) -> None:
    """Give versions the places that ``allocate`` gave their buffers: these always fit.

    ``clock``: the number of the step behind the task.
    """
    pad.gaps = [(0, pad.size, clock)]
    for version in versions:
        owner = version.buffer.owner
        assert isinstance(owner, Op), "a buffer is declared in its task"
        version.address = owner.int_attr("offset")
