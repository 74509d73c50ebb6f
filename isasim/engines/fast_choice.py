"""When the dense kernels are faster than the lists: measured costs, nothing that changes bits.

Costs are cycles of a core with 16-lane registers, per vector of 16 columns where they concern
columns.  A dense term costs a fused multiply-add and its share of packing the input; a listed term
costs finding it, loading its weights and at least the latency of an addition.
"""

from __future__ import annotations

from typing import Final

DENSE_VECTOR: Final = 1.0
"""A term of one row and vector."""
DENSE_INPUT: Final = 0.3
"""Packing one input."""
DENSE_WEIGHT: Final = 0.3
"""Converting a vector of weights."""
LISTED_VECTOR: Final = 1.1
"""An active term of one row and vector."""
LATENCY: Final = 3.0
"""An active term of one row at least."""
FOUND_BIT: Final = 3.0
FOUND_NUMBER: Final = 6.0
"""Listing an active term."""
LISTED_ROW: Final = 60.0
"""Whatever a row costs besides."""
TURNED: Final = 0.5
"""Patching and transposing one input for lists."""


def dense_pays(rows: int, terms: int, n: int, active: int, outer: bool, *, bits: bool) -> bool:
    """Return whether dense accumulation is faster for [rows, terms] inputs with some active."""
    total = rows * terms
    if not total or not n:
        return False
    vectors = -(-n // 16)
    dense = total * (DENSE_VECTOR * vectors + DENSE_INPUT) + DENSE_WEIGHT * vectors * terms * 16
    found = FOUND_BIT if bits else FOUND_NUMBER
    listed = active * (found + max(LATENCY, LISTED_VECTOR * vectors))
    listed += LISTED_ROW * rows + (TURNED if outer else TURNED / 2) * total
    return dense < listed
