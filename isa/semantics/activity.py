"""What an instruction did, and the choices that a machine has in how it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from snncc.isa.numbers.accumulators import Accumulator

BLOCK = 16
"""How many neighbouring inputs or outputs are counted together; arrays of other sizes are priced
with the expected number of blocks."""


class Activity(NamedTuple):
    """What an instruction really did; the cost model turns it into cycles and energy.

    ``dense``: multiply-accumulates (or lane elements, or reduced terms) without any gating;
    ``performed``: those that were carried out; ``spikes``: set bits among the packed spikes read
    by gacc, gouter, rowred and colsum (with a window: once per tap), or stored by a lane
    instruction; ``outputs``: outputs that a masked bmac computes, -1 where there is no mask;
    ``blocks``: groups of ``BLOCK`` inputs of one row (and tap) with an active one, ``out_blocks``:
    groups of ``BLOCK`` outputs of one row that a mask does not leave out all; -1: not counted,
    then all of them.
    """

    dense: int
    performed: int
    spikes: int = 0
    outputs: int = -1
    blocks: int = -1
    out_blocks: int = -1


NOTHING = Activity(0, 0)


@dataclass(frozen=True)
class EngineNumerics:
    """The choices the numeric contract leaves to a machine.

    ``accumulator`` concerns the MAC arrays (gacc, mac, bmac, gouter, outer): ``fp16`` rounds each
    product and each sum to binary16.  The reductions of the vector unit stay binary32.
    ``saturate`` clamps the result of every rounding to binary16 to +-65504.
    """

    accumulator: Accumulator = "fp32"
    saturate: bool = False


FP32 = EngineNumerics()
