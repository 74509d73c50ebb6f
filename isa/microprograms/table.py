"""Microprograms: what the lane stages (``neuron``, ``ngrad``, ``ew``) compute per element.

A lane instruction runs one microprogram over ``steps x rows x cols`` elements.  The program is a
straight line of micro-operations over lane registers; every register is assigned once.  A lane
value is a number held as binary32 (kind ``h``: it is exactly a binary16 number; kind ``f``: any
binary32 number; kind ``i``: a 32-bit unsigned random word) or a mask (kind ``m``).

Memory is reached through streams.  The element of stream ``s`` at step t, row r, column c lies at
``base + t*step + r*row`` plus c elements (nothing for the ``row`` forms, which hold one value per
row).  Steps run in order 0..steps-1; all elements of one step are independent.

State: ``state`` reads its stream at step 0 and holds, at later steps, the value that ``next`` gave
it at the end of the step before; after the last step the value is written back to the stream
(whose step stride is ignored).  Order within a step: all loads, then the operations, then all
stores; so a program may store to where it loaded from with the same strides.

Arithmetic: the suffix ``.h`` computes in binary32 and rounds once to binary16 (canonical NaN);
``.f`` computes in binary32 (canonical NaN 0x7FC00000).  Comparisons with NaN are false.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from snncc.isa.microprograms import meaning as m
from snncc.isa.numbers import accumulators, fp16


class OpClass(Enum):
    """The class that the cost model charges for one micro-operation on one element."""

    NONE = "none"
    MOVE = "move"
    ADD = "add"
    MUL = "mul"
    DIV = "div"
    SQRT = "sqrt"
    COMPARE = "compare"
    MUX = "mux"
    TABLE = "table"
    LOGIC = "logic"
    RANDOM = "random"


@dataclass(frozen=True)
class MicroOp:
    """One row of the micro-operation table.

    ``args`` has one letter per register operand (h, f, m, i; ``n`` accepts h or f), ``result``
    the kind of the result or ``-``; ``imm`` says what the 32-bit immediate holds: nothing,
    ``stream``, ``f16``, ``f32`` or ``table``.  ``meaning`` computes the result
    (:mod:`snncc.isa.microprograms.meaning`) of what ``source`` and the arguments give: nothing, the
    ``immediate``, the ``counter`` of a stream with the seed, or a load of ``h``, ``f`` or ``m``
    (``per_row``: one value per row).  ``rounds``: the result is rounded to binary16 and saturates
    where a machine wants that.
    """

    name: str
    opcode: int
    args: str
    result: str
    imm: str
    cost: OpClass
    doc: str
    meaning: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    source: str = field(default="", compare=False)
    rounds: bool = field(default=False, compare=False)

    @property
    def per_row(self) -> bool:
        """Whether it moves one value per row."""
        return ".row." in self.name


_C = OpClass

MICRO_OPS: tuple[MicroOp, ...] = (
    # memory
    MicroOp("ld.h", 0x01, "", "h", "stream", _C.MOVE, "binary16 element", m.as_it_is, "h"),
    MicroOp("ld.f", 0x02, "", "f", "stream", _C.MOVE, "binary32 element", m.as_it_is, "f"),
    MicroOp(
        "ld.acc",
        0x03,
        "",
        "h",
        "stream",
        _C.MOVE,
        "binary32 accumulator, rounded to f16",
        accumulators.writeback,
        "f",
        rounds=True,
    ),
    MicroOp("ld.m", 0x04, "", "m", "stream", _C.MOVE, "packed spike", m.as_it_is, "m"),
    MicroOp("ld.row.h", 0x05, "", "h", "stream", _C.MOVE, "one binary16 per row", m.as_it_is, "h"),
    MicroOp("ld.row.f", 0x06, "", "f", "stream", _C.MOVE, "one binary32 per row", m.as_it_is, "f"),
    MicroOp(
        "ld.row.i",
        0x07,
        "",
        "f",
        "stream",
        _C.MOVE,
        "one int32 per row, as binary32",
        m.int_to_float,
        "f",
    ),
    MicroOp("st.h", 0x08, "h", "-", "stream", _C.MOVE, "store binary16"),
    MicroOp("st.f", 0x09, "n", "-", "stream", _C.MOVE, "store binary32"),
    MicroOp("st.m", 0x0A, "m", "-", "stream", _C.MOVE, "store packed spikes"),
    MicroOp("state.h", 0x0B, "", "h", "stream", _C.MOVE, "carried binary16"),
    MicroOp("state.f", 0x0C, "", "f", "stream", _C.MOVE, "carried binary32"),
    MicroOp("state.m", 0x0D, "", "m", "stream", _C.MOVE, "carried mask (packed)"),
    MicroOp("next", 0x0E, "sx", "-", "", _C.NONE, "value of state operand 1 at the next step"),
    MicroOp(
        "iota",
        0x0F,
        "",
        "f",
        "stream",
        _C.NONE,
        "base + t*step + r*row + c as binary32",
        m.counter_to_float,
        "counter",
    ),
    # constants and conversions
    MicroOp(
        "const.h", 0x10, "", "h", "f16", _C.NONE, "binary16 constant", m.half_constant, "immediate"
    ),
    MicroOp(
        "const.f", 0x11, "", "f", "f32", _C.NONE, "binary32 constant", m.float_constant, "immediate"
    ),
    MicroOp("h2f", 0x12, "h", "f", "", _C.NONE, "widen (exact)", m.as_it_is),
    MicroOp(
        "f2h", 0x13, "f", "h", "", _C.MOVE, "round to nearest even", fp16.round_f16, rounds=True
    ),
    MicroOp(
        "srnd",
        0x14,
        "fi",
        "h",
        "",
        _C.ADD,
        "stochastic rounding by the top 13 random bits",
        m.stochastic_round,
        rounds=True,
    ),
    # binary16 arithmetic
    MicroOp("add.h", 0x20, "hh", "h", "", _C.ADD, "a + b", fp16.add, rounds=True),
    MicroOp("sub.h", 0x21, "hh", "h", "", _C.ADD, "a - b", fp16.sub, rounds=True),
    MicroOp("mul.h", 0x22, "hh", "h", "", _C.MUL, "a * b", fp16.mul, rounds=True),
    MicroOp("div.h", 0x23, "hh", "h", "", _C.DIV, "a / b", fp16.div, rounds=True),
    MicroOp("sqrt.h", 0x24, "h", "h", "", _C.SQRT, "square root", fp16.sqrt, rounds=True),
    MicroOp(
        "min.h", 0x25, "hh", "h", "", _C.COMPARE, "NaN if either is NaN; -0 < +0", fp16.minimum
    ),
    MicroOp(
        "max.h", 0x26, "hh", "h", "", _C.COMPARE, "NaN if either is NaN; -0 < +0", fp16.maximum
    ),
    MicroOp("neg.h", 0x27, "h", "h", "", _C.LOGIC, "-a", fp16.neg),
    MicroOp("abs.h", 0x28, "h", "h", "", _C.LOGIC, "|a|", fp16.absolute),
    MicroOp("trunc.h", 0x29, "h", "h", "", _C.LOGIC, "toward zero", m.trunc),
    MicroOp("floor.h", 0x2A, "h", "h", "", _C.LOGIC, "toward minus infinity", m.floor),
    MicroOp(
        "tab.h",
        0x2B,
        "h",
        "h",
        "table",
        _C.TABLE,
        "unary function by table (isa/numbers/tables.py)",
        m.lookup,
        "immediate",
        rounds=True,
    ),
    # binary32 arithmetic
    MicroOp("add.f", 0x30, "nn", "f", "", _C.ADD, "a + b", m.add_f32),
    MicroOp("sub.f", 0x31, "nn", "f", "", _C.ADD, "a - b", m.sub_f32),
    MicroOp("mul.f", 0x32, "nn", "f", "", _C.MUL, "a * b", m.mul_f32),
    MicroOp("div.f", 0x33, "nn", "f", "", _C.DIV, "a / b", m.div_f32),
    MicroOp("sqrt.f", 0x34, "n", "f", "", _C.SQRT, "square root", m.sqrt_f32),
    MicroOp("neg.f", 0x35, "n", "f", "", _C.LOGIC, "-a", m.neg_f32),
    # comparison and selection
    MicroOp("gt", 0x40, "nn", "m", "", _C.COMPARE, "a > b", np.greater),
    MicroOp("ge", 0x41, "nn", "m", "", _C.COMPARE, "a >= b", np.greater_equal),
    MicroOp("lt", 0x42, "nn", "m", "", _C.COMPARE, "a < b", np.less),
    MicroOp("le", 0x43, "nn", "m", "", _C.COMPARE, "a <= b", np.less_equal),
    MicroOp("eq", 0x44, "nn", "m", "", _C.COMPARE, "a == b", np.equal),
    MicroOp("and", 0x45, "mm", "m", "", _C.LOGIC, "both", np.logical_and),
    MicroOp("or", 0x46, "mm", "m", "", _C.LOGIC, "either", np.logical_or),
    MicroOp("not", 0x47, "m", "m", "", _C.LOGIC, "complement", np.logical_not),
    MicroOp("sel.h", 0x48, "mhh", "h", "", _C.MUX, "a where mask else b", m.select),
    MicroOp("sel.f", 0x49, "mnn", "f", "", _C.MUX, "a where mask else b", m.select),
    # random bits
    MicroOp(
        "rand",
        0x50,
        "",
        "i",
        "stream",
        _C.RANDOM,
        "random word; the stream gives the counter",
        m.random_words,
        "counter",
    ),
    MicroOp(
        "i2h", 0x51, "i", "h", "", _C.MOVE, "top 11 bits / 2048: uniform in [0,1), exact", m.uniform
    ),
)


@dataclass(frozen=True)
class MicroInst:
    """One micro-operation of a program; ``dst`` is the register it defines (-1: none).

    ``imm`` holds the stream number, the f16 or f32 bit pattern or the table index.
    For ``next`` args are (state register, value register).
    """

    op: MicroOp
    dst: int
    args: tuple[int, ...]
    imm: int = 0


@dataclass(frozen=True)
class MicroProgram:
    """A named straight-line lane program."""

    name: str
    code: tuple[MicroInst, ...]
