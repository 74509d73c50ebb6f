"""A run as one HTML page: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from snncc.compiler.cli.report import charts, critical, memory
from snncc.compiler.cli.report.critical import following, sentence
from snncc.compiler.cli.report.estimate import estimate
from snncc.compiler.cli.report.facts import (
    ENERGY,
    Stats,
    bytes_of,
    energy_parts,
    energy_sentence,
    headline,
    joules,
    layer_name,
    resources,
    si,
)
from snncc.compiler.cli.report.parts import MADE_BY, escape, percent, section, table
from snncc.compiler.driver.words import CAUSES, UNITS
from snncc.compiler.validate.verdict import from_json

ROWS: Final = 160
"""Rows of the heat map over time at most; beyond that, one row per core."""
STYLE: Final = """
:root{color-scheme:light dark;--ink:#1a1a1a;--dim:#555;--paper:#fff;--line:#ccc;--ground:#f2f2f2}
@media(prefers-color-scheme:dark){:root{--ink:#eee;--dim:#aaa;--paper:#161616;--line:#444;
--ground:#262626}}
body{font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;
padding:1rem;max-width:60rem}
h1{font-size:1.3rem;margin:.2rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem;
border-bottom:1px solid var(--line)}
.headline{font-size:1.25rem;font-weight:600;border-left:.4rem solid #d55e00;padding:.3rem .8rem;
margin:1rem 0}
.facts{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;padding:0;list-style:none}
.facts b{display:block;font-size:1.15rem}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:currentColor;text-anchor:end}
svg .mid{text-anchor:middle}svg .start{text-anchor:start}svg .small{font-size:9px}
svg.bar{height:1.1rem}.tall svg.bar{height:2rem}
svg .heat text[fill="#fff"],svg text.small[fill="#fff"]{fill:#fff}
svg text.small[fill="#000"]{fill:#000}
.bar rect{stroke:var(--paper);stroke-width:1;vector-effect:non-scaling-stroke}
.ground{fill:var(--ground)}.grid{stroke:var(--line);stroke-width:.5}
.mesh text[fill="#fff"]{fill:#fff}.mesh text[fill="#000"]{fill:#000}
.core{stroke:var(--dim)}.roof{fill:none;stroke:#d55e00;stroke-width:2}
circle{fill:#0072b2}svg .dot{fill:#fff;text-anchor:middle;font-weight:700}
.legend,.keys{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;font-size:.85rem}
.legend{list-style:none}.keys{padding-left:1.2rem;gap:.2rem 2.2rem}
i{display:inline-block;width:.9em;height:.9em;margin-right:.3em;vertical-align:-.1em;
border:1px solid var(--dim)}
.scale{font-size:.85rem}.scale i{margin:0;width:1.4em}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,.text td:nth-child(2),.text th:nth-child(2){
text-align:left}td.chart{min-width:9rem;width:30%}
@media(max-width:40rem){td,th{white-space:normal;padding:.2rem .3rem}td.chart{min-width:8rem}
svg.heat{min-width:36rem}}
pre{overflow-x:auto;font-size:.8rem}td code{font-size:.8rem}
td.words{white-space:normal;text-align:left;min-width:12rem;font-size:.85rem}
.light{background:#f7f7f7;color:#1a1a1a}.light .ground{fill:#ececec}
.note{color:var(--dim);font-size:.9rem}.worse{font-weight:700}
"""


def page(stats: Stats, other: Stats | None = None, names: Sequence[str] = ("run", "other")) -> str:
    """Return the page of a run, compared with another where one is given."""
    title = f"snncc: {stats.get('target', '')} {names[0]}"
    body = [
        f"<h1>{escape(title)}</h1>",
        _stopped(stats),
        _validation(stats),
        f'<p class="headline">{escape(sentence(stats) or headline(stats))}</p>',
        f"<p>{escape(' '.join((following(stats), energy_sentence(stats))).strip())}</p>",
        _facts(stats),
    ]
    if other is not None:
        body.append(section("Compared with " + names[1], _comparison(stats, other, names)))
    body += [
        section("What the run waits for", critical.chart(stats)),
        section("Estimated and simulated", estimate(stats)),
        section("How busy everything was", _resources(stats)),
        section("What units do and wait for", _stalls(stats)),
        section("Over time", _timeline(stats)),
        section("Layers and phases", _layers(stats)),
        section("Energy by layer and phase", _energy(stats)),
        section("Roofline", charts.roofline(stats) + _ROOFLINE),
        section("Densities", _densities(stats)),
        section("Mesh", charts.mesh(stats) + _MESH),
        section("Scratchpad", memory.scratchpad(stats)),
        section("DRAM", memory.dram(stats) + _tensors(stats)),
        section("Instructions that take most", _hot(stats)),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{MADE_BY}'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


_ROOFLINE: Final = (
    '<p class="note">The line is what engines and DRAM allow; a dot far below it is held up by '
    "something else. Cycles are divided over layers in proportion to busy cycles.</p>"
)
_MESH: Final = (
    '<p class="note">A core shows how much of the time its busiest unit worked; the lines are '
    "links, one per direction.</p>"
)


def _stopped(stats: Stats) -> str:
    """Return why a run did not come to its end, or nothing."""
    if "stopped" not in stats:
        return ""
    first, _, rest = stats["stopped"]["report"].partition("\n")
    return (
        f'<p class="headline">The run stopped: {escape(first)}</p><pre>{escape(rest)}</pre>'
        "<p>What follows is about the part before that.</p>"
    )


def _validation(stats: Stats) -> str:
    """Return whether the import was compared with its file; an assembled program has no file."""
    if "validation" not in stats:
        return ""
    verdict = from_json(stats["validation"])
    if not verdict.validated:
        return f'<p class="headline">{escape(verdict.words)}</p>'
    parts = [verdict.words, *(f"in part: {remark}" for remark in verdict.remarks)]
    parts += [verdict.other_gradients] if verdict.other_gradients else []
    return f"<p>{escape('; '.join(parts))}</p>"


def _facts(stats: Stats) -> str:
    macs = stats["macs"]
    share = macs["performed"] / macs["dense"] if macs["dense"] else 0.0
    items = [
        ("time", f"{si(stats['seconds'], 's')} ({stats['cycles']} cycles)"),
        ("energy", joules(stats["energy_pj"]["total"])),
        ("DRAM", si(sum(stats["dram_bytes"].values()), "B")),
        ("network", si(stats["noc_bytes"], "B")),
        ("MACs performed", f"{si(macs['performed'])} of {si(macs['dense'])} ({percent(share)})"),
        ("instructions", str(stats["instructions"])),
        ("cores", str(len(stats["units"]["seq"]["cores"]))),
    ]
    shown = "".join(f"<li>{escape(k)}<b>{escape(v)}</b></li>" for k, v in items)
    return f'<ul class="facts">{shown}</ul>'


def _resources(stats: Stats) -> str:
    rows = [
        [
            escape(r.name),
            percent(r.share),
            percent(r.mean),
            f'<td class="chart">{charts.bar({r.name: r.share}, 1.0)}</td>',
        ]
        for r in resources(stats)
    ]
    return table(("", "busiest", "mean", "share of the time"), rows)


def _stalls(stats: Stats) -> str:
    causes = [c for c in CAUSES if any(u["stall"].get(c) for u in stats["units"].values())]
    rows: list[list[str]] = []
    units: Stats = stats["units"]
    for name, unit in units.items():
        parts = {"busy": float(unit["busy"])}
        parts |= {CAUSES[c]: float(unit["stall"].get(c, 0)) for c in causes}
        whole = sum(parts.values())
        shown = charts.bar(parts, whole, "cycles")
        rows.append(
            [
                escape(UNITS.get(name, name)),
                percent(unit["busy"] / whole if whole else 0.0),
                f'<td class="chart" style="width:65%">{shown}</td>',
            ]
        )
    names = ["busy", *(CAUSES[c] for c in causes)]
    return table(("", "busy", "all cycles of all cores"), rows) + charts.legend(names)


def _timeline(stats: Stats) -> str:
    line = stats.get("timeline")
    if not line:
        return "<p>not recorded; `snncc run --stats` records it</p>"
    width = line["cycles_per_bin"]
    cores = line["units"]
    rows: list[tuple[str, list[float]]] = [("DRAM", [n / width for n in line["dram"]])]
    links = sum(link["from"] != link["to"] for link in stats.get("links", ()))
    if links:
        rows.append(("links", [n / width / links for n in line["links"]]))
    many = sum(len(units) for units in cores.values()) > ROWS
    for core, units in sorted(cores.items(), key=lambda item: int(item[0])):
        if many:
            both = [max(column) / width for column in zip(*units.values(), strict=True)]
            rows.append((f"core {core}", both))
        else:
            rows += [(f"{core} {unit}", [n / width for n in bins]) for unit, bins in units.items()]
    note = (
        f'<p class="note">Left to right: {stats["cycles"]} cycles in bins of {width}. '
        "Rows are a core and its unit; dark is busy.</p>"
    )
    return charts.heat(rows, "utilisation over time") + note


def _layers(stats: Stats) -> str:
    layers = sorted(stats["layers"], key=lambda layer: -layer["cycles"])
    units = [u for u in UNITS if any(layer.get("units", {}).get(u) for layer in layers)]
    most = max((layer["cycles"] for layer in layers), default=0)
    rows = [
        [
            escape(layer_name(layer)),
            str(layer["cycles"]),
            str(layer.get("waited", 0)),
            joules(layer["energy_pj"]),
            si(bytes_of(layer), "B"),
            si(layer["noc_bytes"], "B"),
            f'<td class="chart">{_unit_bar(layer, units, most)}</td>',
        ]
        for layer in layers
    ]
    head = ("", "busy cycles", "waited", "energy", "DRAM", "network", "busy cycles by unit")
    return table(head, rows) + charts.legend([UNITS[u] for u in units])


def _unit_bar(layer: Stats, units: Sequence[str], most: float) -> str:
    parts = {UNITS[u]: float(layer.get("units", {}).get(u, 0)) for u in units}
    return charts.bar(parts, most, "cycles")


def _energy(stats: Stats) -> str:
    layers = sorted(stats["layers"], key=lambda layer: -layer["energy_pj"])
    most = max((layer["energy_pj"] for layer in layers), default=0.0)
    whole = energy_parts(stats)
    rows = [
        ["<b>everything</b>", joules(sum(whole.values())),
         f'<td class="chart" style="width:60%">{_energy_bar(whole, sum(whole.values()))}</td>']
    ]  # fmt: skip
    for layer in layers:
        parts = layer.get("energy_by") or {"compute": layer["energy_pj"]}
        shown = _energy_bar(parts, most)
        rows.append(
            [
                escape(layer_name(layer)),
                joules(layer["energy_pj"]),
                f'<td class="chart">{shown}</td>',
            ]
        )
    return table(("", "energy", "where it goes"), rows) + charts.legend(list(ENERGY.values()))


def _energy_bar(parts: Stats, most: float) -> str:
    values = {ENERGY[name]: 1e-12 * float(parts.get(name, 0.0)) for name in ENERGY}
    return charts.bar(values, 1e-12 * most, "J")


def _densities(stats: Stats) -> str:
    rows = [
        [
            escape(layer_name(layer)),
            si(layer["macs"]["dense"]),
            si(layer["macs"]["performed"]),
            percent(layer["density"]),
            f'<td class="chart">{charts.bar({"performed": layer["density"]}, 1.0)}</td>',
        ]
        for layer in stats["layers"]
        if layer["macs"]["dense"]
    ]
    head = ("", "MACs if dense", "performed", "density", "0 to 100 %")
    return table(head, rows) if rows else "<p>no multiply-accumulates</p>"


def _tensors(stats: Stats) -> str:
    found = stats.get("memory", {}).get("tensors", ())
    largest = sorted(found, key=lambda t: t["start"] - t["end"])[:12]
    rows = [
        [escape(t["name"]), escape(t["role"]), si(t["end"] - t["start"], "B"), f"{t['start']:#x}"]
        for t in largest
    ]
    return table(("largest tensors", "role", "size", "address"), rows) if rows else ""


def _hot(stats: Stats) -> str:
    rows = [
        [
            f"<code>{escape(h['text'])}</code>",
            f"{h['core']} {escape(h['unit'])}",
            f"{h['address']:08x}",
            escape(" ".join(x for x in (h["layer"], h["phase"]) if x)),
            str(h["instructions"]),
            str(h["cycles"]),
            str(h["waited"]),
        ]
        for h in stats.get("hot", ())[:15]
    ]
    head = ("instruction", "core, unit", "address", "for", "times", "busy cycles", "waited")
    return table(head, rows) if rows else "<p>not recorded</p>"


def _comparison(stats: Stats, other: Stats, names: Sequence[str]) -> str:
    """Return both runs side by side; ratios are the first over the second."""
    pairs: list[tuple[str, float, float, Callable[[float], str]]] = [
        ("cycles", stats["cycles"], other["cycles"], str),
        ("energy", stats["energy_pj"]["total"], other["energy_pj"]["total"], joules),
        ("DRAM bytes", sum(stats["dram_bytes"].values()), sum(other["dram_bytes"].values()), si),
        ("network bytes", stats["noc_bytes"], other["noc_bytes"], si),
        ("MACs performed", stats["macs"]["performed"], other["macs"]["performed"], si),
        ("instructions", stats["instructions"], other["instructions"], str),
    ]
    rows = [[escape(n), f(a), f(b), _ratio(a, b)] for n, a, b, f in pairs]
    theirs = {layer_name(layer): layer for layer in other["layers"]}
    ours = {layer_name(layer): layer for layer in stats["layers"]}
    layer_rows: list[list[str]] = []
    for name in [*ours, *(n for n in theirs if n not in ours)]:
        a, b = (x.get(name, {"cycles": 0, "energy_pj": 0.0}) for x in (ours, theirs))
        layer_rows.append(
            [escape(name), str(a["cycles"]), str(b["cycles"]), _ratio(a["cycles"], b["cycles"]),
             joules(a["energy_pj"]), joules(b["energy_pj"]),
             _ratio(a["energy_pj"], b["energy_pj"])]
        )  # fmt: skip
    note = f"<p>{escape(names[1])}: {escape(sentence(other) or headline(other))}</p>"
    head = ("", names[0], names[1], "ratio")
    layer_head = ("busy cycles, energy", names[0], names[1], "ratio", names[0], names[1], "ratio")
    return note + table(head, rows) + table(layer_head, layer_rows)


def _ratio(a: float, b: float) -> str:
    if not b:
        return "-" if a else "1.00"
    mark = ' class="worse"' if a > 1.005 * b else ""
    arrow = "▲" if a > 1.005 * b else "▼" if a < 0.995 * b else "="
    return f"<span{mark}>{a / b:.2f} {arrow}</span>"
