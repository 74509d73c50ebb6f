"""What a program is expected to cost, from its code alone: the cost model times trip counts.

Nothing is run: every instruction of a unit is priced once by :func:`snncc.isa.cost.cost.cost` at
the density expected of its layer and phase, and counted by the trip counts of the loops around it.
So busy cycles, energy and bytes are those of a run whose activity is the expected one; queues, DRAM
and links shared by several cores, semaphores and messages are left out: ``bound`` is a time that no
run can beat, not a prediction.  Leakage and clock energy belong to time and are left out too.

Sizes and trip counts must be known (:mod:`snncc.isa.cost.trips`).  That is so in every compiled
program; others may have no estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import numpy as np

from snncc.isa.cost.cost import CostActivity, InstructionCost, cost, fetch_cost
from snncc.isa.cost.expected import DEFAULT_DENSITY, expect
from snncc.isa.cost.trips import CodeReader, UnknownSize
from snncc.isa.machine.machine import Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.program.model import CoreProgram, SourceLine
from snncc.isa.roles import ACCUMULATING, Family
from snncc.isa.spec import (
    WORD_BYTES,
    Insn,
    Unit,
)
from snncc.isa.window import Window

Key: TypeAlias = tuple[str, str]
"""Layer and phase."""
KEY: Final = "estimate"
"""Where an object file's metadata has it."""

_ENGINES: Final = (Unit.FP, Unit.BP, Unit.WG, Unit.VPU)


@dataclass(frozen=True)
class Densities:
    """What is expected of layers and phases: keys ``(layer, phase)``, empty ones stand for all.

    ``origin`` says where the densities were found, ``default`` is for the rest.
    """

    found: Mapping[Key, float] = field(default_factory=dict[Key, float])
    origin: str = ""
    default: float = DEFAULT_DENSITY
    default_origin: str = "default"

    def of(self, layer: str, phase: str) -> tuple[float, str]:
        """Return the density of a layer and phase, and where it comes from."""
        for key in ((layer, phase), (layer, ""), ("", phase)):
            if key in self.found:
                return self.found[key], self.origin
        return self.default, self.default_origin


@dataclass
class _Sum:
    """How often which cost occurs in one layer and phase."""

    uses: dict[int, int] = field(default_factory=dict[int, int])
    waits: dict[int, int] = field(default_factory=dict[int, int])
    """Waits and posts in the queue of a unit: a cycle each."""
    instructions: int = 0
    code: int = 0


class _Prices:
    """Costs by what they depend on."""

    def __init__(self, machine: Machine, micro: Sequence[MicroProgram]) -> None:
        self.machine = machine
        self.micro = micro
        self.costs: list[InstructionCost] = []
        self.units: list[str] = []
        self.terms: list[bool] = []
        """Whether the terms are multiply-accumulates."""
        self._known: dict[Any, int] = {}

    def number(
        self, core: int, row: Insn, values: tuple[int, ...], window: Window | None, density: float
    ) -> int:
        """Return the number of an instruction's cost; ``values`` without those of places."""
        key = (row.mnemonic, values, window, density, core if row.unit is Unit.NOC else 0)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.costs)
            self.costs.append(self._cost(core, row, values, window, density))
            self.units.append(row.unit.value)
            self.terms.append(row.family in ACCUMULATING)
        return found

    def _cost(
        self, core: int, row: Insn, values: tuple[int, ...], window: Window | None, density: float
    ) -> InstructionCost:
        operands = dict(zip((f.name for f in row.operands), values, strict=True))
        micro = self.micro[operands["prog"]] if row.family is Family.LANES else None
        if window is not None:
            operands |= window._asdict()
        activity = CostActivity()
        if row.unit in _ENGINES:
            done = expect(row.mnemonic, values, window, density)
            activity = CostActivity(done.performed, -1, done.outputs, -1)
        elif row.mnemonic == "send":
            activity = CostActivity(hops=self.machine.hops(core, operands["core"]))
        elif row.mnemonic == "mcast":
            mask = operands["mask"]
            to = frozenset(i for i in range(self.machine.cores) if mask >> i & 1 and i != core)
            activity = CostActivity(hops=self.machine.multicast_links(core, to))
        return cost(row.mnemonic, operands, self.machine, activity, micro)


