"""What an instruction touches, and whether it may: the same code for every engine.

:func:`footprint` gives the exact bytes each operand reads and writes, for the bounds check here,
for the race checker and for the search for uninitialised reads.  :func:`check` raises the trap of
an illegal instruction; nothing has been written then.
"""

from __future__ import annotations

from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isasim.engines.base import LANE_MNEMONICS, Resolved
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
    need_flags,
    need_init,
    overlapping,
    row_bytes,
)
from snncc.isasim.engines.footprint.windows import WINDOW_FOOTPRINTS
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


def _mac(op: Resolved) -> Footprint:
    v = op.values
    acc, acc_stride, a, a_stride, w, w_stride, rows, k, n, bias, init = v[:11]
    skip, trans = v[11:13] if op.mnemonic != "gacc" else (0, 0)
    masked, mask, mask_stride = v[13:16] if op.mnemonic == "bmac" else (0, 0, 0)
    need_init(op, init, bias=True)
    need_flags(op, skip=skip, trans=trans, masked=masked)
    need_dims(op, rows=rows, k=k, n=n)
    reads: list[Region] = []
    if not rows or not n:
        return reads, []
    if k:
        size = packed_bytes(k) if op.mnemonic == "gacc" else 2 * k
        reads.append(Region("a", "sram", a, size, 2, rows, a_stride))
        depth, width = (n, k) if trans else (k, n)
        reads.append(Region("w", "sram", w, 2 * width, 2, depth, w_stride))
        if masked:
            reads.append(Region("mask", "sram", mask, packed_bytes(n), 2, rows, mask_stride))
    if init == BIAS:
        reads.append(Region("bias", "sram", bias, 2 * n, 2, 1, 0))
    written = Region("acc", "sram", acc, 4 * n, 4, rows, acc_stride)
    if init == KEEP:
        reads.append(written)
    return reads, [written]


def _outer(op: Resolved) -> Footprint:
    acc, acc_stride, a, a_stride, g, g_stride, rows, k, n, init = op.values[:10]
    need_init(op, init, bias=False)
    need_flags(op, skip=op.values[10] if op.mnemonic == "outer" else 0)
    need_dims(op, rows=rows, k=k, n=n)
    if not k or not n:
        return [], []
    written = Region("acc", "sram", acc, 4 * n, 4, k, acc_stride)
    reads = [written] if init == KEEP else []
    if rows:
        size = packed_bytes(k) if op.mnemonic == "gouter" else 2 * k
        reads.append(Region("a", "sram", a, size, 2, rows, a_stride))
        reads.append(Region("g", "sram", g, 2 * n, 2, rows, g_stride))
    return reads, [written]


def _rowred(op: Resolved) -> Footprint:
    dst, dst_stride, x, x_stride, rows, n, kind, red = op.values
    if kind not in (F16, F32, BIT) or red not in (SUM, MAX, SUM32):
        raise Trap("operand", f"rowred: type {kind}, op {red} is illegal")
    if not need_dims(op, rows=rows, n=n):
        return [], []
    size, align = row_bytes(kind, n)
    out = 4 if red == SUM32 else 2
    return (
        [Region("x", "sram", x, size, align, rows, x_stride)],
        [Region("dst", "sram", dst, out, out, rows, dst_stride)],
    )


def _colsum(op: Resolved) -> Footprint:
    acc, x, x_stride, rows, n, kind, init = op.values
    if kind not in (F16, F32, BIT):
        raise Trap("operand", f"colsum: type {kind} is illegal")
    need_init(op, init, bias=False)
    need_dims(op, rows=rows, n=n)
    if not n:
        return [], []
    written = Region("acc", "sram", acc, 4 * n, 4, 1, 0)
    reads = [written] if init == KEEP else []
    if rows:
        size, align = row_bytes(kind, n)
        reads.append(Region("x", "sram", x, size, align, rows, x_stride))
    return reads, [written]


def _copy(op: Resolved) -> Footprint:
    dst, src, n0, n1, size, dst0, dst1, src0, src1 = op.values
    source, target = {"ld": ("dram", "sram"), "st": ("sram", "dram")}.get(
        op.mnemonic, ("sram", "sram")
    )
    if not need_dims(op, n0=n0, n1=n1, bytes=size):
        return [], []
    read = Region("src", source, src, size, 1, n0, src0, n1, src1)
    written = Region("dst", target, dst, size, 1, n0, dst0, n1, dst1)
    if op.mnemonic == "copy" and overlapping(read, written):
        raise Trap("overlap", "copy: source and destination overlap")
    return [read], [written]


def _fill(op: Resolved) -> Footprint:
    dst, dst0, n0, size, _ = op.values
    if size % 2:
        raise Trap("operand", f"fill: bytes is {size}, not a multiple of 2")
    if not need_dims(op, n0=n0, bytes=size):
        return [], []
    return [], [Region("dst", "sram", dst, size, 2, n0, dst0)]


def _message(op: Resolved) -> Footprint:
    _, _, address, size = op.values
    if not need_dims(op, bytes=size):
        return [], []
    if op.mnemonic == "recvadd":
        both = [Region("dst", "sram", address, 4 * size, 4, 1, 0)]
        return both, both
    if op.mnemonic == "recv":
        return [], [Region("dst", "sram", address, size, 1, 1, 0)]
    return [Region("src", "sram", address, size, 1, 1, 0)], []


def stream_region(op: Resolved, program: LaneProgram, use: Use) -> Region:
    """Return what one memory access of a lane instruction covers."""
    _, steps, rows, cols, _ = op.values
    base, step, row = op.streams[use.slot]
    size = packed_bytes(cols) if use.element == "m" else ELEMENT_BYTES[use.element]
    if use.element != "m" and not use.per_row:
        size *= cols
    align = 4 if use.element == "f" else 2
    n0, s0 = (1, 0) if use.state else (steps, step)
    name = f"stream s{program.streams[use.slot]}"
    return Region(name, "sram", base, size, align, n0, s0, rows, row)


def _lanes(op: Resolved) -> Footprint:
    _, steps, rows, cols, _ = op.values
    if op.micro is None:
        raise Trap("microprogram", f"{op.mnemonic}: there is no microprogram @{op.values[0]}")
    if not need_dims(op, steps=steps, rows=rows, cols=cols):
        return [], []
    if len(op.streams) != len(op.micro.streams):
        raise Trap("microprogram", f"{op.mnemonic}: {len(op.streams)} descriptors were captured")
    reads: list[Region] = []
    writes: list[Region] = []
    for use in op.micro.uses:
        region = stream_region(op, op.micro, use)
        if use.reads:
            reads.append(region)
        if use.writes:
            writes.append(region)
    return reads, writes


_FOOTPRINTS = {
    **dict.fromkeys(("gacc", "mac", "bmac"), _mac),
    **dict.fromkeys(("gouter", "outer"), _outer),
    **dict.fromkeys(LANE_MNEMONICS, _lanes),
    **dict.fromkeys(("ld", "st", "copy"), _copy),
    **dict.fromkeys(("send", "mcast", "recv", "recvadd"), _message),
    "fill": _fill,
    "rowred": _rowred,
    "colsum": _colsum,
    **WINDOW_FOOTPRINTS,
}


def footprint(op: Resolved) -> Footprint:
    """Return the regions that ``op`` reads and writes.

    Every instruction that touches memory is known: engine, DMA and network instructions; others
    touch nothing.  A dimension of zero leaves a region out.  Raises Trap for operands that have no
    meaning (negative sizes, illegal init, overlapping copy).
    """
    find = _FOOTPRINTS.get(op.mnemonic)
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
