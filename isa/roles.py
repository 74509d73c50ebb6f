"""What the operands of an instruction are for: the words in which a row of the table says it.

A row lists the memory that its instruction touches, one :class:`MemoryRole` per address operand,
and the family to which it belongs.  What else depends on an instruction is a function of that: its
footprint, which operands are addresses, distances and sizes, what its price depends on, what it is
expected to do, the text of the manual.

**Extents** are products of operands, window facts and numbers: ``"2"``, ``"n"``,
``"images*positions"``.  Window facts are the names in :data:`WINDOW_FACTS`; a row with an operand
of kind ``window`` may use them.

**Conditions** are ``"masked"`` (the operand is not 0) or ``"init=bias"`` (it is that word).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

WINDOW_FACTS: Final = ("positions", "taps", "channels", "depth", "inputs")
"""Output positions, taps, channels, reduced length and input positions of a window's image."""

FORMATS: Final = {"byte": 1, "bit": 2, "f16": 2, "f32": 4}
"""Element formats and the alignment (bytes) of addresses and distances; bits are packed by 16."""

Elements: TypeAlias = str | tuple[tuple[str, str], ...]
"""A format, the operand that says it, or alternatives: (conditions joined by ``,``, format); the
first whose conditions hold, ``""`` always does."""


class Family(Enum):
    """Instructions that are executed, expected and priced alike.

    ``mac`` keeps weights and reduces over inputs, ``outer`` keeps outputs and reduces over rows;
    both select their terms by the operand ``a``.  ``lanes`` reach memory through streams.
    """

    CONTROL = "control"
    COPY = "copy"
    MESSAGE = "message"
    MAC = "mac"
    OUTER = "outer"
    LANES = "lanes"
    REDUCTION = "reduction"
    POOLING = "pooling"
    POOL_GRADIENT = "pooling gradient"
    TRANSPOSE = "transpose"


ACCUMULATING: Final = frozenset({Family.MAC, Family.OUTER})
"""Families whose terms are multiply-accumulates."""

FAMILY_OPERANDS: Final[dict[Family, tuple[str, ...]]] = {
    Family.MAC: (
        "acc", "acc_stride", "a", "a_stride", "w", "w_stride", "n", "bias", "init", "skip", "trans",
        "masked", "mask", "mask_stride",
    ),
    Family.OUTER: ("acc", "acc_stride", "a", "a_stride", "g", "g_stride", "n", "init", "skip"),
    Family.LANES: ("prog", "steps", "rows", "cols", "seed"),
    Family.REDUCTION: ("x", "x_stride", "rows", "n", "type"),
    Family.POOLING: ("dst", "dst_stride", "x", "x_stride", "x_image", "images", "type", "op"),
    Family.POOL_GRADIENT: ("dst", "g", "x", "y", "images", "type"),
    Family.TRANSPOSE: ("dst", "src", "rows", "cols"),
}  # fmt: skip
"""What those who treat a family alike ask for: every row has an operand or a fixed value."""


class Purpose(Enum):
    """What one operand is for."""

    ADDRESS = "address"
    DISTANCE = "distance between rows in a scratchpad"
    DRAM_DISTANCE = "distance between rows in DRAM"
    SIZE = "size"
    CHOICE = "choice"
    WINDOW = "window"
    PROGRAM = "microprogram"
    SEED = "seed"
    ROUTE = "core or cores at the other end"
    TAG = "tag"
    PATTERN = "pattern"


AMOUNTS: Final = frozenset({Purpose.SIZE, Purpose.CHOICE, Purpose.DRAM_DISTANCE})
"""Operands on which cycles and energy depend, beside window, microprogram and activity.  Runs of
DRAM bytes join where a distance is their length, so distances in DRAM count and others do not."""


@dataclass(frozen=True)
class MemoryRole:
    """A matrix in memory: ``rows`` (outermost first) of ``row`` elements each.

    ``address``: the operand that holds where it begins.  ``role``: ``in``, ``out`` or ``inout``.
    ``rows``: pairs of an extent and the operand that holds the distance in bytes; none: one row.
    ``when``: conditions under which it is touched at all; ``read_when``: those under which an
    ``inout`` is read.  ``turned``: a flag that swaps the two extents.  ``reached``: of an image
    stack only the positions that a tap of the window reads.  ``multiple``: rows of bytes have a
    length that is a multiple of it, and are aligned to it.
    """

    address: str
    role: str = ""
    element: Elements = ""
    row: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    space: str = "sram"
    when: tuple[str, ...] = ()
    read_when: tuple[str, ...] = ()
    turned: str = ""
    reached: bool = False
    multiple: int = 1

    @property
    def reads(self) -> bool:
        """Whether it is read, under some condition."""
        return self.role in ("in", "inout")

    @property
    def writes(self) -> bool:
        """Whether it is written."""
        return self.role in ("out", "inout")

    @property
    def distances(self) -> tuple[str, ...]:
        """The operands that hold distances between rows."""
        return tuple(distance for _, distance in self.rows)

    @property
    def extents(self) -> tuple[str, ...]:
        """All extents."""
        return (*(extent for extent, _ in self.rows), self.row)

    def shape(self) -> str:
        """Return what it covers, for the manual."""
        size = _row_text(self.element, self.row)
        if self.reached:
            return f"the positions that the window reaches, rows of {self.row} {_words(self)}"
        if not self.rows:
            text = size
        else:
            counts = " x ".join(extent for extent, _ in self.rows)
            strides = "".join(f" + {i}*{s}" for i, s in zip("ij", self.distances, strict=False))
            text = f"{counts} rows of {size}"
            if len(self.rows) > 1:
                text += f" at {self.address}{strides}"
        if self.turned:
            turned = " x ".join(_row_text(self.element, extent) for extent, _ in self.rows)
            text += f" ({self.row} rows of {turned} when {self.turned})"
        if self.when:
            text += f" when {' and '.join(c.replace('=', ' is ') for c in self.when)}"
        return text


def _words(memory: MemoryRole) -> str:
    return {"bit": "bits", "f16": "binary16 elements"}.get(str(memory.element), "elements")


def _row_text(element: Elements, extent: str) -> str:
    if not isinstance(element, str) or element not in FORMATS:
        return "one result" if extent == "1" else f"{extent} elements"
    if element == "byte":
        return f"{extent} bytes" if extent != "bytes" else "bytes"
    if element == "bit":
        return f"2*ceil({extent}/16) bytes"
    return f"{FORMATS[element]}*{extent} bytes"


def factors(extent: str) -> tuple[str, ...]:
    """Return the factors of an extent that are not numbers."""
    return tuple(part for part in extent.split("*") if not part.isdecimal())


def condition(text: str) -> tuple[str, str]:
    """Return the operand of a condition and the word that it must be ("": not 0)."""
    name, _, word = text.partition("=")
    return name, word


def alternatives(element: Elements) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return pairs of conditions and a format or operand."""
    if isinstance(element, str):
        return (((), element),)
    return tuple((tuple(c.split(",")) if c else (), name) for c, name in element)
