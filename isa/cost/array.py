"""Cost of the MAC arrays' instructions.

Symbols: ``R`` x ``C`` the array (reduced inputs x outputs), ``kb = ceil(k/R)``, ``cb = ceil(n/C)``,
``D = rows*k*n`` dense terms, ``P`` performed terms, ``ab`` bits of an input (1 or 16), ``A`` bits
of a partial sum inside the engine (32, or 16 with binary16 accumulators).  The counts are those of
the NeuroMC cost model, of which the dense case with ``A = 16`` is an exact copy; skipping scales
them.

**Array steps** ``S`` (cycles of the array), dense ``S0 = rows*kb*cb``::

    skip = none      S = S0
    skip = block     S = ceil(B * OB / rows)             B, OB: blocks with anything active
    skip = compact   S = ceil(ceil(I / R) * OB / rows)   I: active inputs = P*rows / outputs

``B`` not counted is its expectation at density ``d = I/(rows*k)``: ``1 - (1-d)**R`` per block.
Of a window only the taps inside the image count, ``terms`` of ``rows*T``: ``d = I/(terms*c)``;
where no activity is given, all taps are active, those in the padding as well.
Slots ``Q = max(P, D*S/S0)`` are the terms that pass the array; the inactive ones are muxed away.

**Compute**: ``P`` additions (and ``P`` multiplications of binary16 inputs), plus muxes: ``Q`` for
spike inputs, ``Q - P`` otherwise.

**Weight-stationary** (gacc, mac, bmac), ``out = rows*n``, updates ``U = out*kb*S/S0``::

    buffers    a: U*ab*R/C bits    b: k*n*16 bits    acc: (U + max(0, U-out))*A bits
    registers  a: 2*Q*ab    b: 2*k*n*16    acc: (max(0, 3*P-out) + max(0, U-out))*A bits
    scratchpad a: rows*bytes(k), once if it fits the a buffer, else cb times;  b: 2*k*n;
               bias, mask: once;  acc: write 4*out, read 4*out when init is keep

    Partial sums of ``rows*C`` outputs that do not fit the acc buffer live in the scratchpad:
    their U and U-out accesses are charged there.

**Output-stationary** (gouter, outer)::

    buffers    a: ceil(Q/min(n,C))*ab    b: ceil(Q/min(k,R))*16    acc: k*n*A bits (twice for keep)
    registers  a: 2*Q*ab    b: 2*Q*16    acc: 2*P*A bits
    scratchpad a: once if it fits, else cb times;  b (gradients): once if it fits, else kb times;
               acc: write 4*k*n, read 4*k*n when init is keep

**Windowed** (gaccw, macw, bmacw, gouterw, outerw; ``T`` taps of ``c`` channels): ``kb =
T*ceil(c/R)``, a block does not reach across taps; ``min(k,R)`` is ``min(c,R)``; the scratchpad
reads of ``a`` are the positions of the image stack that the window reaches, once each, not once per
tap.

**Cycles**: ``max(S, operand bytes read / port, accumulator bytes / accumulator port)``, the two
directions of a port working side by side; the array's pipeline is latency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from snncc.isa.cost.types import CostActivity, InstructionCost
from snncc.isa.machine.machine import Array, Machine
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.spec import INIT
from snncc.isa.window import Window

_KEEP = INIT.words.index("keep")
_BIAS = INIT.words.index("bias")


class _Shape(NamedTuple):
    """Sizes of one instruction; a line is what the array's blocks of inputs are cut from."""

    rows: int
    k: int
    n: int
    taps: int
    """Lines per row of inputs."""
    line: int
    """Inputs of a line: ``k / taps``."""
    stored: int
    """Lines that the scratchpad holds of operand ``a``."""
    inside: int
    """Lines that are there: of windows those of taps inside the image, at an exact division."""

    def input_bytes(self, spikes: bool) -> int:
        """Return the bytes of operand ``a`` in the scratchpad."""
        return self.stored * (2 * ceil_div(self.line, 16) if spikes else 2 * self.line)

    def blocks(self, array: Array) -> int:
        """Return the blocks of inputs of a row."""
        return self.taps * ceil_div(self.line, array.rows)


