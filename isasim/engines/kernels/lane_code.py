"""Translation of a microprogram for the kernel that interprets it block by block.

Registers get places in a small scratch area that stays in the cache: a number register takes
``4 * BLOCK`` bytes, a mask ``BLOCK / 8``, a constant one group of 16 equal lanes.  Places are
reused as soon as a register is dead; the next value of a state is computed in the state's own place
when nobody needs the old one any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from snncc.isa.microprograms.code import is_load, is_state, is_store
from snncc.isa.microprograms.table import MICRO_OPS, MicroInst
from snncc.isa.numbers.tables import table
from snncc.isasim.engines.lanes import LaneProgram

BLOCK = 512
GROUP = 64  # bytes of a group of 16 number lanes
NUMBER, MASK = 4 * BLOCK, BLOCK // 8
COPY, COPY_MASK, SATURATE = 0x7D, 0x7E, 0x7F
_SAME = {"h2f": COPY, "sel.f": 0x48}
ROUNDING = frozenset(op.name for op in MICRO_OPS if op.rounds)

# Columns of a translated instruction.
CODE, DST, A, A_STEP, B, B_STEP, C, C_STEP, IMM = range(9)


@dataclass
class Translation:
    """``code``: int64 [instructions, 9]; register columns are byte offsets in the scratch area.

    ``states``: rows of the same form, run before the first and after the last step.  The immediate
    of memory operations is the position of the captured stream, of ``tab.h`` the table's address.
    ``constants``: offset and binary32 pattern of every constant.
    """

    code: npt.NDArray[np.int64]
    states: npt.NDArray[np.int64]
    constants: list[tuple[int, int]]
    bytes: int


@dataclass
class _Places:
    """Scratch places of one size, reused last-in first-out."""

    size: int
    free: list[int] = field(default_factory=list[int])

    def take(self, area: _Area) -> int:
        return self.free.pop() if self.free else area.extend(self.size)


@dataclass
class _Area:
    bytes: int = 0

    def extend(self, size: int) -> int:
        start = self.bytes
        self.bytes += size
        return start


def half_as_float(bits: int) -> int:
    """Return the binary32 pattern of a binary16 pattern."""
    return int(np.array(bits, np.uint16).view(np.float16).astype(np.float32).view(np.uint32))


def _ordered(program: LaneProgram) -> list[MicroInst]:
    """Return the per-step instructions with every load before the first store."""
    code = [i for i in program.code if not is_state(i.op) and not i.op.name.startswith("const.")]
    code = [i for i in code if i.op.name != "next"]
    stores = [i for i in code if is_store(i.op)]
    first = code.index(stores[0]) if stores else len(code)
    if any(is_load(i.op) for i in code[first:]):
        code = [i for i in code if not is_store(i.op)] + stores
    return code


class _Translator:
    def __init__(self, program: LaneProgram, saturate: bool) -> None:
        self.program, self.saturate = program, saturate
        self.area = _Area()
        self.pools = {"m": _Places(MASK), "x": _Places(NUMBER)}
        self.place: dict[int, int] = {}
        self.kinds = {i.dst: i.op.result for i in program.code if i.op.result != "-"}
        self.fixed: set[int] = set()
        self.constants: list[tuple[int, int]] = []
        self.rows: list[list[int]] = []
        self.steps: dict[int, int] = {}
        self.in_place: set[int] = set()

    def pool(self, register: int) -> _Places:
        return self.pools["m" if self.kinds[register] == "m" else "x"]

    def run(self) -> Translation:
        for inst in self.program.code:
            name = inst.op.name
            if name.startswith("const."):
                place = self.place[inst.dst] = self.area.extend(GROUP)
                bits = half_as_float(inst.imm) if name == "const.h" else inst.imm
                self.constants.append((place, bits))
                self.fixed.add(inst.dst)
                self.steps[inst.dst] = 0
        states: list[list[int]] = []
        for inst in self.program.states:
            self.place[inst.dst] = self.pool(inst.dst).take(self.area)
            self.fixed.add(inst.dst)
            slot = self.program.slot(inst.imm)
            states.append([inst.op.opcode, self.place[inst.dst], 0, 0, 0, 0, 0, 0, slot])
        code = _ordered(self.program)
        self.allocate(code)
        self.advance()
        return Translation(
            np.array(self.rows, np.int64).reshape(-1, 9),
            np.array(states, np.int64).reshape(-1, 9),
            self.constants,
            self.area.bytes,
        )

    def allocate(self, code: list[MicroInst]) -> None:
        nexts = self.program.nexts
        last: dict[int, int] = {}
        for place, inst in enumerate(code):
            for arg in inst.args:
                last[arg] = place
        needed_at_end = set(nexts.values())
        dead_states = {
            s: last.get(s, -1) for s in nexts if s not in needed_at_end
        }  # state -> its last use
        wanted: dict[int, int] = {}
        for state, value in nexts.items():
            if state in dead_states and value not in wanted and value not in self.fixed:
                wanted[value] = state
        for place, inst in enumerate(code):
            # A result may take the place of a dying operand: groups are read before written.
            for arg in dict.fromkeys(inst.args):
                if last[arg] == place and arg not in self.fixed and arg not in needed_at_end:
                    self.release(arg)
            if inst.op.result != "-":
                old = wanted.get(inst.dst)
                if old is not None and dead_states[old] <= place and self.fits(inst, old):
                    self.place[inst.dst] = self.place[old]
                    self.in_place.add(old)
                else:
                    self.place[inst.dst] = self.pool(inst.dst).take(self.area)
            self.emit(inst)
            if inst.op.result != "-" and inst.dst not in last and inst.dst not in needed_at_end:
                self.release(inst.dst)

    def fits(self, inst: MicroInst, state: int) -> bool:
        return (self.kinds[inst.dst] == "m") == (self.kinds[state] == "m")

    def release(self, register: int) -> None:
        self.pool(register).free.append(self.place[register])

    def emit(self, inst: MicroInst) -> None:
        op = inst.op
        row = [_SAME.get(op.name, op.opcode)] + [0] * 8
        if is_store(op) and inst.args[0] in self.steps:  # a constant has one group only
            spread = self.pools["x"].take(self.area)
            constant = self.place[inst.args[0]]
            self.rows.append([COPY, spread, constant, 0, 0, 0, 0, 0, 0])
            self.rows.append([op.opcode, 0, spread, GROUP, 0, 0, 0, 0, self.slot(inst)])
            self.pools["x"].free.append(spread)
            return
        if op.result != "-":
            row[DST] = self.place[inst.dst]
        for column, arg in zip((A, B, C), inst.args, strict=False):
            row[column] = self.place[arg]
            row[column + 1] = self.steps.get(arg, GROUP)
        row[IMM] = self.slot(inst) if op.imm == "stream" else inst.imm
        if op.imm == "table":
            row[IMM] = table(inst.imm).ctypes.data  # tables live as long as the process
        self.rows.append(row)
        if self.saturate and op.name in ROUNDING:
            place = self.place[inst.dst]
            self.rows.append([SATURATE, place, place, GROUP, 0, 0, 0, 0, 0])

    def slot(self, inst: MicroInst) -> int:
        return self.program.slot(inst.imm)

    def advance(self) -> None:
        """Move next values that were not computed in place; a state may be another's next value."""
        late: list[list[int]] = []
        for state, value in self.program.nexts.items():
            if state in self.in_place or state == value:
                continue
            mask = self.kinds[state] == "m"
            code, step = (COPY_MASK if mask else COPY), self.steps.get(value, GROUP)
            source = self.place[value]
            if value in self.program.nexts:
                spare = self.area.extend(MASK if mask else NUMBER)
                self.rows.append([code, spare, source, step, 0, 0, 0, 0, 0])
                source, step = spare, GROUP
            late.append([code, self.place[state], source, step, 0, 0, 0, 0, 0])
        self.rows += late


def translate(program: LaneProgram, saturate: bool) -> Translation:
    """Return the translation of a program, made once."""
    key = f"fast saturate={saturate}"
    found = program.scratch.get(key)
    if not isinstance(found, Translation):
        found = program.scratch[key] = _Translator(program, saturate).run()
    return found
