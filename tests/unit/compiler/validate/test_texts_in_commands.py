"""Commands compare .snn and NIR models with their texts, unless told not to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nir_files import chain, write
from snncc.compiler.cli.main import cli
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api
from snncc.compiler.frontend.dsl import layers as dsl_layers
from snncc.compiler.frontend.dsl.args import Args
from snncc.compiler.frontend.dsl.layers import LAYERS
from snncc.compiler.frontend.dsl.net import Net
from snncc.compiler.frontend.nir import build as nir_build
from snncc.compiler.frontend.nir.time import Step, neuron
from snncc.compiler.ir.core import Value

ROOT = Path(__file__).resolve().parents[4]
LARGE = ("resnet.snn", "spikformer.snn", "vgg.snn")


def test_small_shipped_model() -> None:
    verdict = api.load(ROOT / "models/lif_mlp.snn", batch=64).verdict
    assert verdict.validated
    assert (verdict.smooth, verdict.hard) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_shipped_model(name: str) -> None:
    assert api.load(ROOT / "models" / name, batch=16).verdict.validated


def test_every_shipped_model_is_tested() -> None:
    shipped = {path.name for path in (ROOT / "models").glob("*.snn")}
    assert shipped == {"lif_mlp.snn", *LARGE}


def nothing(net: Net, x: Value, args: Args, name: str) -> Value:
    """A layer that was forgotten."""
    return x


def same_for_all(fan_in: int) -> float:
    """A range of first weights that forgets how many inputs there are."""
    return 0.5


def test_misread_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.snn"
    path.write_text("input(4, steps=3) dense(3) relu dense(2) lif")
    assert api.load(path).verdict.validated
    monkeypatch.setitem(LAYERS, "relu", replace(LAYERS["relu"], emit=nothing))
    with pytest.raises(CompileError, match="E0114"):
        api.load(path)
    found = CliRunner().invoke(cli, ["check", str(path)])
    assert found.exit_code == 1
    assert "E0114" in found.output
    verdict = api.load(path, validate=False).verdict
    assert (verdict.validated, verdict.why) == (False, "--no-validate")


def test_misread_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.snn"
    path.write_text("input(4, steps=3) dense(3) lif")
    monkeypatch.setattr(dsl_layers, "bound", same_for_all)
    with pytest.raises(CompileError, match=r"first values of dense1\.weight"):
        api.load(path)


def test_misread_nir_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ones = np.ones(2, np.float32)
    lif = {"type": "LIF", "tau": ones, "r": ones, "v_leak": ones * 0.5, "v_threshold": ones}
    path = write(tmp_path / "net.nir", *chain((2,), lif))
    assert api.load(path, dt=0.5).verdict.validated

    def without_leak(*args: object) -> Step:
        step = neuron(*args)  # type: ignore[arg-type]
        del step.attrs["v_rest"]
        return step

    monkeypatch.setattr(nir_build, "neuron", without_leak)
    with pytest.raises(CompileError, match="E0114"):
        api.load(path, dt=0.5)
    assert not api.load(path, dt=0.5, validate=False).verdict.validated
