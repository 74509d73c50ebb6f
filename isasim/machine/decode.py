"""Predecode: one compact tuple per instruction, so that running never looks at the table again.

Sequencer tuple: ``(op, x, y, z)``, where ``op`` is one of the constants below.  Instructions of
a unit decode to ``PUSH`` or ``LANES``: ``(op, slot, values, fixed)``.  ``values(registers)`` gives
the operand values in the order of the row; immediates are appended to the register file as
constants.  ``fixed`` is the mnemonic, for ``LANES`` with the prepared microprogram and the function
that captures the descriptors that the instruction uses: the streams of its microprogram, or its
window.  Windows follow the streams in the sequencer's list; what was never set is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter
from typing import Any, Final, TypeAlias

from snncc.isa.diagnostics.printable import printable
from snncc.isa.instructions.encoding import IllegalInstruction
from snncc.isa.instructions.text import show
from snncc.isa.program.file import CoreProgram, Symbol
from snncc.isa.spec import REG, REGISTERS, STREAMS, Inst, Unit
from snncc.isa.window import Window
from snncc.isasim.engines.base import LANE_MNEMONICS
from snncc.isasim.engines.lanes import LaneProgram

PUSH: Final = 0
SYNC: Final = 1
LANES: Final = 2
ADDI: Final = 3
LI: Final = 4
ADD: Final = 5
MUL: Final = 6
SUB: Final = 7
LOOP: Final = 8
LOOPI: Final = 9
STREAM: Final = 10
NOP: Final = 11
HALT: Final = 12
SEQ_WAIT: Final = 13
SEQ_POST: Final = 14
ILLEGAL: Final = 15
SET_WINDOW: Final = 16
DIV: Final = 17
MIN: Final = 18
MAX: Final = 19
COREID: Final = 20

SLOTS: Final[tuple[str, ...]] = tuple(u.value for u in Unit)
"""Unit names by slot: 0 is the sequencer, 1..6 the queued units."""
NO_WINDOW: Final = Window(*(0,) * 15)
WINDOW_SIZES: Final = 5
"""How many of a window's numbers are its sizes; the others are its map."""
POST_SLOT: Final = 7
"""The slot through which the sequencer's own posts reach the scheduler."""

WAIT_KIND: Final = 0
POST_KIND: Final = 1
ENGINE_KIND: Final = 2
DMA_KIND: Final = 3
LOCAL_KIND: Final = 4
SEND_KIND: Final = 5
RECV_KIND: Final = 6
_KINDS: Final = {
    "wait": WAIT_KIND,
    "post": POST_KIND,
    "ld": DMA_KIND,
    "st": DMA_KIND,
    "copy": LOCAL_KIND,
    "fill": LOCAL_KIND,
    "send": SEND_KIND,
    "mcast": SEND_KIND,
    "recv": RECV_KIND,
    "recvadd": RECV_KIND,
}
SEQ_OPS: Final = {
    "nop": NOP,
    "halt": HALT,
    "li": LI,
    "add": ADD,
    "addi": ADDI,
    "sub": SUB,
    "mul": MUL,
    "div": DIV,
    "min": MIN,
    "max": MAX,
    "coreid": COREID,
    "loop": LOOP,
    "loopi": LOOPI,
    "stream": STREAM,
    "winsize": SET_WINDOW,
    "winmap": SET_WINDOW,
}

Step: TypeAlias = tuple[int, int, Any, Any]


def unit_kind(mnemonic: str) -> int:
    """Return how the schedulers treat an instruction of a queued unit."""
    return _KINDS.get(mnemonic, ENGINE_KIND)


def unit_slot(inst: Inst) -> int:
    """Return in whose queue an instruction comes; 0 is the sequencer itself."""
    if inst.insn.mnemonic in ("wait", "post"):
        return inst["unit"]
    return SLOTS.index(inst.insn.unit.value)


@dataclass(eq=False)
class Code:
    """A core's decoded program."""

    core: int
    program: CoreProgram
    words: int
    steps: list[Step]
    ends: list[bool]
    """``ends[pc]``: some loop of the program ends before the instruction at ``pc``."""
    constants: list[int]
    problems: dict[int, str] = field(default_factory=dict[int, str])
    symbols: tuple[Symbol, ...] = ()
    """Names of this core's places, and global ones; for those who look into a run."""

    @cached_property
    def semaphores(self) -> dict[int, str]:
        """The names of semaphores."""
        return {s.value: s.name for s in self.symbols if s.kind == "sem"}

    @cached_property
    def places(self) -> dict[str, list[Symbol]]:
        """Names of memory with a known size, by memory."""
        return {
            space: [s for s in self.symbols if s.kind == space and s.bytes]
            for space in ("sram", "dram")
        }

    def text(self, pc: int) -> str:
        """Return the assembly line of an instruction."""
        return show(self.program.code[pc]) if 0 <= pc < self.words else "(outside the program)"

    def source(self, pc: int) -> str:
        """Return where an instruction comes from, as far as the line table knows."""
        line = self.program.source(pc)
        if line is None:
            return ""
        place = f"{line.file}:{line.line}" if line.file else line.location
        about = " ".join(x for x in (line.layer, line.phase) if x)
        return printable(f"{place} [{about}]" if place and about else place or about)


