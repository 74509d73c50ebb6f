"""The vocabulary in which the instruction table is written: operand kinds, fields, instructions.

An instruction is one 128-bit little-endian word.  Bits 0..7 hold the opcode; every operand is a
bit field placed by its row of the table.  A :class:`Kind` owns the three views of an operand:
text (assembly), value (Python int) and bits (the field).  Encoder, decoder, assembly text,
manual, JSON export, operand checks and the random-program generator are all derived from rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from snncc.isa.roles import ACCUMULATING, Family, MemoryRole

WORD_BITS = 128
WORD_BYTES = WORD_BITS // 8
OPCODE_BITS = 8
REGISTERS = 64
SEED_REGISTER = REGISTERS - 1
"""Holds the seed of a run's random words when a program starts."""
SEMAPHORES = 256
STREAMS = 32
WINDOWS = 8
LOOP_DEPTH = 8
MAX_LITERAL_BITS = 256
"""Integers in assembly text that are longer are no operand of any kind."""


class Unit(Enum):
    """The units of a core; ``seq`` executes its instructions itself, the others have queues."""

    SEQ = "seq"
    DMA = "dma"
    NOC = "noc"
    FP = "fp"
    BP = "bp"
    WG = "wg"
    VPU = "vpu"


QUEUED_UNITS: tuple[Unit, ...] = (Unit.DMA, Unit.NOC, Unit.FP, Unit.BP, Unit.WG, Unit.VPU)


class OperandError(ValueError):
    """An operand's text or value does not fit its kind; the message says what would."""


@dataclass(frozen=True)
class Kind:
    """How one operand looks as text, as a value and as bits.

    ``width`` is the number of bits of the field.  Subclasses override the conversions; values
    are Python ints everywhere.
    """

    name: str
    width: int

    def check(self, value: int) -> None:
        """Raise :class:`OperandError` when ``value`` cannot be held."""
        if not 0 <= value < 1 << self.width:
            raise OperandError(f"{self.name} {value} is outside 0..{(1 << self.width) - 1}")

    def parse(self, text: str) -> int:
        """Return the value that ``text`` stands for."""
        try:
            value = int(text.strip(), 0)
            if value.bit_length() > MAX_LITERAL_BITS:
                raise ValueError
        except ValueError:
            article = "an" if self.name[0] in "aeiou" else "a"
            raise OperandError(
                f"expected {article} {self.name}, got '{text.strip()[:80]}'"
            ) from None
        self.check(value)
        return value

    def show(self, value: int) -> str:
        """Return the canonical text of ``value``."""
        return str(value)

    def to_bits(self, value: int) -> int:
        """Return the unsigned field contents for ``value``."""
        self.check(value)
        return value

    def from_bits(self, bits: int) -> int:
        """Return the value held by an unsigned field; raise OperandError if it holds none."""
        self.check(bits)
        return bits


@dataclass(frozen=True)
class SignedKind(Kind):
    """A two's complement integer."""

    def check(self, value: int) -> None:
        """Raise unless the value fits the signed range."""
        low, high = -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        if not low <= value <= high:
            raise OperandError(f"{self.name} {value} is outside {low}..{high}")

    def to_bits(self, value: int) -> int:
        """Return the two's complement bits."""
        self.check(value)
        return value & ((1 << self.width) - 1)

    def from_bits(self, bits: int) -> int:
        """Return the signed value."""
        return bits - (1 << self.width) if bits >> (self.width - 1) else bits


@dataclass(frozen=True)
class IndexedKind(Kind):
    """A numbered resource written with a prefix, such as ``r12`` or ``s3``."""

    prefix: str = "r"
    count: int = REGISTERS

    def check(self, value: int) -> None:
        """Raise unless the number names an existing resource."""
        if not 0 <= value < self.count:
            raise OperandError(
                f"{self.name} {self.prefix}{value} does not exist: "
                f"there are {self.prefix}0..{self.prefix}{self.count - 1}"
            )

    def parse(self, text: str) -> int:
        """Parse ``<prefix><number>``."""
        match = re.fullmatch(re.escape(self.prefix) + r"([0-9]{1,9})", text.strip())
        if not match:
            raise OperandError(
                f"expected a {self.name} such as {self.prefix}1, got '{text.strip()}'"
            )
        value = int(match.group(1))
        self.check(value)
        return value

    def show(self, value: int) -> str:
        """Return ``<prefix><number>``."""
        return f"{self.prefix}{value}"


@dataclass(frozen=True)
class EnumKind(Kind):
    """One of a fixed list of words; the value is the word's index."""

    words: tuple[str, ...] = ()

    def check(self, value: int) -> None:
        """Raise unless the value is the index of a word."""
        if not 0 <= value < len(self.words):
            raise OperandError(f"{self.name} {value} is not one of {', '.join(self.words)}")

    def parse(self, text: str) -> int:
        """Return the index of the word."""
        word = text.strip()
        if word not in self.words:
            raise OperandError(f"expected one of {', '.join(self.words)}, got '{word}'")
        return self.words.index(word)

    def show(self, value: int) -> str:
        """Return the word."""
        return self.words[value]


