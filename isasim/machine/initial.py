"""``strict_init``: one flag per byte tells whether memory was ever written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.checks import Footprint, Region
from snncc.isasim.faults import Trap

Flags: TypeAlias = npt.NDArray[np.bool_]


def region_view(flags: Flags, region: Region) -> Flags:
    """Return the bytes of a region as an array [n0, n1, size]; the region must be in bounds."""
    r = region
    return np.ndarray((r.n0, r.n1, r.size), np.bool_, flags, r.start, (r.s0, r.s1, 1))


class InitShadow:
    """Which bytes of the DRAM and of each scratchpad hold something."""

    def __init__(self, cores: Sequence[int], sram: int, dram: int) -> None:
        self.dram: Flags = np.zeros(dram, np.bool_)
        self.sram: dict[int, Flags] = {core: np.zeros(sram, np.bool_) for core in cores}

    def reset(self) -> None:
        """The scratchpads hold nothing again; the DRAM keeps what it has."""
        for flags in self.sram.values():
            flags.fill(False)

    def _flags(self, core: int, region: Region) -> Flags:
        return self.dram if region.space == "dram" else self.sram[core]

    def check(self, core: int, op: Resolved, footprint: Footprint) -> None:
        """Trap when the instruction reads a byte that was never written."""
        for region in footprint[0]:
            view = region_view(self._flags(core, region), region)
            if not view.all():
                i, j, k = (int(x[0]) for x in np.nonzero(~view))
                at = region.start + i * region.s0 + j * region.s1 + k
                raise Trap(
                    "uninitialised",
                    f"{op.mnemonic}: {region.operand} reads byte {at} of {region.space} "
                    f"(row {i}, {j}), which was never written",
                )

    def written(self, core: int, footprint: Footprint) -> None:
        """The instruction wrote its regions."""
        for region in footprint[1]:
            region_view(self._flags(core, region), region)[...] = True
