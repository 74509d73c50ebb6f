"""What a report says in words: how busy everything was, and what the bottleneck is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from snncc.compiler.driver.words import CAUSES, UNITS

Stats: TypeAlias = Mapping[str, Any]

BOUND: Final = 0.5
"""From this share of the time on, a resource is called the bottleneck."""


@dataclass(frozen=True)
class Resource:
    """Something that can be busy; ``share`` of the run's cycles, for units of the busiest core."""

    key: str
    name: str
    share: float
    mean: float


def resources(stats: Stats) -> list[Resource]:
    """Return the resources of a run, the busiest first."""
    cycles = max(1, stats["cycles"])
    found: list[Resource] = []
    units: Mapping[str, Any] = stats["units"]
    for key, unit in units.items():
        shares = [core["busy"] / cycles for core in unit["cores"]] or [0.0]
        name = UNITS.get(key, key)
        found.append(Resource(key, name, max(shares), sum(shares) / len(shares)))
    bus = stats.get("dram", {}).get("busy", 0) / cycles
    found.append(Resource("dram", "DRAM bus", bus, bus))
    links = [link["busy"] / cycles for link in stats.get("links", ())]
    if links:
        found.append(Resource("links", "busiest link", max(links), sum(links) / len(links)))
    return sorted(found, key=lambda r: (-r.share, r.key))


def layer_name(layer: Stats) -> str:
    """Return the name of a layer and phase."""
    return " ".join(x for x in (layer["name"], layer["phase"]) if x) or "everything else"


def bytes_of(layer: Stats) -> int:
    """Return the DRAM bytes of a layer and phase."""
    return int(sum(layer["dram_bytes"].values()))


def share_of(layer: Stats, key: str) -> float:
    """Return what a layer and phase takes of a resource, in the resource's own measure."""
    if key == "dram":
        return float(bytes_of(layer))
    if key == "links":
        return float(layer["noc_bytes"])
    if key == "seq":
        return float(layer["instructions"])
    return float(layer.get("units", {}).get(key, 0))


def culprit(stats: Stats, key: str) -> tuple[str, float]:
    """Return the layer and phase that takes most of a resource, and its share."""
    layers = stats["layers"]
    whole = sum(share_of(layer, key) for layer in layers)
    if not whole:
        return "", 0.0
    most = max(layers, key=lambda layer: share_of(layer, key))
    return layer_name(most), share_of(most, key) / whole


def main_stall(stats: Stats) -> tuple[str, float]:
    """Return why the units that compute or move data mostly wait, and the share of the waiting."""
    sums: dict[str, int] = {}
    for key, unit in stats["units"].items():
        if key != "seq":
            for cause, cycles in unit["stall"].items():
                if cause not in ("done", "empty"):
                    sums[cause] = sums.get(cause, 0) + cycles
    whole = sum(sums.values())
    if not whole:
        return "", 0.0
    most = max(sums, key=lambda cause: sums[cause])
    return CAUSES.get(most, most), sums[most] / whole


def headline(stats: Stats) -> str:
    """Return the sentence that names the bottleneck."""
    busiest = resources(stats)[0]
    who, part = culprit(stats, busiest.key)
    share = f"{100 * busiest.share:.0f} %"
    plural = busiest.key not in ("dram", "links")
    where = f", {100 * part:.0f} % of that for {who}" if who else ""
    if busiest.share >= BOUND:
        verb = "are" if plural else "is"
        busy = "busy" if plural else "taken"
        balance = ""
        if plural and busiest.mean < 0.8 * busiest.share:
            balance = (
                f" The work is uneven: the mean over cores is {100 * busiest.mean:.0f} %, the "
                f"busiest core has {share}."
            )
        return (
            f"The {busiest.name} {verb} the bottleneck: {busy} {share} of the time{where}.{balance}"
        )
    cause, much = main_stall(stats)
    why = f" Units mostly stand still {cause} ({100 * much:.0f} % of all waiting)." if cause else ""
    return (
        f"Nothing is busy more than {share} of the time: dependencies and latency are the "
        f"bottleneck, not a unit.{why} Most used: the {busiest.name}{where}."
    )


def energy_sentence(stats: Stats) -> str:
    """Return the sentence that says where the energy goes."""
    parts = energy_parts(stats)
    whole = sum(parts.values()) or 1.0
    most = max(parts, key=lambda name: parts[name])
    layers: Sequence[Stats] = stats["layers"]
    top = max(layers, key=lambda layer: layer["energy_pj"]) if layers else None
    where = ""
    if top is not None and whole:
        where = f"; {layer_name(top)} takes {100 * top['energy_pj'] / whole:.0f} %"
    return f"{100 * parts[most] / whole:.0f} % of the energy goes into {ENERGY[most]}{where}."


ENERGY: Final[dict[str, str]] = {
    "compute": "arithmetic",
    "register": "registers",
    "buffer": "operand buffers",
    "sram": "the scratchpads",
    "dram": "DRAM",
    "noc": "the network",
    "instruction": "instruction fetch",
    "static": "leakage and clock",
}


def energy_parts(stats: Stats) -> dict[str, float]:
    """Return the energy of a run by where it goes."""
    e = stats["energy_pj"]
    return {
        "compute": sum(e["unit"].values()),
        "register": e["memory"].get("register", 0.0),
        "buffer": e["memory"].get("buffer", 0.0),
        "sram": e["memory"].get("sram", 0.0),
        "dram": e["dram"],
        "noc": e["noc"],
        "instruction": e["memory"].get("instruction", 0.0),
        "static": sum(e.get("static", {}).values()),
    }


def si(value: float, unit: str = "") -> str:
    """Return a number with three digits and a prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}\u00a0{prefix}{unit}"
    if value and abs(value) < 1:
        for factor, prefix in ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")):
            if abs(value) >= factor:
                return f"{value / factor:.3g}\u00a0{prefix}{unit}"
    return f"{value:.3g}\u00a0{unit}".rstrip()


def joules(pico: float) -> str:
    """Return an energy given in pJ."""
    return si(pico * 1e-12, "J")


def peak_macs(stats: Stats) -> float:
    """Return the multiply-accumulates per cycle of all engines of all cores with a program."""
    peak = stats.get("peak", {}).get("macs_per_cycle", {})
    return float(sum(peak.values()) * len(stats["units"]["seq"]["cores"]))
