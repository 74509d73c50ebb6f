"""Charts of a report as SVG: text in, text out, nothing from outside.

Colours are Okabe and Ito's, which people tell apart whatever their colour vision; every colour is
also named in a legend in the order of the bars, and every mark has its value as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from snncc.compiler.cli.report.facts import Stats, bytes_of, layer_name, peak_macs, si
from snncc.compiler.cli.report.parts import escape

PALETTE: Final = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#999999",
    "#666666", "#bbbbbb", "#333333",
)  # fmt: skip
HEAT: Final = (
    "#e3ecf5",
    "#bcd3e8",
    "#8fb6da",
    "#5f97c9",
    "#3877b2",
    "#1c5893",
    "#0b3a6b",
    "#04213f",
)
"""Light to dark: readable without colour, on a light ground in dark mode too."""


def legend(names: Sequence[str]) -> str:
    """Return a legend; colours in the order of the palette."""
    items = "".join(
        f'<li><i style="background:{PALETTE[i % len(PALETTE)]}"></i>{escape(name)}</li>'
        for i, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def bar(parts: Mapping[str, float], most: float, unit: str = "") -> str:
    """Return one stacked bar, ``most`` is the full width."""
    out: list[str] = []
    x = 0.0
    for i, (name, value) in enumerate(parts.items()):
        width = 100 * value / most if most else 0.0
        if width >= 0.05:
            tip = f"{escape(name)}: {si(value, unit)} ({100 * value / sum(parts.values()):.1f} %)"
            out.append(
                f'<rect x="{x:.2f}" width="{width:.2f}" height="10" '
                f'fill="{PALETTE[i % len(PALETTE)]}"><title>{tip}</title></rect>'
            )
        x += width
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img">'
        f"{''.join(out)}</svg>"
    )


def _scale() -> str:
    steps = "".join(f'<i style="background:{c}"></i>' for c in HEAT)
    return f'<p class="scale">0 % {steps} 100 %</p>'


def heat(rows: Sequence[tuple[str, Sequence[float]]], title: str) -> str:
    """Return a heat map: a row per name, shares from 0 to 1 over time."""
    if not rows or not rows[0][1]:
        return "<p>not recorded</p>"
    columns, height, left = len(rows[0][1]), 12, 70
    width = 720
    cell = (width - left) / columns
    paths: list[list[str]] = [[] for _ in HEAT]
    names: list[str] = []
    for y, (name, values) in enumerate(rows):
        names.append(f'<text x="{left - 4}" y="{y * height + 10}">{escape(name)}</text>')
        start, before = 0, -1
        for x in range(columns + 1):
            level = -2
            if x < columns:
                level = min(len(HEAT) - 1, int(values[x] * len(HEAT))) if values[x] > 0 else -1
            if level != before:
                if before >= 0:
                    paths[before].append(
                        f"M{left + start * cell:.1f} {y * height}h{(x - start) * cell:.1f}"
                        f"v{height - 1}h-{(x - start) * cell:.1f}z"
                    )
                start, before = x, level
    drawn = "".join(f'<path fill="{HEAT[i]}" d="{"".join(p)}"/>' for i, p in enumerate(paths) if p)
    total = len(rows) * height
    return (
        f'<div class="wide"><svg class="heat light" viewBox="0 0 {width} {total}" role="img" '
        f'aria-label="{escape(title)}">'
        f'<rect class="ground" x="{left}" width="{width - left}" height="{total}"/>{drawn}'
        f'<g class="names">{"".join(names)}</g></svg></div>{_scale()}'
    )


def roofline(stats: Stats) -> str:
    """Return the roofline: performed MACs per cycle over MACs per DRAM byte, a dot per layer."""
    peak = peak_macs(stats)
    bandwidth = stats.get("peak", {}).get("dram_bytes_per_cycle", 0)
    cycles = max(1, stats["cycles"])
    busy = sum(layer["cycles"] for layer in stats["layers"]) or 1
    points: list[tuple[float, float, str]] = []
    for layer in stats["layers"]:
        macs, moved = layer["macs"]["performed"], bytes_of(layer)
        if macs and moved:
            spent = max(1.0, layer["cycles"] / busy * cycles)
            points.append((macs / moved, macs / spent, layer_name(layer)))
    if not points or not peak or not bandwidth:
        return "<p>no layer has both multiply-accumulates and DRAM traffic</p>"
    ridge = peak / bandwidth
    xs = [p[0] for p in points] + [ridge]
    x0, x1 = math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs)) + 0.3)
    y1 = math.ceil(math.log10(peak))
    y0 = math.floor(min(math.log10(min(p[1] for p in points)), math.log10(bandwidth) + x0))
    width, height, left, low = 720, 300, 60, 260

    def px(x: float) -> float:
        return left + (math.log10(x) - x0) / max(1, x1 - x0) * (width - left - 24)

    def py(y: float) -> float:
        return low - (math.log10(y) - y0) / max(1, y1 - y0) * (low - 26)

    out: list[str] = []
    for i in range(x0, x1 + 1):
        out.append(f'<text x="{px(10.0**i):.0f}" y="{low + 16}" class="mid">{10.0**i:g}</text>')
        out.append(f'<path class="grid" d="M{px(10.0**i):.1f} 26V{low}"/>')
    for i in range(y0, y1 + 1):
        out.append(f'<text x="{left - 4}" y="{py(10.0**i) + 4:.0f}">{10.0**i:g}</text>')
        out.append(f'<path class="grid" d="M{left} {py(10.0**i):.1f}H{width - 10}"/>')
    foot = max(10.0**x0, 10.0**y0 / bandwidth)
    out.append(
        f'<path class="roof" d="M{px(foot):.1f} {py(foot * bandwidth):.1f}L{px(ridge):.1f} '
        f'{py(peak):.1f}H{width - 10}"><title>at most {si(peak)} MACs and {bandwidth} DRAM bytes '
        "per cycle</title></path>"
    )
    for i, (x, y, name) in enumerate(points, 1):
        tip = f"{escape(name)}: {y:.3g} MACs per cycle, {x:.3g} MACs per byte"
        out.append(
            f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="8"><title>{tip}</title></circle>'
            f'<text x="{px(x):.1f}" y="{py(y) + 4:.1f}" class="dot">{i}</text>'
        )
    keys = "".join(f"<li>{escape(p[2])}</li>" for p in points)
    return (
        f'<div class="wide"><svg class="heat" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="roofline">{"".join(out)}'
        f'<text x="{width / 2}" y="{height - 6}" class="mid">MACs per DRAM byte</text>'
        '<text x="8" y="10" class="start">MACs per cycle</text></svg></div>'
        f'<ol class="keys">{keys}</ol>'
    )


def mesh(stats: Stats) -> str:
    """Return the cores in their places with the links between them, dark means busy."""
    shape = stats.get("mesh")
    if not shape:
        return "<p>not recorded</p>"
    cols, rows = shape["cols"], shape["rows"]
    cycles = max(1, stats["cycles"])
    step = 110 if cols <= 6 else 70
    size = step * 0.55
    out: list[str] = []
    for link in stats.get("links", ()):
        a, b = link["from"], link["to"]
        share = link["busy"] / cycles
        if a == b:
            continue
        (y0, x0), (y1, x1) = divmod(a, cols), divmod(b, cols)
        dx, dy = x1 - x0, y1 - y0
        side = 6  # the two directions lie beside each other
        cx0 = x0 * step + step / 2 + dx * size / 2 + dy * side
        cy0 = y0 * step + step / 2 + dy * size / 2 - dx * side
        cx1, cy1 = cx0 + dx * (step - size), cy0 + dy * (step - size)
        out.append(
            f'<path stroke="{_colour(share)}" stroke-width="8" '
            f'd="M{cx0:.0f} {cy0:.0f}L{cx1:.0f} {cy1:.0f}">'
            f"<title>link {a} to {b}: busy {100 * share:.2f} %</title></path>"
        )
    work = _core_work(stats)
    for core in range(min(shape["cores"], rows * cols)):
        y, x = divmod(core, cols)
        share = work.get(core, 0.0) / cycles
        ink = "#fff" if share > 0.45 else "#000"
        left, top = x * step + (step - size) / 2, y * step + (step - size) / 2
        label = f"{100 * share:.0f}%" if core in work else "no program"
        out.append(
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{size:.0f}" height="{size:.0f}" rx="4" '
            f'fill="{_colour(share)}" class="core"><title>core {core}: busiest engine {label}'
            f'</title></rect><text x="{left + size / 2:.0f}" y="{top + size / 2:.0f}" fill="{ink}" '
            f'class="mid">{core}</text><text x="{left + size / 2:.0f}" fill="{ink}" '
            f'y="{top + size / 2 + 14:.0f}" class="mid small">{label if core in work else "-"}'
            "</text>"
        )
    return (
        f'<svg class="mesh light" style="max-width:{cols * step}px" viewBox="0 0 {cols * step} '
        f'{rows * step}" role="img" aria-label="mesh">{"".join(out)}</svg>{_scale()}'
    )


def _core_work(stats: Stats) -> dict[int, float]:
    """Return the busy cycles of each core's busiest unit."""
    work: dict[int, float] = {}
    for name, unit in stats["units"].items():
        if name != "seq":
            for core in unit["cores"]:
                work[core["core"]] = max(work.get(core["core"], 0.0), core["busy"])
    return work


def _colour(share: float) -> str:
    return HEAT[min(len(HEAT) - 1, max(0, int(share * len(HEAT))))]
