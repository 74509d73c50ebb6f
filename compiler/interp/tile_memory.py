"""Memory of the tiled stages: buffers that know what was written and by whom.

Everything is counted in halves (two bytes), the smallest thing that tile operations move.  Every
access is checked: inside the buffer, aligned, nothing read that was never written, no two rows of
one write on top of each other, and, for DRAM, no two actors (cores, or iterations of a parallel
loop) that touch one place without an order between them, one of them writing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.semantics.call import Dims

Halves: TypeAlias = npt.NDArray[np.uint16]

POISON = 0x7E7E
NOBODY = -1


class TileError(ValueError):
    """A tile operation does what it may not."""


@dataclass
class Actors:
    """Who is running: ``now`` touches memory, what actors below ``epoch`` did is ordered."""

    now: int = 0
    epoch: int = 0
    several: int = 0
    """Stands for more than one actor of this epoch."""

    def start(self, count: int) -> int:
        """Order everything so far before what follows; return the first of ``count`` actors."""
        self.epoch = self.now = self.several + 1
        self.several = self.epoch + count
        return self.epoch


@dataclass(eq=False)
class Memory:
    """One buffer; ``actors`` given: accesses of different actors are checked against each other."""

    name: str
    size: int
    actors: Actors | None = None
    data: Halves = field(init=False)
    known: npt.NDArray[np.bool_] = field(init=False)
    touched: bool = field(init=False, default=False)
    """Whether an operation wrote here."""

    @property
    def space(self) -> str:
        """``dram`` (shared by all actors) or ``sram``."""
        return "sram" if self.actors is None else "dram"

    def __post_init__(self) -> None:
        """Allocate ``size`` bytes."""
        count = (self.size + 1) // 2
        self.data = np.full(count, POISON, np.uint16)
        self.known = np.zeros(count, np.bool_)
        if self.actors is not None:
            self._writer = np.full(count, NOBODY, np.int32)
            self._reader = np.full(count, NOBODY, np.int32)

    @property
    def bytes(self) -> npt.NDArray[np.uint8]:
        """The contents as bytes."""
        return self.data.view(np.uint8)

    def read(self, at: int, dims: Dims, size: int, align: int = 2) -> Halves:
        """Return a copy of rows of ``size`` bytes: halves [*counts, size / 2]."""
        places = self._places(at, dims, size, align)
        if places is None:
            return np.zeros((*(n for n, _ in dims), size // 2), np.uint16)
        if not _view(self.known, *places).all():
            missing = np.argwhere(~_view(self.known, *places))[0]
            raise TileError(f"reads {self.name}, never written there (row {missing.tolist()})")
        if self.actors is not None:
            self._read_by(self.actors, places)
        return _view(self.data, *places).copy()

    def gather(self, starts: npt.NDArray[np.int64], size: int, align: int = 2) -> Halves:
        """Return rows of ``size`` bytes that begin at ``starts``: halves [*starts, size / 2]."""
        if starts.size and (starts % align).any():
            raise TileError(f"rows of {self.name} are not aligned to {align}")
        if starts.size and (starts.min() < 0 or starts.max() + size > self.size):
            raise TileError(
                f"rows of {size} bytes from {starts.min()} to {starts.max()} of {self.name}, which "
                f"has {self.size}"
            )
        places = starts[..., None] // 2 + np.arange(size // 2)
        if not self.known[places].all():
            raise TileError(f"reads {self.name}, never written there")
        return np.asarray(self.data[places])

    def write(self, at: int, dims: Dims, values: Halves, align: int = 2) -> None:
        """Write rows."""
        places = self._places(at, dims, values.shape[-1] * 2, align)
        if places is None:
            return
        if _overlap(*places):
            raise TileError(f"writes rows of {self.name} on top of each other")
        if self.actors is not None:
            self._written_by(self.actors, places)
        _view(self.data, *places)[...] = values
        _view(self.known, *places)[...] = True
        self.touched = True

    def forget(self) -> None:
        """Hold nothing any more."""
        self.known.fill(False)
        self.data.fill(POISON)

    def _places(
        self, at: int, dims: Dims, size: int, align: int
    ) -> tuple[int, list[tuple[int, int]], int] | None:
        """Check an access; return it in halves, None when it is empty."""
        if size < 0 or any(n < 0 for n, _ in dims):
            raise TileError(f"negative size in an access to {self.name}")
        if not size or any(n == 0 for n, _ in dims):
            return None
        used = [(n, s) for n, s in dims if n > 1]
        if at % align or size % 2 or any(s % align for _, s in used):
            raise TileError(
                f"{self.name} at {at}, distances {[s for _, s in used]}, rows of {size} bytes: "
                f"not aligned to {align}"
            )
        low = at + sum(min(0, s * (n - 1)) for n, s in used)
        high = at + sum(max(0, s * (n - 1)) for n, s in used) + size
        if low < 0 or high > self.size:
            raise TileError(f"bytes {low}..{high - 1} of {self.name}, which has {self.size}")
        return at // 2, [(n, s // 2 if n > 1 else 0) for n, s in dims], size // 2

    def _read_by(self, actors: Actors, places: tuple[int, list[tuple[int, int]], int]) -> None:
        writer = _view(self._writer, *places)
        if ((writer >= actors.epoch) & (writer != actors.now)).any():
            raise TileError(f"reads {self.name} that another wrote, with no order between them")
        reader = _view(self._reader, *places)
        alone = (reader < actors.epoch) | (reader == actors.now)
        reader[...] = np.where(alone, actors.now, actors.several)

    def _written_by(self, actors: Actors, places: tuple[int, list[tuple[int, int]], int]) -> None:
        for what, who in (("wrote", self._writer), ("reads", self._reader)):
            found = _view(who, *places)
            if ((found >= actors.epoch) & (found != actors.now)).any():
                raise TileError(f"writes {self.name} that another {what}, with no order")
        _view(self._writer, *places)[...] = actors.now


def _view(
    array: npt.NDArray[Any], start: int, dims: list[tuple[int, int]], size: int
) -> npt.NDArray[Any]:
    item = array.itemsize
    return np.ndarray(
        (*(n for n, _ in dims), size),
        array.dtype,
        array,
        start * item,
        (*(s * item for _, s in dims), item),
    )


def _overlap(start: int, dims: list[tuple[int, int]], size: int) -> bool:
    """Whether two rows share a place."""
    span = size
    for n, s in sorted(dims, key=lambda d: abs(d[1])):
        if n > 1 and abs(s) < span:
            break
        span += abs(s) * (n - 1)
    else:
        return False
    places: npt.NDArray[np.int64] = np.zeros(1, np.int64)
    for n, s in dims:
        places = np.add.outer(places, np.arange(n, dtype=np.int64) * s).reshape(-1)
    places.sort()
    return bool((np.diff(places) < size).any())
