"""The initial contents of memory: how much DRAM a program needs, and its data put in place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.machine.machine import Machine
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.program.file import ObjectFile, ObjectFileError
from snncc.isa.program.layout import extent
from snncc.isa.program.load import pieces
from snncc.isasim.machine.chip import Chip
from snncc.isasim.machine.initial import Flags, InitShadow

Bytes: TypeAlias = npt.NDArray[np.uint8]
_ALIGN = 64


def dram_size(program: ObjectFile, machine: Machine, asked: int = 0) -> int:
    """Return the bytes of DRAM for a program: at least ``asked``, never more than there are."""
    need = max(asked, _ALIGN)
    named = program.metadata.get("dram_bytes")
    if isinstance(named, int):
        need = max(need, named)
    for tensor in program.tensors:
        if tensor.space == "dram":
            need = max(need, extent(tensor)[1])
    for item in program.initial:
        if item.space == "dram":
            size = item.ref.bytes if item.ref else len(item.data)
            size = size // 2 if item.convert == "f32-f16" else size
            if item.row_bytes:
                rows = ceil_div(size, item.row_bytes)
                size = (rows - 1) * item.row_stride + item.row_bytes
            need = max(need, item.address + size)
    if need > machine.dram.bytes:
        raise ObjectFileError(
            f"the program needs {need} bytes of DRAM; machine {machine.name} has "
            f"{machine.dram.bytes}"
        )
    return ceil_div(need, _ALIGN) * _ALIGN


class Image:
    """A program's data and the memories of the chip that it goes to."""

    def __init__(
        self, program: ObjectFile, folder: Path, chip: Chip, initial: InitShadow | None
    ) -> None:
        self.program = program
        self.folder = folder
        """Where files named by the program lie."""
        self.chip = chip
        self.initial = initial
        self.has_scratchpads = any(item.space == "sram" for item in program.initial)

    def memory(self, space: str, core: int) -> tuple[Bytes, Flags | None]:
        """Return a memory, and which of its bytes were written where that is watched."""
        if space == "dram":
            return self.chip.dram, self.initial.dram if self.initial else None
        found = self.chip.by_index[core] if 0 <= core < self.chip.count else None
        if found is None:
            raise ObjectFileError(f"data for the scratchpad of core {core}, which has no program")
        return found.sram, self.initial.sram[core] if self.initial else None

    def load(self, *spaces: str) -> None:
        """Put the data of these spaces (``dram``, ``sram``) into memory."""
        for item in self.program.initial:
            if item.space not in spaces:
                continue
            memory, flags = self.memory(item.space, item.core)
            for address, data in pieces(item, self.folder):
                if address < 0 or address + len(data) > memory.size:
                    raise ObjectFileError(
                        f"initial data at {address}: outside {item.space}, 0..{memory.size - 1}"
                    )
                memory[address : address + len(data)] = np.frombuffer(data, np.uint8)
                if flags is not None:
                    flags[address : address + len(data)] = True
