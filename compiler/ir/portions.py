"""How the iterations of a task's ``tile.parallel`` loops are dealt out to cores.

All loops of a task count as one row of iterations, which is cut into contiguous runs, one per core,
as even as can be; the first cores have one iteration more where it does not divide.  Iterations
touch disjoint outputs and no reduction crosses them, so the number of cores changes no bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Block, Op


@dataclass(frozen=True, slots=True)
class Portion:
    """Iterations ``start`` to ``start + trips`` of a task's ``total``, dealt out to ``cores``."""

    start: int
    trips: int
    total: int
    cores: int

    @property
    def each(self) -> int:
        """How many iterations of the task every core has at least."""
        return self.total // self.cores

    @property
    def longer(self) -> int:
        """How many cores, the first ones, have one iteration more."""
        return self.total % self.cores

    def run(self, core: int) -> range:
        """Return the iterations of this loop that a core has, counted from the loop's first."""
        low = core * self.each + min(core, self.longer)
        high = low + self.each + (core < self.longer)
        first = min(max(low - self.start, 0), self.trips)
        return range(first, max(first, min(high - self.start, self.trips)))

    def counts(self) -> tuple[int, int]:
        """Return the least and the most iterations that a core has."""
        found = [len(self.run(core)) for core in range(self.cores)]
        return min(found), max(found)


def portions(task: Op, cores: int) -> dict[Op, Portion]:
    """Return the portion of every parallel loop of a task."""
    loops = [each for each in task.regions[0].ops if each.name == "tile.parallel"]
    total = sum(each.int_attr("trips") for each in loops)
    found: dict[Op, Portion] = {}
    start = 0
    for each in loops:
        trips = each.int_attr("trips")
        found[each] = Portion(start, trips, total, cores)
        start += trips
    return found


def whole(task: Op, cores: int) -> Portion:
    """Return the portion of all iterations of a task: a core without any leaves the task out."""
    found = portions(task, cores).values()
    total = sum(each.trips for each in found)
    return Portion(0, total, total, cores)


def cores_at_work(body: Block, cores: int) -> int:
    """Return how many cores, the first ones, have an iteration of any task."""
    tasks = [o for each in body.ops for o in each.walk() if o.name == "tile.task"]
    return max((min(cores, whole(task, cores).total) for task in tasks), default=0)
