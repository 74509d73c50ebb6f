"""The critical path in a report: what the end of the run waited for, in words and as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from snncc.compiler.cli.report.charts import bar, legend
from snncc.compiler.cli.report.facts import Stats, layer_name
from snncc.compiler.cli.report.parts import escape
from snncc.compiler.driver.words import UNITS

WHAT: Final[dict[str, str]] = {
    **UNITS,
    "dma": "moving data between DRAM and scratchpads",
    "noc": "messages between cores",
    "seq": "issuing instructions",
}
HOW: Final[dict[str, str]] = {
    "busy": "at work",
    "dram": "waiting for the DRAM bus",
    "link": "waiting for a link",
    "latency": "results under way",
    "message": "message under way",
    "fetch": "loading the program",
}
ROWS: Final = 12


@dataclass(frozen=True)
class Share:
    """What a unit's kind of work has of the path, and the layer and phase with most of that."""

    unit: str
    cycles: int
    layer: str
    layer_cycles: int


def shares(stats: Stats) -> list[Share]:
    """Return the parts of the critical path by unit, the largest first."""
    sums: dict[str, dict[str, int]] = {}
    rows: Sequence[Mapping[str, Any]] = stats.get("critical", ())
    for row in rows:
        layers = sums.setdefault(row["unit"], {})
        name = layer_name({"name": row["layer"], "phase": row["phase"]})
        layers[name] = layers.get(name, 0) + row["cycles"]
    found: list[Share] = []
    for unit, layers in sums.items():
        most = max(layers, key=lambda name: layers[name])
        found.append(Share(unit, sum(layers.values()), most, layers[most]))
    return sorted(found, key=lambda s: (-s.cycles, s.unit))


def sentence(stats: Stats) -> str:
    """Return the sentence that names the bottleneck, or nothing where no path was recorded."""
    found = shares(stats)
    cycles = stats["cycles"]
    if not found or not cycles:
        return ""
    first = found[0]
    name = WHAT.get(first.unit, first.unit)
    one = first.unit in ("dma", "seq")
    subject = name[0].upper() + name[1:] if one or first.unit == "noc" else f"The {name}"
    return (
        f"{subject} {'is' if one else 'are'} the bottleneck: the run waits for "
        f"{'it' if one else 'them'} {_percent(first.cycles, cycles)} of its {cycles} cycles, "
        f"most of all for {first.layer} ({_percent(first.layer_cycles, cycles)})."
    )


def following(stats: Stats) -> str:
    """Return what else a reader should know about the path; nothing where none was recorded."""
    found = shares(stats)
    cycles = stats["cycles"]
    text: list[str] = []
    if found and found[0].unit == "dma":
        bus = stats.get("dram", {}).get("busy", 0)
        text.append(f"The DRAM bus is taken {_percent(bus, cycles)} of the time.")
    if len(found) > 1 and found[1].cycles >= cycles / 20:
        second = found[1]
        text.append(
            f"Next: {WHAT.get(second.unit, second.unit)}, {_percent(second.cycles, cycles)}, "
            f"most for {second.layer}."
        )
    return " ".join(text)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / max(1, whole):.0f}\u00a0%"


def chart(stats: Stats) -> str:
    """Return the path by unit as one bar, and its largest parts as a table."""
    found = shares(stats)
    cycles = stats["cycles"]
    if not found:
        return (
            "<p>not recorded; `snncc run --stats` records it, where loops are left out with "
            "--no-extrapolate</p>"
        )
    whole = bar({WHAT.get(s.unit, s.unit): s.cycles for s in found}, cycles, "cycles")
    names = [f"{WHAT.get(s.unit, s.unit)} {_percent(s.cycles, cycles)}" for s in found]
    units = [s.unit for s in found]
    rows: Sequence[Mapping[str, Any]] = stats["critical"]
    body = "".join(_row(row, cycles, rows[0]["cycles"], units) for row in rows[:ROWS])
    rest = sum(row["cycles"] for row in rows[ROWS:])
    if rest:
        body += (
            f"<tr><td>{len(rows) - ROWS} more</td><td></td><td>{rest}</td>"
            f"<td>{100 * rest / cycles:.1f}\u00a0%</td><td></td></tr>"
        )
    return (
        f'<div class="tall">{whole}</div>{legend(names)}<div class="wide"><table class="text">'
        "<tr><th></th><th>what</th><th>cycles</th><th>of the run</th><th></th></tr>"
        f'{body}</table></div><p class="note">Every cycle of the run counts once, for what the end '
        "of the run waited for at that moment. Making anything else faster does not make the run "
        "shorter.</p>"
    )


def _row(row: Mapping[str, Any], cycles: int, most: int, units: Sequence[str]) -> str:
    name = layer_name({"name": row["layer"], "phase": row["phase"]})
    what = f"{row['unit']} {HOW.get(row['cause'], row['cause'])}"
    parts = dict.fromkeys(units[: units.index(row["unit"])], 0)  # the colour of its unit
    shown = bar({**parts, what: row["cycles"]}, most, "cycles")
    return (
        f"<tr><td>{escape(name)}</td><td>{escape(what)}</td><td>{row['cycles']}</td>"
        f"<td>{100 * row['cycles'] / cycles:.1f}\u00a0%</td>"
        f'<td class="chart">{shown}</td></tr>'
    )
