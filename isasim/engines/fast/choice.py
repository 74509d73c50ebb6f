"""When the dense kernels are faster than the lists: measured costs, nothing that changes bits.

Costs are cycles of a core with 16-lane registers, per vector of 16 columns where they concern
columns.  A dense term costs a fused multiply-add and its share of packing the input; a listed term
costs finding it, loading its weights and at least the latency of an addition.
"""

from __future__ import annotations

import math
from typing import Final

from snncc.isasim.engines.base import BLOCK
from snncc.isasim.engines.fast.inputs import Inputs

DENSE_VECTOR: Final = 1.05
"""A term of one row and vector."""
DENSE_INPUT: Final = 0.35
"""Packing one input."""
DENSE_WEIGHT: Final = 0.3
"""Converting a vector of weights."""
LISTED_VECTOR: Final = 1.55
"""An active term of one row and vector."""
LATENCY: Final = 2.8
"""An active term of one row at least."""
FOUND_BIT: Final = 3.0
FOUND_NUMBER: Final = 5.0
"""Listing an active term, in training steps: spikes come in clusters, random ones cost a third."""
LISTED_ROW: Final = 30.0
"""Whatever a row costs besides."""
TURNED: Final = 0.5
"""Patching and transposing one input for lists; patching alone takes half of it."""


APART: Final = 0.86
"""The share of terms up to which it pays to leave out the taps outside the image."""


def _dense_terms(inputs: Inputs, n: int, outer: bool, apart: bool) -> float:
    """Return the terms that the dense kernels work on."""
    total = inputs.rows * inputs.depth
    if not apart:
        return total
    if outer:
        padded = -(-inputs.channels // BLOCK) * BLOCK
        return inputs.inside * padded / inputs.channels
    height = 8 if n > BLOCK else 16
    return inputs.inside * (-(-inputs.images // height) * height / inputs.images)


def apart_pays(inputs: Inputs, n: int, outer: bool) -> bool:
    """Return whether positions (or, for outer products, taps) are better computed on their own."""
    total = inputs.rows * inputs.depth
    return bool(total) and _dense_terms(inputs, n, outer, True) < APART * total


def dense_from(inputs: Inputs, n: int, outer: bool) -> float:
    """Return the number of active inputs above which dense accumulation is faster than lists."""
    total = inputs.rows * inputs.depth
    if not total or not n:
        return math.inf
    rows, terms = (inputs.depth, inputs.rows) if outer else (inputs.rows, inputs.depth)
    vectors = -(-n // BLOCK)
    worked = _dense_terms(inputs, n, outer, apart_pays(inputs, n, outer))
    dense = worked * (DENSE_VECTOR * vectors + DENSE_INPUT) + DENSE_WEIGHT * vectors * terms * BLOCK
    listed = LISTED_ROW * rows + (TURNED if outer else TURNED / 2) * total
    found = FOUND_BIT if inputs.bits else FOUND_NUMBER
    return (dense - listed) / (found + max(LATENCY, LISTED_VECTOR * vectors))
