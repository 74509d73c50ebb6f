"""What a user reads when an import is not its file, or cannot be compared with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from onnx_models import Graph
from snncc.compiler.cli.main import cli
from snncc.compiler.config.config import Config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import build
from snncc.compiler.driver.build import Request, import_model
from snncc.compiler.frontend import import_onnx as onnx_import
from snncc.compiler.ir.core import Module
from snncc.compiler.validate.onnx import operators, tape

STEPS, BATCH = 3, 2


def lif(path: Path, wrong_order: bool = False) -> Path:
    """Write a network of one layer of neurons, unrolled by hand."""
    g = Graph()
    rng = np.random.default_rng(0)
    weight = g.const(rng.standard_normal((4, 5)).astype(np.float32), "fc.weight")
    theta, beta = g.const(0.7, "c_theta"), g.const(0.8, "c_beta")
    v = g.const(np.zeros((BATCH, 5), np.float32), "c_zero")
    rows: list[str] = []
    for t in range(STEPS):
        x = g.op("Gather", "x", g.const(np.array(t), f"c_{t}"), axis=0)
        h = g.op("Add", g.op("Mul", v, beta), g.op("MatMul", x, weight))
        s = g.op("Cast", g.op("Greater", h, theta), to=1)
        v = g.op("Sub", h, g.op("Mul", s, theta))
        rows.append(g.op("Unsqueeze", s, g.const(np.array([0]), f"c_axis{t}")))
    g.op("Concat", *rows, out="out", axis=0)
    return g.save(path, {"x": [STEPS, BATCH, 4]}, {"out": [STEPS, BATCH, 5]})


CONFIG = Config().override({"timesteps": STEPS, "time_axis": 0})
FLAGS = ["--timesteps", str(STEPS), "--time-axis", "0"]


THETA = float(np.float32(0.7))


@pytest.fixture
def misread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the front end read thresholds wrongly, also where it leaves neurons as arithmetic."""
    right = onnx_import.import_onnx

    def wrong(*args: object, **kw: object) -> Module:
        module = right(*args, **kw)  # type: ignore[arg-type]
        for op in module.walk():
            if op.name == "graph.neuron":
                op.attrs["threshold"] = 0.9
            elif op.attrs.get("value") == THETA:
                op.attrs["value"] = 0.9
        return module

    monkeypatch.setattr(onnx_import, "import_onnx", wrong)


def test_a_right_file_says_so(tmp_path: Path) -> None:
    path = lif(tmp_path / "net.onnx")
    found = CliRunner().invoke(cli, ["check", str(path), *FLAGS])
    assert found.exit_code == 0, found.output
    assert "validated: the import computes what the file computes" in found.output
    said = json.loads(CliRunner().invoke(cli, ["check", str(path), "--json", *FLAGS]).stdout)
    assert said["validation"] == {"validated": True, "smooth": 2, "hard": 2}


@pytest.mark.usefixtures("misread")
def test_a_misread_file_is_refused(tmp_path: Path) -> None:
    path = lif(tmp_path / "net.onnx")
    with pytest.raises(CompileError) as raised:
        import_model(path, Request(CONFIG))
    (told,) = raised.value.diagnostics
    text = str(told)
    assert told.code == "E0114"
    assert "the import does not compute what the file computes" in text
    assert "output 'out': the file gives" in text
    assert "is that of neuron" in text
    assert "--no-validate" in text
    output = tmp_path / "net.snnx"
    found = CliRunner().invoke(cli, ["compile", str(path), "-o", str(output), *FLAGS])
    assert found.exit_code == 1
    assert not output.exists()


@pytest.mark.usefixtures("misread")
def test_no_validate_is_said_everywhere(tmp_path: Path) -> None:
    path, output = lif(tmp_path / "net.onnx"), tmp_path / "net.snnx"
    checked = CliRunner().invoke(cli, ["check", str(path), "--no-validate", *FLAGS])
    assert "not validated: --no-validate" in checked.output
    stats = tmp_path / "stats.json"
    made = CliRunner().invoke(
        cli,
        ["compile", str(path), "-o", str(output), "--no-validate", "--stats", str(stats), *FLAGS],
    )
    assert made.exit_code == 0, made.output
    assert "not validated: --no-validate" in made.stderr
    wanted = {"validated": False, "why": "--no-validate"}
    assert json.loads(stats.read_text())["validation"] == wanted
    x = tmp_path / "x.npz"
    np.savez(x, x=np.ones((STEPS, BATCH, 4), np.float32), y=np.zeros(BATCH, np.int64))
    run = CliRunner().invoke(cli, ["run", str(output), "-i", str(x), "--stats", str(stats)])
    assert run.exit_code == 0, run.output
    assert "not validated: --no-validate" in run.stderr
    assert json.loads(stats.read_text())["validation"] == wanted
    assert "not validated: --no-validate" in page_of(stats)


def page_of(stats: Path) -> str:
    shown = CliRunner().invoke(cli, ["report", str(stats), "-o", "-"])
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_the_page_of_a_run_shows_the_verdict(tmp_path: Path) -> None:
    path, output = lif(tmp_path / "net.onnx"), tmp_path / "net.snnx"
    made = CliRunner().invoke(cli, ["compile", str(path), "-o", str(output), *FLAGS])
    assert made.exit_code == 0, made.output
    x, stats = tmp_path / "x.npz", tmp_path / "stats.json"
    np.savez(x, x=np.ones((STEPS, BATCH, 4), np.float32), y=np.zeros(BATCH, np.int64))
    run = CliRunner().invoke(cli, ["run", str(output), "-i", str(x), "--stats", str(stats)])
    assert run.exit_code == 0, run.output
    assert "<p>validated: the import computes what the file computes" in page_of(stats)
    counted = json.loads(stats.read_text())
    counted["validation"]["remarks"] = ["<only> values"]
    stats.write_text(json.dumps(counted))
    assert "in part: &lt;only&gt; values" in page_of(stats)
    del counted["validation"]  # an assembled program was imported from nothing
    stats.write_text(json.dumps(counted))
    assert "validated" not in page_of(stats)
    counted["validation"] = {"validated": "yes"}
    stats.write_text(json.dumps(counted))
    assert CliRunner().invoke(cli, ["report", str(stats), "-o", "-"]).exit_code == 1


def test_an_operator_that_the_comparison_does_not_know_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lif(tmp_path / "net.onnx")
    assert tape  # importing it registers the operators
    monkeypatch.delitem(operators.OPERATORS, "MatMul")
    imported = build.import_model(path, Request(CONFIG))
    assert not imported.verdict.validated
    (told,) = [w for w in imported.warnings if w.code == "E0116"]
    assert "not validated: operator MatMul at" in str(told)
