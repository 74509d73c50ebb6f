"""How often instructions are executed and with which sizes, read from the code alone.

Sizes and trip counts are known where a register that an operand reads holds an immediate, or sums
and products of such, whatever turn a loop is in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from snncc.isa.instructions.operands import registers
from snncc.isa.instructions.table import TABLE
from snncc.isa.program.model import CoreProgram
from snncc.isa.roles import AMOUNTS, Purpose
from snncc.isa.spec import (
    REGISTERS,
    SEED_REGISTER,
    WINDOW,
    Inst,
    Unit,
)
from snncc.isa.window import Window


class UnknownSize(Exception):
    """A size or a trip count is not known before the run."""


_NEEDED: Final = AMOUNTS | {Purpose.ROUTE}
"""Operands that must be known: prices depend on them, or the way of a message."""
_SIZES_AT: Final = {
    row.mnemonic: tuple((i, purpose in _NEEDED) for i, purpose in registers(row)) for row in TABLE
}
"""The operands in registers: their places, and whether they are needed."""
_WINDOW_AT: Final = {
    row.mnemonic: next((i for i, f in enumerate(row.operands) if f.kind is WINDOW), -1)
    for row in TABLE
}
_FAR: Final = 1 << 61
"""Immediates beyond it could make sums of 32-bit steps overflow within the longest run."""
_WRITERS: Final = frozenset({"li", "add", "addi", "sub", "mul"})
_SETTERS: Final = {"winsize": slice(0, 5), "winmap": slice(5, None)}


def _written(code: Sequence[Inst]) -> dict[int, set[int]]:
    """Return, by address of a loop, the registers and windows (-1 - window) that its body sets."""
    found: dict[int, set[int]] = {}
    loops: list[tuple[int, int]] = []
    for pc, inst in enumerate(code):
        while loops and loops[-1][1] <= pc:
            inner, _ = loops.pop()
            if loops:
                found[loops[-1][0]] |= found[inner]
        name = inst.insn.mnemonic
        if name in ("loop", "loopi"):
            loops.append((pc, inst.values[1]))
            found[pc] = set()
        elif loops and name in _WRITERS:
            found[loops[-1][0]].add(inst.values[0])
        elif loops and name in _SETTERS:
            found[loops[-1][0]].add(-1 - inst.values[0])
    while len(loops) > 1:
        inner, _ = loops.pop()
        found[loops[-1][0]] |= found[inner]
    return found


class CoreReader:
    """Reads the program of a core once, from its first instruction to its last."""

    def __init__(self, program: CoreProgram) -> None:
        self.program = program
        self.registers: list[int | None] = [0] * REGISTERS
        self.registers[SEED_REGISTER] = None
        self.windows: dict[int, list[int | None]] = {}

    def instructions(self) -> Iterator[tuple[int, Inst, int]]:
        """Yield address, instruction and how often it is executed.

        Registers and windows hold what they hold when it is reached, as far as that is known.
        """
        written = _written(self.program.code)
        loops: list[tuple[int, int]] = []  # end, times outside
        times = 1
        for pc, inst in enumerate(self.program.code):
            while loops and loops[-1][0] == pc:
                _, times = loops.pop()
            yield pc, inst, times
            row, values = inst.insn, inst.values
            if row.unit is not Unit.SEQ:
                continue
            name = row.mnemonic
            if name == "li":
                if values[0]:
                    self.registers[values[0]] = values[1]
            elif name == "loopi" or name == "loop":
                count = values[0] if name == "loopi" else self.registers[values[0]]
                if count is None:
                    raise UnknownSize
                loops.append((values[1], times))
                times *= count
                if count != 1:
                    self._forget(written[pc])
            elif name in _WRITERS:
                self._compute(name, values)
            elif name in _SETTERS:
                self.windows.setdefault(values[0], [None] * 15)[_SETTERS[name]] = values[1:]
            elif name == "halt" and not loops:
                return

    def _forget(self, places: set[int]) -> None:
        """Another turn of a loop finds what the last one left."""
        for place in places:
            if place > 0:
                self.registers[place] = None
            elif place < 0:
                self.windows.pop(-1 - place, None)

    def _compute(self, name: str, values: tuple[int, ...]) -> None:
        target, left, right = values
        if not target:
            return
        a = self.registers[left]
        b = right if name == "addi" else self.registers[right]
        if a is None or b is None:
            self.registers[target] = None
        else:
            self.registers[target] = a * b if name == "mul" else a - b if name == "sub" else a + b

    def operands(self, inst: Inst) -> tuple[int, ...]:
        """Return the operands of an instruction of a unit, 0 for places."""
        registers, found = self.registers, list(inst.values)
        for i, size in _SIZES_AT[inst.insn.mnemonic]:
            value = registers[found[i]] if size else 0
            if value is None:
                raise UnknownSize
            found[i] = value
        return tuple(found)

    def window(self, inst: Inst) -> Window | None:
        """Return the window of an instruction that has one."""
        at = _WINDOW_AT[inst.insn.mnemonic]
        if at < 0:
            return None
        numbers = [n for n in self.windows.get(inst.values[at], ()) if n is not None]
        if len(numbers) != len(Window._fields):
            raise UnknownSize
        return Window(*numbers)


def fixed_sizes(program: CoreProgram) -> bool:
    """Whether sizes, trip counts and targets are the same in every turn of every loop.

    Registers may then only count addresses up: other arithmetic than ``addi`` is not followed.
    """
    core = CoreReader(program)
    try:
        for _, inst, _ in core.instructions():
            name = inst.insn.mnemonic
            if name in ("add", "sub", "mul"):
                return False
            if name == "li" and abs(inst.values[1]) >= _FAR:
                return False
            if inst.insn.unit is not Unit.SEQ:
                core.operands(inst)
                core.window(inst)
    except UnknownSize:
        return False
    return True
