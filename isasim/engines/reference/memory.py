"""The scratchpad as the meanings of instructions see it: operands by address, streams by number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.microprograms.meaning import WRAP
from snncc.isa.numbers import fp16
from snncc.isa.semantics.call import Bits, Dims, Floats, Ints, Lane, Shorts
from snncc.isasim.engines.base import Resolved, Sram
from snncc.isasim.engines.lanes import LaneProgram

Array: TypeAlias = npt.NDArray[Any]
_FORMATS: Mapping[str, np.dtype[Any]] = {
    "f16": np.dtype("<u2"),
    "f32": np.dtype("<f4"),
    "bit": np.dtype(np.uint8),
}


def view(sram: Sram, kind: str, at: int, dims: Dims, n: int) -> Array:
    """Return elements of a scratchpad in rows, without copying: [*counts, n]."""
    dtype = _FORMATS[kind]
    shape = (*(count for count, _ in dims), n)
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.ndarray(shape, dtype, sram, at, (*(s for _, s in dims), dtype.itemsize))


def store(target: Array, values: Array) -> None:
    """Write rows one after the other, the last axis innermost (they may overlap)."""
    for index in np.ndindex(target.shape[:-1]):
        target[index] = values[index]


@dataclass(frozen=True)
class SramPlace:
    """An address in a scratchpad; see :class:`snncc.isa.semantics.call.Place`."""

    sram: Sram
    at: int

    def halves(self, dims: Dims, n: int) -> Floats:
        """Return binary16 rows as numbers."""
        return fp16.from_bits(self.shorts(dims, n))

    def floats(self, dims: Dims, n: int) -> Floats:
        """Return binary32 rows."""
        return view(self.sram, "f32", self.at, dims, n).astype(np.float32)

    def bits(self, dims: Dims, n: int) -> Bits:
        """Return packed spike rows as booleans."""
        packed = view(self.sram, "bit", self.at, dims, fp16.packed_bytes(n))
        return fp16.unpack_bits(np.ascontiguousarray(packed), n)

    def shorts(self, dims: Dims, n: int) -> Shorts:
        """Return rows of 16-bit patterns."""
        return view(self.sram, "f16", self.at, dims, n).astype(np.uint16)

    def gather(self, starts: Ints, element: str, n: int) -> Floats:
        """Return rows of elements that begin ``starts`` bytes from here."""
        size = fp16.packed_bytes(n) if element == "bit" else _FORMATS[element].itemsize * n
        found = self.sram[(self.at + starts)[..., None] + np.arange(size)]
        if element == "bit":
            return fp16.unpack_bits(found, n).astype(np.float32)
        if element == "f16":
            return fp16.from_bits(found.view("<u2").astype(np.uint16))
        return np.asarray(found.view("<f4"), np.float32)

    def put_halves(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary16 numbers."""
        self.put_shorts(dims, fp16.to_bits(values))

    def put_floats(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary32 numbers."""
        target = view(self.sram, "f32", self.at, dims, values.shape[-1])
        store(target, fp16.canonical_f32(values))

    def put_bits(self, dims: Dims, values: Bits) -> None:
        """Write rows of packed spikes."""
        packed = fp16.pack_bits(values)
        store(view(self.sram, "bit", self.at, dims, packed.shape[-1]), packed)

    def put_shorts(self, dims: Dims, values: Shorts) -> None:
        """Write rows of 16-bit patterns."""
        store(view(self.sram, "f16", self.at, dims, values.shape[-1]), values)


class SramStreams:
    """The descriptors that a lane instruction captured.

    See :class:`snncc.isa.semantics.call.Streams`.
    """

    def __init__(self, op: Resolved, program: LaneProgram, sram: Sram) -> None:
        self.op, self.program, self.sram = op, program, sram
        self.rows, self.cols = op.operands.rows, op.operands.cols
        self.states = {inst.imm for inst in program.states}

    def _at(self, stream: int, step: int) -> tuple[SramPlace, Dims]:
        base, distance, row = self.op.streams[self.program.slot(stream)]
        at = base if stream in self.states else base + step * distance
        return SramPlace(self.sram, at), [(self.rows, row)]

    def load(self, stream: int, step: int, kind: str, n: int) -> Lane:
        """Return rows of elements h, f or m."""
        place, dims = self._at(stream, step)
        if kind == "h":
            return place.halves(dims, n)
        return place.floats(dims, n) if kind == "f" else place.bits(dims, n)

    def store(self, stream: int, step: int, kind: str, values: Lane) -> None:
        """Write rows of elements."""
        place, dims = self._at(stream, step)
        if kind == "h":
            place.put_halves(dims, values)
        elif kind == "f":
            place.put_floats(dims, values)
        else:
            place.put_bits(dims, values)

    def counter(self, stream: int, step: int) -> npt.NDArray[np.uint64]:
        """Return the counter of every element."""
        base, distance, row = self.op.streams[self.program.slot(stream)]
        first = [(base + step * distance + r * row) & WRAP for r in range(self.rows)]
        return np.asarray(
            np.array(first, np.uint64)[:, None] + np.arange(self.cols, dtype=np.uint64)
        )
