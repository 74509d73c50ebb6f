"""Files that are read rightly are never refused: exporters' files and hand-made ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from snncc.compiler.config.config import Config, load_config
from snncc.compiler.driver.build import Request, import_model

ROOT = Path(__file__).resolve().parents[4]
FILES = sorted([*(ROOT / "tests" / "data").rglob("*.onnx"), *(ROOT / "models").glob("*.onnx")])
OPEN_STEPS = {"r5_scripted_loop.ts.onnx": 4}


def config_of(path: Path) -> Config:
    """Return the configuration beside a file; files of one step get four."""
    beside = path.with_suffix(".toml")
    config = load_config(beside) if beside.exists() else Config()
    steps = OPEN_STEPS.get(path.name, 4 if ".step." in path.name else None)
    return config.override({"timesteps": steps, "time_axis": 0}) if steps else config


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_false_alarm(path: Path) -> None:
    imported = import_model(path, Request(config_of(path)))
    assert imported.verdict.validated, imported.verdict.words
    assert imported.verdict.smooth >= 1
    assert imported.verdict.hard == 2
    assert imported.verdict.remarks == ()


@pytest.mark.parametrize("batch", [1, 3])
def test_another_batch_than_the_file_has(batch: int) -> None:
    path = ROOT / "tests" / "data" / "frameworks" / "snntorch_images.onnx"
    imported = import_model(path, Request(config_of(path), batch=batch))
    assert imported.verdict.validated
    assert imported.module.batch == batch
