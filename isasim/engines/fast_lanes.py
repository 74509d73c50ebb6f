"""Lane instructions on the interpreter kernel."""

from __future__ import annotations

import numpy as np

from snncc.isa.fp16 import packed_bytes
from snncc.isa.tables import table
from snncc.isasim.engines import kernels_lanes as kl
from snncc.isasim.engines.base import Activity, Resolved, Sram
from snncc.isasim.engines.checks import Footprint, overlapping, stream_region
from snncc.isasim.engines.lane_code import BLOCK, CODE, IMM, Translation, translate
from snncc.isasim.engines.lanes import ELEMENT_BYTES, LaneProgram

_TAB = 0x2B
_SIGNED = 1 << 63


def steps_tangled(op: Resolved, program: LaneProgram) -> bool:
    """Whether blocks must not run all their steps one block after the other.

    What is written must overlap neither itself nor other memory, except that a stream may load
    and store with one geometry; then all steps must touch the same place, or different ones.
    """
    uses = [(use, stream_region(op, program, use)) for use in program.uses]
    for i, (use, region) in enumerate(uses):
        if not use.writes:
            continue
        if region.s0 == 0 and region.n0 > 1:
            region = region._replace(n0=1)
        if region.self_overlapping():
            return True
        for j, (other, there) in enumerate(uses):
            if i == j or (other.writes and j < i):
                continue
            same = (
                region[2:] == there._replace(n0=region.n0)[2:]
                and there.n0 in (region.n0, op.values[1])
                and not use.state
                and not other.state
                and not other.per_row
                and use.element == other.element
            )
            if not same and overlapping(region, there):
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
        self._spare = np.zeros(4 * BLOCK + 1024, np.uint8)

    def __call__(self, op: Resolved, sram: Sram) -> Activity:
        """Run one lane instruction."""
        _, steps, rows, cols, seed = op.values
        program = op.micro
        assert program is not None
        plan = translate(program, self.saturate)
        if self._area.shape[0] < plan.bytes:
            self._area = np.zeros(plan.bytes, np.uint8)
        code = self._prepare(plan, program)
        streams = np.array([[_signed(x) for x in s] for s in op.streams], np.int64).reshape(-1, 3)
        elements = steps * rows * cols
        if rows > 1 and _contiguous(op, program):
            rows, cols = 1, rows * cols
        spikes = kl.run_lanes(
            code,
            plan.states,
            streams,
            steps,
            rows,
            cols,
            _signed(seed),
            sram.ctypes.data,
            self._area.ctypes.data,
            self._spare.ctypes.data,
        )
        return Activity(elements, elements, int(spikes))

    def _prepare(self, plan: Translation, program: LaneProgram) -> np.ndarray:
        """Write the constants; return the code with the addresses of its tables."""
        for place, bits in plan.constants:
            self._area[place : place + 64].view(np.uint32)[:] = bits
        code = plan.code
        if (code[:, CODE] == _TAB).any() and "tables" not in program.scratch:
            for row in code:
                if row[CODE] == _TAB:
                    row[IMM] = table(int(row[IMM])).ctypes.data
            program.scratch["tables"] = True
        return code


def _contiguous(op: Resolved, program: LaneProgram) -> bool:
    """Whether the rows of every stream follow each other, so that they are one long row."""
    cols = op.values[3]
    rows_of = dict.fromkeys(range(len(program.streams)), cols)  # iota, rand: counters
    for use in program.uses:
        if use.per_row or (use.element == "m" and cols % 16):
            return False
        size = packed_bytes(cols) if use.element == "m" else ELEMENT_BYTES[use.element] * cols
        rows_of[use.slot] = size
    counted = {
        program.slot(i.imm) for i in program.code if i.op.name in ("iota", "rand")
    } & {use.slot for use in program.uses}
    return not counted and all(op.streams[s][2] == size for s, size in rows_of.items())
