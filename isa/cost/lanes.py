"""Cost of the lane stages (neuron, ngrad, ew) and of the vector unit's reductions.

A microprogram over ``steps x rows x cols`` elements with ``f`` fast and ``v`` slow operations
(division, square root); ``L`` lanes, ``o`` operations per cycle, ``q`` cycles per slow one::

    issue  = max(1, ceil(f/o) + v*q)             cycles per vector of L elements
    cycles = max(steps*rows*ceil(cols/L)*issue,  operand bytes / port, accumulator bytes / its port)

with reads and writes side by side.  Constants, loads, stores and conversions without rounding take
no slot.  Loads and stores move, per step, 2 bytes per binary16 element, 4 per binary32 one
(through the accumulator port), packed bits per row for masks, one value per row for the ``row``
forms; carried state is read and written in every step.  Compute energy is the sum of the
operations' energies (binary32 ones where the result or the operands are binary32); registers: all
arguments and results at their widths.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from snncc.isa.cost.types import CostActivity, InstructionCost
from snncc.isa.machine.machine import Energy, Machine, Stage
from snncc.isa.microprograms.code import is_load, is_state, is_store, result_kinds
from snncc.isa.microprograms.table import MicroInst, MicroProgram, OpClass
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.spec import ELEMENT, INIT, REDUCTION

_BITS = {"h": 16, "f": 32, "m": 1, "i": 32}
_SLOW = (OpClass.DIV, OpClass.SQRT)
_KEEP = INIT.words.index("keep")


@dataclass(frozen=True)
class Traffic:
    """One stream's bytes: per element, per row (packed: bits of a row), read or written."""

    element_bytes: int
    packed: bool
    per_row: bool
    reads: bool
    writes: bool

    def bytes(self, rows: int, cols: int) -> int:
        """Return the bytes of one direction of one step."""
        if self.per_row:
            return rows * self.element_bytes
        return rows * (2 * ceil_div(cols, 16) if self.packed else cols * self.element_bytes)


@dataclass(frozen=True)
class Profile:
    """What a microprogram does per element, independent of machine and size."""

    fast: int
    slow: int
    operations: tuple[tuple[OpClass, bool, int], ...]
    register_bits: int
    streams: tuple[Traffic, ...]


@functools.lru_cache(maxsize=4096)
def profile(program: MicroProgram) -> Profile:
    """Return the profile of a microprogram: operations as ``(class, is binary32, count)``."""
    kinds = result_kinds(program)
    counts: dict[tuple[OpClass, bool], int] = {}
    register_bits = 0
    streams: list[Traffic] = []
    for inst in program.code:
        op = inst.op
        if is_load(op) or is_store(op) or is_state(op):
            streams.append(_traffic(inst, kinds))
        elif op.cost is not OpClass.NONE:
            used = [kinds[a] for a in inst.args] + [op.result]
            wide = op.result == "f" or "f" in used
            counts[op.cost, wide] = counts.get((op.cost, wide), 0) + 1
            register_bits += sum(_BITS[kind] for kind in used)
    slow = sum(count for (kind, _), count in counts.items() if kind in _SLOW)
    ordered = sorted(counts.items(), key=lambda item: (item[0][0].value, item[0][1]))
    return Profile(
        fast=sum(counts.values()) - slow,
        slow=slow,
        operations=tuple((kind, wide, count) for (kind, wide), count in ordered),
        register_bits=register_bits,
        streams=tuple(streams),
    )


def _traffic(inst: MicroInst, kinds: Mapping[int, str]) -> Traffic:
    op = inst.op
    last = op.name.rpartition(".")[2]
    return Traffic(
        element_bytes=2 if last == "h" else 4,
        packed=last == "m",
        per_row=".row." in op.name,
        reads=not is_store(op),
        writes=is_store(op) or is_state(op),
    )


def operation_pj(energy: Energy, kind: OpClass, wide: bool) -> float:
    """Return the energy of one micro-operation of a class, binary32 when ``wide``."""
    match kind:
        case OpClass.ADD:
            return energy.add_f32 if wide else energy.add_f16
        case OpClass.MUL:
            return energy.mul_f32 if wide else energy.mul_f16
        case OpClass.DIV:
            return energy.div_f32 if wide else energy.div_f16
        case OpClass.SQRT:
            return energy.sqrt_f32 if wide else energy.sqrt_f16
        case OpClass.COMPARE:
            return energy.compare * (2 if wide else 1)
        case OpClass.MUX:
            return energy.mux * (2 if wide else 1)
        case OpClass.LOGIC:
            return energy.logic
        case OpClass.MOVE:
            return energy.move
        case OpClass.TABLE:
            return energy.table
        case OpClass.RANDOM:
            return energy.random
        case OpClass.NONE:
            return 0.0


