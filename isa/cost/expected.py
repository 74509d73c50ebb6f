"""What an instruction is expected to do at a density, before anything is counted.

Spikes, inputs of which zeros are skipped and, of dense inputs, the outputs that a mask leaves are
``density`` of their number, rounded to the nearest whole one; everything else is dense.  The
compiler's estimate and runs without values ask here, so both expect the same.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.instructions.operands import OPERANDS
from snncc.isa.roles import ACCUMULATING, Family
from snncc.isa.spec import ELEMENT, Insn, Operands
from snncc.isa.window import Window

DEFAULT_DENSITY: Final = 0.1
"""What is expected where nobody says otherwise."""

_BIT: Final = ELEMENT.words.index("bit")


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
    row, o = BY_MNEMONIC[mnemonic], OPERANDS[mnemonic](values)
    if row.family in ACCUMULATING:
        return _accumulating(row, o, window, density)
    if row.family is Family.POOL_GRADIENT:
        assert window is not None, "it reads through a window"
        positions = o.images * window.positions
        return Expectation(positions * window.depth, positions * window.channels)
    if window is not None:
        dense = o.images * window.positions * window.depth
        terms = o.images * window.terms() * window.channels
    else:
        dense = terms = math.prod(getattr(o, name) for name in row.sizes)
    if "type" not in row.names or o.type != _BIT:
        return Expectation(dense, terms)
    ones = round(density * terms)
    return Expectation(dense, ones, ones)


def _accumulating(row: Insn, o: Operands, window: Window | None, density: float) -> Expectation:
    if window is not None:
        return _windowed(o.images, o.n, density, bool(o.skip), row.gated, window)
    dense = o.rows * o.k * o.n
    if row.family is Family.MAC and o.masked:
        outputs = round(density * o.rows * o.n)
        return Expectation(dense, outputs * o.k, 0, outputs)
    inputs = round(density * o.rows * o.k) if o.skip else o.rows * o.k
    return Expectation(dense, inputs * o.n, inputs if row.gated else 0)


def _windowed(
    images: int, n: int, density: float, skip: bool, gated: bool, window: Window
) -> Expectation:
    rows, k = images * window.positions, window.depth
    inside = images * window.terms() * window.channels
    terms = min(inside, round(density * rows * k)) if skip else inside
    return Expectation(rows * k * n, terms * n, terms if gated else 0)
