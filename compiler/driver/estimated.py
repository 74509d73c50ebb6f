"""What the compiler expected of a program beside what the simulator counted, and why they differ.

Both come from the one cost model.  The estimate (:mod:`snncc.isa.cost.estimate`) knows no waiting:
its busy cycles, energy and bytes differ from a run's only where another activity was counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from snncc.compiler.diag import fail
from snncc.compiler.driver.step_bound import step_bound
from snncc.compiler.driver.words import CAUSES, UNITS
from snncc.isa.cost.estimate import KEY
from snncc.isa.cost.step_work import KEY as STEP
from snncc.isa.cost.step_work import StepWork
from snncc.isa.program.file import machine_of
from snncc.isa.program.model import ObjectFile

Stats: TypeAlias = Mapping[str, Any]

SAME: Final = 0.005
"""Numbers that differ by less than this share are not explained."""
_CAUSES_SHOWN: Final = 3


def with_estimate(stats: Stats, program: ObjectFile) -> dict[str, Any]:
    """Return the statistics of a run with the compiler's ``estimate``, where the program has one.

    Its layers get the counted numbers they are compared with (``counted``) and ``why`` they differ;
    the whole has ``why`` too: sentences that lead from the bound to the cycles of the run.
    ``step`` compares the run with an ideal program (:mod:`snncc.compiler.driver.step_bound`).
    ``validation`` is what the program says of the comparison of its import with the file.
    """
    found = dict(stats)
    if "validation" in program.metadata:
        found["validation"] = program.metadata["validation"]
    kept = program.metadata.get(KEY)
    if kept is None:
        return found
    try:
        found["estimate"] = _compared(stats, kept)
        if STEP in program.metadata:
            work = StepWork.from_json(program.metadata[STEP])
            found["step"] = step_bound(work, machine_of(program), stats)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        text = f"the estimate in the program is damaged: {type(error).__name__} {error}"
        fail("E0801", text, help="compile the program again")
    return found


def _compared(stats: Stats, kept: Any) -> dict[str, Any]:
    counted = {(one["name"], one["phase"]): one for one in stats["layers"]}
    layers: list[dict[str, Any]] = []
    for one in kept["layers"]:
        there = counted.get((one["name"], one["phase"]))
        if there is None:
            raise ValueError(f"there is no layer {one['name']} {one['phase']}")
        layers.append({**one, "counted": _counted(there), "why": _why(one, there)})
    return {**kept, "layers": layers, "why": _whole(stats, kept)}


def _counted(layer: Stats) -> dict[str, Any]:
    """Return the numbers of a layer that the estimate has too."""
    static = layer["energy_by"]["static"]
    return {
        "cycles": layer["cycles"],
        "waited": layer["waited"],
        "energy_pj": layer["energy_pj"] - static,
        "dram_bytes": layer["dram_bytes"],
        "macs": layer["macs"],
        "density": layer["density"],
    }


def differs(expected: float, counted: float) -> bool:
    """Whether two numbers differ enough to be worth a word."""
    return abs(counted - expected) > SAME * max(abs(expected), abs(counted))


def _more(expected: float, counted: float) -> str:
    """Return how much more (or less) was counted."""
    if not expected:
        return "more"
    share = 100 * (counted / expected - 1)
    return f"{abs(share):.3g} % {'more' if share > 0 else 'less'}"


def _why(one: Stats, there: Stats) -> list[str]:
    """Explain a layer and phase."""
    said: list[str] = []
    if one["instructions"] != there["instructions"]:
        text = "the code was changed after it was compiled"
        said.append(f"{text}: {there['instructions']} instructions, not {one['instructions']}")
    cycles = (one["cycles"], there["cycles"])
    busy = f"{_more(*cycles)} busy cycles" if differs(*cycles) else ""
    if differs(one["density"], there["density"]):
        text = f"density {there['density']:.4g}, not {one['density']:.4g}"
        said.append(f"{text}: {busy or 'hardly another number of busy cycles'}")
    elif busy:
        said.append(f"active inputs lie in other blocks than expected: {busy}")
    elif there["spikes"] and one["cycles"] != there["cycles"]:
        said.append(f"spikes lie elsewhere: {there['cycles'] - one['cycles']:+d} busy cycles")
    if there["waited"]:
        said.append(f"waited {there['waited']} cycles: {shares(there['stall'])}")
    return said


def shares(stall: Mapping[str, int]) -> str:
    """Return the main causes of waiting, with their shares."""
    whole = sum(stall.values())
    order = sorted(stall, key=lambda cause: (-stall[cause], cause))
    shown = [c for c in order if 100 * stall[c] >= whole][:_CAUSES_SHOWN]
    return ", ".join(f"{100 * stall[c] / whole:.0f} % {CAUSES.get(c, c)}" for c in shown)


def _whole(stats: Stats, kept: Any) -> list[str]:
    """Lead from the bound to the cycles of the run."""
    bound, cycles = kept["bound"], stats["cycles"]
    stall: Mapping[str, int] = {}
    least, unit, core = bound["cycles"], bound["unit"], bound["core"]
    if not cycles:
        return []  # an untimed run
    if unit == "dram":
        name, busy = "the DRAM bus", stats["dram"]["busy"]
    else:
        mine = next(one for one in stats["units"][unit]["cores"] if one["core"] == core)
        name, busy, stall = f"unit {unit} of core {core}", mine["busy"], mine["stall"]
    said = [f"At least {least} cycles were estimated: {name} is busy that long."]
    if busy != least:
        said.append(
            f"In this run it was busy for {busy} ({busy - least:+d}): the activity was another."
        )
    idle = cycles - busy
    if unit == "dram":
        text = f"the bus was idle for {idle} cycles ({100 * idle / cycles:.0f} %)"
        causes = _all_stalls(stats)
        said.append(f"The run took {cycles} cycles: {text}; units waited: {causes}.")
    else:
        text = f"it waited for {idle} cycles ({100 * idle / cycles:.0f} %)"
        why = f": {shares(stall)}" if sum(stall.values()) else ""
        said.append(f"The run took {cycles} cycles: {text}{why}.")
    contention = sum(stats["units"][name]["stall"].get(c, 0) for name in UNITS for c in _SHARED)
    if contention:
        said.append(
            f"Contention, which an estimate leaves out, cost units {contention} cycles of waiting "
            "for the DRAM bus, links and receivers."
        )
    return said


_SHARED: Final = ("dram", "link", "credit")


def _all_stalls(stats: Stats) -> str:
    sums: dict[str, int] = {}
    for name, unit in stats["units"].items():
        for cause, cycles in unit["stall"].items():
            if name != "seq" and cause not in ("done", "empty"):
                sums[cause] = sums.get(cause, 0) + cycles
    return shares(sums) if sum(sums.values()) else "not at all"
