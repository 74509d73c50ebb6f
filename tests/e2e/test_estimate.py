"""Estimate and count side by side, through the commands."""

import json
from pathlib import Path
from typing import Any

import pytest

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc


def made(folder: Path, *words: object) -> Path:
    path = folder / "net.snnx"
    done = snncc("compile", DIGITS, "--config", CONFIG, "-o", path, "--cores", "2", *words)
    assert done.exit_code == 0, done.output
    return path


def ran(program: Path, *words: object) -> Any:
    path = program.with_suffix(".json")
    done = snncc("run", program, "-i", BATCH, "--stats", path, *words)
    assert done.exit_code == 0, done.output
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("first")
    return folder, ran(made(folder))


def test_a_run_shows_both_and_says_why(first: tuple[Path, Any]) -> None:
    _, stats = first
    found = stats["estimate"]
    assert found["dram_bytes"] == stats["dram_bytes"]
    assert found["macs"]["dense"] == stats["macs"]["dense"]
    counted = {(one["name"], one["phase"]): one for one in stats["layers"]}
    for one in found["layers"]:
        there = counted[one["name"], one["phase"]]
        assert one["counted"]["cycles"] == there["cycles"]
        assert one["dram_bytes"] == one["counted"]["dram_bytes"] == there["dram_bytes"]
        assert one["expected"] == {"density": 0.1, "from": "default"}
        said = [text for text in one["why"] if text.startswith("density")]
        other = abs(one["density"] - there["density"]) > 0.01 * max(one["density"], 0.01)
        assert bool(said) == (bool(one["macs"]["dense"]) and other), one
        if said:
            assert f"density {there['density']:.4g}, not {one['density']:.4g}" in said[0]
        if one["macs"]["dense"] == 0:
            assert one["cycles"] == there["cycles"]
        if there["waited"]:
            assert f"waited {there['waited']} cycles" in one["why"][-1]
    words = " ".join(found["why"])
    assert f"At least {found['bound']['cycles']} cycles" in words
    assert f"The run took {stats['cycles']} cycles" in words


def test_waiting_is_told_by_layer_phase_and_cause(first: tuple[Path, Any]) -> None:
    _, stats = first
    for part in (*stats["layers"], *stats["mnemonics"]):
        assert sum(part["stall"].values()) == part["waited"]
    for cause in ("empty", "semaphore", "message", "credit", "dram", "link", "latency", "queue"):
        whole = sum(unit["stall"][cause] for unit in stats["units"].values())
        assert whole == sum(layer["stall"].get(cause, 0) for layer in stats["layers"])


def test_with_the_densities_of_a_run_only_waiting_is_left(
    first: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, before = first
    again = made(tmp_path, "--activity", folder / "net.json", "--density", "0.3")
    found = ran(again)["estimate"]
    for one, there in zip(found["layers"], before["layers"], strict=True):
        if there["macs"]["dense"]:
            assert one["expected"] == {"density": there["density"], "from": "net.json"}
            assert one["density"] == pytest.approx(there["density"], rel=0.01)
        else:
            assert one["expected"] == {"density": 0.3, "from": "--density"}
        assert not any(text.startswith("density") for text in one["why"])
        assert one["cycles"] == pytest.approx(there["cycles"], rel=0.06)


def test_report_prints_the_comparison(first: tuple[Path, Any]) -> None:
    folder, stats = first
    done = snncc("report", folder / "net.json", "--json")
    assert json.loads(done.stdout) == stats["estimate"]
    assert snncc("report", folder / "net.json").exit_code == 0
    page = (folder / "net.html").read_text()
    assert "Estimated and simulated" in page
    for text in stats["estimate"]["why"]:
        assert text in page
    bare = {key: value for key, value in stats.items() if key != "estimate"}
    (folder / "bare.json").write_text(json.dumps(bare))
    refused(snncc("report", folder / "bare.json", "--json"), "E0034")
    assert snncc("report", folder / "bare.json").exit_code == 0


def test_compile_shows_it_and_asks_for_sound_densities(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    made(tmp_path, "--stats", path, "--density", "0.5")
    found = json.loads(path.read_text())["estimate"]
    assert {one["expected"]["from"] for one in found["layers"]} == {"--density"}
    words = ("compile", DIGITS, "--config", CONFIG, "-o", tmp_path / "x.snnx")
    refused(snncc(*words, "--density", "2"), "E0033")
    path.write_text('{"layers": [{}]}')
    refused(snncc(*words, "--activity", path), "E0033")


def test_the_estimate_survives_assembly_text_and_damage_is_told(
    first: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, stats = first
    text = tmp_path / "net.s"
    assert snncc("dis", folder / "net.snnx", "-o", text).exit_code == 0
    again = tmp_path / "net.snnx"
    assert snncc("asm", text, "-o", again).exit_code == 0
    assert again.read_bytes() == (folder / "net.snnx").read_bytes()
    bound = f'"cycles": {stats["estimate"]["bound"]["cycles"]}'
    lines = text.read_text()
    assert bound in lines
    text.write_text(lines.replace(bound, '"cycles": "many"'))
    assert snncc("asm", text, "-o", again).exit_code == 0
    refused(snncc("run", again, "-i", BATCH), "E0801")
    text.write_text("\n".join([".meta estimate = 3", *_without(lines)]))
    assert snncc("asm", text, "-o", again).exit_code == 0
    refused(snncc("run", again, "-i", BATCH), "E0801")


def _without(lines: str) -> list[str]:
    return [line for line in lines.splitlines() if not line.startswith(".meta estimate")]
