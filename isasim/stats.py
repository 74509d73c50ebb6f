"""From counters to the statistics of a run, in the shape that ``--stats`` writes.

Every joule, byte and cycle of an instruction belongs to one address, hence to one layer and phase.
Leakage and clock energy belong to time; they go to layers in proportion to busy cycles (to the
entry with an empty name when nothing was busy).  So the parts add up to the totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final, TypeAlias

from snncc.isa.encoding import isa_hash
from snncc.isa.machine import Machine
from snncc.isa.spec import WORD_BYTES
from snncc.isasim.chip import Chip, Core
from snncc.isasim.counters import STALL_CAUSES, USE_BITS, Counters
from snncc.isasim.decode import SLOTS
from snncc.isasim.pricing import Pricing

Stats: TypeAlias = dict[str, Any]


MAC_MNEMONICS: Final = frozenset({"gacc", "mac", "bmac", "gouter", "outer"})
"""Instructions whose terms are multiply-accumulates."""
_SUMMED: Final[tuple[str, ...]] = (
    "dense", "performed", "compute", "register", "buffer", "sram", "sram_read", "sram_write",
    "dram", "dram_read", "dram_write", "noc", "noc_bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """What the statistics need to know about a timed run."""

    cycles: int
    fetched: Sequence[int]
    """Bytes of code per core when it is loaded once; -1: 16 bytes per executed instruction."""
    starts: Sequence[int]
    ends: Mapping[int, int]
    """When each core was done."""


@dataclass
class _Bin:
    layer: str
    phase: str
    instructions: int = 0
    cycles: float = 0
    energy: float = 0.0
    read: float = 0
    written: float = 0
    code: float = 0
    noc: float = 0
    sram_read: float = 0
    sram_written: float = 0
    dense: float = 0
    performed: float = 0
    spikes: float = 0


def collect(
    chip: Chip, counters: Counters, timing: Timing, machine: Machine, pricing: Pricing
) -> Stats:
    """Return the statistics of a run."""
    bins: dict[tuple[str, str], _Bin] = {}
    units = dict.fromkeys(SLOTS, 0.0)
    memory: dict[str, float] = dict.fromkeys(("register", "buffer", "sram", "instruction"), 0.0)
    far = {"dram": 0.0, "noc": 0.0}
    for core, counts, fetched in zip(chip.cores, counters.counts, timing.fetched, strict=True):
        _core_bins(core, counters, counts, pricing, fetched, bins, units, memory, far)
    static = pricing.static(timing.cycles, sum(timing.ends.values()))
    _spread(bins, sum(static.values()))
    entries = [bins[key] for key in sorted(bins)]
    parts = (units, memory, far, static)
    energy = sum(sum(part.values()) for part in parts)
    return {
        "target": machine.name,
        "versions": {"isa": isa_hash(), "machine": machine.hash, "snncc": version()},
        "cycles": timing.cycles,
        "seconds": machine.seconds(timing.cycles),
        "instructions": sum(counters.executed),
        "energy_pj": {
            "total": energy,
            "unit": units,
            "memory": memory,
            "static": static,
            **far,
        },
        "dram_bytes": {
            "read": int(sum(b.read for b in entries)),
            "write": int(sum(b.written for b in entries)),
            "instruction": int(sum(b.code for b in entries)),
        },
        "sram_bytes": {
            "read": int(sum(b.sram_read for b in entries)),
            "write": int(sum(b.sram_written for b in entries)),
        },
        "noc_bytes": int(sum(b.noc for b in entries)),
        "macs": {
            "dense": int(sum(b.dense for b in entries)),
            "performed": int(sum(b.performed for b in entries)),
        },
        "spikes": int(sum(b.spikes for b in entries)),
        "units": _units(chip, counters, timing),
        "layers": [_layer(b) for b in entries],
    }


def _core_bins(
    core: Core, counters: Counters, counts: Sequence[int], pricing: Pricing, fetched: int,
    bins: dict[tuple[str, str], _Bin], units: dict[str, float], memory: dict[str, float],
    far: dict[str, float],
) -> None:  # fmt: skip
    records = _records(core, counters)
    for pc, inst in enumerate(core.code.program.code):
        line = core.code.program.source(pc)
        key = (line.layer, line.phase) if line else ("", "")
        found = bins.get(key)
        if found is None:
            found = bins[key] = _Bin(*key)
        count = counts[pc]
        code = WORD_BYTES * count if fetched < 0 else WORD_BYTES
        issue, load = count * pricing.fetch_pj, pricing.code_load(code)
        r = records[pc]
        own = r["compute"] + r["register"] + r["buffer"] + r["sram"] + r["dram"] + r["noc"]
        found.instructions += count
        found.code += code
        found.cycles += counters.spent[core.index][pc]
        found.energy += issue + load + own
        found.read += r["dram_read"]
        found.written += r["dram_write"]
        found.noc += r["noc_bytes"]
        found.sram_read += r["sram_read"]
        found.sram_written += r["sram_write"]
        found.spikes += counters.spikes[core.index][pc]
        found.dense += r["dense"]
        found.performed += r["performed"]
        units[inst.insn.unit.value] += r["compute"]
        memory["instruction"] += issue
        for level in ("register", "buffer", "sram"):
            memory[level] += r[level]
        far["dram"] += r["dram"] + load
        far["noc"] += r["noc"]


def _records(core: Core, counters: Counters) -> list[dict[str, float]]:
    """Return per address the sums over its uses of what their prices say."""
    sums: list[dict[str, float]] = [dict.fromkeys(_SUMMED, 0.0) for _ in range(core.code.words)]
    for use, count in counters.uses[core.index].items():
        price = counters.prices[use & ((1 << USE_BITS) - 1)]
        record = sums[use >> USE_BITS]
        for name in _SUMMED:
            record[name] += count * getattr(price, name)
    dense, performed = counters.dense[core.index], counters.performed[core.index]
    for pc, inst in enumerate(core.code.program.code):
        if dense[pc] and inst.insn.mnemonic in MAC_MNEMONICS:
            sums[pc]["dense"] += dense[pc]
            sums[pc]["performed"] += performed[pc]
    return sums


def version() -> str:
    """Return the installed version of snncc."""
    try:
        return metadata.version("snncc")
    except metadata.PackageNotFoundError:
        return "unknown"


def _spread(bins: dict[tuple[str, str], _Bin], static: float) -> None:
    """Divide energy that belongs to time over the layers by their busy cycles."""
    if not static:
        return
    busy = sum(b.cycles for b in bins.values())
    if not busy:
        bins.setdefault(("", ""), _Bin("", "")).energy += static
        return
    for found in bins.values():
        found.energy += static * found.cycles / busy


def _layer(found: _Bin) -> Stats:
    return {
        "name": found.layer,
        "phase": found.phase,
        "cycles": int(found.cycles),
        "energy_pj": found.energy,
        "dram_bytes": {
            "read": int(found.read),
            "write": int(found.written),
            "instruction": int(found.code),
        },
        "noc_bytes": int(found.noc),
        "instructions": found.instructions,
        "macs": {"dense": int(found.dense), "performed": int(found.performed)},
        "density": found.performed / found.dense if found.dense else 0.0,
        "spikes": int(found.spikes),
    }


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
