"""What an engine is: it executes one resolved instruction on the scratchpad of one core.

An engine knows values only.  Time, queues and semaphores belong to the simulator's core, DMA and
network instructions to its memory system; checks before execution are in
:mod:`snncc.isasim.engines.footprint.checks` and the same for every engine.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.instructions.operands import OPERANDS, of_family
from snncc.isa.instructions.table import TABLE
from snncc.isa.roles import ACCUMULATING, Family
from snncc.isa.semantics.activity import BLOCK, FP32, Activity, EngineNumerics
from snncc.isa.spec import Operands, Unit
from snncc.isa.window import Window
from snncc.isasim.engines.lanes import LaneProgram
from snncc.isasim.faults import Trap

__all__ = [
    "BLOCK",
    "FP32",
    "LANE_MNEMONICS",
    "MAC_MNEMONICS",
    "MNEMONICS",
    "WINDOW_MNEMONICS",
    "Activity",
    "Engine",
    "EngineNumerics",
    "Resolved",
    "Trap",
]

Sram: TypeAlias = npt.NDArray[np.uint8]

_ENGINES = (Unit.FP, Unit.BP, Unit.WG, Unit.VPU)

LANE_MNEMONICS = of_family(Family.LANES)
"""Instructions that run a microprogram."""

MAC_MNEMONICS = of_family(*ACCUMULATING)
"""Instructions that add selected terms into accumulators."""

WINDOW_MNEMONICS = frozenset(row.mnemonic for row in TABLE if row.windowed)
"""Instructions that read an image stack through a window."""

MNEMONICS = frozenset(row.mnemonic for row in TABLE if row.unit in _ENGINES)
"""Every instruction that an engine executes."""


class Resolved(NamedTuple):
    """An instruction ready to execute: no register is left in it.

    ``values``: the operands in the order of the table's row, register operands replaced by what
    the registers held at issue.  ``streams``: for lane instructions the captured descriptors of the
    streams that the microprogram uses, for windowed instructions the captured window alone.
    ``micro``: for lane instructions the microprogram, prepared once by :func:`lanes.prepare`.
    """

    mnemonic: str
    values: tuple[int, ...]
    streams: tuple[tuple[int, ...], ...] = ()
    micro: LaneProgram | None = None

    @property
    def operands(self) -> Operands:
        """The operands by name."""
        return OPERANDS[self.mnemonic](self.values)

    @property
    def window(self) -> Window:
        """The window of a windowed instruction."""
        return Window(*self.streams[0])

    @property
    def seed(self) -> int:
        """The seed of a lane instruction's random words."""
        return self.operands.seed


class Engine(Protocol):
    """Executes instructions.  Engines with equal numerics write identical bits."""

    name: str
    numerics: EngineNumerics

    def execute(self, op: Resolved, sram: Sram) -> Activity:
        """Execute ``op`` on ``sram`` (uint8, one dimension, C-contiguous, 4-byte aligned).

        Raises :class:`Trap` before anything is written when the instruction is illegal.
        """
        ...


def operands_error(op: Resolved) -> Trap:
    """Return the trap for an instruction that no engine executes."""
    return Trap("illegal", f"{op.mnemonic} is not executed by an engine")
