"""Batch normalisation of spikes: bits become numbers first; the chip and the interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snncc.compiler.driver import api

IMAGES = """network n
input(2x4x4, steps=3, batch=2, static=false)
conv(3, kernel=3, padding=1) lif(beta=0.5, threshold=0.3, surrogate=atan)
bn
conv(2, kernel=1) lif(beta=0.5, threshold=0.2, surrogate=atan)
flatten dense(3)
output(out)
train { readout = sum  batch = 2 }
"""
ROWS = """network n
input(6, steps=3, batch=2, static=false)
dense(5) lif(beta=0.5, threshold=0.3, surrogate=atan)
bn
dense(3)
output(out)
train { readout = sum  batch = 2 }
"""


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize(("text", "shape"), [(IMAGES, (3, 2, 2, 4, 4)), (ROWS, (3, 2, 6))])
def test_the_chip_computes_what_the_interpreter_does(
    text: str, shape: tuple[int, ...], mode: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.snn"
    path.write_text(text, encoding="utf-8")
    model = api.load(path, batch=2)
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    y = np.array([0, 2]) if mode == "train" else None
    wanted = api.run(model, x, y, numerics="fp16")
    found = api.run(model, x, y)
    assert {name for name in wanted if name.startswith("grad/")} or y is None
    for name, value in wanted.items():
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(value), err_msg=name)
