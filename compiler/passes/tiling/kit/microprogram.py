"""Turns an element-wise region (scan or map) into a microprogram and its streams.

Every ``ew`` op maps to one micro-operation; a region's carried values become lane state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snncc.compiler.ir.core import Block, Op, Value
from snncc.isa.microprograms.code import MICRO_BY_NAME, validate
from snncc.isa.microprograms.table import MicroInst, MicroProgram
from snncc.isa.numbers.tables import UNARY

_BINARY = {"add", "sub", "mul", "div"}
_COMPARE = {"gt", "ge", "lt", "le", "eq"}
_HALF_ONLY = {"min", "max", "abs", "trunc", "floor"}
_LETTER = {"f16": "h", "f32": "f", "bit": "m"}


def f16_bits(value: float) -> int:
    """Return the binary16 pattern of a constant (one rounding from binary64)."""
    if np.isnan(value):
        return 0x7E00
    with np.errstate(over="ignore"):
        return int(np.float64(value).astype(np.float16).view(np.uint16))


def f32_bits(value: float) -> int:
    """Return the binary32 pattern of a constant."""
    if np.isnan(value):
        return 0x7FC00000
    with np.errstate(over="ignore"):
        return int(np.float64(value).astype(np.float32).view(np.uint32))


class ProgramWriter:
    """Collects micro-instructions; registers are numbered in order of definition."""

    def __init__(self) -> None:
        self.code: list[MicroInst] = []
        self._next = 0

    def add(self, name: str, args: Sequence[int] = (), imm: int = 0) -> int:
        """Append an operation and return its register (-1 when it has no result)."""
        op = MICRO_BY_NAME[name]
        dst = -1
        if op.result != "-":
            dst = self._next
            self._next += 1
        self.code.append(MicroInst(op, dst, tuple(args), imm))
        return dst

    def program(self, name: str) -> MicroProgram:
        """Return the checked program."""
        made = MicroProgram(name, tuple(self.code))
        validate(made)
        return made


def write_back_program() -> MicroProgram:
    """Return the program that rounds accumulators to binary16: one stream in, one out."""
    w = ProgramWriter()
    w.add("st.h", (w.add("ld.acc", imm=0),), imm=1)
    return w.program("write_back")


def constant_of(value: Value) -> float | None:
    """Return the number that a ``phase.const`` holds, or None."""
    owner = value.owner
    if isinstance(owner, Op) and owner.name == "phase.const" and "value" in owner.attrs:
        return owner.float_attr("value")
    return None


@dataclass(frozen=True)
class Operand:
    """How a region argument reaches the lanes.

    ``form``: ``element`` (one per element), ``row`` (one per row, also a scalar), ``acc`` (a
    binary32 accumulator that is rounded on read).  ``stream`` is its stream number.
    """

    dtype: str
    form: str
    stream: int


class RegionCompiler:
    """Writes one region's ops; arguments are bound before."""

    def __init__(self, writer: ProgramWriter) -> None:
        self.writer = writer
        self.registers: dict[Value, int] = {}
        self.counters: dict[Op, int] = {}

    def bind(self, value: Value, register: int) -> None:
        """Say in which register an argument is."""
        self.registers[value] = register

    def body(self, block: Block) -> list[int]:
        """Write all ops of a block; return the registers of the terminator's operands."""
        for op in block.ops[:-1]:
            self._op(op)
        return [self.registers[v] for v in block.terminator.operands]

    def _op(self, op: Op) -> None:
        kind = op.name.partition(".")[2]
        args = [self.registers[v] for v in op.operands]
        if kind in {"stop_gradient", "expand"}:  # a lane holds it already
            self.registers[op.result] = args[0]
            return
        self.registers[op.result] = self._emit(op, kind, args)

    def _emit(self, op: Op, kind: str, args: list[int]) -> int:
        add = self.writer.add
        dtype = op.result.type.dtype
        letter = _LETTER[dtype]
        if kind == "const":
            value = op.float_attr("value")
            if letter == "m":
                one = add("const.h", imm=f16_bits(1.0 if value else 0.0))
                zero = add("const.h", imm=0)
                return add("gt", (one, zero))
            bits = f16_bits(value) if letter == "h" else f32_bits(value)
            return add(f"const.{letter}", imm=bits)
        if kind in _BINARY or kind in _HALF_ONLY or kind in {"neg", "sqrt"}:
            return add(f"{kind}.{letter}", args)
        if kind in _COMPARE or kind in {"and", "or", "not"}:
            return add(kind, args)
        if kind == "rand":
            return add("i2h", (add("rand", imm=self.counters[op]),))
        if kind == "srnd":
            return add("srnd", (args[0], add("rand", imm=self.counters[op])))
        if kind == "iota":
            return add("iota", imm=self.counters[op])
        if kind == "select":
            if letter == "m":  # (m and a) or (not m and b)
                chosen = add("and", (args[0], args[1]))
                other = add("and", (add("not", (args[0],)), args[2]))
                return add("or", (chosen, other))
            return add(f"sel.{letter}", args)
        if kind == "table":
            return add("tab.h", args, UNARY[op.str_attr("fn")])
        if kind == "cast":
            return self._cast(op.operands[0].type.dtype, dtype, args[0])
        raise ValueError(f"no micro-operation for ew.{kind} ({op.loc})")

    def _cast(self, source: str, target: str, register: int) -> int:
        add = self.writer.add
        if source == target or (source, target) == ("i32", "f32"):
            return register
        if source == "bit":
            letter = _LETTER[target]
            bits = 0x3C00 if letter == "h" else 0x3F800000
            one = add(f"const.{letter}", imm=bits)
            zero = add(f"const.{letter}", imm=0)
            return add(f"sel.{letter}", (register, one, zero))
        if target == "bit":
            zero = add("const.h" if source == "f16" else "const.f", imm=0)
            return add("not", (add("eq", (register, zero)),))
        return add("h2f" if target == "f32" else "f2h", (register,))
