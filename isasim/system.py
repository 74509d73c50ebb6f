"""The simulator's front door: an object file on a machine.

    system = System(read("prog.snnx"))
    system.write_tensor("x", x)
    result = system.run()
    logits = system.read_tensor("logits")

A system may run many times: decoding is done once, the DRAM keeps its contents between runs (that
is how weights survive from training step to training step), everything else starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.machine.machine import Machine
from snncc.isa.program.file import ObjectFile, ObjectFileError, Symbol, TensorEntry, machine_of
from snncc.isa.program.layout import extent, read_tensor, write_tensor
from snncc.isasim.engines import EngineNumerics, prepare, select_engine
from snncc.isasim.faults import Fault, StopReason
from snncc.isasim.machine.chip import POISON, Chip
from snncc.isasim.machine.decode import decode_cores
from snncc.isasim.machine.image import Image, dram_size
from snncc.isasim.machine.initial import InitShadow
from snncc.isasim.machine.network import DramBus, Link, MeshLinks
from snncc.isasim.measure.accounts import Addresses
from snncc.isasim.measure.activity import ActivityRecorder, Expected, Recording
from snncc.isasim.measure.counters import Counters
from snncc.isasim.measure.critical import CriticalPath
from snncc.isasim.measure.pricing import Pricing
from snncc.isasim.measure.stats import (
    Stats,
    Timing,
    collect,
    memory_map,
    snapshot,
    summary,
)
from snncc.isasim.measure.timeline import Timeline
from snncc.isasim.observe.hooks import Hooks, Tracer
from snncc.isasim.observe.races import Race, RaceChecker
from snncc.isasim.replay.plan import make_plan
from snncc.isasim.reports import leftovers
from snncc.isasim.schedulers.parallel import Parallel
from snncc.isasim.schedulers.timed import Timed
from snncc.isasim.schedulers.untimed import Untimed

if TYPE_CHECKING:
    from snncc.isasim.replay.replay import PlanReplay

Array: TypeAlias = npt.NDArray[Any]
DEFAULT_LIMIT = 1_000_000_000


@dataclass(frozen=True)
class RunOptions:
    """How to run; see :class:`System`."""

    engine: str = "fast"
    timing: bool = True
    strict_init: bool = False
    check_races: bool = False
    max_instructions: int = DEFAULT_LIMIT
    order_seed: int | None = None
    """Untimed runs only: draw a legal order at random."""
    plan: bool = True
    """Work out once what does not depend on data (:mod:`snncc.isasim.replay.plan`), where that is
    possible and nobody watches; same bits, times and statistics."""
    timeline: bool = False
    """Also count how busy everything was over time."""
    source: Expected | Recording | None = None
    """Compute no values: this says how active the instructions are (needs ``timing``)."""
    extrapolate: bool = True
    """Without values, at expected densities: count turns of loops that repeat exactly, instead of
    running them (:mod:`snncc.isasim.schedulers.periodic`); same times and statistics."""
    threads: int = 1
    """Compute values of several cores at once (timed runs without observers); a program with races
    may then give other bits."""
    recorder: ActivityRecorder | None = None
    """Keeps what every instruction did (needs ``timing``)."""
    poison: bool = True
    """Refill the scratchpads before every run; a program that never reads what it did not write
    (``strict_init`` tells) gives the same bits without."""


@dataclass
class SimulationResult:
    """The outcome of a run."""

    reason: StopReason
    fault: Fault | None
    cycles: int
    instructions: int
    races: tuple[Race, ...]
    leftovers: tuple[str, ...]
    """After a halt: messages that nobody received and semaphores that are not 0; harmless, but most
    often a mistake."""
    _collect: Callable[[], Stats] = field(repr=False)
    _summarise: Callable[[], Stats] = field(repr=False)

    @property
    def exit_code(self) -> int:
        """The exit code of ``snncc run``."""
        return self.reason.value

    @cached_property
    def stats(self) -> Stats:
        """The statistics in the shape of ``--stats``; worked out when first asked for."""
        return self._collect()

    @cached_property
    def summary(self) -> Stats:
        """Of :attr:`stats`: ``cycles``, ``seconds``, ``energy_pj.total`` and ``dram_bytes``."""
        return self._summarise()


class System:
    """A program loaded into a machine.

    ``machine`` overrides the description that the object file carries; ``folder`` is where files
    named by the object file lie; ``dram_bytes`` asks for more DRAM than the program's tensors need.
    """

    def __init__(
        self, program: ObjectFile, options: RunOptions | None = None, *,
        machine: Machine | None = None, folder: str | Path = ".", dram_bytes: int = 0,
        tracers: Sequence[Tracer] = (),
    ) -> None:  # fmt: skip
        self.program = program
        self.options = options or RunOptions()
        self.machine = machine or machine_of(program)
        m = self.machine
        if not program.cores:
            raise ObjectFileError("the program has no code for any core")
        beyond = [c.core for c in program.cores if not 0 <= c.core < m.cores]
        if beyond:
            raise ObjectFileError(
                f"code for core {beyond[0]}; machine {m.name} has {m.cores} cores"
            )
        self.tensors = {t.name: t for t in program.tensors}
        self.values = self.options.source is None
        size = dram_size(program, m, dram_bytes)
        self.dram: npt.NDArray[np.uint8] = (
            np.full(size, POISON, np.uint8) if self.values else np.zeros(size, np.uint8)
        )  # without values, no page of it is ever touched
        micro = [prepare(p) for p in program.micro]
        groups = frozenset({"base", *m.extensions})
        codes = decode_cores(sorted(program.cores, key=lambda c: c.core), micro, groups)
        names: dict[int, list[Symbol]] = {}
        for symbol in program.symbols:
            names.setdefault(symbol.core, []).append(symbol)
        for code in codes:
            code.symbols = (*names.get(-1, ()), *names.get(code.core, ()))
        self.pricing = Pricing(m)
        limit = m.sequencer.instruction_bytes
        self._fetched = [16 * c.words if 16 * c.words <= limit else -1 for c in codes]
        ticks = [1 if fetched >= 0 else self.pricing.fetch_tick for fetched in self._fetched]
        self.chip = Chip(
            codes, m.scratchpad.bytes, self.dram, m.sequencer.queue_depth, ticks,
            m.noc.channel_credits, m.cores, m.sequencer.semaphore_max, m.sequencer.loop_depth,
        )  # fmt: skip
        numerics = EngineNumerics("fp16" if m.accumulator == "fp16" else "fp32", m.saturate)
        self.engine = select_engine(self.options.engine, numerics)
        self._bus = DramBus()
        self._mesh = MeshLinks(m.mesh.cols, m.mesh.rows, m.noc.hop_cycles)
        self._races = RaceChecker(m.cores) if self.options.check_races else None
        self._initial = (
            InitShadow([c.core for c in codes], m.scratchpad.bytes, self.dram.size)
            if self.options.strict_init
            else None
        )
        self._hooks = (
            Hooks(self.dram.size, self._races, self._initial, tracers)
            if self._races or self._initial or tracers
            else None
        )
        if self.options.recorder is not None:
            self.options.recorder.engine = self.engine
        self._timeline = Timeline() if self.options.timeline else None
        self._watch()
        self._planned = False
        self._plan: PlanReplay | None = None
        self._image = Image(program, Path(folder), self.chip, self._initial)
        if self.values:
            self._image.load("dram", "sram")

    def _watch(self) -> None:
        """Tell tracers and the timeline who takes the DRAM bus and the links."""
        watchers = [self._hooks.transfer] if self._hooks else []
        if self._timeline is not None:
            watchers.append(self._timeline.transfer)
        if not watchers:
            return

        def watch(link: Link, begin: int, end: int) -> None:
            for watcher in watchers:
                watcher(link, begin, end)

        self._bus.watcher = self._mesh.watcher = watch

    def tensor(self, name: str) -> TensorEntry:
        """Return the table's entry of a tensor; KeyError names those that exist."""
        found = self.tensors.get(name)
        if found is None:
            raise KeyError(f"no tensor '{name}'; the program has {', '.join(self.tensors)}")
        return found

    def write_tensor(self, name: str, values: Array) -> None:
        """Put values into a tensor (float32 is rounded to binary16 where the tensor holds that)."""
        tensor = self.tensor(name)
        memory, flags = self._image.memory(tensor.space, tensor.core)
        write_tensor(tensor, memory, values)
        if flags is not None:
            low, high = extent(tensor)
            flags[low:high] = True

    def read_tensor(self, name: str) -> Array:
        """Return a tensor: float32 of the exact values, int32, or uint8 for spikes."""
        tensor = self.tensor(name)
        return read_tensor(tensor, self._image.memory(tensor.space, tensor.core)[0])

    def run(self, seed: int = 0) -> SimulationResult:
        """Run the program from its start to its end, or to what stops it."""
        options, chip, pricing = self.options, self.chip, self.pricing
        self._bus.reset()
        self._mesh.reset()
        self._clear()
        if self._hooks:
            self._hooks.begin()
        for each in (self._timeline, options.recorder, options.source):
            if each is not None:
                each.reset()
        starts = [
            self._bus.request(0, pricing.transfer(fetched))[1] + pricing.load_latency
            if fetched > 0
            else 0
            for fetched in self._fetched
        ]
        source = options.source or options.recorder
        values, before = self.values, None
        if self.parallel:
            before = self.dram.copy()
            done = self._compute(starts, seed)
            if done is None:
                return self._in_order(before, seed)
            source, values = done, False
        chip.reset(starts, seed)
        pricing.begin()
        replay = self._replay(seed)
        if replay is not None:
            return self._repeat(replay, seed, starts)
        counters = Counters(chip, pricing.prices)
        ends: dict[int, int] = {}
        path: CriticalPath | None = None
        if options.timing:
            if self._timeline is not None and self._races is None:
                path = CriticalPath(chip, starts)
            timed = Timed(
                chip, self.engine, pricing, counters, self._bus, self._mesh,
                options.max_instructions, self._hooks, self._timeline, source, values, path,
                options.extrapolate,
            )  # fmt: skip
            fault = timed.run()
            cycles, ends, path = timed.end, timed.ends, timed.path
            if fault is not None and before is not None:
                return self._in_order(before, seed)
        else:
            fault = Untimed(
                chip, self.engine, counters, options.max_instructions, self._hooks,
                options.order_seed,
            ).run()  # fmt: skip
            cycles = 0
        counters.finish(chip)
        if self._hooks:
            self._hooks.finish(cycles)
        timing = snapshot(
            cycles, self._fetched, starts, ends, self._bus, self._mesh, self._timeline, path
        )
        return SimulationResult(
            fault.reason if fault else StopReason.HALT,
            fault,
            cycles,
            sum(counters.executed),
            tuple(self._races.races) if self._races else (),
            leftovers(chip) if fault is None else (),
            lambda: self._collect(counters, timing),
            lambda: summary(self.chip, self._addresses, counters, timing, self.pricing),
        )

    @cached_property
    def _addresses(self) -> Addresses:
        return Addresses(self.chip)

    def _collect(self, counters: Counters, timing: Timing) -> Stats:
        stats = collect(self.chip, self._addresses, counters, timing, self.machine, self.pricing)
        return {**stats, "memory": memory_map(self.program, self.dram.size, self.machine)}

    @property
    def parallel(self) -> bool:
        """Whether values are computed on several threads."""
        options = self.options
        plain = self._hooks is None and options.source is None and options.recorder is None
        return options.threads > 1 and len(self.chip.cores) > 1 and options.timing and plain

    def _clear(self) -> None:
        """Make the scratchpads what they are before a run."""
        if self.options.poison and self.values:
            self.chip.poison()
        if self._initial:
            self._initial.reset()
        if self.values and self._image.has_scratchpads:
            self._image.load("sram")

    def _compute(self, starts: Sequence[int], seed: int) -> Recording | None:
        """Compute all values on threads; None when the program stops early."""
        self.chip.reset(starts, seed)
        name, numerics = self.options.engine, self.engine.numerics
        workers, limit = (
            min(self.options.threads, len(self.chip.cores)),
            self.options.max_instructions,
        )
        parallel = Parallel(self.chip, lambda: select_engine(name, numerics), workers, limit)
        if parallel.run():
            return Recording(parallel.activities())
        return None

    def _in_order(self, before: npt.NDArray[np.uint8], seed: int) -> SimulationResult:
        """Run on one thread, from the memory as it was: the report must be of the first fault."""
        self.dram[:] = before
        options, self.options = self.options, replace(self.options, threads=1, plan=False)
        try:
            return self.run(seed)
        finally:
            self.options = options

    def _replay(self, seed: int) -> PlanReplay | None:
        """Return the program's plan, made at the first run, if it has one and nobody watches."""
        options = self.options
        watchers = (self._hooks, self._timeline, options.source, options.recorder)
        if any(w is not None for w in (*watchers, options.order_seed)) or not options.plan:
            return None
        if self.parallel:
            return None
        if not self._planned and self.engine.name == "fast":
            self._planned = True
            plan = make_plan(self.chip, seed, options.max_instructions)
            if plan is not None:
                from snncc.isasim.replay.replay import (
                    PlanReplay,  # needs numba, as the fast engine does
                )

                self._plan = PlanReplay(plan, self.chip, self.engine, self.pricing, self._mesh)
        found = self._plan
        return found if found is not None and found.plan.seed in (None, seed) else None

    def _repeat(self, replay: PlanReplay, seed: int, starts: Sequence[int]) -> SimulationResult:
        """Run the plan."""
        times = replay.run(seed, starts, self._bus, self.options.timing)
        timing = snapshot(
            times.cycles, self._fetched, starts, times.ends, self._bus, self._mesh, None
        )
        return SimulationResult(
            times.fault.reason if times.fault else StopReason.HALT,
            times.fault,
            times.cycles,
            sum(replay.plan.executed),
            (),
            replay.plan.leftovers if times.fault is None else (),
            lambda: self._collect(times.counters(), timing),
            lambda: summary(self.chip, self._addresses, times.counters(), timing, self.pricing),
        )
