"""All transfers between DRAM and scratchpads of a plan, checked and prepared at once.

There are more of them than of anything else, and one by one they would take most of the time that a
first run needs.  Whatever is unusual is left to
:func:`snncc.isasim.engines.footprint.checks.check` and to
:func:`snncc.isasim.machine.movement.copy`, which have the rules.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from snncc.isa.instructions.operands import ordered
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.regions import MAX_ROWS, MAX_SIZE

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_FAR = 1 << 36
"""Addresses and strides beyond it are left to the checks: here their sums could overflow."""
ordered("ld st", "dst src n0 n1 bytes dst0 dst1 src0 src1")
_DST, _SRC, _N0, _N1, _SIZE, _DST0, _DST1, _SRC0, _SRC1 = range(9)


class Moves:
    """The operands of ``ld`` and ``st`` as a table."""

    def __init__(self, ops: Sequence[Resolved]) -> None:
        self.values: Ints = np.array([op[1] for op in ops], np.int64).reshape(-1, 9)
        self.loads: Flags = np.array([op[0] == "ld" for op in ops], np.bool_)
        v = self.values
        sizes = v[:, _N0 : _SIZE + 1]
        rows = v[:, _N0] * v[:, _N1]  # where they are too many, so is one of the two
        away = v[:, (_DST, _SRC, _DST0, _DST1, _SRC0, _SRC1)]
        near = ((away > -_FAR) & (away < _FAR)).all(axis=1)
        near &= (sizes > 0).all(axis=1) & (sizes[:, :2] <= MAX_ROWS).all(axis=1)
        near &= (rows > 0) & (rows <= MAX_ROWS) & (sizes[:, 2] <= MAX_SIZE)
        near &= rows.astype(np.float64) * sizes[:, 2] <= MAX_SIZE
        self.usual: Flags = near
        """Nothing is empty, absurd or far away."""

    def inside(self, sram: int, dram: int) -> Flags:
        """Return which of them certainly stay within their memories."""
        found = self.usual.copy()
        ways = ((_DST, _DST0, _DST1, ~self.loads), (_SRC, _SRC0, _SRC1, self.loads))
        for base, outer, inner, in_dram in ways:
            low, high = self._extent(base, outer, inner)
            found &= (low >= 0) & (high <= np.where(in_dram, dram, sram))
        return found

    def _extent(self, base: int, outer: int, inner: int) -> tuple[Ints, Ints]:
        v = np.where(self.usual[:, None], self.values, 0)
        d0, d1 = (v[:, _N0] - 1) * v[:, outer], (v[:, _N1] - 1) * v[:, inner]
        low = v[:, base] + np.minimum(d0, 0) + np.minimum(d1, 0)
        return low, v[:, base] + np.maximum(d0, 0) + np.maximum(d1, 0) + v[:, _SIZE]

    def rows(self, kind: int, dram: int, srams: Ints) -> tuple[Ints, Flags]:
        """Return rows of the table of moves, and which are sound.

        ``dram`` and ``srams`` (per move) are where memories begin.  The rows of a sound move do not
        overlap in memory, so the order in which they are copied does not matter.
        """
        v = np.where(self.usual[:, None], self.values, 0)
        dst, src, n0, n1, size, dst0, dst1, src0, src1 = (v[:, i].copy() for i in range(9))
        joined = (n1 > 1) & (dst1 == size) & (src1 == size)
        size[joined] *= n1[joined]
        n1[joined] = 1
        joined = (n0 > 1) & (n1 == 1) & (dst0 == size) & (src0 == size)
        size[joined] *= n0[joined]
        n0[joined] = 1
        far0, far1 = np.abs(dst0), np.abs(dst1)
        inner, outer = far1 * (n1 - 1) + size, far0 * (n0 - 1) + size
        one0, one1 = n0 == 1, n1 == 1
        apart = (one1 | (far1 >= size)) & (one0 | (far0 >= inner))
        apart |= (one0 | (far0 >= size)) & (one1 | (far1 >= outer))
        to = np.where(self.loads, srams, dram) + dst
        source = np.where(self.loads, dram, srams) + src
        what = np.full_like(to, kind)
        table = np.stack([what, to, source, n0, n1, size, dst0, dst1, src0, src1], axis=1)
        return table, apart & self.usual
