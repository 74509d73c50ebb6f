"""Charts of a report: what is drawn where, for numbers worked out by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from snncc.compiler.cli.report.charts import HEAT, bar, legend, mesh, roofline


def on(core: int, busy: int) -> dict[str, int]:
    return {"core": core, "busy": busy}


def mesh_stats(**more: Any) -> dict[str, Any]:
    """Return 100 cycles of five cores in two rows of three; core 4 has no program."""
    return {
        "cycles": 100,
        "mesh": {"cols": 3, "rows": 2, "cores": 5},
        "units": {
            "seq": {"cores": [on(0, 100)]},
            "fp": {"cores": [on(0, 10), on(1, 60), on(2, 0)]},
            "dma": {"cores": [on(0, 40), on(1, 20), on(3, 100)]},
        },
        "links": [
            {"from": 0, "to": 1, "busy": 50},
            {"from": 1, "to": 4, "busy": 100},
            {"from": 2, "to": 2, "busy": 100},
        ],
        **more,
    }


def test_cores_show_their_busiest_engine() -> None:
    """The sequencer is always busy and does not count."""
    drawn = mesh(mesh_stats())
    assert re.findall(r"core (\d): busiest engine ([^<]*)<", drawn) == [
        ("0", "40%"), ("1", "60%"), ("2", "0%"), ("3", "100%"), ("4", "no program")
    ]  # fmt: skip
    colours = re.findall(r'<rect [^>]*fill="([^"]*)" class="core"', drawn)
    assert colours == [HEAT[3], HEAT[4], HEAT[0], HEAT[7], HEAT[0]]  # 8 shades: 0.4 is the fourth
    places = re.findall(r'<rect x="(\d+)" y="(\d+)" width="\d+"', drawn)
    assert places == [(str(x), str(y)) for y in (25, 135) for x in (25, 135, 245)][:5]


def test_links_lie_between_their_cores() -> None:
    drawn = mesh(mesh_stats())
    links = re.findall(r"<title>link (\d) to (\d): busy ([\d.]+) %</title>", drawn)
    assert links == [("0", "1", "50.00"), ("1", "4", "100.00")]  # none from a core to itself
    lines = [
        [float(v) for v in line] for line in re.findall(r'd="M(\d+) (\d+)L(\d+) (\d+)"', drawn)
    ]
    # Cores of 60 in squares of 110: core 0 ends at x = 85, core 1 begins at 135, both at y = 55.
    assert lines[0] == pytest.approx([85, 49, 135, 49], abs=1)
    assert lines[1] == pytest.approx([171, 85, 171, 135], abs=1)


def test_more_cores_than_places_are_not_drawn() -> None:
    stats = mesh_stats(mesh={"cols": 2, "rows": 1, "cores": 9}, links=[])
    assert re.findall(r"core (\d):", mesh(stats)) == ["0", "1"]
    assert mesh({"cycles": 1}) == "<p>not recorded</p>"


def layer(name: str, cycles: int, macs: int, moved: int) -> dict[str, Any]:
    return {"name": name, "phase": "fp", "cycles": cycles, "macs": {"performed": macs},
            "dram_bytes": {"read": moved, "write": moved}}  # fmt: skip


def roofline_stats(**peak: Any) -> dict[str, Any]:
    """Return two layers that share 200 cycles of two cores, and one that only moves."""
    return {
        "cycles": 200,
        "peak": peak,
        "units": {"seq": {"cores": [on(0, 0), on(1, 0)]}},
        "layers": [layer("a", 30, 15000, 500), layer("b", 10, 500, 2500), layer("c", 0, 0, 9)],
    }


def test_layers_have_their_place_under_the_roof() -> None:
    """Layer a has 30 of 40 busy cycles, so 150 of 200, and 15000 MACs on 1000 bytes."""
    drawn = roofline(roofline_stats(macs_per_cycle={"fp": 256, "bp": 256}, dram_bytes_per_cycle=64))
    tips = re.findall(r"<title>([ab] fp: [^<]*)</title>", drawn)
    assert tips == ["a fp: 100 MACs per cycle, 15 MACs per byte",
                    "b fp: 10 MACs per cycle, 0.1 MACs per byte"]  # fmt: skip
    assert "and 64 DRAM bytes per cycle" in drawn
    assert re.findall("<li>([^<]*)</li>", drawn) == ["a fp", "b fp"]


@pytest.mark.parametrize(
    "peak",
    [{}, {"macs_per_cycle": {"fp": 256}}, {"dram_bytes_per_cycle": 64}],
    ids=["nothing", "no bandwidth", "no engines"],
)
def test_no_roof_without_what_it_is_made_of(peak: dict[str, Any]) -> None:
    assert roofline(roofline_stats(**peak)).startswith("<p>no layer has both")


def test_bars_add_up() -> None:
    drawn = bar({"compute": 30, "wait": 10, "none": 0.0, "rest": 0.01}, 80, "B")
    found = re.findall(r'<rect x="([\d.]+)" width="([\d.]+)"', drawn)
    assert found == [("0.00", "37.50"), ("37.50", "12.50")]  # what is thinner than a hair is not
    assert "(75.0 %)" in drawn
    assert "<rect" not in bar({"compute": 30}, 0)
    assert legend(["a<b"]).count("<li>") == 1
    assert "a&lt;b" in legend(["a<b"])
