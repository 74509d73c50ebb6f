"""From counters to the statistics of a run, in the shape that ``--stats`` writes.

All sums come from the accounts of the addresses (:mod:`snncc.isasim.measure.accounts`), so the
parts (layers with phases, mnemonics) add up to the totals: energy, bytes and instructions; the busy
cycles of the units; and, with ``fetch`` and ``done`` of ``units``, every stalled cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final, TypeAlias

from snncc.isa.instructions.encoding import isa_hash
from snncc.isa.machine.machine import Machine
from snncc.isa.program.layout import extent
from snncc.isa.program.model import ObjectFile
from snncc.isa.spec import WORD_BYTES
from snncc.isasim.machine.chip import Chip
from snncc.isasim.machine.decode import SLOTS
from snncc.isasim.machine.network import DramBus, MeshLinks
from snncc.isasim.measure.accounts import Account, Addresses, Ledger, accounts, as_json
from snncc.isasim.measure.counters import STALL_CAUSES, Counters
from snncc.isasim.measure.critical import CriticalPath
from snncc.isasim.measure.pricing import Pricing
from snncc.isasim.measure.timeline import Timeline

Stats: TypeAlias = dict[str, Any]

HOT: Final = 40
"""How many single instructions the statistics list."""


@dataclass(frozen=True)
class Timing:
    """What the statistics need to know about a timed run."""

    cycles: int
    fetched: Sequence[int]
    """Bytes of code per core when it is loaded once; -1: 16 bytes per executed instruction."""
    starts: Sequence[int]
    ends: Mapping[int, int]
    """When each core was done."""
    bus_busy: int = 0
    links_busy: tuple[tuple[tuple[int, int], int], ...] = ()
    timeline: Stats | None = None
    critical: Sequence[Stats] | None = None


def snapshot(
    cycles: int, fetched: Sequence[int], starts: Sequence[int], ends: Mapping[int, int],
    bus: DramBus, mesh: MeshLinks, timeline: Timeline | None, path: CriticalPath | None = None,
) -> Timing:  # fmt: skip
    """Return what is left of a run's schedule; the next run reuses the bus and the mesh."""
    return Timing(
        cycles, fetched, starts, ends, bus.busy, tuple(sorted(mesh.busy.items())),
        timeline.as_json(cycles) if timeline is not None else None,
        path.as_json(cycles) if path is not None else None,
    )  # fmt: skip


def summary(
    chip: Chip, addresses: Addresses, counters: Counters, timing: Timing, pricing: Pricing
) -> Stats:
    """Return the totals of a run alone: time, energy, DRAM bytes, as :func:`collect` gives them."""
    whole = _ledger(chip, addresses, counters, timing, pricing)[0].total()
    return {
        "cycles": timing.cycles,
        "seconds": pricing.machine.seconds(timing.cycles),
        "energy_pj": {"total": whole.energy},
        "dram_bytes": _dram_bytes(whole),
    }


def _ledger(
    chip: Chip, addresses: Addresses, counters: Counters, timing: Timing, pricing: Pricing
) -> tuple[Ledger, dict[str, float]]:
    """Return the accounts of a run, and the energy that its time costs."""
    static = pricing.static(timing.cycles, sum(timing.ends.values()))
    return (
        accounts(chip, addresses, counters, pricing, timing.fetched, sum(static.values())),
        static,
    )


def _dram_bytes(account: Account) -> Stats:
    sums = account.numbers
    return {
        "read": sums["dram_read"], "write": sums["dram_write"], "instruction": sums["code"],
    }  # fmt: skip


def collect(
    chip: Chip, addresses: Addresses, counters: Counters, timing: Timing, machine: Machine,
    pricing: Pricing,
) -> Stats:  # fmt: skip
    """Return the statistics of a run."""
    ledger, static = _ledger(chip, addresses, counters, timing, pricing)
    whole = ledger.total()
    sums, energies = whole.numbers, whole.energies
    layers = ledger.group(lambda p: (p.layer, p.phase))
    names = ledger.group(lambda p: (p.mnemonic, p.unit))
    by_unit = ledger.group(lambda p: p.unit)
    units = {n: by_unit[n].energies["compute"] if n in by_unit else 0.0 for n in SLOTS}
    memory = {name: energies[name] for name in ("register", "buffer", "sram", "instruction")}
    found: Stats = {
        "target": machine.name,
        "versions": {"isa": isa_hash(), "machine": machine.hash, "snncc": version()},
        "cycles": timing.cycles,
        "seconds": machine.seconds(timing.cycles),
        "instructions": sum(counters.executed),
        "energy_pj": {
            "total": whole.energy,
            "unit": units,
            "memory": memory,
            "static": static,
            "dram": energies["dram"],
            "noc": energies["noc"],
        },
        "dram_bytes": _dram_bytes(whole),
        "sram_bytes": {"read": sums["sram_read"], "write": sums["sram_write"]},
        "noc_bytes": sums["noc_bytes"],
        "macs": {"dense": sums["dense"], "performed": sums["performed"]},
        "spikes": sums["spikes"],
        "waited": whole.waited,
        "units": _units(chip, counters, timing),
        "layers": [
            {"name": layer, "phase": phase, **as_json(layers[layer, phase])}
            for layer, phase in sorted(layers)
        ],
        "mnemonics": [
            {"name": name, "unit": unit, **as_json(account)}
            for (name, unit), account in sorted(names.items())
        ],
        "hot": _hot(chip, ledger),
        "dram": {"busy": timing.bus_busy, "bytes_per_cycle": machine.dram.bytes_per_cycle},
        "links": [{"from": a, "to": b, "busy": busy} for (a, b), busy in timing.links_busy],
        "mesh": {"rows": machine.mesh.rows, "cols": machine.mesh.cols, "cores": machine.cores},
        "peak": {
            "macs_per_cycle": {
                name: array.rows * array.cols
                for name, array in (("fp", machine.fp), ("bp", machine.bp), ("wg", machine.wg))
            },
            "dram_bytes_per_cycle": machine.dram.bytes_per_cycle,
            "clock_hz": machine.clock_hz,
        },
    }
    if timing.timeline is not None:
        found["timeline"] = timing.timeline
    if timing.critical is not None:
        found["critical"] = timing.critical
    return found


