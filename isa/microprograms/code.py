"""Microprograms: checks, binary form and builder.

The operations are in :mod:`snncc.isa.microprograms.table`.

Binary form: eight little-endian bytes per micro-instruction::

    byte 0      opcode
    byte 1      destination register; 0 when the operation has no result
    byte 2, 3   argument registers 0 and 1; 0 when absent
    byte 4..7   the 32-bit immediate, or argument register 2 (no operation has both); 0 when absent

Registers are numbered 0..255 and assigned once.  In canonical programs (what :class:`MicroBuilder`,
:func:`canonical` and the assembler make) they are numbered in the order of their definitions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from snncc.isa.microprograms.table import MICRO_OPS, MicroInst, MicroOp, MicroProgram
from snncc.isa.numbers.tables import UNARY_NAMES
from snncc.isa.spec import STREAMS

MICRO_BYTES: Final = 8
MICRO_REGISTERS: Final = 256
MAX_MICRO_CODE: Final = 4096
"""The most micro-instructions of one program."""

MICRO_BY_NAME: Final[Mapping[str, MicroOp]] = MappingProxyType({o.name: o for o in MICRO_OPS})
MICRO_BY_OPCODE: Final[Mapping[int, MicroOp]] = MappingProxyType({o.opcode: o for o in MICRO_OPS})

_LAYOUT: Final = struct.Struct("<BBBBI")
_KIND_WORDS: Final = {
    "h": "binary16 (h)",
    "f": "binary32 (f)",
    "m": "mask (m)",
    "i": "random word (i)",
    "n": "number (h or f)",
}


class MicroError(ValueError):
    """A microprogram is not sound; ``index`` is the offending micro-instruction (-1: the whole)."""

    def __init__(self, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.index = index


def is_state(op: MicroOp) -> bool:
    """Whether an operation declares carried state."""
    return op.name.startswith("state.")


def is_load(op: MicroOp) -> bool:
    """Whether an operation reads memory each step (states are read at step 0 only)."""
    return op.name.startswith("ld.")


def is_store(op: MicroOp) -> bool:
    """Whether an operation writes memory each step."""
    return op.name.startswith("st.")


def meaning_of(name: str) -> Callable[..., Any]:
    """Return the function that computes a micro-operation; see :class:`MicroOp`."""
    meaning = MICRO_BY_NAME[name].meaning
    assert meaning is not None, f"{name} only moves data"
    return meaning


def imm_problem(op: MicroOp, imm: int) -> str:
    """Return why ``imm`` cannot be the immediate of ``op``, or nothing."""
    if op.imm == "stream" and not 0 <= imm < STREAMS:
        return f"stream s{imm} does not exist: there are s0..s{STREAMS - 1}"
    if op.imm == "f16" and not 0 <= imm < 1 << 16:
        return f"{imm:#x} is no 16-bit pattern"
    if op.imm == "f32" and not 0 <= imm < 1 << 32:
        return f"{imm:#x} is no 32-bit pattern"
    if op.imm == "table" and not 0 <= imm < len(UNARY_NAMES):
        return f"table {imm} does not exist: there are {', '.join(UNARY_NAMES)}"
    if not op.imm and imm:
        return f"{op.name} takes no immediate"
    return ""


def result_kinds(program: MicroProgram) -> dict[int, str]:
    """Return the kind (h, f, m, i) of every register; the program must be valid."""
    return {inst.dst: inst.op.result for inst in program.code if inst.op.result != "-"}


def accepts(wanted: str, kind: str) -> bool:
    """Whether an argument of class ``wanted`` may be a register of kind ``kind``."""
    return kind in ("h", "f") if wanted == "n" else wanted == kind


def validate(program: MicroProgram) -> None:
    """Raise :class:`MicroError` unless a microprogram is sound.

    Checked: registers below 256 and assigned once, arguments defined before use and of the right
    kind, immediates in range, ``next`` exactly once per state with a value of the state's kind
    (a binary32 state also takes a binary16 value), and no stream written by two instructions
    (stores and states).
    """
    if len(program.code) > MAX_MICRO_CODE:
        raise MicroError(f"{len(program.code)} micro-instructions; at most {MAX_MICRO_CODE}")
    kinds: dict[int, str] = {}
    states: dict[int, MicroOp] = {}
    advanced: set[int] = set()
    written: dict[int, str] = {}
    for index, inst in enumerate(program.code):
        _check_shape(inst, index)
        if inst.op.name == "next":
            _check_next(inst, index, kinds, states, advanced)
        else:
            for arg, wanted in zip(inst.args, inst.op.args, strict=True):
                _check_arg(inst.op, index, arg, wanted, kinds)
        if is_store(inst.op) or is_state(inst.op):
            if inst.imm in written:
                other = written[inst.imm]
                raise MicroError(
                    f"{inst.op.name}: stream s{inst.imm} is already written by {other}", index
                )
            written[inst.imm] = inst.op.name
        if inst.op.result != "-":
            if inst.dst in kinds:
                raise MicroError(f"register {inst.dst} is assigned twice", index)
            kinds[inst.dst] = inst.op.result
            if is_state(inst.op):
                states[inst.dst] = inst.op
    missing = sorted(set(states) - advanced)
    if missing:
        raise MicroError(f"state register {missing[0]} has no next")


def _check_shape(inst: MicroInst, index: int) -> None:
    op = inst.op
    if MICRO_BY_NAME.get(op.name) != op:
        raise MicroError(f"{op.name} is not in the table of micro-operations", index)
    if len(inst.args) != len(op.args):
        raise MicroError(f"{op.name} takes {len(op.args)} arguments, got {len(inst.args)}", index)
    if op.result == "-" and inst.dst != -1:
        raise MicroError(f"{op.name} has no result, but destination {inst.dst}", index)
    if op.result != "-" and not 0 <= inst.dst < MICRO_REGISTERS:
        raise MicroError(f"register {inst.dst} is outside 0..{MICRO_REGISTERS - 1}", index)
    problem = imm_problem(op, inst.imm)
    if problem:
        raise MicroError(f"{op.name}: {problem}", index)


def _check_arg(op: MicroOp, index: int, arg: int, wanted: str, kinds: dict[int, str]) -> None:
    if arg not in kinds:
        raise MicroError(f"{op.name}: register {arg} is not defined before its use", index)
    if not accepts(wanted, kinds[arg]):
        raise MicroError(
            f"{op.name}: expected a {_KIND_WORDS[wanted]}, got register {arg}, "
            f"a {_KIND_WORDS[kinds[arg]]}",
            index,
        )


def _check_next(
    inst: MicroInst,
    index: int,
    kinds: dict[int, str],
    states: dict[int, MicroOp],
    advanced: set[int],
) -> None:
    state, value = inst.args
    if state not in states:
        raise MicroError(f"next: register {state} is no state", index)
    if state in advanced:
        raise MicroError(f"next: state register {state} already has a next value", index)
    wanted = states[state].result
    _check_arg(inst.op, index, value, "n" if wanted == "f" else wanted, kinds)
    advanced.add(state)


def encode_micro(program: MicroProgram) -> bytes:
    """Return the binary form of a program (8 bytes per micro-instruction), validating it."""
    validate(program)
    out = bytearray()
    for inst in program.code:
        args = inst.args + (0,) * (3 - len(inst.args))
        last = args[2] if len(inst.args) == 3 else inst.imm
        out += _LAYOUT.pack(inst.op.opcode, max(inst.dst, 0), args[0], args[1], last)
    return bytes(out)


def decode_micro(name: str, code: bytes) -> MicroProgram:
    """Return the program that binary code stands for; MicroError when it stands for none."""
    if len(code) % MICRO_BYTES:
        raise MicroError(f"microcode of {len(code)} bytes is no whole number of instructions")
    if len(code) > MICRO_BYTES * MAX_MICRO_CODE:
        raise MicroError(f"microcode of {len(code)} bytes is too long")
    out: list[MicroInst] = []
    for index, (opcode, dst, a, b, last) in enumerate(_LAYOUT.iter_unpack(code)):
        op = MICRO_BY_OPCODE.get(opcode)
        if op is None:
            raise MicroError(f"unknown micro-operation {opcode:#04x}", index)
        arity = len(op.args)
        args: tuple[int, ...] = (a, b, last)[:arity]
        imm = 0 if arity == 3 else last
        if (arity < 1 and a) or (arity < 2 and b) or (op.result == "-" and dst):
            raise MicroError(f"{op.name}: an unused field is not 0", index)
        out.append(MicroInst(op, -1 if op.result == "-" else dst, args, imm))
    program = MicroProgram(name, tuple(out))
    validate(program)
    return program


def canonical(program: MicroProgram) -> MicroProgram:
    """Return the program with its registers numbered in the order of their definitions."""
    validate(program)
    number: dict[int, int] = {}
    code: list[MicroInst] = []
    for inst in program.code:
        args = tuple(number[a] for a in inst.args)
        dst = -1
        if inst.op.result != "-":
            dst = number[inst.dst] = len(number)
        code.append(MicroInst(inst.op, dst, args, inst.imm))
    return MicroProgram(program.name, tuple(code))


class MicroBuilder:
    """Builds a canonical microprogram: ``emit`` returns the number of the register it defines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._code: list[MicroInst] = []
        self._registers = 0

    def emit(self, op: str, args: Sequence[int] = (), imm: int = 0) -> int:
        """Append an operation; return its result's register, -1 when it has none."""
        row = MICRO_BY_NAME.get(op)
        if row is None:
            raise MicroError(f"there is no micro-operation '{op}'", len(self._code))
        dst = -1
        if row.result != "-":
            dst = self._registers
            self._registers += 1
        self._code.append(MicroInst(row, dst, tuple(args), imm))
        return dst

    def build(self) -> MicroProgram:
        """Return the finished program, validated."""
        program = MicroProgram(self.name, tuple(self._code))
        validate(program)
        return program
