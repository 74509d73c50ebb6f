"""Pictures of layers, against what Graphviz should read."""

import re
from pathlib import Path

from click.testing import CliRunner

from snncc.compiler.cli.main import cli

MODEL = """network net
input(4, steps=3)
let fire = lif(beta=0.5, threshold=1)
dense(6) fire
dense(2) fire
output(spk)
"""


def drawn(tmp_path: Path, what: str) -> str:
    model = tmp_path / "net.snn"
    model.write_text(MODEL, encoding="utf-8")
    done = CliRunner().invoke(cli, ["compile", str(model), "--batch", "2", "--emit", what])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_small_network(tmp_path: Path) -> None:
    text = drawn(tmp_path, "dot")
    assert text.startswith('digraph "net" {')
    assert text.endswith("}\n")
    assert re.findall(r'^  "(\w+)" \[', text, re.MULTILINE) == ["dense1", "lif1", "dense2", "lif2"]
    assert re.findall(r'^  "(\w+)" -> "(\w+)" \[label="(.*)"\];$', text, re.MULTILINE) == [
        ("dense1", "lif1", "3x2x6 f16"),
        ("lif1", "dense2", "3x2x6 bit"),
        ("dense2", "lif2", "3x2x2 f16"),
    ]


def test_a_training_step_runs_back(tmp_path: Path) -> None:
    text = drawn(tmp_path, "dot:phased")
    edges = set(re.findall(r'^  "(\w+)" -> "(\w+)"', text, re.MULTILINE))
    assert {
        ("dense1", "lif1"),
        ("lif2", "readout"),
        ("readout", "lif2"),
        ("dense2", "lif1"),
    } <= edges


def test_other_stages_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["compile", "net.snn", "--emit", "dot:core"])
    assert done.exit_code == 2
    assert "choose asm, ir:graph" in done.output
    assert "dot:phased" in done.output