def lanes(
    machine: Machine, stage: Stage, operands: Mapping[str, int], program: MicroProgram
) -> InstructionCost:
    """Return the cost of neuron, ngrad or ew on ``stage``."""
    steps, rows, cols = operands["steps"], operands["rows"], operands["cols"]
    facts = profile(program)
    issue = max(1, ceil_div(facts.fast, stage.ops_per_cycle) + facts.slow * stage.slow_cycles)
    moved = {"read": 0, "write": 0, "acc_read": 0, "acc_write": 0}
    for stream in facts.streams:
        amount = steps * stream.bytes(rows, cols)
        prefix = "acc_" if stream.element_bytes == 4 and not stream.packed else ""
        moved[prefix + "read"] += amount if stream.reads else 0
        moved[prefix + "write"] += amount if stream.writes else 0
    elements = steps * rows * cols
    per_element = sum(
        count * operation_pj(machine.energy, kind, wide) for kind, wide, count in facts.operations
    )
    return vector_cost(
        machine,
        stage,
        cycles=steps * rows * ceil_div(cols, stage.lanes) * issue,
        compute=elements * per_element,
        register_bits=elements * facts.register_bits,
        **moved,
    )


def vector_cost(
    machine: Machine,
    stage: Stage,
    *,
    cycles: int,
    compute: float,
    register_bits: int,
    read: int = 0,
    write: int = 0,
    acc_read: int = 0,
    acc_write: int = 0,
) -> InstructionCost:
    """Return the cost of work of a lane stage; ``acc_*`` go through the accumulator port."""
    pad = machine.scratchpad
    return InstructionCost(
        cycles=max(
            1,
            cycles,
            ceil_div(max(read, write), pad.port_bytes),
            ceil_div(max(acc_read, acc_write), pad.acc_port_bytes),
        ),
        latency=stage.latency_cycles,
        compute_pj=compute,
        register_pj=register_bits * machine.energy.register_pj_per_bit,
        sram_pj=(read + acc_read) * pad.read_pj_per_byte
        + (write + acc_write) * pad.write_pj_per_byte,
        sram_read_bytes=read + acc_read,
        sram_write_bytes=write + acc_write,
    )


def matrix_bytes(rows: int, n: int, element: str) -> int:
    """Return the bytes of a matrix of an element type."""
    if element == "bit":
        return rows * 2 * ceil_div(n, 16)
    return rows * n * (2 if element == "f16" else 4)


def rowred(machine: Machine, operands: Mapping[str, int]) -> InstructionCost:
    """Return the cost of rowred: a lane per row, one element per lane and cycle."""
    rows, n = operands["rows"], operands["n"]
    element = ELEMENT.words[operands["type"]]
    op = REDUCTION.words[operands["op"]]
    energy = machine.energy
    compare = operation_pj(energy, OpClass.COMPARE, element == "f32")
    read = matrix_bytes(rows, n, element)
    wide = element == "f32"
    return vector_cost(
        machine,
        machine.vpu,
        cycles=ceil_div(rows, machine.vpu.lanes) * n,
        compute=rows * n * (compare if op == "max" else energy.add_f32),
        register_bits=rows * n * (3 * 32),
        read=0 if wide else read,
        acc_read=read if wide else 0,
        write=0 if op == "sum32" else 2 * rows,
        acc_write=4 * rows if op == "sum32" else 0,
    )


def colsum(
    machine: Machine, operands: Mapping[str, int], activity: CostActivity
) -> InstructionCost:
    """Return the cost of reducing columns, a lane each; spikes that are 0 are not added."""
    rows, n = operands["rows"], operands["n"]
    element = ELEMENT.words[operands["type"]]
    terms = rows * n
    if element == "bit" and activity.active >= 0:
        terms = min(terms, activity.active)
    read = matrix_bytes(rows, n, element)
    keep = operands.get("init") == _KEEP
    wide = element == "f32"
    return vector_cost(
        machine,
        machine.vpu,
        cycles=rows * ceil_div(n, machine.vpu.lanes),
        compute=terms * machine.energy.add_f32,
        register_bits=terms * (3 * 32),
        read=0 if wide else read,
        acc_read=(read if wide else 0) + (4 * n if keep else 0),
        acc_write=4 * n,
    )
