"""What DMA instructions do to memory: strided copies and fills, checked before the first byte.

The common shapes are checked and copied here in a few numpy calls; whatever looks wrong or odd goes
to :func:`snncc.isasim.engines.footprint.checks.check`, which words the trap.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.instructions.operands import ordered
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.checks import check
from snncc.isasim.engines.footprint.regions import MAX_ROWS, MAX_SIZE
from snncc.isasim.faults import Trap

ordered("ld st copy", "dst src n0 n1 bytes dst0 dst1 src0 src1")
ordered("fill", "dst dst0 n0 bytes pattern")
ordered("send", "core tag src bytes")
ordered("mcast", "mask tag src bytes")
ordered("recv", "core tag dst bytes")
ordered("recvadd", "core tag dst count")

Bytes: TypeAlias = npt.NDArray[np.uint8]
_U1 = np.dtype(np.uint8)


def copy(op: Resolved, source: Bytes, target: Bytes, sram: int, dram: int) -> None:
    """Execute ``ld``, ``st`` or ``copy``; ``sram`` and ``dram`` are the memories' sizes."""
    dst, src, n0, n1, size, dst0, dst1, src0, src1 = op[1]
    if n0 * n1 > MAX_ROWS or n0 * n1 * size > MAX_SIZE:
        check(op, sram, dram)  # strides of 0 would allow any number
    if n1 > 1 and dst1 == size == src1:
        size *= n1
        n1 = 1
    if n0 > 1 and n1 == 1 and dst0 == size == src0:
        size *= n0
        n0 = 1
    if (
        n0 == 1
        and n1 == 1
        and 0 <= src
        and 0 <= dst
        and 0 < size
        and src + size <= source.size
        and dst + size <= target.size
        and (source is not target or abs(dst - src) >= size)
    ):
        target[dst : dst + size] = source[src : src + size]
        return
    if (
        n0 < 1
        or n1 < 1
        or size < 1
        or source is target
        or not _inside(src, n0, src0, n1, src1, size, source.size)
        or not _inside(dst, n0, dst0, n1, dst1, size, target.size)
    ):
        check(op, sram, dram)
        if n0 * n1 * size == 0:
            return
    row = _row(size)
    rows: npt.NDArray[np.void] = np.ndarray((n0, n1), row, source, src, (src0, src1))
    written: npt.NDArray[np.void] = np.ndarray((n0, n1), row, target, dst, (dst0, dst1))
    if rows_disjoint(n0, dst0, n1, dst1, size):
        written[...] = rows
        return
    for i in range(n0):  # rows that overlap are written in order: the last one stays
        for j in range(n1):
            written[i, j] = rows[i, j]


@lru_cache(maxsize=4096)
def _row(size: int) -> np.dtype[np.void]:
    """Return a row as one element: numpy then moves it at once, without a loop over its bytes."""
    return np.dtype((np.void, size))


def _inside(start: int, n0: int, s0: int, n1: int, s1: int, size: int, limit: int) -> bool:
    """Whether all rows lie in a memory of ``limit`` bytes; the counts are positive."""
    d0, d1 = (n0 - 1) * s0, (n1 - 1) * s1
    low = start + (d0 if d0 < 0 else 0) + (d1 if d1 < 0 else 0)
    high = start + (d0 if d0 > 0 else 0) + (d1 if d1 > 0 else 0) + size
    return low >= 0 and high <= limit


def rows_disjoint(n0: int, s0: int, n1: int, s1: int, size: int) -> bool:
    """Whether rows certainly share no byte (nested strides, in either order)."""
    inner = abs(s1) * (n1 - 1) + size
    outer = abs(s0) * (n0 - 1) + size
    return ((n1 == 1 or abs(s1) >= size) and (n0 == 1 or abs(s0) >= inner)) or (
        (n0 == 1 or abs(s0) >= size) and (n1 == 1 or abs(s1) >= outer)
    )


def fill(op: Resolved, sram: Bytes) -> None:
    """Execute ``fill``."""
    dst, dst0, n0, size, pattern = op[1]
    if n0 > 1 and dst0 == size:
        size *= n0
        n0 = 1
    if not (n0 == 1 and 0 <= dst and 0 < size and dst + size <= sram.size) or (dst | size) & 1:
        check(op, sram.size)
        _, dst0, n0, size, _ = op[1]
        if not (n0 and size):
            return
    if n0 * size > MAX_SIZE:
        check(op, sram.size)
    low, high = pattern & 255, pattern >> 8
    if n0 == 1 and low == high:
        sram[dst : dst + size] = low
        return
    rows = np.ndarray((n0, size // 2, 2), _U1, sram, dst, (dst0, 2, 1))
    rows[..., 0] = low
    rows[..., 1] = high


def payload(op: Resolved, sram: Bytes) -> bytes:
    """Return the bytes of ``send`` or ``mcast``."""
    _, _, src, size = op[1]
    if src < 0 or size < 0 or src + size > sram.size:
        check(op, sram.size)
    return sram[src : src + size].tobytes() if size else b""


def message_bytes(op: Resolved) -> int:
    """Return the bytes of the message that ``recv`` or ``recvadd`` takes."""
    count: int = op[1][3]
    return 4 * count if op[0] == "recvadd" else count


def receive(op: Resolved, sram: Bytes, message: bytes) -> None:
    """Execute ``recv`` or ``recvadd`` with the message it waited for."""
    adds = op[0] == "recvadd"
    source, tag, dst, _ = op[1]
    check(op, sram.size)
    size = message_bytes(op)
    if len(message) != size:
        raise Trap(
            "length",
            f"{op[0]}: the message from core {source} with tag {tag} has {len(message)} bytes, "
            f"not {size}",
        )
    if not size:
        return
    if not adds:
        sram[dst : dst + size] = np.frombuffer(message, np.uint8)
        return
    target = sram[dst : dst + size].view(np.float32)
    with np.errstate(all="ignore"):
        target += np.float32(0.0)  # loading a value adds it to +0 (ADR 0001, N2.2)
        target += np.frombuffer(message, np.float32)
    bits = target.view(np.uint32)
    bits[np.isnan(target)] = 0x7FC00000
