"""The section of a report that puts the compiler's estimate beside the simulator's count."""

from __future__ import annotations

from typing import Any

from snncc.compiler.cli.report.facts import Stats, bytes_of, joules, layer_name, si
from snncc.compiler.cli.report.parts import escape, percent, table

_NOTE = (
    '<p class="note">Both sides use one cost model. The estimate prices every instruction once, at '
    "the expected density, times its trip counts; it leaves out waiting, leakage and clock. So "
    "what differs is the activity; what the run takes longer is waiting.</p>"
)


def estimate(stats: Stats) -> str:
    """Return the section's HTML."""
    found: Any = stats.get("estimate")
    if not found:
        return "<p>none: the program was assembled by hand</p>"
    words = "".join(f"<li>{escape(text)}</li>" for text in found["why"])
    layers = sorted(found["layers"], key=lambda one: -one["counted"]["cycles"])
    return f"<ul>{words}</ul>" + table(_HEAD, map(_row, layers)) + _NOTE


_HEAD = (
    "", "busy cycles estimated", "counted", "energy estimated", "counted", "DRAM estimated",
    "counted", "density expected", "counted", "why",
)  # fmt: skip


def _row(one: Stats) -> list[str]:
    there, expected = one["counted"], one["expected"]
    density = ("", "")
    if one["macs"]["dense"]:
        origin = f" ({escape(str(expected['from']))})"
        density = (percent(one["density"]) + origin, percent(there["density"]))
    return [
        escape(layer_name(one)),
        str(one["cycles"]),
        str(there["cycles"]),
        joules(one["energy_pj"]),
        joules(there["energy_pj"]),
        si(bytes_of(one), "B"),
        si(bytes_of(there), "B"),
        *density,
        f'<td class="words">{escape("; ".join(one["why"]))}</td>',
    ]
