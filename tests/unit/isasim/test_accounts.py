"""The sums of the statistics add up: by layer and phase, by mnemonic, by unit and by cause."""

from typing import Any, cast

import numpy as np
import pytest

from snncc.isa.cost.cost import CostActivity, cost
from snncc.isasim.engines import Resolved
from snncc.isasim.engines.base import Activity as Counted
from snncc.isasim.machine.decode import SLOTS
from snncc.isasim.measure.pricing import Pricing
from snncc.isasim.measure.stats import Stats
from snncc.isasim.measure.timeline import BINS, Timeline
from unit.isasim.programs import Asm, run_code, small
from unit.isasim.test_observers import busy_program, filled


@pytest.fixture(scope="module")
def stats() -> Stats:
    return filled(busy_program(), timeline=True).run().stats


def leaves(value: Any) -> Any:
    """Return a nested table with its numbers, without densities and names."""
    if not isinstance(value, dict):
        return value
    table = cast("dict[str, Any]", value)
    left_out = ("name", "phase", "density", "unit")
    return {k: leaves(v) for k, v in table.items() if k not in left_out}


def added(parts: list[Any]) -> Any:
    if isinstance(parts[0], dict):
        keys = {k for p in parts for k in p}
        return {k: added([p.get(k, 0) for p in parts if k in p]) for k in keys}
    return sum(parts)


def test_the_summary_says_what_the_statistics_say() -> None:
    result = filled(busy_program()).run()
    summary, stats = result.summary, result.stats
    assert summary["energy_pj"]["total"] == stats["energy_pj"]["total"] > 0
    for key in ("cycles", "seconds", "dram_bytes"):
        assert summary[key] == stats[key]


@pytest.mark.parametrize("kind", ["layers", "mnemonics"])
def test_parts_are_the_total(stats: Stats, kind: str) -> None:
    whole = added([leaves(part) for part in stats[kind]])
    assert whole["instructions"] == stats["instructions"]
    for key in ("dram_bytes", "sram_bytes", "noc_bytes", "macs", "spikes", "waited"):
        assert whole[key] == stats[key]
    energy = stats["energy_pj"]
    assert whole["energy_pj"] == pytest.approx(energy["total"], rel=1e-12)
    by = whole["energy_by"]
    assert by["compute"] == pytest.approx(sum(energy["unit"].values()))
    for name in ("register", "buffer", "sram", "instruction"):
        assert by[name] == pytest.approx(energy["memory"][name])
    assert by["static"] == pytest.approx(sum(energy["static"].values()))
    assert (by["dram"], by["noc"]) == pytest.approx((energy["dram"], energy["noc"]))
    parts = [sum(energy["unit"].values()), sum(energy["memory"].values())]
    parts += [sum(energy["static"].values()), energy["dram"], energy["noc"]]
    assert sum(parts) == pytest.approx(energy["total"], rel=1e-12)


@pytest.mark.parametrize("kind", ["layers", "mnemonics"])
def test_every_cycle_of_every_unit_is_somewhere(stats: Stats, kind: str) -> None:
    units = stats["units"]
    cores = len(units["seq"]["cores"])
    for unit in units.values():
        assert unit["busy"] + sum(unit["stall"].values()) == cores * stats["cycles"]
        for core in unit["cores"]:
            assert core["busy"] + sum(core["stall"].values()) == stats["cycles"]
    busy = sum(u["busy"] for name, u in units.items() if name != "seq")
    assert busy == sum(part["cycles"] for part in stats[kind])
    assert units["seq"]["busy"] == sum(part["instructions"] for part in stats[kind])
    by_unit = added([part["units"] for part in stats[kind] if part["units"]])
    assert all(units[name]["busy"] == cycles for name, cycles in by_unit.items())
    idle = ("fetch", "done")
    stalled = sum(n for u in units.values() for cause, n in u["stall"].items() if cause not in idle)
    assert stalled == sum(part["waited"] for part in stats[kind]) == stats["waited"]


def test_the_timeline_has_the_busy_cycles(stats: Stats) -> None:
    line = stats["timeline"]
    for name, unit in stats["units"].items():
        if name == "seq":
            continue
        for core in unit["cores"]:
            row = line["units"].get(str(core["core"]), {}).get(name, [])
            assert sum(row) == core["busy"]
            assert all(0 <= n <= line["cycles_per_bin"] for n in row)
    assert sum(line["dram"]) == stats["dram"]["busy"]
    links = [n["busy"] for n in stats["links"] if n["from"] != n["to"]]
    assert sum(line["links"]) == sum(links) > 0


def test_a_timeline_merges_its_bins() -> None:
    line = Timeline()
    spans = np.random.default_rng(0).integers(1, 90, 200).cumsum()
    for begin, end in zip(spans[::2], spans[1::2], strict=True):
        line.add(9, int(begin), int(end))
    assert sum(line.units[9]) == int((spans[1::2] - spans[::2]).sum())
    assert BINS / 2 <= spans[-1] / line.width <= BINS


def test_counted_blocks_decide_what_an_instruction_costs() -> None:
    """Ten spikes of one block cost one step, ten in ten blocks ten; the expectation is between."""
    machine = small()
    values = (0, 128, 0, 40, 1000, 64, 1, 320, 32, 0, 0)
    op = Resolved("gacc", values)
    pricing = Pricing(machine)
    found = [
        pricing.engine(op, Counted(320 * 32, 10 * 32, 10, blocks=blocks)) for blocks in (1, 10, -1)
    ]
    names = (
        "acc",
        "acc_stride",
        "a",
        "a_stride",
        "w",
        "w_stride",
        "rows",
        "k",
        "n",
        "bias",
        "init",
    )
    operands: dict[str, int] = dict(zip(names, values, strict=True))
    for price, blocks in zip(found, (1, 10, -1), strict=True):
        assert price.cycles == cost("gacc", operands, machine, CostActivity(320, blocks)).cycles
    assert found[0].buffer < found[2].buffer < found[1].buffer
    wide = Pricing(small(**{"fp.rows": 8}))  # counted blocks are of 16: not for this array
    several = {wide.engine(op, Counted(320 * 32, 320, 10, blocks=b)).buffer for b in (1, 10, -1)}
    assert len(several) == 1


def test_units_that_compute_nothing_take_no_energy_for_it() -> None:
    asm = Asm()
    asm.colsum(1024, 0, 16)
    _, result = run_code(asm.done())
    energy = result.stats["energy_pj"]["unit"]
    assert [unit for unit, spent in energy.items() if spent] == ["vpu"]
    assert set(energy) == set(SLOTS)
