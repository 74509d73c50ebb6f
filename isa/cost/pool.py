"""Cost of pooling and of transposition in the vector unit.

``L`` lanes take one channel each; ``v = ceil(channels/L)`` vectors per position, ``out`` output
positions, ``in`` input positions, ``t`` taps that lie inside the input (of all outputs together)::

    pool       cycles out*taps*v              reads t rows of channels, writes out rows
    poolgrad   cycles (out*taps + in)*v       reads t rows of x, out rows of g and y, writes in rows
    transpose  cycles ceil(rows/L)*cols       reads and writes the matrix once; a block of L x L
                                              elements enters by rows and leaves by columns

and at least what the ports need.  The vector unit has no operand buffer, so an input row is read
once per tap.  Compute: an addition or comparison per channel of ``t`` (spikes: a logic operation,
or an addition for those that are set); poolgrad also one binary32 addition per output element.
"""

from __future__ import annotations

from collections.abc import Mapping

from snncc.isa.cost.lanes import matrix_bytes, vector_cost
from snncc.isa.cost.types import CostActivity, InstructionCost
from snncc.isa.machine.machine import Machine
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.spec import ELEMENT, REDUCTION
from snncc.isa.window import Window


def _window(operands: Mapping[str, int]) -> Window:
    return Window(*(operands[name] for name in Window._fields))


def pool(machine: Machine, operands: Mapping[str, int], activity: CostActivity) -> InstructionCost:
    """Return the cost of pool."""
    window, images = _window(operands), operands["images"]
    element, op = ELEMENT.words[operands["type"]], REDUCTION.words[operands["op"]]
    energy, channels = machine.energy, window.channels
    out, terms = images * window.positions, images * window.terms()
    compute = terms * channels * (energy.compare if op == "max" else energy.add_f32)
    if element == "bit":
        ones = terms * channels if activity.active < 0 else min(terms * channels, activity.active)
        compute = terms * channels * energy.logic if op == "max" else ones * energy.add_f32
    read = matrix_bytes(terms, channels, element)
    result = "f32" if op == "sum32" else "bit" if op == "max" and element == "bit" else "f16"
    write = matrix_bytes(out, channels, result)
    width = 1 if element == "bit" and op == "max" else 32
    return vector_cost(
        machine,
        machine.vpu,
        cycles=out * window.taps * ceil_div(channels, machine.vpu.lanes),
        compute=compute,
        register_bits=terms * channels * 3 * width,
        read=0 if element == "f32" else read,
        acc_read=read if element == "f32" else 0,
        write=0 if result == "f32" else write,
        acc_write=write if result == "f32" else 0,
    )


def poolgrad(machine: Machine, operands: Mapping[str, int]) -> InstructionCost:
    """Return the cost of poolgrad."""
    window, images = _window(operands), operands["images"]
    element = ELEMENT.words[operands["type"]]
    channels, vectors = window.channels, ceil_div(window.channels, machine.vpu.lanes)
    out, terms = images * window.positions, images * window.terms()
    inputs = images * window.in_h * window.in_w
    compare = machine.energy.logic if element == "bit" else machine.energy.compare
    return vector_cost(
        machine,
        machine.vpu,
        cycles=(out * window.taps + inputs) * vectors,
        compute=channels * (terms * compare + out * machine.energy.add_f32),
        register_bits=channels * (terms * 2 * (1 if element == "bit" else 16) + out * 3 * 32),
        read=matrix_bytes(terms + out, channels, element) + matrix_bytes(out, channels, "f16"),
        write=matrix_bytes(inputs, channels, "f16"),
    )


def transpose(machine: Machine, operands: Mapping[str, int]) -> InstructionCost:
    """Return the cost of transpose."""
    rows, cols = operands["rows"], operands["cols"]
    moved = 2 * rows * cols
    return vector_cost(
        machine,
        machine.vpu,
        cycles=ceil_div(rows, machine.vpu.lanes) * cols,
        compute=rows * cols * machine.energy.move,
        register_bits=2 * 16 * rows * cols,
        read=moved,
        write=moved,
    )
