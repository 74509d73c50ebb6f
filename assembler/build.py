"""Pass 2: places tensors, resolves operands and data, and puts the object file together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from snncc.assembler.data import value_bytes
from snncc.assembler.names import LocalNames, Pending
from snncc.assembler.operands import Resolver
from snncc.assembler.source import Line, Problem
from snncc.assembler.state import CodeSection, DataPiece, State
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.program.layout import TensorEntry, extent
from snncc.isa.program.model import CoreProgram, InitialData, ObjectFile, Symbol
from snncc.isa.spec import Inst

_ALIGN: Final = 64
_FAR: Final = 1 << 62
_Report = Callable[[Line, Problem], None]
_Memory = tuple[str, int]


def build(state: State, report: _Report) -> ObjectFile | None:
    """Return the object file; None when something was reported that leaves none."""
    builder = _Builder(state, report)
    builder.place_tensors()
    initial = builder.initial()
    cores = builder.cores()
    symbols = builder.symbols()
    machine = state.machine
    if machine is None:
        return None
    return ObjectFile(
        machine.name,
        machine.hash,
        machine.toml,
        tuple(cores),
        tuple(state.micro),
        tuple(symbols),
        tuple(t.entry for t in state.tensors),
        tuple(initial),
        state.metadata,
    )


class _Builder:
    def __init__(self, state: State, report: _Report) -> None:
        self.state = state
        self.report = report
        self.machine = state.machine.machine if state.machine else None

    # --- memory ------------------------------------------------------------------------------

    def place_tensors(self) -> None:
        """Give the tensors without address one behind everything that has one."""
        tops: dict[_Memory, int] = {}

        def occupy(space: str, core: int, end: int) -> None:
            tops[space, core] = max(tops.get((space, core), 0), end)

        for tensor in self.state.tensors:
            if tensor.placed:
                occupy(tensor.entry.space, tensor.entry.core, extent(tensor.entry)[1])
        if not all(t.placed for t in self.state.tensors):
            for item in self.state.data:
                for core in item.cores:
                    try:
                        address, data = self._contents(item, core)
                    except Problem:
                        continue  # not known yet, or reported later
                    occupy(item.space, core, _end(item, address, len(data)))
        for tensor in self.state.tensors:
            entry = tensor.entry
            if not tensor.placed:
                low, high = extent(replace(entry, address=0))
                top = tops.get((entry.space, entry.core), 0)
                address = ceil_div(top, _ALIGN) * _ALIGN - low
                tensor.entry = entry = replace(entry, address=address)
                found = self.state.names.table.get(entry.name)
                if found is not None and found.line is tensor.line:
                    found.value = address
                occupy(entry.space, entry.core, address + high)
            self._check_tensor(entry, tensor.line)

    def _check_tensor(self, entry: TensorEntry, line: Line) -> None:
        low, high = extent(entry)
        size = self._size(entry.space)
        if low < 0 or (size is not None and high > size):
            room = f"; {entry.space} has {size}" if size is not None else ""
            message = f"tensor {entry.name} covers bytes {low}..{high}{room}"
            self.report(line, Problem("E0713", message, help="`snncc targets` shows the sizes"))

    def _size(self, space: str) -> int | None:
        if self.machine is None:
            return None
        return self.machine.dram.bytes if space == "dram" else self.machine.scratchpad.bytes

    def _contents(self, item: DataPiece, core: int) -> tuple[int, bytes]:
        names, scope = self.state.names, LocalNames(core=None if core < 0 else core)
        try:
            address = names.value(item.address, scope)
        except Problem as problem:
            raise problem.shifted(item.column) from None
        if not 0 <= address <= _FAR:
            start, end = item.address.start + item.column, item.address.end + item.column
            raise Problem("E0712", f"address {address} is outside 0..{_FAR}", start, end)
        pieces: list[bytes] = []
        for part in item.parts:
            pieces.append(part if isinstance(part, bytes) else value_bytes(part, names, scope))
        return address, b"".join(pieces)

    def initial(self) -> list[InitialData]:
        """Return the initial data in the order of the text."""
        out: list[InitialData] = []
        for item in self.state.data:
            try:
                for core in item.cores:
                    address, data = self._contents(item, core)
                    self._check_data(item, address, data)
                    out.append(
                        InitialData(
                            address, data, item.ref, item.convert, item.row_bytes,
                            item.row_stride, item.space, core,
                        )
                    )  # fmt: skip
            except Problem as problem:
                self.report(item.line, problem)
        return out

    def _check_data(self, item: DataPiece, address: int, data: bytes) -> None:
        size = self._size(item.space)
        stored = len(data) if item.ref is None else item.ref.bytes
        end = _end(item, address, stored)
        if size is not None and end > size:
            message = f"the data reach to byte {end} of {item.space}, which has {size}"
            raise Problem("E0712", message, help="`snncc targets` shows the sizes")

    # --- code --------------------------------------------------------------------------------

    def cores(self) -> list[CoreProgram]:
        """Return the programs of all cores by number."""
        out: list[CoreProgram] = []
        for section in self.state.sections:
            for name, line in section.places.items():
                if name in self.state.names.table:
                    other = self.state.names.table[name].line.span()
                    message = f"'{name}' is defined twice; first at {other}"
                    self.report(line, Problem("E0705", message))
            for core in section.cores:
                if self.machine is not None and core >= self.machine.cores:
                    message = f"core {core}; machine {self.machine.name} has {self.machine.cores}"
                    self.report(section.line, Problem("E0714", message, help="cores count from 0"))
                out.append(CoreProgram(core, self._code(section, core), tuple(section.lines)))
        return sorted(out, key=lambda program: program.core)

    def _code(self, section: CodeSection, core: int) -> tuple[Inst, ...]:
        resolver = Resolver(self.state, section, core)
        code: list[Inst] = []
        for item in section.items:
            if item.inst is not None:
                code.append(item.inst)
                continue
            try:
                code.append(resolver.instruction(item))
            except Problem as problem:
                self.report(item.line, problem)
        return tuple(code)

    def symbols(self) -> list[Symbol]:
        """Return the symbol table: directives, then labels."""
        out: list[Symbol] = []
        for each in self.state.symbols:
            try:
                value = self.state.names.value(each.value)
            except Pending:
                continue
            except Problem as problem:
                self.report(each.line, problem.shifted(each.column))
                continue
            if not -_FAR <= value <= _FAR:
                start, end = each.value.start + each.column, each.value.end + each.column
                message = f"{value} is outside {-_FAR}..{_FAR}"
                self.report(each.line, Problem("E0706", message, start, end))
                continue
            place = each.bytes, each.first, each.last, each.tensor
            out.append(Symbol(each.name, each.kind, value, each.core, *place))
        labels = [
            Symbol(name, "label", address, core)
            for section in self.state.sections
            for core in section.cores
            for name, address in section.labels.items()
            if not name.startswith(".")
        ]
        return out + sorted(labels, key=lambda symbol: (symbol.core, symbol.value))


def _end(item: DataPiece, address: int, size: int) -> int:
    """Return the first byte behind what initial data of a size cover."""
    if item.convert == "f32-f16":
        size //= 2
    if item.row_bytes and size:
        rows = ceil_div(size, item.row_bytes)
        return address + max(0, (rows - 1) * item.row_stride) + item.row_bytes
    return address + size
