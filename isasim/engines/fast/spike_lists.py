"""Lists of active inputs, made once and shared by all instructions that read the same spikes.

Cores that compute different columns of a layer each hold a copy of its input spikes.  Listing them
costs about as much as a narrow tile's additions, comparing two copies costs next to nothing.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.window import Ints
from snncc.isasim.engines.fast.inputs import Inputs, Words, empty_words
from snncc.isasim.engines.kernels import bits as kb

Index: TypeAlias = npt.NDArray[np.int32]
Starts: TypeAlias = npt.NDArray[np.int64]

LEAST: Final = 1 << 15
"""Inputs from which on lists are worth keeping."""
MOST: Final = 1 << 12
"""Rows and terms up to which all of them are listed at once."""
KEPT: Final = 8
"""Lists kept: an instruction's chunks come again when the next core computes."""
KEPT_BYTES: Final = 1 << 23


@dataclass(frozen=True, slots=True)
class Lists:
    """The active terms of row r are ``index[start[r] : start[r + 1]]``, ascending."""

    index: Index
    start: Starts


@dataclass(frozen=True, slots=True)
class _Entry:
    key: tuple[object, ...]
    pixels: Ints
    spikes: bytes
    lists: Lists


def turned(words: Words, rows: int, columns: int) -> Words:
    """Return the transpose of a bit matrix."""
    out = empty_words(columns, rows)
    kb.transpose_bits(words, rows, columns, out)
    return out


class SpikeLists:
    """The lists of the last instructions of one thread."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def find(self, inputs: Inputs, outer: bool, active: int) -> Lists | None:
        """Return the lists of an instruction's spikes; None: it is too small, or too large.

        ``outer``: rows are the transposed spikes.  ``active`` is the number of set bits.
        """
        rows, depth = inputs.rows, inputs.depth
        size = inputs.extent
        if rows * depth < LEAST or max(rows, depth) > MOST or size > KEPT_BYTES:
            return None
        spikes = ctypes.string_at(inputs.address, size)
        key = (outer, rows, depth, inputs.image, inputs.images, inputs.channels)
        for place, entry in enumerate(self._entries):
            same = entry.key == key and entry.pixels is inputs.pixels
            if same and entry.spikes == spikes:
                self._entries.append(self._entries.pop(place))
                return entry.lists
        words = inputs.words(0, rows)
        if outer:
            words, rows = turned(words, rows, depth), depth
        lists = Lists(np.empty(active + 4, np.int32), np.empty(rows + 1, np.int64))
        kb.list_bits(words, 0, rows, 0, words.shape[1], lists.index, lists.start)
        self._keep(_Entry(key, inputs.pixels, spikes, lists))
        return lists

    def _keep(self, entry: _Entry) -> None:
        self._entries.append(entry)
        total = sum(len(e.spikes) + e.lists.index.nbytes for e in self._entries)
        while len(self._entries) > 1 and (len(self._entries) > KEPT or total > KEPT_BYTES):
            old = self._entries.pop(0)
            total -= len(old.spikes) + old.lists.index.nbytes
