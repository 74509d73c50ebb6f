"""What the sequencer's instructions compute from two registers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Final

from snncc.isa.numbers.integers import quotient

ARITHMETIC: Final[dict[str, Callable[[int, int], int]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": quotient,
    "min": min,
    "max": max,
}
"""By mnemonic; a result of more than 64 bits and a division by 0 trap."""
