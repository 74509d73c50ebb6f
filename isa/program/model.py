"""What an object file holds, as plain data; :mod:`snncc.isa.program.file` reads and writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from snncc.isa.instructions.encoding import isa_hash
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.program.layout import TensorEntry
from snncc.isa.spec import WORD_BYTES, Inst

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What JSON can hold."""


@dataclass(frozen=True)
class SourceLine:
    """Where the instructions from ``address`` up to the next entry's come from."""

    address: int
    file: str = ""
    line: int = 0
    location: str = ""
    layer: str = ""
    phase: str = ""


@dataclass(frozen=True)
class CoreProgram:
    """The program of one core; addresses of instructions are indices into ``code``."""

    core: int
    code: tuple[Inst, ...]
    lines: tuple[SourceLine, ...] = ()

    def source(self, address: int) -> SourceLine | None:
        """Return the source of the instruction at ``address``, if it is known."""
        low, high = 0, len(self.lines)
        while low < high:
            middle = (low + high) // 2
            if self.lines[middle].address <= address:
                low = middle + 1
            else:
                high = middle
        return self.lines[low - 1] if low else None


@dataclass(frozen=True)
class Symbol:
    """A name for a number: ``kind`` is label, sram, dram, sem or const; core -1 is global.

    A place in memory may say how many ``bytes`` it has, of which ``tensor`` it holds a part, and
    for which instructions of its core: from ``first`` up to before ``last``, -1 is the end.
    """

    name: str
    kind: str
    value: int
    core: int = -1
    bytes: int = 0
    first: int = 0
    last: int = -1
    tensor: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is a name for a number and nothing more."""
        return not (self.bytes or self.first or self.tensor) and self.last == -1

    def holds(self, address: int) -> bool:
        """Whether the name is meant by the instruction at ``address``."""
        return self.first <= address and (self.last < 0 or address < self.last)


@dataclass(frozen=True)
class FileRef:
    """Bytes kept in another file, named relative to the object file's folder.

    ``bytes`` bytes from ``offset``; ``sha256`` (hex) is that of these bytes alone, so a path that
    leads elsewhere can bring nothing in but the bytes that the compiler saw.
    """

    path: str
    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class InitialData:
    """What memory holds before the first cycle: ``data`` or the contents of ``ref``.

    ``convert`` says how the bytes become memory contents: ``raw`` as they are, ``f32-f16`` a
    binary32 array rounded to binary16.  The result is cut into rows of ``row_bytes`` bytes that lie
    ``row_stride`` bytes apart; 0 means one row.
    """

    address: int
    data: bytes = b""
    ref: FileRef | None = None
    convert: str = "raw"
    row_bytes: int = 0
    row_stride: int = 0
    space: str = "dram"
    core: int = -1


@dataclass(frozen=True)
class ObjectFile:
    """A whole program: for which machine, its code and data, and what it means to its makers."""

    machine_name: str
    machine_hash: str
    machine_toml: str
    cores: tuple[CoreProgram, ...]
    micro: tuple[MicroProgram, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    tensors: tuple[TensorEntry, ...] = ()
    initial: tuple[InitialData, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    isa: str = field(default_factory=isa_hash)

    @property
    def code_bytes(self) -> int:
        """Bytes of instructions; what cores share counts once."""
        distinct = set({id(core.code): core.code for core in self.cores}.values())
        return sum(WORD_BYTES * len(code) for code in distinct)

    def tensor(self, name: str) -> TensorEntry | None:
        """Return the tensor of a name, if there is one."""
        return next((t for t in self.tensors if t.name == name), None)
