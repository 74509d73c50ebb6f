"""What an instruction is expected to do at a density: a row by hand for every case."""

from __future__ import annotations

import pytest

from snncc.isa.cost.expected import Expectation, expect
from snncc.isa.instructions.table import TABLE
from snncc.isa.spec import ELEMENT
from snncc.isa.window import Window

# 4x4 positions of 5 channels, 3x3 taps, stride 1, padding 1.  Along an axis the outputs have
# 2, 3, 3, 2 taps inside: 10 * 10 of 16 * 9 taps; a row of the reduced index has 45 elements.
WINDOW = Window(4, 4, 4, 4, 5, 3, 3, 1, 1, -1, -1, 1, 1, 1, 1)
F16, BIT = ELEMENT.words.index("f16"), ELEMENT.words.index("bit")

LANES = {"steps": 2, "rows": 3, "cols": 5}
DENSE = {"rows": 4, "k": 10, "n": 6}  # 240 terms of 40 inputs for 24 outputs
WINDOWED = {"images": 2, "n": 3}  # 32 rows of 45 for 3 outputs: 4320; inside are 1000 inputs
POOLED = {"images": 2}
MATRIX = {"rows": 4, "n": 10}

CASES: list[tuple[str, dict[str, int], float, Expectation]] = [
    # microprograms: every element, whatever the density
    ("neuron", LANES, 0.3, Expectation(30, 30)),
    ("ngrad", LANES, 0.3, Expectation(30, 30)),
    ("ew", LANES, 0.3, Expectation(30, 30)),
    # gated: 0.3 * 40 = 12 spikes, each for 6 outputs
    ("gacc", DENSE, 0.3, Expectation(240, 72, 12)),
    ("gouter", DENSE, 0.3, Expectation(240, 72, 12)),
    ("gacc", DENSE, 0.0, Expectation(240, 0, 0)),
    # numbers: all of them, or those that are not zero; they are no spikes
    ("mac", {**DENSE, "skip": 0}, 0.3, Expectation(240, 240)),
    ("mac", {**DENSE, "skip": 1}, 0.3, Expectation(240, 72)),
    ("outer", {**DENSE, "skip": 0}, 0.3, Expectation(240, 240)),
    ("outer", {**DENSE, "skip": 1}, 0.3, Expectation(240, 72)),
    ("bmac", {**DENSE, "skip": 0, "masked": 0}, 0.3, Expectation(240, 240)),
    ("bmac", {**DENSE, "skip": 1, "masked": 0}, 0.3, Expectation(240, 72)),
    # a mask leaves 0.3 * 24 = 7 outputs of 10 terms, whether or not zeros are skipped
    ("bmac", {**DENSE, "skip": 0, "masked": 1}, 0.3, Expectation(240, 70, 0, 7)),
    ("bmac", {**DENSE, "skip": 1, "masked": 1}, 0.3, Expectation(240, 70, 0, 7)),
    # with a window: 0.3 * 32 * 45 = 432 inputs, but never more than the 1000 inside
    ("gaccw", WINDOWED, 0.3, Expectation(4320, 1296, 432)),
    ("gaccw", WINDOWED, 0.9, Expectation(4320, 3000, 1000)),
    ("gouterw", WINDOWED, 0.3, Expectation(4320, 1296, 432)),
    ("macw", {**WINDOWED, "skip": 0}, 0.3, Expectation(4320, 3000)),
    ("macw", {**WINDOWED, "skip": 1}, 0.3, Expectation(4320, 1296)),
    ("bmacw", {**WINDOWED, "skip": 0}, 0.3, Expectation(4320, 3000)),
    ("bmacw", {**WINDOWED, "skip": 1}, 0.3, Expectation(4320, 1296)),
    ("outerw", {**WINDOWED, "skip": 0}, 0.3, Expectation(4320, 3000)),
    ("outerw", {**WINDOWED, "skip": 1}, 0.3, Expectation(4320, 1296)),
    # pooling: 2 * 16 * 45 taps, 2 * 500 of them inside; of packed spikes, those that are set
    ("pool", {**POOLED, "type": F16}, 0.3, Expectation(1440, 1000)),
    ("pool", {**POOLED, "type": BIT}, 0.3, Expectation(1440, 300, 300)),
    ("pool", {**POOLED, "type": BIT}, 0.0, Expectation(1440, 0, 0)),
    ("poolgrad", {**POOLED, "type": F16}, 0.3, Expectation(1440, 160)),
    ("poolgrad", {**POOLED, "type": BIT}, 0.3, Expectation(1440, 160)),
    ("transpose", {"rows": 3, "cols": 5}, 0.3, Expectation(15, 15)),
    ("rowred", {**MATRIX, "type": F16}, 0.3, Expectation(40, 40)),
    ("rowred", {**MATRIX, "type": BIT}, 0.3, Expectation(40, 12, 12)),
    ("colsum", {**MATRIX, "type": F16}, 0.3, Expectation(40, 40)),
    ("colsum", {**MATRIX, "type": BIT}, 0.3, Expectation(40, 12, 12)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mnemonic", "operands", "density", "wanted"),
    CASES,
    ids=[f"{name}-{'-'.join(map(str, given.values()))}-{d}" for name, given, d, _ in CASES],
)
def test_by_hand(
    mnemonic: str, operands: dict[str, int], density: float, wanted: Expectation
) -> None:
    (row,) = (row for row in TABLE if row.mnemonic == mnemonic)
    names = [f.name for f in row.operands]
    assert set(operands) <= set(names)
    window = WINDOW if "win" in names else None
    values = tuple(operands.get(name, 99) for name in names)  # the others do not matter
    assert expect(mnemonic, values, window, density) == wanted


def test_halves_are_rounded_to_the_even_number() -> None:
    (row,) = (row for row in TABLE if row.mnemonic == "rowred")
    for count, wanted in ((1, 0), (3, 2), (5, 2)):  # 0.5, 1.5 and 2.5 spikes
        given = {"rows": 1, "n": count, "type": BIT}
        values = tuple(given.get(f.name, 0) for f in row.operands)
        assert expect("rowred", values, None, 0.5).spikes == wanted
