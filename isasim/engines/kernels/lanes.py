# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""The interpreter of translated microprograms: one block of elements at a time, all steps.

A block is several whole rows, each padded to a multiple of 16 lanes, or a piece of one row.  A run
of blocks goes through all steps before the next run: short enough for its state to stay in the
cache, long enough for the memory to be read in long pieces.  The order is free because the elements
of a step are independent and the caller has ruled out overlaps between streams.  Between steps the
state rests in its stream's memory, exactly, unless the run is a single block.
"""

from __future__ import annotations

import numpy as np

from snncc.isasim.engines.kernels.bits import count_bits, load_bits16
from snncc.isasim.engines.kernels.kernel_cache import kernel
from snncc.isasim.engines.kernels.lane_code import BLOCK
from snncc.isasim.engines.kernels.lane_ops import (
    MOVE_FLOAT,
    MOVE_HALF,
    MOVE_ROUND,
    PUT_FLOAT,
    PUT_HALF,
    fill_group,
    lane_op,
    load_int,
    load_pattern,
    move_groups,
    number_lanes,
    pattern_of,
    random_words,
    store_bits16,
)
from snncc.isasim.engines.kernels.panel import half_at

RUN = 64
"""Blocks of a run."""

LD_H, LD_F, LD_ACC, LD_M, LD_ROW_H, LD_ROW_F, LD_ROW_I, ST_H, ST_F, ST_M = range(1, 11)
STATE_H, STATE_F, STATE_M, IOTA, RAND = 0x0B, 0x0C, 0x0D, 0x0F, 0x50


@kernel("void(int64, int64, int64, int64, int64)")
def move(kind, memory, lanes, columns, spare):
    """Move one row between memory and lanes; the last partial group goes through ``spare``."""
    whole, rest = columns // 16, columns % 16
    shift = 1 if kind == MOVE_HALF or kind == PUT_HALF else 2
    far = memory + (whole * 16 << shift)
    units = rest << shift >> 1
    if kind == PUT_HALF or kind == PUT_FLOAT:
        move_groups(kind, whole, lanes, memory)
        if rest:
            move_groups(kind, 1, lanes + 64 * whole, spare)
            for u in range(units):
                store_bits16(load_bits16(spare + 2 * u), far + 2 * u)
    else:
        move_groups(kind, whole, memory, lanes)
        if rest:
            for u in range(units):
                store_bits16(load_bits16(far + 2 * u), spare + 2 * u)
            move_groups(kind, 1, spare, lanes + 64 * whole)


@kernel("int64(int64, int64, int64, int64)")
def copy_mask(source, target, columns, clear):
    """Copy the packed bits of one row, clear the padding if told; return the number of set bits."""
    total = 0
    words = (columns + 15) // 16
    for h in range(words):
        word = load_bits16(source + 2 * h)
        if clear and h == words - 1 and columns % 16:
            word &= (np.uint64(1) << np.uint64(columns % 16)) - np.uint64(1)
        total += count_bits(word)
        store_bits16(word, target + 2 * h)
    return total


@kernel("void(int64, int64, int64, int64, int64)")
def randoms(counter, seed, lanes, columns, spare):
    """Fill a row of lanes with the random words of consecutive counters."""
    block, skip = (counter >> 2) & ((1 << 62) - 1), counter & 3
    for part in range((skip + columns + 63) // 64):
        random_words(block + 16 * part, seed, spare + 256 * part)
    move_groups(MOVE_FLOAT, (columns + 15) // 16, spare + 4 * skip, lanes)


@kernel("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def memory_op(code, lanes, address, row, rows, columns, pitch, seed, counter, spare):
    """Run a memory operation on the rows of a block; return the number of spikes stored."""
    spikes = 0
    for i in range(rows):
        place = address + i * row
        target = lanes + 4 * i * pitch
        bits = lanes + i * pitch // 8
        if code == LD_H or code == STATE_H:
            move(MOVE_HALF, place, target, columns, spare)
        elif code == LD_F or code == STATE_F:
            move(MOVE_FLOAT, place, target, columns, spare)
        elif code == LD_ACC:
            move(MOVE_ROUND, place, target, columns, spare)
        elif code == LD_M or code == STATE_M:
            copy_mask(place, bits, columns, 0)
        elif code == ST_H:
            move(PUT_HALF, place, target, columns, spare)
        elif code == ST_F:
            move(PUT_FLOAT, place, target, columns, spare)
        elif code == ST_M:
            spikes += copy_mask(bits, place, columns, 1)
        elif code == IOTA:
            for group in range(pitch // 16):
                number_lanes(counter + i * row + 16 * group, target + 64 * group)
        elif code == RAND:
            randoms(counter + i * row, seed, target, columns, spare)
        else:
            if code == LD_ROW_H:
                pattern = pattern_of(half_at(place))
            elif code == LD_ROW_F:
                pattern = load_pattern(place)
            else:
                pattern = pattern_of(np.float32(load_int(place)))
            for group in range(pitch // 16):
                fill_group(pattern, target + 64 * group)
    return spikes


@kernel("int64(int64, int64)")
def offset_of(code, column):
    """Return the distance in bytes from column 0 (a multiple of 16, or 0) for an operation."""
    if code == LD_H or code == ST_H or code == STATE_H:
        return 2 * column
    if code == LD_F or code == LD_ACC or code == ST_F or code == STATE_F:
        return 4 * column
    if code == LD_M or code == ST_M or code == STATE_M:
        return column // 8
    return 0


@kernel(
    "int64(int64[:, ::1], int64[:, ::1], int64[:, ::1], int64, int64, int64, int64, int64, int64,"
    " int64)"
)
def run_lanes(code, states, streams, steps, rows, cols, seed, memory, area, spare):
    """Run a translated program; ``streams`` are (base, step, row), bases relative to ``memory``.

    Returns the number of spikes stored.
    """
    spikes = 0
    width = min(cols, BLOCK)
    height = max(1, BLOCK // ((width + 15) // 16 * 16))
    across = (cols + width - 1) // width
    blocks = (rows + height - 1) // height * across
    for first in range(0, blocks, RUN):
        last = min(blocks, first + RUN)
        for t in range(steps):
            for block in range(first, last):
                row0, col0 = block // across * height, block % across * width
                high, columns = min(height, rows - row0), min(width, cols - col0)
                pitch = (columns + 15) // 16 * 16
                if t == 0 or last - first > 1:
                    for s in range(states.shape[0]):
                        kind, slot = states[s, 0], states[s, 8]
                        address = memory + streams[slot, 0] + row0 * streams[slot, 2]
                        address += offset_of(kind, col0)
                        memory_op(
                            kind, area + states[s, 1], address, streams[slot, 2], high, columns,
                            pitch, seed, 0, spare,
                        )  # fmt: skip
                for q in range(code.shape[0]):
                    op, dst, imm = code[q, 0], code[q, 1], code[q, 8]
                    if op <= 0x0F or op == RAND:
                        base = streams[imm, 0] + t * streams[imm, 1] + row0 * streams[imm, 2]
                        lanes = area + (code[q, 2] if ST_H <= op <= ST_M else dst)
                        spikes += memory_op(
                            op, lanes, memory + base + offset_of(op, col0), streams[imm, 2], high,
                            columns, pitch, seed, base + col0, spare,
                        )  # fmt: skip
                    else:
                        lane_op(
                            op, high * pitch // 16, area + dst, area + code[q, 2], code[q, 3],
                            area + code[q, 4], code[q, 5], area + code[q, 6], code[q, 7], imm,
                        )  # fmt: skip
                if t == steps - 1 or last - first > 1:
                    for s in range(states.shape[0]):
                        kind, slot = states[s, 0] - STATE_H + ST_H, states[s, 8]
                        address = memory + streams[slot, 0] + row0 * streams[slot, 2]
                        address += offset_of(kind, col0)
                        memory_op(
                            kind, area + states[s, 1], address, streams[slot, 2], high, columns,
                            pitch, seed, 0, spare,
                        )  # fmt: skip
    return spikes