_UNITS: Final = tuple(unit.value for unit in Unit)


class _Totals:
    """What all cores do."""

    def __init__(self, prices: _Prices, densities: Densities) -> None:
        self.prices = prices
        self.densities = densities
        self.sums: dict[Key, _Sum] = {}
        self.busy: dict[int, list[int]] = {}
        """Cycles of the units of every core."""

    def add(self, cores: Sequence[int], program: CoreProgram) -> None:
        """Add cores that run one program."""
        reader, machine = CodeReader(program.code, cores), self.prices.machine
        once = WORD_BYTES * len(program.code) <= machine.sequencer.instruction_bytes
        lines = [*program.lines, SourceLine(len(program.code))]
        at = 0 if lines[0].address else 1
        into, density = self._section("", "")
        if at:
            into, density = self._section(lines[0].layer, lines[0].phase)
        cycles = np.zeros((len(_UNITS), len(cores)), np.int64)
        for pc, inst, times in reader.instructions():
            if pc == lines[at].address:
                into, density = self._section(lines[at].layer, lines[at].phase)
                at += 1
            count = times * len(cores) if isinstance(times, int) else int(times.sum())
            into.instructions += count
            into.code += WORD_BYTES * (len(cores) if once else count)
            if not count:
                continue
            row = inst.insn
            if row.unit is Unit.SEQ:
                if row.mnemonic in ("wait", "post") and inst.values[0]:
                    unit = inst.values[0]
                    into.waits[unit] = into.waits.get(unit, 0) + count
                    cycles[unit] += times
                else:
                    cycles[0] += times
                continue
            numbers = (*reader.operands(inst), *reader.window(inst))
            unit = _UNITS.index(row.unit.value)
            if row.unit is not Unit.NOC and all(isinstance(n, int) for n in numbers):
                one = cast("tuple[int, ...]", numbers)
                number = self._use(into, cores[0], row, one, density, count)
                cycles[unit] += times * self.prices.costs[number].cycles
                continue
            each = np.broadcast_arrays(times, reader.cores, *numbers)
            for i, (turns, core, *mine) in enumerate(np.stack(each, 1).tolist()):
                if turns:
                    number = self._use(into, core, row, tuple(mine), density, turns)
                    cycles[unit, i] += turns * self.prices.costs[number].cycles
        for i, core in enumerate(cores):
            self.busy[core] = cycles[:, i].tolist()

    def _use(
        self, into: _Sum, core: int, row: Insn, numbers: tuple[int, ...], density: float, count: int
    ) -> int:
        """Count an instruction: its operands, then its window's numbers; return its cost's."""
        values, rest = numbers[: len(row.operands)], numbers[len(row.operands) :]
        window = Window(*rest) if rest else None
        number = self.prices.number(core, row, values, window, density)
        into.uses[number] = into.uses.get(number, 0) + count
        return number

    def _section(self, layer: str, phase: str) -> tuple[_Sum, float]:
        found = self.sums.setdefault((layer, phase), _Sum())
        return found, self.densities.of(layer, phase)[0]

    def layer(self, key: Key) -> dict[str, Any]:
        """Return what is expected of a layer and phase."""
        mine, prices = self.sums[key], self.prices
        units = {_UNITS[unit]: count for unit, count in mine.waits.items()}
        whole = InstructionCost()
        dense = performed = 0
        for number, count in mine.uses.items():
            unit, one = prices.units[number], prices.costs[number].times(count)
            units[unit] = units.get(unit, 0) + one.cycles
            whole += one
            if prices.terms[number]:
                dense += one.macs_dense
                performed += one.macs_performed
        machine = prices.machine
        code = 8 * mine.code * machine.dram.pj_per_bit
        density, origin = self.densities.of(*key)
        return {
            "name": key[0],
            "phase": key[1],
            "cycles": sum(units.values()),
            "units": {name: units[name] for name in sorted(units) if units[name]},
            "energy_pj": whole.total_pj + code + mine.instructions * fetch_cost(machine).total_pj,
            "dram_bytes": {
                "read": whole.dram_read_bytes,
                "write": whole.dram_write_bytes,
                "instruction": mine.code,
            },
            "noc_bytes": whole.noc_bytes,
            "instructions": mine.instructions,
            "macs": {"dense": dense, "performed": performed},
            "density": performed / dense if dense else 0.0,
            "expected": {"density": density, "from": origin},
        }

    def busiest(self) -> tuple[int, str, int]:
        """Return cycles, unit and core of the unit that is busy longest."""
        found = (0, "seq", 0)
        for core in sorted(self.busy):
            for unit, cycles in enumerate(self.busy[core]):
                if cycles > found[0]:
                    found = cycles, _UNITS[unit], core
        return found

    def bus(self) -> int:
        """Return the cycles for which the DRAM bus moves data and code."""
        width = self.prices.machine.dram.bytes_per_cycle
        found = 0
        for mine in self.sums.values():
            found += ceil_div(mine.code, width)
            for number, count in mine.uses.items():
                found += count * ceil_div(self.prices.costs[number].dram_bytes, width)
        return found