def _hot(chip: Chip, ledger: Ledger) -> list[Stats]:
    """Return the instructions on which most cycles were spent or waited."""
    out: list[Stats] = []
    for place, account in ledger.heaviest(HOT):
        core = chip.by_index[place.core]
        assert core is not None
        out.append(
            {
                "core": place.core, "unit": place.unit, "address": WORD_BYTES * place.pc,
                "text": core.code.text(place.pc), "layer": place.layer, "phase": place.phase,
                "cycles": account.numbers["cycles"], "waited": account.waited,
                "instructions": account.numbers["instructions"], "energy_pj": account.energy,
            }
        )  # fmt: skip
    return out


def memory_map(program: ObjectFile, dram_bytes: int, machine: Machine) -> Stats:
    """Return what lies where in the DRAM, and in the scratchpad that is used most."""
    tensors: list[Stats] = []
    for t in program.tensors:
        if t.space == "dram":
            low, high = extent(t)
            tensors.append({"name": t.name, "role": t.role, "start": low, "end": high})
    return {
        "dram_bytes": dram_bytes,
        "scratchpad_bytes": machine.scratchpad.bytes,
        "tensors": sorted(tensors, key=lambda t: (t["start"], t["end"])),
        **_scratchpads(program),
    }


def _scratchpads(program: ObjectFile) -> Stats:
    """Return the highest byte used of every scratchpad, and the buffers of the fullest one."""
    peaks: dict[int, int] = {}
    for s in program.symbols:
        if s.kind == "sram" and s.bytes:
            for core in [s.core] if s.core >= 0 else [c.core for c in program.cores]:
                peaks[core] = max(peaks.get(core, 0), s.value + s.bytes)
    if not peaks:
        return {}
    fullest = min(peaks, key=lambda core: (-peaks[core], core))
    code = next((c for c in program.cores if c.core == fullest), None)
    buffers: list[Stats] = []
    for s in program.symbols:
        if s.kind == "sram" and s.bytes and s.core in (fullest, -1):
            line = code.source(s.first) if code is not None else None
            buffers.append(
                {
                    "name": s.name, "tensor": s.tensor, "start": s.value, "end": s.value + s.bytes,
                    "first": s.first, "layer": line.layer if line else "",
                    "phase": line.phase if line else "",
                }
            )  # fmt: skip
    return {
        "scratchpads": {str(core): peak for core, peak in sorted(peaks.items())},
        "fullest": {"core": fullest, "buffers": buffers},
    }


def version() -> str:
    """Return the installed version of snncc."""
    try:
        return metadata.version("snncc")
    except metadata.PackageNotFoundError:
        return "unknown"


def _units(chip: Chip, counters: Counters, timing: Timing) -> Stats:
    """Sum busy and stalled cycles over cores; per core, they are the cycles of the run."""
    out: Stats = {}
    for slot, name in enumerate(SLOTS):
        busy = 0
        stall = dict.fromkeys(STALL_CAUSES, 0)
        per_core: list[Stats] = []
        for i, (core, start) in enumerate(zip(chip.cores, timing.starts, strict=True)):
            actor = core.index << 3 | slot
            mine = dict(counters.stalls[actor])
            if slot == 0:
                work = counters.executed[i]
                mine["fetch"] = start + work * (core.seq.tick - 1)
            else:
                work = counters.busy[actor]
            mine["done"] = timing.cycles - work - sum(mine.values())
            busy += work
            for cause, cycles in mine.items():
                stall[cause] += cycles
            per_core.append(
                {
                    "core": core.index,
                    "busy": work,
                    "stall": {cause: cycles for cause, cycles in mine.items() if cycles},
                }
            )
        out[name] = {"busy": busy, "stall": stall, "cores": per_core}
    return out
