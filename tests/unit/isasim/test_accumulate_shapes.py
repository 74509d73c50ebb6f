"""Accumulating kernels at their edges: every way of computing, around every size they cut."""

import importlib
import itertools
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from snncc.isa.window import Window
from snncc.isasim.engines import FP32, EngineNumerics
from unit.isasim.engine_cases import Maker, make_mac, make_outer
from unit.isasim.test_engines import agree
from unit.isasim.window_cases import make_convolution

WAYS = ("measured", "dense", "apart", "listed")
PLAIN = ("gacc", "mac", "bmac", "gouter", "outer")
WINDOWED = ("gaccw", "macw", "bmacw", "gouterw", "outerw")
COLUMNS = (1, 15, 16, 17, 31, 32, 33, 65)
SIZES = (1, 2, 5, 6, 7, 8, 9, 15, 16, 17, 40, 63, 64, 65, 70)
DENSITIES = (0.0, 0.1, 0.5, 1.0)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the choice between the kernels, or leave it to the measured costs."""
    module: ModuleType = importlib.import_module("snncc.isasim.engines.fast.mac")
    if request.param != "measured":
        dense, apart = request.param != "listed", request.param == "apart"
        limit = -1.0 if dense else math.inf
        monkeypatch.setattr(module, "dense_from", lambda *sizes: limit)  # pyright: ignore
        monkeypatch.setattr(module, "apart_pays", lambda *sizes: apart)  # pyright: ignore
    return str(request.param)


def one(mnemonic: str, m: Maker, rows: int, k: int, n: int, density: float) -> None:
    make = make_outer if "outer" in mnemonic else make_mac
    agree(make(m, mnemonic, rows, k, n, density), m.memory())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mnemonic", PLAIN)
def test_columns(mnemonic: str) -> None:
    for i, (n, density) in enumerate(itertools.product(COLUMNS, DENSITIES)):
        m = Maker(i, special=(0.0, 0.0, 0.05)[i % 3])
        one(mnemonic, m, m.random.choice(SIZES), m.random.choice(SIZES), n, density)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mnemonic", PLAIN)
def test_rows_and_terms(mnemonic: str) -> None:
    for i, size in enumerate(range(1, 71)):
        m = Maker(100 + i, special=(0.0, 0.0, 0.02)[i % 3])
        other = m.random.choice(SIZES)
        rows, k = (size, other) if i % 2 else (other, size)
        one(mnemonic, m, rows, k, m.random.choice(COLUMNS), m.random.choice(DENSITIES))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mnemonic", PLAIN)
@pytest.mark.parametrize("sizes", [(130, 300, 33), (257, 255, 17), (20, 1050, 5), (1050, 20, 5)])
def test_sizes_beyond_a_block(mnemonic: str, sizes: tuple[int, int, int]) -> None:
    for density in (0.05, 0.6):
        one(mnemonic, Maker(5), *sizes, density)


def window(r: random.Random, channels: int) -> Window:
    """Return a 3x3 window with padding, or its gradient; small images are mostly padding."""
    size, stride = r.choice((1, 2, 3, 4, 7)), r.choice((1, 1, 2))
    out = (size - 1) // stride + 1
    if r.random() < 0.5:
        return Window(size, size, out, out, channels, 3, 3, stride, stride, -1, -1, 1, 1, 1, 1)
    return Window(out, out, size, size, channels, 3, 3, 1, 1, 1, 1, -1, -1, stride, stride)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mnemonic", WINDOWED)
def test_windows(mnemonic: str) -> None:
    for i, (channels, density) in enumerate(
        itertools.product((1, 3, 15, 16, 17, 32, 48, 67), DENSITIES)
    ):
        m = Maker(i, special=(0.0, 0.0, 0.05)[i % 3])
        n, images = m.random.choice(COLUMNS), m.random.choice((1, 2, 5, 16, 33))
        op = make_convolution(m, mnemonic, window(m.random, channels), images, n, density)
        agree(op, m.memory())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mnemonic", WINDOWED)
def test_a_point_that_is_no_term(mnemonic: str) -> None:
    """One position and one tap, but outside the image or not its first pixel."""
    for base in (-1, 0, 1, 2):
        m = Maker(base + 2)
        at = Window(2, 2, 1, 1, 20, 1, 1, 1, 1, 0, base, 1, 1, 1, 1)
        agree(make_convolution(m, mnemonic, at, 3, 20, 0.7), m.memory())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "numerics", [FP32, EngineNumerics(accumulator="fp16"), EngineNumerics(saturate=True)]
)
@pytest.mark.parametrize("mnemonic", ["macw", "outerw", "mac", "outer"])
def test_special_weights(mnemonic: str, numerics: EngineNumerics) -> None:
    """Infinities and NaN: a zero input is a term unless it is skipped or outside the image."""
    for i in range(12):
        m = Maker(i, special=0.3)
        if mnemonic.endswith("w"):
            op = make_convolution(m, mnemonic, window(m.random, 18), 3, 19, 0.3)
        elif mnemonic == "mac":
            op = make_mac(m, mnemonic, 10, 40, 19, 0.3)
        else:
            op = make_outer(m, mnemonic, 40, 10, 19, 0.3)
        agree(op, m.memory(), numerics)


@pytest.mark.slow
def test_kernels_of_machines_with_narrower_registers() -> None:
    """The whole file again with the shapes of blocks that fit 16 registers."""
    if os.environ.get("SNNCC_NO_AVX512"):
        pytest.skip("this is the run with them")
    here = Path(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(here)]
    env = {**os.environ, "SNNCC_NO_AVX512": "1"}
    done = subprocess.run(
        command, env=env, cwd=here.parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
