"""Runs of a plan: values by its bound instructions, then times by its schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from snncc.isasim.engines.base import Activity, Engine
from snncc.isasim.engines.fast.engine import FastEngine
from snncc.isasim.machine.chip import Chip
from snncc.isasim.machine.network import DramBus, MeshLinks
from snncc.isasim.measure.counters import Counters
from snncc.isasim.measure.pricing import Pricing
from snncc.isasim.replay.plan import RunPlan
from snncc.isasim.replay.times import Schedule, Times
from snncc.isasim.replay.values import Bound


class PlanReplay:
    """A plan on a chip."""

    def __init__(
        self, plan: RunPlan, chip: Chip, engine: Engine, pricing: Pricing, mesh: MeshLinks
    ) -> None:
        self.plan = plan
        self.chip = chip
        assert isinstance(engine, FastEngine), "plans are bound to the kernels"
        self.bound = Bound(plan, chip, engine)
        self.pricing = pricing
        self.mesh = mesh
        self._schedule: Schedule | None = None

    def run(self, seed: int, starts: Sequence[int], bus: DramBus, timing: bool) -> Times:
        """Run once; without ``timing`` all times are 0."""
        found: list[Activity | None] = [None] * len(self.plan.items)
        self.bound.run(seed, found)
        self.plan.finish(self.chip, seed)
        if not timing:
            return Times(None, 0, {}, self._untimed(found))
        if self._schedule is None:
            self._schedule = Schedule(self.plan, self.chip, self.pricing, self.mesh)
        return self._schedule.run(found, starts, bus)

    def _untimed(self, found: list[Activity | None]) -> Callable[[], Counters]:
        def counters() -> Counters:
            made = Counters(self.chip, self.pricing.prices)
            for item, activity in zip(self.plan.items, found, strict=True):
                if activity is not None:
                    core = item.core.index
                    made.dense[core][item.pc] += activity[0]
                    made.performed[core][item.pc] += activity[1]
                    made.spikes[core][item.pc] += activity[2]
            made.counts, made.executed = self.plan.counts, self.plan.executed
            return made

        return counters
