"""Text of microprograms.

::

    .micro lif
      v = state.h s1
      x = ld.h s0
      b = const.h 0x3b33         ; also as a number: const.h 0.9
      t = mul.h b, v
      e = tab.h exp, t           ; an immediate always comes first
      h = add.h e, x
      next v, h
    .end

Names are local to a block, one per register, and may not look like a stream (``s3``).
:func:`show_micro` writes ``h3`` for register 3 of kind h; comments start with ``;`` or ``#``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Final

import numpy as np

from snncc.isa.lines import SyntaxMistake, strip_comment, suggestion
from snncc.isa.microprograms.code import (
    MICRO_BY_NAME,
    MICRO_REGISTERS,
    MicroError,
    canonical,
    imm_problem,
    validate,
)
from snncc.isa.microprograms.table import MicroInst, MicroOp, MicroProgram
from snncc.isa.numbers import fp16
from snncc.isa.numbers.tables import UNARY, UNARY_NAMES

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_STREAM: Final = re.compile(r"s(\d+)")
_OPENING: Final = re.compile(r"\.micro\s+([A-Za-z_][A-Za-z0-9_.]*)")


class MicroSyntaxError(SyntaxMistake):
    """A line of a microprogram is wrong; ``line`` counts from 1 within the text that was given."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


def micro_usage(op: MicroOp) -> str:
    """Return the form of a line with this operation, such as ``m = gt a, b``."""
    words = {"stream": "s0", "f16": "0x3c00", "f32": "0x3f800000", "table": "exp"}
    operands = ([words[op.imm]] if op.imm else []) + list("abc"[: len(op.args)])
    body = f"{op.name} {', '.join(operands)}".rstrip()
    return body if op.result == "-" else f"r = {body}"


def parse_micro(lines: Iterable[str]) -> MicroProgram:
    """Return the microprogram of a block from ``.micro NAME`` to ``.end``."""
    parser = _Parser()
    number = 0
    for number, line in enumerate(lines, start=1):
        parser.line(number, strip_comment(line))
    if parser.name is None:
        raise MicroSyntaxError(max(number, 1), "expected '.micro NAME', got the end of the text")
    if not parser.done:
        raise MicroSyntaxError(number, f"expected '.end' of .micro {parser.name}")
    program = MicroProgram(parser.name, tuple(parser.code))
    try:
        validate(program)
    except MicroError as error:
        at = parser.lines[error.index] if error.index >= 0 else number
        raise MicroSyntaxError(at, parser.rename(str(error))) from None
    return program


