"""Lane operations: the streams of a microprogram over buffers and counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.tile_memory import TileError
from snncc.compiler.interp.tile_ops import Place
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.instructions.operands import OPERANDS
from snncc.isa.microprograms.meaning import WRAP
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.semantics.call import Call, Dims, Lane
from snncc.isa.semantics.meaning import compute


@dataclass(frozen=True)
class Stream:
    """A descriptor: a buffer and an offset (or, without a buffer, a counter), and distances."""

    place: Place | None
    base: int
    step: int
    row: int


@dataclass(frozen=True)
class TileStreams:
    """The streams of a lane operation; see :class:`snncc.isa.semantics.call.Streams`."""

    streams: Sequence[Stream]
    rows: int
    cols: int

    def _at(self, number: int, step: int) -> tuple[Place, Dims]:
        """Return where a stream points at a step, and its rows."""
        stream = self.streams[number]
        if stream.place is None:
            raise TileError(f"reads or writes stream {number}, which is a counter")
        place = Place(stream.place.memory, stream.place.at + step * stream.step)
        return place, [(self.rows, stream.row)]

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
        """Return base + step*distance + r*row + c, modulo 2**64."""
        s = self.streams[stream]
        if s.place is not None:
            raise TileError(f"counts with stream {stream}, which is memory")
        rows = [(s.base + step * s.step + r * s.row) & WRAP for r in range(self.rows)]
        first = np.array(rows, np.uint64)
        return np.asarray(first[:, None] + np.arange(self.cols, dtype=np.uint64))


def run_lanes(
    mnemonic: str,
    program: MicroProgram,
    streams: Sequence[Stream],
    *,
    steps: int,
    rows: int,
    cols: int,
    seed: int,
) -> None:
    """Run a microprogram over steps x rows x cols."""
    row = BY_MNEMONIC[mnemonic]
    sizes = {"steps": steps, "rows": rows, "cols": cols, "seed": seed}
    operands = OPERANDS[mnemonic](sizes.get(name, 0) for name in row.names)

    def place(name: str) -> Place:
        raise TileError(f"a lane operation has no operand {name} in memory")

    compute(Call(row, operands, place, code=program.code, streams=TileStreams(streams, rows, cols)))
