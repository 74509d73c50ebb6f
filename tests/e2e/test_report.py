"""The page of a run: complete, self-contained, readable on a phone, right about the bottleneck."""

import copy
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc
from snncc.compiler.cli.report.critical import following, sentence
from snncc.compiler.cli.report.facts import headline, resources
from snncc.compiler.cli.report.page import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECTIONS = (
    "What the run waits for", "Estimated and simulated", "How busy everything was",
    "What units do and wait for", "Over time", "Layers and phases", "Energy by layer and phase",
    "Roofline", "Densities", "Mesh", "Scratchpad",
    "DRAM", "Instructions that take most",
)  # fmt: skip
VOID = {"meta", "br", "link", "img"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("r")
    words = ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "--cores", "4")
    done = snncc(*words, "--stats", path / "stats.json", "--report", path / "run.html")
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def stats(folder: Path) -> Any:
    return json.loads((folder / "stats.json").read_text())


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order; collects text and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.text: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_has_everything_and_asks_nobody(folder: Path, stats: Any) -> None:
    text = (folder / "run.html").read_text()
    seen = Page(text)
    words = " ".join(seen.text)
    assert all(name in words for name in SECTIONS)
    assert sentence(stats) in words
    assert words.index(sentence(stats)) < 4000  # in the first screen
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in seen.found}
    for _, attributes in seen.found:
        assert not {"src", "href", "srcset", "onload", "onclick"} & set(attributes)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "not recorded" not in words
    for layer in stats["layers"]:
        assert layer["name"] in words
    assert len(text) < 400_000


def test_the_command_takes_files_and_folders_and_compares(folder: Path) -> None:
    one, two = folder / "one.html", folder / "two.html"
    done = snncc("report", folder, "-o", one)
    assert done.exit_code == 0, done.output
    assert "bottleneck" in done.stderr
    second = folder / "b.json"
    words = ("run", DIGITS, "--config", CONFIG, "--timing-only", "--cores", "2", "--stats", second)
    assert snncc(*words).exit_code == 0
    assert snncc("report", folder / "stats.json", second, "-o", two).exit_code == 0
    text = " ".join(Page(two.read_text()).text)
    assert "Compared with b" in text
    assert "▲" in text or "▼" in text
    assert snncc("report", second).exit_code == 0
    assert second.with_suffix(".html").exists()
    assert snncc("report", second, "-o", "-").stdout.startswith("<!DOCTYPE html>")
    assert snncc("report", "errors").stdout.startswith("# Error codes")
    assert snncc("report", second, "--format", "md").exit_code == 2


def test_what_is_no_run(tmp_path: Path, stats: Any) -> None:
    path = tmp_path / "x.json"
    for text in ("", "[]", "{}", "nonsense", "[" * 100_000):
        path.write_text(text)
        refused(snncc("report", path), "E0034")
    damaged: dict[str, Any] = {**stats, "units": [], "layers": 3}
    path.write_text(json.dumps(damaged))
    refused(snncc("report", path), "E0034")
    refused(snncc("report", tmp_path / "none.json"), "E0005")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.json"]


def test_names_are_text_not_markup(stats: Any) -> None:
    hostile = copy.deepcopy(stats)
    hostile["layers"][0]["name"] = "<script>alert(1)</script>"
    hostile["target"] = '"><img src=x>'
    seen = Page(page(hostile, hostile, ("<b>", "&lt;")))
    assert not {"script", "img"} & {tag for tag, _ in seen.found}


def test_the_headline_names_what_is_busiest(stats: Any) -> None:
    made = copy.deepcopy(stats)
    cycles = made["cycles"]
    made["dram"]["busy"] = int(0.9 * cycles)
    assert headline(made).startswith("The DRAM bus is the bottleneck: taken 90 % of the time")
    made["units"]["bp"]["cores"][1]["busy"] = int(0.97 * cycles)
    assert headline(made).startswith(
        "The back-propagation engines (bp) are the bottleneck: busy 97"
    )
    assert "The work is uneven" in headline(made)
    made["links"].append({"from": 0, "to": 1, "busy": cycles})
    assert headline(made).startswith("The busiest link is the bottleneck")
    assert resources(made)[0].share == 1.0
    for unit in made["units"].values():
        for core in unit["cores"]:
            core["busy"] //= 4
    made["dram"]["busy"] = 0
    made["links"] = []
    assert headline(made).startswith("Nothing is busy more than")


def test_the_path_is_the_whole_run_and_its_words_are_the_numbers(stats: Any) -> None:
    rows = stats["critical"]
    cycles = stats["cycles"]
    assert sum(row["cycles"] for row in rows) == cycles
    assert all(sum(row["cores"].values()) == row["cycles"] > 0 for row in rows)
    by_unit: dict[str, int] = {}
    for row in rows:
        by_unit[row["unit"]] = by_unit.get(row["unit"], 0) + row["cycles"]
    most = max(by_unit, key=lambda unit: by_unit[unit])
    assert most == "dma"
    share = round(100 * by_unit["dma"] / cycles)
    assert sentence(stats).startswith(
        "Moving data between DRAM and scratchpads is the bottleneck: the run waits for it "
        f"{share}\u00a0% of its {cycles} cycles, most of all for "
    )
    assert "Next: back-propagation engines (bp)" in following(stats)
    made = {**stats, "critical": [{**row, "unit": "wg"} for row in rows]}
    assert sentence(made).startswith("The weight-gradient engines (wg) are the bottleneck")
    assert sentence({**stats, "critical": []}) == following({**stats, "critical": []}) == ""


