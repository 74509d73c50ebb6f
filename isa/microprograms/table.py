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

from dataclasses import dataclass
from enum import Enum


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
    ``stream``, ``f16``, ``f32`` or ``table``.
    """

    name: str
    opcode: int
    args: str
    result: str
    imm: str
    cost: OpClass
    doc: str


_C = OpClass

MICRO_OPS: tuple[MicroOp, ...] = (
    # memory
    MicroOp("ld.h", 0x01, "", "h", "stream", _C.MOVE, "binary16 element"),
    MicroOp("ld.f", 0x02, "", "f", "stream", _C.MOVE, "binary32 element"),
    MicroOp("ld.acc", 0x03, "", "h", "stream", _C.MOVE, "binary32 accumulator, rounded to f16"),
    MicroOp("ld.m", 0x04, "", "m", "stream", _C.MOVE, "packed spike"),
    MicroOp("ld.row.h", 0x05, "", "h", "stream", _C.MOVE, "one binary16 per row"),
    MicroOp("ld.row.f", 0x06, "", "f", "stream", _C.MOVE, "one binary32 per row"),
    MicroOp("ld.row.i", 0x07, "", "f", "stream", _C.MOVE, "one int32 per row, as binary32"),
    MicroOp("st.h", 0x08, "h", "-", "stream", _C.MOVE, "store binary16"),
    MicroOp("st.f", 0x09, "n", "-", "stream", _C.MOVE, "store binary32"),
    MicroOp("st.m", 0x0A, "m", "-", "stream", _C.MOVE, "store packed spikes"),
    MicroOp("state.h", 0x0B, "", "h", "stream", _C.MOVE, "carried binary16"),
    MicroOp("state.f", 0x0C, "", "f", "stream", _C.MOVE, "carried binary32"),
    MicroOp("state.m", 0x0D, "", "m", "stream", _C.MOVE, "carried mask (packed)"),
    MicroOp("next", 0x0E, "sx", "-", "", _C.NONE, "value of state operand 1 at the next step"),
    MicroOp("iota", 0x0F, "", "f", "stream", _C.NONE, "base + t*step + r*row + c as binary32"),
    # constants and conversions
    MicroOp("const.h", 0x10, "", "h", "f16", _C.NONE, "binary16 constant"),
    MicroOp("const.f", 0x11, "", "f", "f32", _C.NONE, "binary32 constant"),
    MicroOp("h2f", 0x12, "h", "f", "", _C.NONE, "widen (exact)"),
    MicroOp("f2h", 0x13, "f", "h", "", _C.MOVE, "round to nearest even"),
    MicroOp("srnd", 0x14, "fi", "h", "", _C.ADD, "stochastic rounding by the top 13 random bits"),
    # binary16 arithmetic
    MicroOp("add.h", 0x20, "hh", "h", "", _C.ADD, "a + b"),
    MicroOp("sub.h", 0x21, "hh", "h", "", _C.ADD, "a - b"),
    MicroOp("mul.h", 0x22, "hh", "h", "", _C.MUL, "a * b"),
    MicroOp("div.h", 0x23, "hh", "h", "", _C.DIV, "a / b"),
    MicroOp("sqrt.h", 0x24, "h", "h", "", _C.SQRT, "square root"),
    MicroOp("min.h", 0x25, "hh", "h", "", _C.COMPARE, "NaN if either is NaN; -0 < +0"),
    MicroOp("max.h", 0x26, "hh", "h", "", _C.COMPARE, "NaN if either is NaN; -0 < +0"),
    MicroOp("neg.h", 0x27, "h", "h", "", _C.LOGIC, "-a"),
    MicroOp("abs.h", 0x28, "h", "h", "", _C.LOGIC, "|a|"),
    MicroOp("trunc.h", 0x29, "h", "h", "", _C.LOGIC, "toward zero"),
    MicroOp("floor.h", 0x2A, "h", "h", "", _C.LOGIC, "toward minus infinity"),
    MicroOp(
        "tab.h",
        0x2B,
        "h",
        "h",
        "table",
        _C.TABLE,
        "unary function by table (isa/numbers/tables.py)",
    ),
    # binary32 arithmetic
    MicroOp("add.f", 0x30, "nn", "f", "", _C.ADD, "a + b"),
    MicroOp("sub.f", 0x31, "nn", "f", "", _C.ADD, "a - b"),
    MicroOp("mul.f", 0x32, "nn", "f", "", _C.MUL, "a * b"),
    MicroOp("div.f", 0x33, "nn", "f", "", _C.DIV, "a / b"),
    MicroOp("sqrt.f", 0x34, "n", "f", "", _C.SQRT, "square root"),
    MicroOp("neg.f", 0x35, "n", "f", "", _C.LOGIC, "-a"),
    # comparison and selection
    MicroOp("gt", 0x40, "nn", "m", "", _C.COMPARE, "a > b"),
    MicroOp("ge", 0x41, "nn", "m", "", _C.COMPARE, "a >= b"),
    MicroOp("lt", 0x42, "nn", "m", "", _C.COMPARE, "a < b"),
    MicroOp("le", 0x43, "nn", "m", "", _C.COMPARE, "a <= b"),
    MicroOp("eq", 0x44, "nn", "m", "", _C.COMPARE, "a == b"),
    MicroOp("and", 0x45, "mm", "m", "", _C.LOGIC, "both"),
    MicroOp("or", 0x46, "mm", "m", "", _C.LOGIC, "either"),
    MicroOp("not", 0x47, "m", "m", "", _C.LOGIC, "complement"),
    MicroOp("sel.h", 0x48, "mhh", "h", "", _C.MUX, "a where mask else b"),
    MicroOp("sel.f", 0x49, "mnn", "f", "", _C.MUX, "a where mask else b"),
    # random bits
    MicroOp(
        "rand", 0x50, "", "i", "stream", _C.RANDOM, "random word; the stream gives the counter"
    ),
    MicroOp("i2h", 0x51, "i", "h", "", _C.MOVE, "top 11 bits / 2048: uniform in [0,1), exact"),
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
