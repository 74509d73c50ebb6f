"""What the assembler has gathered of a program while it reads the text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from snncc.assembler.names import Names
from snncc.assembler.nodes import Expr
from snncc.assembler.source import Line, Problem
from snncc.isa.machine.machine import Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.program.layout import TensorEntry
from snncc.isa.program.model import FileRef, Json, SourceLine
from snncc.isa.spec import Insn, Inst

MAX_INSTRUCTIONS: Final = 1 << 22
MAX_DATA: Final = 1 << 28

Alias: TypeAlias = tuple[str, int]
"""The kind and the number of the register, stream, semaphore or window behind a name."""


@dataclass(slots=True)
class SourceInstruction:
    """An instruction; ``inst`` is there when it means the same everywhere."""

    line: Line
    column: int
    row: Insn
    texts: dict[str, str]
    inst: Inst | None


@dataclass(slots=True)
class Attribution:
    """Where the coming instructions are from; ``pending`` opens a new entry of the line table."""

    automatic: bool = True
    file: str = ""
    number: int = 0
    location: str = ""
    layer: str = ""
    phase: str = ""
    pending: bool = False


@dataclass(slots=True)
class CodeSection:
    """The program of a core, or of several that run the same text."""

    cores: tuple[int, ...]
    line: Line
    items: list[SourceInstruction] = field(default_factory=list[SourceInstruction])
    lines: list[SourceLine] = field(default_factory=list[SourceLine])
    labels: dict[str, int] = field(default_factory=dict[str, int])
    places: dict[str, Line] = field(default_factory=dict[str, Line])
    aliases: dict[str, Alias] = field(default_factory=dict[str, Alias])
    blocks: list[tuple[int, Line]] = field(default_factory=list[tuple[int, Line]])
    attribution: Attribution = field(default_factory=Attribution)


@dataclass(slots=True)
class Values:
    """Data whose values may use names that are not known yet."""

    line: Line
    column: int
    kind: str
    values: tuple[Expr, ...]


@dataclass(slots=True)
class DataPiece:
    """A piece of initial memory; ``cores`` has one entry except in a section of several cores."""

    line: Line
    space: str
    cores: tuple[int, ...]
    address: Expr
    column: int
    convert: str = "raw"
    row_bytes: int = 0
    row_stride: int = 0
    ref: FileRef | None = None
    parts: list[bytes | Values] = field(default_factory=list[bytes | Values])


@dataclass(slots=True)
class Exported:
    """A symbol for the symbol table."""

    name: str
    kind: str
    value: Expr
    core: int
    line: Line
    column: int
    bytes: int = 0
    first: int = 0
    last: int = -1
    tensor: str = ""


@dataclass(slots=True)
class Tensor:
    """A tensor; without an address until ``placed``."""

    entry: TensorEntry
    line: Line
    placed: bool


@dataclass(slots=True)
class OpenBlock:
    """Lines up to ``.end`` that are read as a whole."""

    word: str
    line: Line
    finish: Callable[[list[Line]], None]
    lines: list[Line] = field(default_factory=list[Line])


@dataclass(slots=True)
class MachineText:
    """The machine as the object file names it; ``machine`` is None when its text is no machine."""

    machine: Machine | None
    name: str
    hash: str
    toml: str


@dataclass(slots=True)
class State:
    """Everything that the text has said so far."""

    file: str
    folder: Path
    names: Names = field(default_factory=Names)
    sections: list[CodeSection] = field(default_factory=list[CodeSection])
    section: CodeSection | None = None
    aliases: dict[str, Alias] = field(default_factory=dict[str, Alias])
    micro: list[MicroProgram] = field(default_factory=list[MicroProgram])
    micro_numbers: dict[str, int] = field(default_factory=dict[str, int])
    tensors: list[Tensor] = field(default_factory=list[Tensor])
    tensor_names: set[str] = field(default_factory=set[str])
    data: list[DataPiece] = field(default_factory=list[DataPiece])
    open_data: DataPiece | None = None
    data_bytes: int = 0
    symbols: list[Exported] = field(default_factory=list[Exported])
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
    machine: MachineText | None = None
    machine_fixed: bool = False
    block: OpenBlock | None = None
    attribution: Attribution = field(default_factory=Attribution)
    instructions: int = 0

    def current(self, line: Line) -> CodeSection:
        """Return the section that code goes to: core 0's if none was opened."""
        if self.section is None:
            if self.sections:
                raise Problem("E0714", "code outside a section", help="open one: .core 0")
            self.section = CodeSection((0,), line, attribution=self.attribution)
            self.sections.append(self.section)
        return self.section

    def grow(self, size: int) -> None:
        """Count bytes of initial data."""
        self.data_bytes += size
        if self.data_bytes > MAX_DATA:
            message = f"{self.data_bytes} bytes of initial data; at most {MAX_DATA} are possible"
            raise Problem("E0716", message, help="keep them in a file and name it with .ref")
