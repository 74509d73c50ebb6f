"""What an instruction is expected to do at a density, before anything is counted.

Spikes, inputs of which zeros are skipped and, of dense inputs, the outputs that a mask leaves are
``density`` of their number, rounded to the nearest whole one; everything else is dense.  The
compiler's estimate and runs without values ask here, so both expect the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from snncc.isa.instructions.table import TABLE
from snncc.isa.spec import ELEMENT
from snncc.isa.window import Window

MAC_MNEMONICS: Final = frozenset(
    {"gacc", "mac", "bmac", "gouter", "outer", "gaccw", "macw", "bmacw", "gouterw", "outerw"}
)
"""Instructions whose terms are multiply-accumulates."""
LANES: Final = frozenset({"neuron", "ngrad", "ew"})
DEFAULT_DENSITY: Final = 0.1
"""What is expected where nobody says otherwise."""

_BIT: Final = ELEMENT.words.index("bit")
_PLACES: Final[Mapping[str, Mapping[str, int]]] = {
    row.mnemonic: {f.name: i for i, f in enumerate(row.operands)} for row in TABLE
}


class Expectation(NamedTuple):
    """Dense and performed terms, spikes read, outputs that a mask leaves (-1: there is none)."""

    dense: int
    performed: int
    spikes: int = 0
    outputs: int = -1


def expect(
    mnemonic: str, values: tuple[int, ...], window: Window | None, density: float
) -> Expectation:
    """Return what an engine instruction is expected to do.

    ``values``: its operands in the order of its row, registers replaced by what they hold.
    """
    at = _PLACES[mnemonic]
    if mnemonic in LANES:
        elements = values[at["steps"]] * values[at["rows"]] * values[at["cols"]]
        return Expectation(elements, elements)
    if mnemonic in MAC_MNEMONICS:
        gated = mnemonic.startswith("g")
        skip = gated or bool(values[at["skip"]])
        n = values[at["n"]]
        if window is not None:
            return _windowed(values[at["images"]], n, density, skip, gated, window)
        rows, k = values[at["rows"]], values[at["k"]]
        if mnemonic == "bmac" and values[at["masked"]]:
            outputs = round(density * rows * n)
            return Expectation(rows * k * n, outputs * k, 0, outputs)
        inputs = round(density * rows * k) if skip else rows * k
        return Expectation(rows * k * n, inputs * n, inputs if gated else 0)
    if mnemonic == "transpose":
        elements = values[at["rows"]] * values[at["cols"]]
        return Expectation(elements, elements)
    if mnemonic in ("pool", "poolgrad"):
        assert window is not None, "these instructions have a window"
        images = values[at["images"]]
        if mnemonic == "poolgrad":
            dense = images * window.positions * window.depth
            return Expectation(dense, images * window.positions * window.channels)
        terms = images * window.terms() * window.channels
        dense = images * window.positions * window.depth
        if values[at["type"]] != _BIT:
            return Expectation(dense, terms)
        ones = round(density * terms)
        return Expectation(dense, ones, ones)
    terms = values[at["rows"]] * values[at["n"]]
    if values[at["type"]] != _BIT:
        return Expectation(terms, terms)
    ones = round(density * terms)
    return Expectation(terms, ones, ones)


def _windowed(
    images: int, n: int, density: float, skip: bool, gated: bool, window: Window
) -> Expectation:
    rows, k = images * window.positions, window.depth
    inside = images * window.terms() * window.channels
    terms = min(inside, round(density * rows * k)) if skip else inside
    return Expectation(rows * k * n, terms * n, terms if gated else 0)
