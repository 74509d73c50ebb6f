"""How often instructions are executed and with which sizes, read from the code alone.

Sizes and trip counts are known where a register that an operand reads holds an immediate, or sums
and products of such, whatever turn a loop is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from snncc.isa.instructions.arithmetic import ARITHMETIC
from snncc.isa.instructions.operands import registers
from snncc.isa.instructions.table import TABLE
from snncc.isa.roles import AMOUNTS, Purpose
from snncc.isa.spec import (
    REGISTERS,
    SEED_REGISTER,
    WINDOW,
    Inst,
    Unit,
)
from snncc.isa.window import Window

Numbers: TypeAlias = "npt.NDArray[np.int64]"
Number: TypeAlias = "int | Numbers"
"""What all cores have, or what each has."""


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
_COMPUTED: Final = {**ARITHMETIC, "addi": ARITHMETIC["add"]}
_FOR_EACH: Final[dict[str, Callable[..., Numbers]]] = {
    **{name: cast("Callable[..., Numbers]", function) for name, function in _COMPUTED.items()},
    "min": np.minimum,
    "max": np.maximum,
}
_WRITERS: Final = frozenset({"li", "coreid", *_COMPUTED})
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


class CodeReader:
    """Reads code that one or several cores run once, from its first instruction to its last."""

    def __init__(self, code: Sequence[Inst], cores: Sequence[int]) -> None:
        self.code = code
        self.cores = np.array(cores, np.int64)
        self.registers: list[Number | None] = [0] * REGISTERS
        self.registers[SEED_REGISTER] = None
        self.windows: dict[int, list[Number | None]] = {}
        self.active: npt.NDArray[np.bool_] | None = None
        """Who runs what is read; None: all."""

    def instructions(self) -> Iterator[tuple[int, Inst, Number]]:
        """Yield address, instruction and how often it is executed.

        Registers and windows hold what they hold when it is reached, as far as that is known.  What
        a loop without turns skips is executed 0 times.
        """
        written = _written(self.code)
        loops: list[tuple[int, Number]] = []  # end, times outside
        times: Number = 1
        for pc, inst in enumerate(self.code):
            while loops and loops[-1][0] == pc:
                _, times = loops.pop()
                self._run_by(times)
            yield pc, inst, times
            if isinstance(times, int) and not times:
                continue
            row, values = inst.insn, inst.values
            if row.unit is not Unit.SEQ:
                continue
            name = row.mnemonic
            if name == "li":
                self._set(values[0], values[1])
            elif name == "coreid":
                self._set(values[0], _one(self.cores))
            elif name == "loopi" or name == "loop":
                count = values[0] if name == "loopi" else self.registers[values[0]]
                if count is None:
                    raise UnknownSize
                loops.append((values[1], times))
                times = _one(times * count)
                self._run_by(times)
                if np.max(count) > 1:
                    self._forget(written[pc])
            elif name in _COMPUTED:
                self._compute(name, values)
            elif name in _SETTERS:
                window = self.windows.setdefault(values[0], [None] * 15)
                part = range(15)[_SETTERS[name]]
                for i, value in zip(part, values[1:], strict=True):
                    window[i] = self._merged(value, window[i])
            elif name == "halt" and not loops:
                return

    def _run_by(self, times: Number) -> None:
        self.active = None if isinstance(times, int) else times > 0

    def _merged(self, new: Number | None, old: Number | None) -> Number | None:
        """Return what a place holds where only some cores write it."""
        if self.active is None:
            return new
        if new is None or old is None:
            return None
        return _one(np.where(self.active, new, old))

    def _set(self, register: int, value: Number | None) -> None:
        if register:
            self.registers[register] = self._merged(value, self.registers[register])

    def _forget(self, places: set[int]) -> None:
        """Another turn of a loop finds what the last one left."""
        for place in places:
            if place > 0:
                self.registers[place] = None
            elif place < 0:
                self.windows.pop(-1 - place, None)

    def _compute(self, name: str, values: tuple[int, ...]) -> None:
        target, left, right = values
        a = self.registers[left]
        b = right if name == "addi" else self.registers[right]
        if a is None or b is None or (name == "div" and np.min(np.abs(b)) == 0):
            self._set(target, None)
        elif isinstance(a, int) and isinstance(b, int):
            self._set(target, _COMPUTED[name](a, b))
        elif _COMPUTED["mul" if name == "mul" else "add"](_most(a), _most(b)) >= 1 << 63:
            self._set(target, None)  # one that overflows stops when it is run
        else:
            self._set(target, _one(_FOR_EACH[name](a, b)))

    def operands(self, inst: Inst) -> tuple[Number, ...]:
        """Return the operands of an instruction of a unit, 0 for places."""
        registers, found = self.registers, list[Number](inst.values)
        for i, size in _SIZES_AT[inst.insn.mnemonic]:
            value = registers[inst.values[i]] if size else 0
            if value is None:
                raise UnknownSize
            found[i] = value
        return tuple(found)

    def window(self, inst: Inst) -> tuple[Number, ...]:
        """Return the numbers of the window of an instruction that has one, else nothing."""
        at = _WINDOW_AT[inst.insn.mnemonic]
        if at < 0:
            return ()
        numbers = [n for n in self.windows.get(inst.values[at], ()) if n is not None]
        if len(numbers) != len(Window._fields):
            raise UnknownSize
        return tuple(numbers)


def _most(values: Number) -> int:
    """Return the greatest magnitude."""
    return int(np.max(np.abs(values)))


def _one(values: Number) -> Number:
    """Return what all cores have as a number."""
    if isinstance(values, int):
        return values
    first = int(values[0])
    return first if (values == first).all() else values


def steady_loops(code: Sequence[Inst], cores: Sequence[int]) -> dict[int, int] | None:
    """Return the addresses of loops and the most turns that one of the cores makes in one go.

    None unless sizes, trip counts and targets are the same in every turn of every loop.  Registers
    may then only count addresses up: of what changes from turn to turn, other arithmetic than
    ``addi`` is not followed.
    """
    reader = CodeReader(code, cores)
    found: dict[int, int] = {}
    try:
        for pc, inst, times in reader.instructions():
            name = inst.insn.mnemonic
            if name == "li" and abs(inst.values[1]) >= _FAR:
                return None
            if isinstance(times, int) and not times:
                continue
            if name in _COMPUTED and name != "addi":
                if any(reader.registers[i] is None for i in inst.values[1:]):
                    return None
            if name in ("loop", "loopi"):
                count = inst.values[0] if name == "loopi" else reader.registers[inst.values[0]]
                found[pc] = int(np.max(count)) if count is not None else 0
            if inst.insn.unit is not Unit.SEQ:
                reader.operands(inst)
                reader.window(inst)
    except UnknownSize:
        return None
    return found
