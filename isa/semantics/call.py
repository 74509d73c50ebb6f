"""One execution of an instruction, and what its meaning needs of a memory.

The meanings in this folder are written from the table's ``action`` lines, strictly ascending, with
the arithmetic of :mod:`snncc.isa.numbers.fp16`.  They read operands completely before they write.
Whoever executes instructions gives them a :class:`Place` per memory operand: the reference engine
a scratchpad, the compiler's interpreter buffers that check every access.  Operands have been
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.microprograms.table import MicroInst
from snncc.isa.numbers import accumulators
from snncc.isa.roles import alternatives, condition
from snncc.isa.semantics.activity import BLOCK, FP32, EngineNumerics
from snncc.isa.spec import ELEMENT, INIT, EnumKind, Insn, Kind, Operands
from snncc.isa.window import Window

Floats: TypeAlias = npt.NDArray[np.float32]
Bits: TypeAlias = npt.NDArray[np.bool_]
Shorts: TypeAlias = npt.NDArray[np.uint16]
Ints: TypeAlias = npt.NDArray[np.int64]
Lane: TypeAlias = npt.NDArray[Any]
"""float32, bool (masks) or uint32 (random words): [rows, cols] or what broadcasts to it."""
Dims: TypeAlias = Sequence[tuple[int, int]]
"""(count, distance in bytes) of each axis of an access, outermost first."""

KEEP, BIAS = INIT.words.index("keep"), INIT.words.index("bias")


class Place(Protocol):
    """Where an operand lies.  Numbers are float32 arrays; what is returned is a copy."""

    def halves(self, dims: Dims, n: int) -> Floats:
        """Return rows of ``n`` binary16 numbers."""
        ...

    def floats(self, dims: Dims, n: int) -> Floats:
        """Return rows of ``n`` binary32 numbers."""
        ...

    def bits(self, dims: Dims, n: int) -> Bits:
        """Return rows of ``n`` packed spikes."""
        ...

    def shorts(self, dims: Dims, n: int) -> Shorts:
        """Return rows of ``n`` 16-bit patterns."""
        ...

    def gather(self, starts: Ints, element: str, n: int) -> Floats:
        """Return rows of ``n`` elements that begin ``starts`` bytes from here: [*starts, n]."""
        ...

    def put_halves(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary16 numbers, in order."""
        ...

    def put_floats(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary32 numbers, NaN canonical."""
        ...

    def put_bits(self, dims: Dims, values: Bits) -> None:
        """Write rows of packed spikes."""
        ...

    def put_shorts(self, dims: Dims, values: Shorts) -> None:
        """Write rows of 16-bit patterns."""
        ...


class Streams(Protocol):
    """The streams of a lane instruction, by number."""

    def load(self, stream: int, step: int, kind: str, n: int) -> Lane:
        """Return rows of ``n`` elements h, f or m at a step."""
        ...

    def store(self, stream: int, step: int, kind: str, values: Lane) -> None:
        """Write rows of elements at a step; NaN canonical."""
        ...

    def counter(self, stream: int, step: int) -> npt.NDArray[np.uint64]:
        """Return base + step*distance + r*row + c, modulo 2**64: [rows, cols]."""
        ...


@dataclass(frozen=True)
class Call:
    """An instruction with its operands, and where they lie."""

    row: Insn
    operands: Operands
    place: Callable[[str], Place]
    numerics: EngineNumerics = FP32
    windows: tuple[Window, ...] = ()
    code: tuple[MicroInst, ...] = ()
    streams: Streams | None = None

    @property
    def window(self) -> Window:
        """The window of a windowed instruction."""
        return self.windows[0]

    def format(self, address: str) -> str:
        """Return the element format of a memory operand, now that the operands are known."""
        kinds: Mapping[str, Kind] = {f.name: f.kind for f in self.row.operands}
        for conditions, name in alternatives(self.row.at(address).element):
            if all(self._holds(kinds, text) for text in conditions):
                number: int = getattr(self.operands, name) if name in kinds else -1
                return ELEMENT.words[number] if number >= 0 else name
        raise AssertionError(f"{self.row.mnemonic}: no format of {address} applies")

    def _holds(self, kinds: Mapping[str, Kind], text: str) -> bool:
        name, word = condition(text)
        value: int = getattr(self.operands, name)
        kind = kinds[name]
        return kind.words[value] == word if isinstance(kind, EnumKind) else bool(value)


def numbers(c: Call, address: str, dims: Dims, n: int) -> tuple[Floats, int]:
    """Return rows of an operand of any format, and how many spikes were set."""
    place = c.place(address)
    match c.format(address):
        case "f16":
            return place.halves(dims, n), 0
        case "f32":
            return place.floats(dims, n), 0
        case _:
            bits = place.bits(dims, n)
            return bits.astype(np.float32), int(bits.sum())


def put(c: Call, address: str, dims: Dims, values: Floats) -> None:
    """Write binary32 results in the format of an operand, rounded once."""
    place = c.place(address)
    match c.format(address):
        case "f16":
            place.put_halves(dims, accumulators.writeback(values, sat=c.numerics.saturate))
        case "f32":
            place.put_floats(dims, accumulators.load_acc(values))
        case _:
            place.put_bits(dims, values != 0)


def start(c: Call, dims: Dims, rows: int, n: int) -> Floats:
    """Return the accumulators that ``init`` asks for: [rows, n]."""
    if c.operands.init == KEEP:
        return accumulators.load_acc(c.place("acc").floats(dims, n)).reshape(rows, n)
    if c.operands.init == BIAS:
        row = accumulators.load_acc(c.place("bias").halves((), n))
        return np.repeat(row[None], rows, axis=0)
    return np.zeros((rows, n), np.float32)


def active_blocks(active: Bits, taps: int = 1) -> int:
    """Return the groups of ``BLOCK`` inputs of one row and tap with an active one.

    With taps, the whole blocks of channels of all taps come first, then what is left of each tap.
    """
    rows, k = active.shape
    line = k // taps
    full = taps * (line // BLOCK) * BLOCK
    if not rows:
        return 0
    whole = active[:, :full].reshape(rows, -1, BLOCK).any(axis=2)
    left = active[:, full:].reshape(rows, taps, -1).any(axis=2)
    return int(whole.sum() + left.sum())