class _Parser:
    """State of parsing one block."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.done = False
        self.code: list[MicroInst] = []
        self.lines: list[int] = []
        self.registers: dict[str, int] = {}

    def rename(self, message: str) -> str:
        """Put the names of the text in the place of register numbers."""
        names = {number: name for name, number in self.registers.items()}
        return re.sub(
            r"register (\d+)",
            lambda m: f"'{names[int(m[1])]}'" if int(m[1]) in names else m[0],
            message,
        )

    def line(self, number: int, text: str) -> None:
        """Take one line without its comment."""
        if not text:
            return
        if self.done:
            raise MicroSyntaxError(number, f"expected nothing after '.end', got '{text}'")
        if self.name is None:
            opening = _OPENING.fullmatch(text)
            if opening is None:
                raise MicroSyntaxError(number, f"expected '.micro NAME', got '{text}'")
            self.name = opening[1]
        elif text == ".end":
            self.done = True
        else:
            self.code.append(self._instruction(number, text))
            self.lines.append(number)

    def _instruction(self, number: int, text: str) -> MicroInst:
        left, equals, right = text.partition("=")
        target = left.strip() if equals else ""
        body = (right if equals else left).strip()
        word, _, rest = body.replace("\t", " ").partition(" ")
        op = MICRO_BY_NAME.get(word)
        if op is None:
            hint = suggestion(word, MICRO_BY_NAME)
            raise MicroSyntaxError(number, f"unknown micro-operation '{word}'{hint}")
        operands = [each.strip() for each in rest.split(",")] if rest.strip() else []
        wanted = len(op.args) + bool(op.imm)
        if len(operands) != wanted or bool(equals) != (op.result != "-"):
            raise MicroSyntaxError(number, f"expected '{micro_usage(op)}', got '{text}'")
        imm = 0
        if op.imm:
            imm = _immediate(number, op, operands.pop(0))
        args = tuple(self._argument(number, op, name) for name in operands)
        return MicroInst(op, self._target(number, target) if equals else -1, args, imm)

    def _argument(self, number: int, op: MicroOp, name: str) -> int:
        if name not in self.registers:
            hint = suggestion(name, self.registers)
            raise MicroSyntaxError(number, f"{op.name}: '{name}' is not defined before{hint}")
        return self.registers[name]

    def _target(self, number: int, name: str) -> int:
        if not _NAME.fullmatch(name) or _STREAM.fullmatch(name):
            raise MicroSyntaxError(number, f"'{name}' cannot name a register")
        if name in self.registers:
            raise MicroSyntaxError(number, f"'{name}' is assigned twice")
        if len(self.registers) == MICRO_REGISTERS:
            raise MicroSyntaxError(number, f"more than {MICRO_REGISTERS} registers")
        self.registers[name] = len(self.registers)
        return self.registers[name]


def _immediate(number: int, op: MicroOp, text: str) -> int:
    value: int | None = None
    if op.imm == "stream":
        found = _STREAM.fullmatch(text)
        value = int(found[1]) if found and len(found[1]) < 9 else None
    elif op.imm == "table":
        value = UNARY.get(text)
    else:
        value = _pattern(op.imm, text)
    if value is None:
        expected = {
            "stream": "a stream such as s0",
            "table": f"one of {', '.join(UNARY_NAMES)}",
            "f16": "a bit pattern such as 0x3c00 or a number such as 1.0",
            "f32": "a bit pattern such as 0x3f800000 or a number such as 1.0",
        }[op.imm]
        raise MicroSyntaxError(number, f"{op.name}: expected {expected}, got '{text}'")
    problem = imm_problem(op, value)
    if problem:
        raise MicroSyntaxError(number, f"{op.name}: {problem}")
    return value


def _pattern(kind: str, text: str) -> int | None:
    """Return the bits of a hexadecimal pattern or of a number (with '.', 'e', inf or nan)."""
    if re.fullmatch(r"0x[0-9A-Fa-f]{1,8}", text):
        return int(text, 16)
    if not re.fullmatch(r"[+-]?(\d+\.\d*([eE][+-]?\d+)?|\d+[eE][+-]?\d+|inf|nan)", text):
        return None
    value = float(text)
    if kind == "f16":
        return int(fp16.f64_to_bits(np.array([value], dtype=np.float64))[0])
    if value != value:
        return fp16.F32_NAN_BITS
    with np.errstate(over="ignore"):
        single = float(np.float32(value))
    return int(struct.unpack("<I", struct.pack("<f", single))[0])


def show_micro(program: MicroProgram) -> str:
    """Return the block of a program (registers renumbered in the order of their definitions)."""
    program = canonical(program)
    names = {i.dst: f"{i.op.result}{i.dst}" for i in program.code if i.op.result != "-"}
    lines = [f".micro {program.name}"]
    for inst in program.code:
        operands = [_show_imm(inst)] if inst.op.imm else []
        operands += [names[a] for a in inst.args]
        body = f"{inst.op.name} {', '.join(operands)}".rstrip()
        lines.append(f"  {body}" if inst.dst < 0 else f"  {names[inst.dst]} = {body}")
    return "\n".join([*lines, ".end", ""])


def _show_imm(inst: MicroInst) -> str:
    match inst.op.imm:
        case "stream":
            return f"s{inst.imm}"
        case "f16":
            return f"0x{inst.imm:04x}"
        case "f32":
            return f"0x{inst.imm:08x}"
        case _:
            return UNARY_NAMES[inst.imm]
