"""Tile operations on buffers: DMA here, what engines compute from the rows' meanings.

An address operand is a buffer and an offset; a buffer checks every access
(:mod:`snncc.compiler.interp.tile_memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from snncc.compiler.interp.tile_memory import Halves, Memory, TileError
from snncc.compiler.ir.core import Op
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.instructions.operands import OPERANDS
from snncc.isa.numbers import fp16
from snncc.isa.roles import FORMATS, Family, condition
from snncc.isa.semantics.call import Bits, Call, Dims, Floats, Ints, Shorts
from snncc.isa.semantics.meaning import compute
from snncc.isa.spec import EnumKind, Field, Insn, Operands
from snncc.isa.window import Window


@dataclass(frozen=True)
class Place:
    """A buffer and an offset in bytes; see :class:`snncc.isa.semantics.call.Place`."""

    memory: Memory
    at: int

    def halves(self, dims: Dims, n: int) -> Floats:
        """Return rows of ``n`` binary16 numbers."""
        return fp16.from_bits(self.shorts(dims, n))

    def floats(self, dims: Dims, n: int) -> Floats:
        """Return rows of ``n`` binary32 numbers."""
        return _f32(self.memory.read(self.at, dims, 4 * n, 4))

    def bits(self, dims: Dims, n: int) -> Bits:
        """Return rows of ``n`` packed spikes."""
        raw = self.memory.read(self.at, dims, fp16.packed_bytes(n))
        return fp16.unpack_bits(raw.view(np.uint8), n)

    def shorts(self, dims: Dims, n: int) -> Shorts:
        """Return rows of ``n`` 16-bit patterns."""
        return self.memory.read(self.at, dims, 2 * n)

    def gather(self, starts: Ints, element: str, n: int) -> Floats:
        """Return rows of ``n`` elements that begin ``starts`` bytes from here."""
        size = {"f16": 2 * n, "f32": 4 * n}.get(element, fp16.packed_bytes(n))
        raw = self.memory.gather(self.at + starts, size, FORMATS[element])
        if element == "f16":
            return fp16.from_bits(raw)
        if element == "f32":
            return _f32(raw)
        return fp16.unpack_bits(raw.view(np.uint8), n).astype(np.float32)

    def put_halves(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary16 numbers."""
        self.put_shorts(dims, fp16.to_bits(values))

    def put_floats(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary32 numbers."""
        raw = np.ascontiguousarray(fp16.canonical_f32(values))
        self.memory.write(self.at, dims, raw.view(np.uint16), 4)

    def put_bits(self, dims: Dims, values: Bits) -> None:
        """Write rows of packed spikes."""
        self.memory.write(self.at, dims, fp16.pack_bits(values).view(np.uint16))

    def put_shorts(self, dims: Dims, values: Shorts) -> None:
        """Write rows of 16-bit patterns."""
        self.memory.write(self.at, dims, values)


def _f32(raw: Halves) -> Floats:
    shape = (*raw.shape[:-1], raw.shape[-1] // 2)
    return np.ascontiguousarray(raw).view(np.float32).reshape(shape)


def operands_of(op: Op, row: Insn) -> Operands:
    """Return the operands of an operation; addresses, and what it does not give, are 0."""

    def value(operand: Field) -> int:
        if isinstance(operand.kind, EnumKind):
            return operand.kind.words.index(op.str_attr(operand.name))
        return op.int_attr(operand.name, 0)

    return OPERANDS[row.mnemonic](value(operand) for operand in row.operands)


def _window(op: Op) -> Window:
    window = Window(*op.ints_attr("window"))
    problem = window.problem()
    if problem:
        raise TileError(f"the window is illegal: {problem}")
    return window


def _compute(op: Op, row: Insn, places: Mapping[str, Place]) -> None:
    """Compute what an engine computes."""

    def place(name: str) -> Place:
        found = places.get(name)
        if found is None:
            raise TileError(f"operand {name} is not bound to a buffer")
        return found

    for text in row.illegal:
        name, word = condition(text)
        if op.str_attr(name) == word:
            raise TileError(f"{name} {word} is illegal")
    if row.family is Family.TRANSPOSE and place("src").memory is place("dst").memory:
        raise TileError("transposes within one buffer")
    windows = (_window(op),) if row.windowed else ()
    compute(Call(row, operands_of(op, row), place, windows=windows))


def _copy(op: Op, row: Insn, places: Mapping[str, Place]) -> None:
    source, target, o = places["src"], places["dst"], operands_of(op, row)
    for name, bound in (("src", source), ("dst", target)):
        if bound.memory.space != row.at(name).space:
            raise TileError(f"copies from {source.memory.space} to {target.memory.space}")
    counts = (o.n0, o.n1)
    read = list(zip(counts, (o.src0, o.src1), strict=True))
    written = list(zip(counts, (o.dst0, o.dst1), strict=True))
    target.memory.write(target.at, written, source.memory.read(source.at, read, o.bytes))


def _fill(op: Op, row: Insn, places: Mapping[str, Place]) -> None:
    target, o = places["dst"], operands_of(op, row)
    rows = np.full((o.n0, o.bytes // 2), o.pattern, np.uint16)
    target.memory.write(target.at, [(o.n0, o.dst0)], rows)


_Run = Callable[[Op, Insn, Mapping[str, Place]], None]
_MOVES: Mapping[str, _Run] = {"ld": _copy, "st": _copy, "copy": _copy, "fill": _fill}


def run(op: Op, places: Mapping[str, Place]) -> None:
    """Execute an operation; ``places``: where its address operands point now."""
    row = BY_MNEMONIC.get(op.name.partition(".")[2])
    move = _MOVES.get(row.mnemonic) if row else None
    if row is None or (move is None and not row.meaning):
        raise TileError("there is no such operation")
    (move or _compute)(op, row, places)
