"""The oracle: the meaning of every instruction (:mod:`snncc.isa.semantics`) on a scratchpad.

Operands are read completely before anything is written; rows are written in ascending order.
"""

from __future__ import annotations

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.semantics.call import Call
from snncc.isa.semantics.meaning import compute
from snncc.isasim.engines.base import FP32, MNEMONICS, Activity, EngineNumerics, Resolved, Sram
from snncc.isasim.engines.base import operands_error as _unknown
from snncc.isasim.engines.footprint.checks import check
from snncc.isasim.engines.reference.memory import SramPlace, SramStreams


class ReferenceEngine:
    """Executes instructions with numpy; slow and plain."""

    name = "reference"

    def __init__(self, numerics: EngineNumerics = FP32) -> None:
        self.numerics = numerics

    def execute(self, op: Resolved, sram: Sram) -> Activity:
        """Execute one instruction; see :class:`snncc.isasim.engines.base.Engine`."""
        check(op, sram.shape[0])
        if op.mnemonic not in MNEMONICS:
            raise _unknown(op)
        row, o = BY_MNEMONIC[op.mnemonic], op.operands

        def place(name: str) -> SramPlace:
            return SramPlace(sram, getattr(o, name))

        micro = op.micro
        return compute(
            Call(
                row,
                o,
                place,
                self.numerics,
                windows=(op.window,) if row.windowed else (),
                code=micro.code if micro else (),
                streams=SramStreams(op, micro, sram) if micro else None,
            )
        )