def _getter(indices: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return a function from a list to the tuple of its elements at ``indices``."""
    if not indices:
        return lambda items: ()
    get = itemgetter(*indices)
    return (lambda items: (get(items),)) if len(indices) == 1 else get


class _Decoder:
    def __init__(self, programs: Sequence[LaneProgram], groups: frozenset[str]) -> None:
        self.programs = programs
        self.groups = groups
        self.constants: list[int] = []
        self.places: dict[int, int] = {}

    def constant(self, value: int) -> int:
        if value not in self.places:
            self.places[value] = REGISTERS + len(self.constants)
            self.constants.append(value)
        return self.places[value]

    def step(self, inst: Inst) -> Step:
        row = inst.insn
        if row.group not in self.groups:
            raise IllegalInstruction(f"{row.mnemonic} needs the extension '{row.group}'")
        if row.mnemonic in ("wait", "post"):
            slot, sem, n = inst.values
            if slot == 0:
                return (SEQ_WAIT if row.mnemonic == "wait" else SEQ_POST, sem, n, None)
            return (SYNC, slot, (sem, n), None)
        if row.unit is not Unit.SEQ:
            return self.push(inst)
        op = SEQ_OPS[row.mnemonic]
        if op == STREAM:
            return (op, inst["s"], itemgetter(inst["base"], inst["step"], inst["row"]), None)
        if op == SET_WINDOW:
            part = (
                slice(0, WINDOW_SIZES) if row.mnemonic == "winsize" else slice(WINDOW_SIZES, None)
            )
            return (op, STREAMS + inst["win"], part, inst.values[1:])
        x, y, z = (*inst.values, 0, 0, 0)[:3]
        return (op, x, y, z)

    def push(self, inst: Inst) -> Step:
        row = inst.insn
        indices = [
            value if operand.kind is REG else self.constant(value)
            for operand, value in zip(row.operands, inst.values, strict=True)
        ]
        slot = SLOTS.index(row.unit.value)
        if row.windowed:
            capture = _getter((STREAMS + inst["win"],))
            return (LANES, slot, itemgetter(*indices), (row.mnemonic, None, capture))
        if row.mnemonic not in LANE_MNEMONICS:
            return (PUSH, slot, itemgetter(*indices), row.mnemonic)
        number = inst["prog"]
        micro = self.programs[number] if number < len(self.programs) else None
        capture = _getter(micro.streams if micro else ())
        return (LANES, slot, itemgetter(*indices), (row.mnemonic, micro, capture))


def decode_cores(
    programs: Sequence[CoreProgram],
    micro: Sequence[LaneProgram] = (),
    groups: frozenset[str] = frozenset({"base"}),
) -> list[Code]:
    """Decode programs, those that cores share once."""
    known: dict[int, Code] = {}
    found: list[Code] = []
    for program in programs:
        one = known.get(id(program.code))
        if one is None:
            one = known[id(program.code)] = _decode(program, micro, groups)
        found.append(replace(one, core=program.core, program=program))
    return found


def _decode(program: CoreProgram, micro: Sequence[LaneProgram], groups: frozenset[str]) -> Code:
    """Decode a core's program; what the machine cannot execute becomes a trap when reached."""
    decoder = _Decoder(micro, groups)
    count = len(program.code)
    steps: list[Step] = []
    problems: dict[int, str] = {}
    ends = [False] * (count + 1)
    known: dict[tuple[str, tuple[int, ...]], Step] = {}  # programs repeat themselves
    for pc, inst in enumerate(program.code):
        name = inst.insn.mnemonic
        step = known.get((name, inst.values))
        if step is not None:
            steps.append(step)
            continue
        try:
            step = known[name, inst.values] = decoder.step(inst)
            steps.append(step)
        except IllegalInstruction as error:
            steps.append((ILLEGAL, 0, None, None))
            problems[pc] = str(error)
    for pc, step in enumerate(steps):
        if step[0] in (LOOP, LOOPI) and pc < step[2] <= count:
            ends[step[2]] = True
    return Code(program.core, program, count, steps, ends, decoder.constants, problems)
