"""Every misreading that is planted into an import is found (tests/planted_misreadings.py)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import misread_neurons
import misread_operators
from planted_misreadings import KINDS, Plant, plants
from snncc.compiler.config.config import Config, load_config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver.build import Request, import_model
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module
from snncc.compiler.passes.graph.configure import configure
from snncc.compiler.validate.compare import Settings, compare
from snncc.compiler.validate.onnx.reference import OnnxReference

_KINDS = (misread_neurons, misread_operators)  # importing them registers their kinds
ROOT = Path(__file__).resolve().parents[4]
DATA = ROOT / "tests" / "data"
MODELS = (
    "frameworks/norse_adex_recurrent",
    "frameworks/norse_lsnn_recurrent",
    "frameworks/norse_refractory_recurrent",
    "frameworks/sinabs_limited",
    "frameworks/sinabs_multi",
    "frameworks/sinabs_single",
    "frameworks/snntorch_batchnorm",
    "frameworks/snntorch_images",
    "frameworks/snntorch_instance",
    "frameworks/spikingjelly_batchnorm_s",
    "frameworks/spikingjelly_klif",
    "frameworks/spikingjelly_qif",
    "onnx/norse_lifrec.T10.ts",
    "onnx/recipe_scan_f32",
    "onnx/sinabs_recurrent.T12.ts",
    "onnx/snntorch_alpha.T8.ts",
    "onnx/snntorch_synaptic.T8.ts",
    "onnx/spikingjelly_lif.step.dyn",
)
NO_FAULT = {
    # a recurrent weight without its mask: the diagonal that the mask holds at zero is zero there
    ("frameworks/norse_adex_recurrent", "a branch is dropped", 5),
    ("frameworks/norse_lsnn_recurrent", "a branch is dropped", 6),
    ("frameworks/norse_refractory_recurrent", "a branch is dropped", 6),
    ("onnx/norse_lifrec.T10.ts", "a branch is dropped", 3),
    # an adaptation that is made of detached spikes alone has no gradient to lose
    ("frameworks/norse_lsnn_recurrent", "a path passes no gradient", 22),
    ("frameworks/norse_lsnn_recurrent", "a path passes no gradient", 27),
    # a time constant of 1.25e-6 per step: below what roundings of constants explain
    ("frameworks/norse_lsnn_recurrent", "value of a const is another", 23),
    ("frameworks/norse_lsnn_recurrent", "a branch is dropped", 27),
    # the normalisation behind it takes every bias away
    ("frameworks/snntorch_instance", "a bias is dropped", 2),
}
"""Changes that leave the network what it was."""
EVERY = 41
"""The default tests plant every so many-th fault; the slow ones all."""


@dataclass(frozen=True)
class Model:
    """An import that is right, and its file."""

    module: Module
    reference: OnnxReference
    settings: Settings

    def check(self, module: Module) -> None:
        """Compare a module with the file."""
        compare(module, self.reference, self.settings)


@cache
def model(name: str) -> Model:
    """Import a file, and make sure that nothing is found before a fault is planted."""
    path = DATA / f"{name}.onnx"
    beside = path.with_suffix(".toml")
    config = load_config(beside) if beside.exists() else Config()
    if ".step." in name:
        config = config.override({"timesteps": 4, "time_axis": 0})
    imported = import_model(path, Request(config, validate=False)).module
    configured = clone(imported)
    configure(configured, config)
    reference = OnnxReference(path, imported, batch_statistics=False)
    found = Model(configured, reference, Settings(detached=None, kinds=reference.kinds))
    found.check(configured)
    return found


def is_found(name: str, plant: Plant) -> bool:
    """Plant a fault and compare."""
    right = model(name)
    wrong = clone(right.module)
    plant.change(wrong)
    try:
        right.check(wrong)
    except CompileError as error:
        return error.diagnostics[0].code == "E0114"
    return False


def missed(name: str, every: int) -> list[str]:
    """Return the faults that are not found, of every so many-th."""
    tried = [p for p in plants(model(name).module) if (name, p.kind, p.place) not in NO_FAULT]
    return [str(p) for p in tried[len(name) % every :: every] if not is_found(name, p)]


@pytest.mark.parametrize("name", MODELS)
def test_a_sample_of_faults_is_found(name: str) -> None:
    assert missed(name, EVERY) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_all_faults_are_found(name: str) -> None:
    assert missed(name, 1) == []


def test_there_are_enough_kinds_of_faults() -> None:
    seen = {p.kind for name in MODELS for p in plants(model(name).module)}
    assert len(KINDS) >= 60
    assert len(seen) >= 40
    assert sum(1 for name in MODELS for _ in plants(model(name).module)) >= 1000
