"""Names out of files never steer a terminal, and never forge a line of a message."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from e2e.common import BATCH, DIGITS, snncc
from examples import sampled

EVIL = "a\nFORGED\x1b]0;title\x07\x1b[31m\u202e\x9b\u2028\r\x7f"
BAD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
COMMANDS = {
    "check": ("check", "evil.onnx", "--timesteps", "10"),
    "check --short": ("check", "evil.onnx", "--timesteps", "10", "--short"),
    "check --json": ("check", "evil.onnx", "--timesteps", "10", "--json"),
    "check -i": ("check", "evil.onnx", "--timesteps", "10", "-i", BATCH),
    "compile": ("compile", "evil.onnx", "--timesteps", "10", "--emit", "asm"),
    "ir": ("compile", "evil.onnx", "--timesteps", "10", "--emit", "ir:core"),
    "run": ("run", "evil.onnx", "--timesteps", "10", "-i", BATCH, "--spikes"),
    "program": ("run", "p.snnx", "-i", BATCH),
    "trace": ("run", "p.snnx", "-i", BATCH, "--trace", "-", "--trace-cycles", "0:900"),
    "limit": ("run", "p.snnx", "-i", BATCH, "--max-instructions", "10"),
    "debug": ("run", "p.snnx", "-i", BATCH, "--debug", "--commands", "commands"),
    "dis": ("dis", "p.snnx"),
    "dis --core": ("dis", "p.snnx", "--core", "0"),
    "dis --json": ("dis", "p.snnx", "--json"),
    "opt": ("opt", "evil.onnx", "-p", "frontend", "--print-ir-diff"),
    "export": ("export", "evil.onnx", "--timesteps", "10", "-o", "o.nir", "--dt", "1"),
    "report": ("report", "s.json", "-o", "-"),
    "train": ("train", "evil.onnx", "--timesteps", "10", "--data", BATCH, "--epochs", "1"),
    "not there": ("check", f"{EVIL}.onnx"),
    "usage": ("compile", "evil.onnx", EVIL),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose every name is hostile, a program of it, statistics of a run."""
    here = tmp_path_factory.mktemp("names")
    model = onnx.load_model_from_string(DIGITS.read_bytes())
    graph = model.graph
    for node in graph.node:
        node.name += EVIL
        node.input[:] = [name and name + EVIL for name in node.input]
        node.output[:] = [name + EVIL for name in node.output]
    for named in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        named.name += EVIL
    graph.name += EVIL
    (here / "evil.onnx").write_bytes(model.SerializeToString())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        words = ("evil.onnx", "--timesteps", "10")
        assert snncc("compile", *words, "--cores", "2", "-o", "p.snnx").exit_code == 0
        assert snncc("run", "p.snnx", "-i", BATCH, "--stats", "s.json").exit_code == 0
    (here / "commands").write_text("tensors\ns 3\nbuffers\nwhere\nc\n")
    return here


@pytest.mark.parametrize("name", sampled(COMMANDS, 2))
def test_what_is_printed(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder)
    done = snncc(*COMMANDS[name])
    assert done.exit_code in (0, 1, 2, 4), done.output
    assert done.output
    assert not BAD.findall(done.output)
    if name not in ("report", "usage"):  # lines of HTML; the user's own words
        assert not [line for line in done.output.splitlines() if line.startswith("FORGED")]


def test_what_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words = ("evil.onnx", "--timesteps", "10")
    assert snncc("compile", *words, "-o", "q.snnx", "--dump-dir", "d").exit_code == 0
    assert snncc("run", "p.snnx", "-i", BATCH, "--trace", "t.jsonl").exit_code == 0
    assert snncc("report", "s.json", "-o", "r.html").exit_code == 0
    for path in (
        *Path("d").glob("*.snnir"),
        Path("d/index.json"),
        *map(Path, ("t.jsonl", "r.html", "s.json")),
    ):
        assert not BAD.findall(path.read_text(encoding="utf-8")), path


def test_names_stay_what_they_are_in_results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert snncc("run", "p.snnx", "-i", BATCH, "-o", "o.npz").exit_code == 0
    with np.load("o.npz") as found:
        assert f"grad/fc1.weight{EVIL}" in found.files
    places = json.loads(snncc(*COMMANDS["check --json"]).stdout)["nodes"]
    assert any(EVIL in node["place"] for node in places)
