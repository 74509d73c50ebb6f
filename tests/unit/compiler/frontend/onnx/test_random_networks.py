"""Random networks of layers, neurons in any form and operators that mix time.

Each is right or refused: what is imported computes what onnxruntime computes of the file, and has
the file's gradients (the comparison of every import says so).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_models import run_file
from random_onnx import CLASSES, B, T, inputs, network
from snncc.compiler.config.config import parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api

CONFIG = parse_config(f"timesteps = {T}\ntime_axis = 0\n[readout]\nreduce = 'sum'\n")
COUNT, ALL = 24, 500
REFUSED = 0.3
"""The part that may be refused at most."""
CODES = ("E0104", "E0107", "E0114")


def outcome(seed: int, folder: Path) -> str:
    """Import and run a network: right, or the code that refuses it."""
    path, parts = network(seed, folder / f"{seed}.onnx")
    x = inputs(seed)
    try:
        model = api.load(path, config=CONFIG)
    except CompileError as error:
        return error.diagnostics[0].code
    assert model.verdict.validated, (seed, parts)
    found = api.run(model, x, np.arange(B) % CLASSES, numerics="float32")
    np.testing.assert_allclose(
        found["out/out"], run_file(path, x)["out"], rtol=1e-3, atol=1e-4, err_msg=f"{seed} {parts}"
    )
    return "right"


def few_are_refused(seeds: range, folder: Path) -> None:
    found = {seed: outcome(seed, folder) for seed in seeds}
    assert set(found.values()) <= {"right", *CODES}, found
    assert list(found.values()).count("right") >= (1 - REFUSED) * len(found), found


def test_random_networks(tmp_path: Path) -> None:
    few_are_refused(range(COUNT), tmp_path)


@pytest.mark.slow
def test_many_random_networks(tmp_path: Path) -> None:
    few_are_refused(range(COUNT, ALL), tmp_path)