def test_the_scratchpad_has_names(folder: Path, stats: Any) -> None:
    words = " ".join(Page((folder / "run.html").read_text()).text)
    memory = stats["memory"]
    assert f"Core {memory['fullest']['core']} uses most of its scratchpad" in words
    assert "lif1.scan bp" in words
    assert max(memory["scratchpads"].values()) <= memory["scratchpad_bytes"]
    tensors = {b["tensor"] for b in memory["fullest"]["buffers"]}
    assert {"fc1.weight", "fc2.weight", "x"} <= tensors
    none: dict[str, Any] = {**stats, "memory": {**memory, "fullest": {"core": 0, "buffers": []}}}
    assert "names no scratchpad buffers" in " ".join(Page(page(none)).text)


def test_a_run_that_stops_has_statistics_and_a_page(tmp_path: Path) -> None:
    source, program = tmp_path / "p.s", tmp_path / "p.snnx"
    source.write_text(
        ".machine small\n.core 0\n  li r1, 1\n  li r2, 64\n"
        "  fill [r0:r0], n0=r1, bytes=r2, 0x3c00\n  li r3, 9999999\n"
        "  st [r3:r0:r0], [r0:r0:r0], n0=r1, n1=r1, bytes=r2\n  halt\n"
    )
    assert snncc("asm", source, "-o", program).exit_code == 0
    stats, page_ = tmp_path / "s.json", tmp_path / "r.html"
    refused(snncc("run", program, "--stats", stats, "--report", page_), "E0901", 3)
    found = json.loads(stats.read_text())
    assert found["stopped"]["code"] == 3
    assert found["stopped"]["kind"] == "bounds"
    assert found["units"]["dma"]["busy"] == 2  # 64 bytes, 32 per cycle
    words = " ".join(Page(page_.read_text()).text)
    assert "The run stopped: bounds: st: dst covers bytes 9999999..10000062 of dram" in words
    again = tmp_path / "again.html"
    assert snncc("report", stats, "-o", again).exit_code == 0
    assert again.read_text().count("The run stopped") == 1


def test_old_statistics_without_the_new_parts_still_give_a_page(stats: Any) -> None:
    old = copy.deepcopy(stats)
    for key in (
        "critical",
        "timeline",
        "dram",
        "links",
        "mesh",
        "peak",
        "hot",
        "memory",
        "mnemonics",
    ):
        old.pop(key)
    for layer in old["layers"]:
        for key in ("units", "energy_by", "waited"):
            layer.pop(key)
    assert "not recorded" in " ".join(Page(page(old)).text)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this computer")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(folder: Path, tmp_path: Path, width: int) -> None:
    """Nothing is wider than the window, the headline is in the first screen, charts have size."""
    assert CHROMIUM is not None
    probe = """<script>
    const head = document.querySelector('.headline').getBoundingClientRect();
    const flat = [...document.querySelectorAll('svg')].filter(
        s => s.getBoundingClientRect().height < 8 || s.getBoundingClientRect().width < 40);
    const wide = [...document.querySelectorAll('section > *, p, ul, h1')].filter(
        e => e.getBoundingClientRect().right > window.innerWidth + 1);
    document.title = JSON.stringify([document.documentElement.scrollWidth, window.innerWidth,
        head.bottom, flat.length, wide.length, document.querySelectorAll('section').length]);
    </script>"""
    text = (folder / "run.html").read_text()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    frame = tmp_path / "page.html"
    frame.write_text(text.replace("</body>", probe + "</body>"))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/u",
        f"--window-size={width},844", "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    scroll, inner, bottom, flat, wide, sections = json.loads(title[1])
    assert scroll <= inner
    assert bottom <= 844
    assert (flat, wide, sections) == (0, 0, len(SECTIONS))


def heat_rows(text: str) -> list[str]:
    """Return the names of the rows of the picture of the time."""
    picture = text.partition('aria-label="utilisation over time"')[2].partition("</svg>")[0]
    return re.findall(r'<text x="\d+" y="\d+">([^<]*)</text>', picture)


def test_the_time_has_a_row_per_core_and_unit(stats: Any) -> None:
    units = stats["timeline"]["units"]
    assert heat_rows(page(stats)) == [
        "DRAM", "links", *(f"{core} {unit}" for core in sorted(units, key=int)
        for unit in units[core]),
    ]  # fmt: skip
    many = copy.deepcopy(stats)
    many["timeline"]["units"] = {str(core): units["0"] for core in range(200)}
    assert heat_rows(page(many)) == ["DRAM", "links", *(f"core {core}" for core in range(200))]


def test_names_in_the_scratchpad_stand_on_one_line(folder: Path) -> None:
    """The task's name and those of its buffers; the line lies within the row's pieces."""
    text = (folder / "run.html").read_text()
    picture = text.partition('aria-label="scratchpad map"')[2].partition("</svg>")[0]
    lines = {int(y) for y in re.findall(r'<text x="146" y="(\d+)">', picture)}
    small = [int(y) for y in re.findall(r'<text class="start small" x="[\d.]+" y="(\d+)"', picture)]
    assert small
    assert set(small) <= lines
    tops = {int(y) for y in re.findall(r'<rect x="[\d.]+" y="(\d+)"', picture)}
    assert {line - line % 16 for line in lines} == tops
