"""The fast engine: numba kernels with the bits of the reference engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from snncc.isasim.engines.base import (
    FP32,
    LANE_MNEMONICS,
    MAC_MNEMONICS,
    MNEMONICS,
    Activity,
    EngineNumerics,
    Resolved,
    Sram,
)
from snncc.isasim.engines.fast.lanes import LaneKernels, steps_tangled
from snncc.isasim.engines.fast.mac import MacKernels
from snncc.isasim.engines.fast.sums import SumKernels
from snncc.isasim.engines.fast.windows import WindowKernels
from snncc.isasim.engines.footprint.checks import Footprint, check, overlapping
from snncc.isasim.engines.reference.engine import ReferenceEngine


def tangled(footprint: Footprint) -> bool:
    """Whether what is written overlaps itself or anything else that is touched.

    An accumulator read and written in place is no overlap.
    """
    reads, writes = footprint
    for i, region in enumerate(writes):
        if region.self_overlapping():
            return True
        others = [r for r in reads if r is not region] + writes[i + 1 :]
        if any(overlapping(region, other) for other in others):
            return True
    return False


class FastEngine:
    """Executes instructions with compiled kernels; tangled operands go to the reference engine."""

    name = "fast"

    def __init__(self, numerics: EngineNumerics = FP32) -> None:
        self.numerics = numerics
        self._reference = ReferenceEngine(numerics)
        self._lanes = LaneKernels(numerics.saturate)
        self._mac = MacKernels(numerics.accumulator == "fp16")
        holders = (WindowKernels(numerics.saturate), SumKernels(self._reference, numerics.saturate))
        self._run = {
            name: getattr(holder, name)
            for name in MNEMONICS - MAC_MNEMONICS - LANE_MNEMONICS
            for holder in holders
            if hasattr(holder, name)
        }
        """What is neither accumulation nor lanes: methods of the name of the instruction."""
        missing = MNEMONICS - MAC_MNEMONICS - LANE_MNEMONICS - set(self._run)
        assert not missing, f"no kernel for {', '.join(sorted(missing))}"

    def execute(self, op: Resolved, sram: Sram) -> Activity:
        """Execute one instruction; see :class:`snncc.isasim.engines.base.Engine`."""
        return self.bind(op, sram)()

    def bind(self, op: Resolved, sram: Sram) -> Callable[[], Activity]:
        """Check an instruction; return a function that executes it, any number of times."""
        found = check(op, sram.shape[0])
        if op.micro is not None and op.mnemonic in LANE_MNEMONICS:
            if (found[0] or found[1]) and not steps_tangled(op, op.micro):
                return self._lanes.bind(op, sram)
        else:
            run = self._run.get(op.mnemonic)
            if op.mnemonic in MNEMONICS and found[1] and not tangled(found):
                return self._mac.bind(op, sram) if run is None else partial(run, op, sram)
        return partial(self._reference.execute, op, sram)
