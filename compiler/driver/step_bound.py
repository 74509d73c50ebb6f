"""How near a run came to what its machine allows: bounds on time and traffic of a training step.

The bounds are those of an ideal program, not of the one that ran.  Time: forward, then backward and
weight gradients beside each other, all cores busy on products alone, each array skipping the blocks
of inputs that the counted density leaves empty; or the DRAM bus, were it used for the compulsory
bytes alone.  Traffic: see :class:`snncc.isa.cost.step_work.StepWork`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snncc.isa.cost.step_work import ENGINES, StepWork
from snncc.isa.machine.machine import Machine
from snncc.isa.machine.parts import Array


def work_left(array: Array, density: float) -> float:
    """Return the share of an array's steps that inputs of a density, spread evenly, leave.

    A step takes ``rows`` inputs; one that has none active is left out where the array skips blocks:
    1 - (1 - d)^rows remain.  An array that compacts its inputs needs d of them.
    """
    match array.skip:
        case "block":
            return 1.0 - (1.0 - density) ** array.rows
        case "compact":
            return density
        case _:
            return 1.0


def engine_cycles(
    work: StepWork, machine: Machine, densities: Mapping[tuple[str, str], float]
) -> dict[str, float]:
    """Return the cycles of each phase's products with all cores busy.

    ``densities``: active inputs by layer and phase, 1 where there is none.
    """
    arrays: dict[str, Array] = {"fp": machine.fp, "bp": machine.bp, "wg": machine.wg}
    cycles: dict[str, float] = dict.fromkeys(ENGINES, 0.0)
    for product in work.products:
        array = arrays[product.phase]
        left = work_left(array, densities.get((product.layer, product.phase), 1.0))
        cycles[product.phase] += product.terms * left / (array.rows * array.cols * machine.cores)
    return cycles


def step_bound(work: StepWork, machine: Machine, stats: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a run by its statistics: bounds, ``utilisation`` (bound / cycles) and ``traffic``
    (DRAM bytes / recomputing bytes)."""
    densities = {
        (one["name"], one["phase"]): float(one["density"])
        for one in stats["layers"]
        if one["macs"]["dense"]
    }
    engines = engine_cycles(work, machine, densities)
    bus = work.compulsory / machine.dram.bytes_per_cycle
    bound = max(engines["fp"] + max(engines["bp"], engines["wg"]), bus)
    moved = sum(stats["dram_bytes"].values())
    return {
        "cycles": bound,
        "engines": engines,
        "bus": bus,
        "limit": "dram" if bound == bus else "engines",
        "compulsory_bytes": work.compulsory,
        "recomputing_bytes": work.recomputing,
        "utilisation": bound / stats["cycles"] if stats["cycles"] else 0.0,
        "traffic": moved / work.recomputing if work.recomputing else 0.0,
    }