@dataclass(frozen=True)
class HexKind(Kind):
    """An unsigned bit pattern written in hexadecimal (FP16 patterns, masks)."""

    def show(self, value: int) -> str:
        """Return the value in hexadecimal, padded to the field's width."""
        return f"0x{value:0{(self.width + 3) // 4}x}"


REG = IndexedKind("register", 6, "r", REGISTERS)
STREAM = IndexedKind("stream", 5, "s", STREAMS)
WINDOW = IndexedKind("window", 3, "win", WINDOWS)
SEM = IndexedKind("semaphore", 8, "sem", SEMAPHORES)
MICRO = IndexedKind("microprogram", 12, "@", 4096)
TAG = Kind("message tag", 16)
COUNT = Kind("count", 16)
EXTENT = Kind("extent", 16)
FACTOR = Kind("factor", 8)
STEP = SignedKind("step", 8)
OFFSET = SignedKind("offset", 16)
IMM32 = SignedKind("immediate", 32)
IMM64 = SignedKind("immediate", 64)
TRIPS = Kind("trip count", 32)
TARGET = Kind("instruction address", 32)
F16 = HexKind("binary16 pattern", 16)
UNIT = EnumKind("unit", 3, tuple(u.value for u in Unit))
INIT = EnumKind("initial accumulator", 2, ("keep", "zero", "bias"))
ELEMENT = EnumKind("element type", 2, ("f16", "f32", "bit"))
REDUCTION = EnumKind("reduction", 2, ("sum", "max", "sum32"))


@dataclass(frozen=True)
class Field:
    """One operand: its name, what it holds, and the lowest bit of its field."""

    name: str
    kind: Kind
    low: int

    @property
    def mask(self) -> int:
        """Bits of the word that belong to this field."""
        return ((1 << self.kind.width) - 1) << self.low


class Operands(tuple[int, ...]):
    """Values of operands; the attributes are the names of the row's operands."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...


@dataclass(frozen=True)
class Insn:
    """One row of the instruction table.

    ``family`` and ``memory`` say what the instruction is and touches (:mod:`snncc.isa.roles`),
    ``sizes`` the operands that are dimensions, in the order in which they are checked.  ``fixed``
    gives the value of operands of its family that it has no field for, ``illegal`` conditions
    under which it traps, ``route`` the operands that name other cores.  ``meaning`` names the
    function that computes it over any memory (:mod:`snncc.isa.semantics.meaning`; only what an
    engine executes has one).  ``syntax`` is the operand part of the assembly line with ``<name>``
    for each operand; an empty syntax lists the operands separated by commas.  ``group`` names the
    extension that a machine must enable (``base`` is always there).  ``action`` is one line of
    meaning in pseudo-code, ``traps`` the trap kinds beyond the ones every instruction can raise.
    """

    mnemonic: str
    opcode: int
    unit: Unit
    operands: tuple[Field, ...]
    doc: str
    action: str
    syntax: str = ""
    family: Family = Family.CONTROL
    memory: tuple[MemoryRole, ...] = ()
    sizes: tuple[str, ...] = ()
    traps: tuple[str, ...] = ()
    fixed: tuple[tuple[str, int], ...] = ()
    illegal: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    meaning: str = ""
    group: str = "base"
    text: str = field(init=False, default="")
    windowed: bool = field(init=False, default=False)
    """Whether it reads an image stack through a window."""
    gated: bool = field(init=False, default=False)
    """Whether spikes select the terms that it accumulates."""

    def __post_init__(self) -> None:
        """Derive the syntax when none is given, and what is asked often."""
        text = self.syntax or ", ".join(f"<{f.name}>" for f in self.operands)
        window = any(f.kind is WINDOW for f in self.operands)
        spikes = any(m.address == "a" and m.element == "bit" for m in self.memory)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "windowed", window and self.family is not Family.CONTROL)
        object.__setattr__(self, "gated", spikes and self.family in ACCUMULATING)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the operands, in the row's order."""
        return tuple(f.name for f in self.operands)

    def at(self, address: str) -> MemoryRole:
        """Return what lies at an address operand."""
        return next(m for m in self.memory if m.address == address)


@dataclass(frozen=True)
class Inst:
    """A decoded instruction: a row and the values of its operands in the row's order."""

    insn: Insn
    values: tuple[int, ...]

    def __getitem__(self, name: str) -> int:
        """Return the value of the operand called ``name``."""
        for operand, value in zip(self.insn.operands, self.values, strict=True):
            if operand.name == name:
                return value
        raise KeyError(name)


def pack(*operands: tuple[str, Kind]) -> tuple[Field, ...]:
    """Lay operands out one after the other above the opcode."""
    fields: list[Field] = []
    low = OPCODE_BITS
    for name, kind in operands:
        fields.append(Field(name, kind, low))
        low += kind.width
    return tuple(fields)