def estimate(
    cores: Sequence[CoreProgram],
    micro: Sequence[MicroProgram],
    machine: Machine,
    densities: Densities | None = None,
) -> dict[str, Any] | None:
    """Return what a program is expected to cost, as JSON; None when sizes are not known.

    ``layers``: per layer and phase busy ``cycles`` (all units and cores; by unit in ``units``),
    ``energy_pj`` without leakage and clock, ``dram_bytes``, ``noc_bytes``, ``instructions``,
    ``macs`` with their ``density``, and the density ``expected`` of spikes with its origin.
    ``bound``: cycles that the busiest unit or the DRAM bus needs at least.
    """
    totals = _Totals(_Prices(machine, micro), densities or Densities())
    try:
        for together in _together(cores):
            totals.add([program.core for program in together], together[0])
    except UnknownSize:
        return None
    layers = [totals.layer(key) for key in sorted(totals.sums)]
    layers = [one for one in layers if one["instructions"]]
    cycles, unit, core = totals.busiest()
    bus = totals.bus()
    bound: dict[str, Any] = {"cycles": cycles, "unit": unit, "core": core}
    return {
        "bound": {"cycles": bus, "unit": "dram", "core": -1} if bus > cycles else bound,
        "layers": layers,
        **_whole(layers),
    }


def _together(cores: Sequence[CoreProgram]) -> list[list[CoreProgram]]:
    """Return the cores, those that share their code together."""
    found: dict[tuple[int, int], list[CoreProgram]] = {}
    for program in sorted(cores, key=lambda c: c.core):
        found.setdefault((id(program.code), id(program.lines)), []).append(program)
    return list(found.values())


def _whole(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over layers and phases."""

    def added(*path: str) -> Any:
        found: Any = 0
        for layer in layers:
            part: Any = layer
            for name in path:
                part = part[name]
            found += part
        return found

    macs = {name: added("macs", name) for name in ("dense", "performed")}
    return {
        "cycles": added("cycles"),
        "energy_pj": added("energy_pj"),
        "dram_bytes": {k: added("dram_bytes", k) for k in ("read", "write", "instruction")},
        "noc_bytes": added("noc_bytes"),
        "instructions": added("instructions"),
        "macs": macs,
        "density": macs["performed"] / macs["dense"] if macs["dense"] else 0.0,
    }
