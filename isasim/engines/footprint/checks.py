"""What an instruction touches, and whether it may: the same code for every engine.

:func:`footprint` gives the exact bytes each operand reads and writes, for the bounds check here,
for the race checker and for the search for uninitialised reads.  :func:`check` raises the trap of
an illegal instruction; nothing has been written then.
"""

from __future__ import annotations

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isa.roles import Family
from snncc.isa.spec import Insn, Operands
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.derive import Find, footprint_of
from snncc.isasim.engines.footprint.regions import (
    BIAS,
    BIT,
    F16,
    F32,
    KEEP,
    MAX,
    MAX_ROWS,
    SUM,
    SUM32,
    ZERO,
    Footprint,
    Region,
    need_dims,
    overlapping,
)
from snncc.isasim.engines.lanes import ELEMENT_BYTES, LaneProgram, Use
from snncc.isasim.faults import Trap

__all__ = [
    "BIAS",
    "BIT",
    "F16",
    "F32",
    "KEEP",
    "MAX",
    "MAX_ROWS",
    "SUM",
    "SUM32",
    "ZERO",
    "Footprint",
    "Region",
    "check",
    "footprint",
    "overlapping",
]


def stream_region(op: Resolved, o: Operands, program: LaneProgram, use: Use) -> Region:
    """Return what one memory access of a lane instruction with operands ``o`` covers."""
    steps, rows, cols = o.steps, o.rows, o.cols
    base, step, row = op.streams[use.slot]
    size = packed_bytes(cols) if use.element == "m" else ELEMENT_BYTES[use.element]
    if use.element != "m" and not use.per_row:
        size *= cols
    align = 4 if use.element == "f" else 2
    n0, s0 = (1, 0) if use.state else (steps, step)
    name = f"stream s{program.streams[use.slot]}"
    return Region(name, "sram", base, size, align, n0, s0, rows, row)


def _lanes(op: Resolved) -> Footprint:
    o = op.operands
    if op.micro is None:
        raise Trap("microprogram", f"{op.mnemonic}: there is no microprogram @{o.prog}")
    if not need_dims(op, steps=o.steps, rows=o.rows, cols=o.cols):
        return [], []
    if len(op.streams) != len(op.micro.streams):
        raise Trap("microprogram", f"{op.mnemonic}: {len(op.streams)} descriptors were captured")
    reads: list[Region] = []
    writes: list[Region] = []
    for use in op.micro.uses:
        region = stream_region(op, o, op.micro, use)
        if use.reads:
            reads.append(region)
        if use.writes:
            writes.append(region)
    return reads, writes


def _finder(row: Insn) -> Find | None:
    if row.family is Family.LANES:
        return _lanes
    return footprint_of(row) if row.memory else None


class _Finders(dict[str, Find | None]):
    """Functions are written when they are asked for the first time."""

    def __missing__(self, mnemonic: str) -> Find | None:
        self[mnemonic] = found = _finder(BY_MNEMONIC[mnemonic])
        return found


_FOOTPRINTS = _Finders()


def footprint(op: Resolved) -> Footprint:
    """Return the regions that ``op`` reads and writes.

    Every instruction that touches memory is known: engine, DMA and network instructions; others
    touch nothing.  A dimension of zero leaves a region out.  Raises Trap for operands that have no
    meaning (negative sizes, illegal init, overlapping copy).
    """
    find = _FOOTPRINTS[op.mnemonic]
    return find(op) if find else ([], [])


def check(op: Resolved, sram_bytes: int, dram_bytes: int = 0) -> Footprint:
    """Raise the trap that ``op`` deserves, else return its footprint."""
    found = footprint(op)
    for regions in found:
        for region in regions:
            _check_region(op, region, sram_bytes if region.space == "sram" else dram_bytes)
    return found


def _check_region(op: Resolved, r: Region, limit: int) -> None:
    low, high = r.extent()
    if low < 0 or high > limit:
        raise Trap(
            "bounds",
            f"{op.mnemonic}: {r.operand} covers bytes {low}..{high - 1} of {r.space}, "
            f"which has 0..{limit - 1} (start {r.start}, rows of {r.size} bytes, "
            f"{r.n0} x {r.s0}, {r.n1} x {r.s1})",
        )
    if r.align > 1 and (r.start % r.align or r.s0 % r.align or r.s1 % r.align):
        raise Trap(
            "alignment",
            f"{op.mnemonic}: {r.operand} at {r.start} with strides {r.s0} and {r.s1} "
            f"must be aligned to {r.align} bytes",
        )
    if r.n0 * r.n1 > MAX_ROWS:
        raise Trap(
            "operand",
            f"{op.mnemonic}: {r.operand} has {r.n0 * r.n1} rows, at most {MAX_ROWS} are allowed",
        )
