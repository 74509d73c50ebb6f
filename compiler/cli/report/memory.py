"""The memory maps of a report: DRAM as a band of tensors, the fullest scratchpad task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from snncc.compiler.cli.report.charts import PALETTE, legend
from snncc.compiler.cli.report.facts import Stats, si
from snncc.compiler.cli.report.parts import escape

TASKS: Final = 40
"""Rows of the scratchpad's map at most."""
_WIDTH: Final = 720
_LEFT: Final = 150
_ROW: Final = 16


def dram(stats: Stats) -> str:
    """Return the DRAM as a band with a piece per tensor."""
    found: Mapping[str, Any] = stats.get("memory", {})
    size = found.get("dram_bytes", 0)
    tensors: Sequence[Mapping[str, Any]] = found.get("tensors", ())
    if not size or not tensors:
        return "<p>not recorded</p>"
    roles = sorted({t["role"] for t in tensors})
    out: list[str] = []
    for t in tensors:
        x, width = _WIDTH * t["start"] / size, _WIDTH * (t["end"] - t["start"]) / size
        colour = PALETTE[roles.index(t["role"]) % len(PALETTE)]
        tip = f"{escape(t['name'])} ({escape(t['role'])}): {t['end'] - t['start']} bytes"
        tip += f" at {t['start']:#x}"
        out.append(
            f'<rect x="{x:.2f}" width="{max(0.4, width):.2f}" height="40" fill="{colour}">'
            f"<title>{tip}</title></rect>"
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} 40" role="img" aria-label="memory map"><rect class="ground" '
        f'width="{_WIDTH}" height="40"/>{"".join(out)}</svg>{legend(roles)}'
    )


def scratchpad(stats: Stats) -> str:
    """Return the scratchpad that is used most: a row per task, a piece per buffer."""
    found: Mapping[str, Any] = stats.get("memory", {})
    fullest: Mapping[str, Any] = found.get("fullest", {})
    buffers: Sequence[Mapping[str, Any]] = fullest.get("buffers", ())
    size = found.get("scratchpad_bytes", 0)
    if not buffers or not size:
        return "<p>the program names no scratchpad buffers</p>"
    tasks: dict[int, list[Mapping[str, Any]]] = {}
    for b in buffers:
        tasks.setdefault(b["first"], []).append(b)
    most = sorted(tasks, key=lambda first: (-max(b["end"] for b in tasks[first]), first))[:TASKS]
    rows = "".join(_task(i, tasks[first], size) for i, first in enumerate(sorted(most)))
    peaks: Mapping[str, int] = found["scratchpads"]
    peak = max(peaks.values())
    shown = f"the {len(most)} fullest of {len(tasks)}" if len(most) < len(tasks) else "all"
    note = (
        f"<p>Core {fullest['core']} uses most of its scratchpad: {si(peak, 'B')} of "
        f"{si(size, 'B')} ({100 * peak / size:.0f} %); the mean over cores is "
        f"{si(sum(peaks.values()) / len(peaks), 'B')}.</p>"
    )
    height = len(most) * _ROW
    return (
        f'{note}<div class="wide"><svg class="heat" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="scratchpad map"><rect class="ground" x="{_LEFT}" width="{_WIDTH - _LEFT}" '
        f'height="{height}"/>{rows}</svg></div><p class="note">From top to bottom: {shown} '
        f"{'tasks' if len(tasks) > 1 else 'task'} in the program's order. From left to right: "
        "addresses. A piece is a buffer with its name; colours only tell neighbours apart.</p>"
    )


def _task(row: int, buffers: Sequence[Mapping[str, Any]], size: int) -> str:
    y, scale = row * _ROW, (_WIDTH - _LEFT) / size
    name = buffers[0]["name"].rpartition(".")[0] or buffers[0]["name"]
    about = " ".join(x for x in (name, buffers[0]["phase"]) if x)
    out = [f'<text x="{_LEFT - 4}" y="{y + 11}">{escape(_short(about, 26))}</text>']
    for i, b in enumerate(buffers):
        x, width = _LEFT + b["start"] * scale, (b["end"] - b["start"]) * scale
        own = b["name"].rpartition(".")[2]
        label = f"{own}: {b['tensor']}" if b["tensor"] else own
        tip = f"{escape(b['name'])}{escape(' of ' + b['tensor']) if b['tensor'] else ''}: "
        tip += f"{b['end'] - b['start']} bytes at {b['start']:#x}"
        colour, ink = _COLOURS[i % len(_COLOURS)]
        fits = int(width / 5.5)
        text = (
            f'<text class="start small" x="{x + 2:.1f}" y="{y + 11}" fill="{ink}">'
            f"{escape(_short(label, fits))}</text>"
            if fits >= min(len(label), 4)
            else ""
        )
        out.append(
            f'<rect x="{x:.2f}" y="{y}" width="{max(0.4, width - 0.5):.2f}" height="{_ROW - 2}" '
            f'fill="{colour}"><title>{tip}</title></rect>{text}'
        )
    return "".join(out)


_COLOURS: Final = (
    ("#0072b2", "#fff"), ("#e69f00", "#000"), ("#56b4e9", "#000"), ("#f0e442", "#000"),
    ("#009e73", "#000"), ("#cc79a7", "#000"),
)  # fmt: skip


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"