def _shape(operands: Mapping[str, int]) -> _Shape:
    n = operands["n"]
    if "images" not in operands:
        rows, k = operands["rows"], operands["k"]
        return _Shape(rows, k, n, 1, k, rows, rows)
    window, images = Window(*(operands[name] for name in Window._fields)), operands["images"]
    stored = images * window.touched()
    rows = images * window.positions
    inside = images * window.terms()
    return _Shape(rows, window.depth, n, window.taps, window.channels, stored, inside)


@dataclass(frozen=True)
class _Work:
    """Steps, slots and terms of one instruction."""

    dense: int
    active: int
    dense_steps: int
    steps: int
    slots: int


def expected_blocks(rows: int, k: int, width: int, inputs: int) -> int:
    """Return the expected number of blocks with an active input, at ``inputs`` active of rows*k."""
    if rows * k == 0:
        return 0
    idle = 1.0 - min(1.0, inputs / (rows * k))

    def busy(size: int) -> float:
        power = 1.0
        for _ in range(size):  # not **: products of doubles are the same everywhere
            power *= idle
        return 1.0 - power

    expected = rows * (k // width * busy(width) + busy(k % width))
    return min(rows * ceil_div(k, width), max(ceil_div(inputs, width), round(expected)))


def _work(array: Array, shape: _Shape, activity: CostActivity) -> _Work:
    rows, k, n = shape[:3]
    dense = rows * k * n
    if dense == 0:
        return _Work(0, 0, 0, 0, 0)
    active = dense if activity.active < 0 else min(activity.active, dense)
    cb = ceil_div(n, array.cols)
    outputs = rows * n if activity.outputs < 0 else min(activity.outputs, rows * n)
    out_blocks = activity.out_blocks
    if out_blocks < 0:
        out_blocks = rows * cb
        if outputs < rows * n:
            out_blocks = expected_blocks(rows, n, array.cols, outputs)
    inputs = min(rows * k, ceil_div(active * rows, outputs) if outputs else 0)
    dense_steps = rows * shape.blocks(array) * cb
    steps = dense_steps
    if array.skip == "block":
        blocks = activity.blocks
        if blocks < 0:
            padded = inputs > shape.inside * shape.line  # nothing counted: padding is work as well
            lines = rows * shape.taps if padded else shape.inside
            blocks = expected_blocks(lines, shape.line, array.rows, inputs)
        steps = min(dense_steps, ceil_div(blocks * out_blocks, rows))
    elif array.skip == "compact":
        steps = min(dense_steps, ceil_div(ceil_div(inputs, array.rows) * out_blocks, rows))
    slots = max(active, ceil_div(dense * steps, dense_steps))
    return _Work(dense, active, dense_steps, steps, slots)


def _compute_pj(machine: Machine, work: _Work, spikes: bool) -> float:
    energy = machine.energy
    per_term = energy.mac_add if spikes else energy.mac_add + energy.mac_mul
    muxes = work.slots if spikes else work.slots - work.active
    return work.active * per_term + muxes * energy.mux


def _finish(
    machine: Machine,
    array: Array,
    work: _Work,
    *,
    compute: float,
    register_bits: float,
    buffer_pj: float,
    operand_bytes: int,
    acc_read: int,
    acc_write: int,
) -> InstructionCost:
    pad = machine.scratchpad
    cycles = max(
        1,
        work.steps,
        ceil_div(operand_bytes, pad.port_bytes),
        ceil_div(max(acc_read, acc_write), pad.acc_port_bytes),
    )
    return InstructionCost(
        cycles=cycles,
        latency=array.latency_cycles,
        compute_pj=compute,
        register_pj=register_bits * machine.energy.register_pj_per_bit,
        buffer_pj=buffer_pj,
        sram_pj=(operand_bytes + acc_read) * pad.read_pj_per_byte
        + acc_write * pad.write_pj_per_byte,
        sram_read_bytes=operand_bytes + acc_read,
        sram_write_bytes=acc_write,
        macs_dense=work.dense,
        macs_performed=work.active,
    )


def weight_stationary(
    machine: Machine,
    array: Array,
    operands: Mapping[str, int],
    activity: CostActivity,
    *,
    spikes: bool,
) -> InstructionCost:
    """Return the cost of gacc (``spikes``), mac or bmac, windowed or not, on ``array``."""
    shape = _shape(operands)
    rows, k, n = shape[:3]
    work = _work(array, shape, activity)
    out = rows * n
    acc_bits = 8 * machine.acc_bytes
    input_bits = 1 if spikes else 16
    updates = (
        ceil_div(out * shape.blocks(array) * work.steps, work.dense_steps) if work.steps else 0
    )
    again = max(0, updates - out)

    passes = 1
    if shape.stored * shape.line * input_bits > 8 * array.a_buffer_bytes:
        passes = max(1, ceil_div(n, array.cols))
    weights = k * n if work.dense else 0  # without terms no operand is read
    operand_bytes = (shape.input_bytes(spikes) * passes if work.dense else 0) + 2 * weights
    operand_bytes += 2 * n if operands["init"] == _BIAS else 0
    operand_bytes += rows * 2 * ceil_div(n, 16) if operands.get("masked", 0) else 0
    acc_read = 4 * out if operands["init"] == _KEEP else 0
    acc_write = 4 * out

    a_bits = updates * input_bits * array.rows / array.cols
    buffer_pj = a_bits * array.a_pj_per_bit + 16 * weights * array.b_pj_per_bit
    if rows * min(n, array.cols) * machine.acc_bytes <= array.acc_buffer_bytes:
        buffer_pj += (updates + again) * acc_bits * array.acc_pj_per_bit
    else:
        acc_read += again * machine.acc_bytes
        acc_write += updates * machine.acc_bytes
    register_bits = (
        2 * work.slots * input_bits
        + 2 * weights * 16
        + (max(0, 3 * work.active - out) + again) * acc_bits
    )
    return _finish(
        machine,
        array,
        work,
        compute=_compute_pj(machine, work, spikes),
        register_bits=register_bits,
        buffer_pj=buffer_pj,
        operand_bytes=operand_bytes,
        acc_read=acc_read,
        acc_write=acc_write,
    )


def output_stationary(
    machine: Machine,
    array: Array,
    operands: Mapping[str, int],
    activity: CostActivity,
    *,
    spikes: bool,
) -> InstructionCost:
    """Return the cost of gouter (``spikes``) or outer, windowed or not, on ``array``."""
    shape = _shape(operands)
    rows, k, n = shape[:3]
    work = _work(array, shape, activity)
    acc_bits = 8 * machine.acc_bytes
    input_bits = 1 if spikes else 16
    keep = operands["init"] == _KEEP

    a_bytes = shape.input_bytes(spikes)
    if a_bytes > array.a_buffer_bytes:
        a_bytes *= max(1, ceil_div(n, array.cols))
    b_bytes = 2 * rows * n
    if b_bytes > array.b_buffer_bytes:
        b_bytes *= max(1, shape.blocks(array))

    buffer_pj = k * n * acc_bits * array.acc_pj_per_bit * (2 if keep else 1)
    if work.dense:
        a_reads = ceil_div(work.slots, min(n, array.cols))
        b_reads = ceil_div(work.slots, min(shape.line, array.rows))
        buffer_pj += a_reads * input_bits * array.a_pj_per_bit + 16 * b_reads * array.b_pj_per_bit
    register_bits = 2 * work.slots * (input_bits + 16) + 2 * work.active * acc_bits
    return _finish(
        machine,
        array,
        work,
        compute=_compute_pj(machine, work, spikes),
        register_bits=register_bits,
        buffer_pj=buffer_pj,
        operand_bytes=a_bytes + b_bytes if work.dense else 0,
        acc_read=4 * k * n if keep else 0,
        acc_write=4 * k * n,
    )
