"""Lane instructions on the interpreter kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snncc.isasim.engines.base import Activity, Resolved, Sram
from snncc.isasim.engines.footprint.checks import overlapping, stream_region
from snncc.isasim.engines.kernels import fused as kf
from snncc.isasim.engines.kernels import lanes as kl
from snncc.isasim.engines.kernels.lane_code import BLOCK, Translation, translate
from snncc.isasim.engines.kernels.lane_fused import SHIFTS, Fused, fuse, kept
from snncc.isasim.engines.lanes import ELEMENT_BYTES, LaneProgram

_SIGNED = 1 << 63

FUSE_AFTER = 1 << 20
"""Elements after which a program is worth some 30 ms of compilation."""
LOAD_FROM = 1 << 12
"""Elements after which a program that an earlier process compiled is worth loading."""
GROUP = 16
FUSE_FROM = 64
"""Columns from which on the compiled form pays; whole groups need no minimum."""


class _Compiled(NamedTuple):
    run: Fused
    uses: npt.NDArray[np.int64]


def steps_tangled(op: Resolved, program: LaneProgram) -> bool:
    """Whether blocks must not run all their steps one block after the other.

    What is written must overlap neither itself nor other memory, except that a stream may load
    and store with one geometry; then all steps must touch the same place, or different ones.
    """
    o = op.operands
    regions = [stream_region(op, o, program, use) for use in program.uses]
    extents = [region.extent() for region in regions]
    for i, use in enumerate(program.uses):
        if not use.writes:
            continue
        region = regions[i]
        if region.s0 == 0 and region.n0 > 1:
            region = region._replace(n0=1)
        if region.self_overlapping():
            return True
        low, high = extents[i]
        for j, (begin, end) in enumerate(extents):
            if begin >= high or end <= low or i == j or (j < i and program.uses[j].writes):
                continue
            other = program.uses[j]
            if use[1] == other[1] and regions[i][2:] == regions[j][2:] and use[4:] == other[4:]:
                if not use.state:
                    continue
            if overlapping(regions[i], regions[j]):
                return True
    return False


def _signed(value: int) -> int:
    """Return a 64-bit value as a signed integer (counters wrap)."""
    return (value + _SIGNED) % (2 * _SIGNED) - _SIGNED


class LaneKernels:
    """Runs checked lane instructions whose streams are not tangled."""

    def __init__(self, saturate: bool) -> None:
        self.saturate = saturate
        self._area = np.zeros(0, np.uint8)
        self._ready: Translation | None = None
        self._spare = np.zeros(4 * BLOCK + 1024, np.uint8)

    def bind(self, op: Resolved, sram: Sram) -> Callable[[], Activity]:
        """Return a function that runs one lane instruction."""
        o = op.operands
        steps, rows, cols, seed = o.steps, o.rows, o.cols, o.seed
        program = op.micro
        assert program is not None
        streams = np.array([_signed(x) for s in op.streams for x in s], np.int64).reshape(-1, 3)
        elements = steps * rows * cols
        if rows > 1 and _contiguous(op, program, cols):
            rows, cols = 1, rows * cols
        memory, spare = int(sram.ctypes.data), int(self._spare.ctypes.data)
        number, wide = _signed(seed), cols >= FUSE_FROM or cols % GROUP == 0

        def run() -> Activity:
            fused = self._fused(program, elements) if wide else None
            if fused is not None:
                spikes = kf.run_fused(
                    fused.run.address, fused.uses, streams, steps, rows, cols, memory, spare
                )
                return Activity(elements, elements, int(spikes))
            plan = translate(program, self.saturate)
            if self._area.shape[0] < plan.bytes:
                self._area = np.zeros(plan.bytes, np.uint8)
                self._ready = None
            self._constants(plan)
            area = int(self._area.ctypes.data)
            spikes = kl.run_lanes(
                plan.code, plan.states, streams, steps, rows, cols, number, memory, area, spare
            )
            return Activity(elements, elements, int(spikes))

        return run

    def _fused(self, program: LaneProgram, elements: int) -> _Compiled | None:
        """Return the program compiled as one loop, once it has been used enough."""
        key = f"fused saturate={self.saturate}"
        found = program.scratch.get(key, 0)
        if isinstance(found, int):
            load = found < LOAD_FROM <= found + elements
            run = kept(program, self.saturate) if load else None
            found += elements
            program.scratch[key] = found
            if run is None:
                if found < FUSE_AFTER:
                    return None
                run = fuse(program, self.saturate)
            found = None
            if run is not None:
                rows = [
                    (u.slot, SHIFTS[u.element], u.per_row, u.state, u.reads, u.writes)
                    for u in program.uses
                ]
                found = _Compiled(run, np.array(rows, np.int64).reshape(-1, 6))
            program.scratch[key] = found
        return found if isinstance(found, _Compiled) else None

    def _constants(self, plan: Translation) -> None:
        """Write the constants of a program, unless the last one run was the same."""
        if self._ready is not plan:
            for place, bits in plan.constants:
                self._area[place : place + 64].view(np.uint32)[:] = bits
            self._ready = plan


def _contiguous(op: Resolved, program: LaneProgram, cols: int) -> bool:
    """Whether the rows of every stream follow each other, so that they are one long row."""
    for slot, element in program.widths:
        if element == "m":
            size = cols // 8 if cols % 16 == 0 else -1
        else:
            size = ELEMENT_BYTES.get(element, 1 if element == "counter" else 0) * cols
        if op.streams[slot][2] != size or not size:
            return False
    return True
