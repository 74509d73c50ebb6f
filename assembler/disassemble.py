"""An object file as assembly text that assembles to the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from snncc.assembler.operands import ADDRESS, MICROPROGRAM, is_resource
from snncc.assembler.quote import quoted, word
from snncc.assembler.show import (
    data_lines,
    machine_lines,
    metadata_lines,
    micro_lines,
    tensor_lines,
)
from snncc.assembler.source import is_name
from snncc.isa.instructions.text import show
from snncc.isa.program.model import CoreProgram, ObjectFile, SourceLine, Symbol
from snncc.isa.spec import Field, Inst

_INDENT: Final = "  "


@dataclass(slots=True)
class SideFile:
    """Large data that the text refers to instead of holding them; ``path`` is beside the text."""

    path: str
    least: int = 64
    data: bytearray = field(default_factory=bytearray)

    def put(self, data: bytes) -> str:
        """Keep some bytes; return the directive that brings them back."""
        at = len(self.data)
        self.data += data
        digest = sha256(data).hexdigest()
        return f'.incbin {quoted(self.path)}, {at}, {len(data)}, "{digest}"'


def disassemble(program: ObjectFile, side: SideFile | None = None) -> str:
    """Return the text of a program; bytes of ``side.least`` and more go to the side file."""
    return "\n".join(_lines(program, side)) + "\n"


def _lines(program: ObjectFile, side: SideFile | None) -> Iterator[str]:
    yield from machine_lines(program)
    yield from metadata_lines(program)
    taken: set[str] = set()
    split = _labels_from(program)
    for symbol in program.symbols[:split]:
        yield _symbol(symbol, taken)
    yield from tensor_lines(program, taken)
    labels: dict[int, dict[int, list[str]]] = {}
    for symbol in program.symbols[split:]:
        labels.setdefault(symbol.core, {}).setdefault(symbol.value, []).append(symbol.name)
    if any(name in taken for core in labels.values() for many in core.values() for name in many):
        labels = {}
        yield from (_symbol(symbol, taken) for symbol in program.symbols[split:])
    for item in program.initial:
        yield from data_lines(item, side.put if side else None, side.least if side else 0)
    names = micro_names(program)
    yield from micro_lines(program, names)
    yield ""
    yield ".loc off"
    for together in sharing(program.cores, labels):
        yield ""
        yield f".core {ranges([core.core for core in together])}"
        yield from code_lines(together[0], names, labels.get(together[0].core, {}))


def sharing(
    cores: Iterable[CoreProgram],
    labels: Mapping[int, Mapping[int, list[str]]] | None = None,
) -> list[list[CoreProgram]]:
    """Return the cores, those that run the same code under the same names together."""
    found: list[list[CoreProgram]] = []
    names = labels or {}
    for core in sorted(cores, key=lambda c: c.core):
        for group in found:
            one = group[0]
            alike = one.code is core.code or one.code == core.code
            if alike and one.lines == core.lines and names.get(one.core) == names.get(core.core):
                group.append(core)
                break
        else:
            found.append([core])
    return found


def ranges(numbers: list[int]) -> str:
    """Return ascending numbers as text: ``0..3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{r[0]}..{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)


def micro_names(program: ObjectFile) -> list[str]:
    """Return the name of each microprogram, empty for one that only has a number."""
    count: dict[str, int] = {}
    for micro in program.micro:
        count[micro.name] = count.get(micro.name, 0) + 1
    usable = [m.name if is_name(m.name) and count[m.name] == 1 else "" for m in program.micro]
    return [name if not name.startswith(".") else "" for name in usable]


def usable_name(name: str) -> bool:
    """Whether an entry's name can be a name of the text."""
    return is_name(name) and not is_resource(name) and name not in ("core", "inf", "nan")


def _labels_from(program: ObjectFile) -> int:
    """Return where the symbols begin that labels in the code bring back in this order."""
    sizes = {core.core: len(core.code) for core in program.cores}
    symbols = program.symbols
    seen: set[tuple[str, int]] = set()
    others = {s.name for s in symbols if s.kind != "label"}
    split = len(symbols)
    while split:
        symbol = symbols[split - 1]
        key = symbol.core, symbol.value
        after = symbols[split] if split < len(symbols) else None
        if (
            symbol.kind != "label"
            or not symbol.plain
            or not usable_name(symbol.name)
            or symbol.name.startswith(".")
            or symbol.name in others
            or (symbol.name, symbol.core) in seen
            or not 0 <= symbol.value <= sizes.get(symbol.core, -1)
            or (after is not None and key > (after.core, after.value))
        ):
            break
        seen.add((symbol.name, symbol.core))
        split -= 1
    names = {s.name for s in symbols[:split]}
    return len(symbols) if any(s.name in names for s in symbols[split:]) else split


def _symbol(symbol: Symbol, taken: set[str]) -> str:
    free = usable_name(symbol.name) and symbol.name not in taken
    if free:
        taken.add(symbol.name)
    if free and symbol.kind == "const" and symbol.core == -1 and symbol.plain:
        return f".equ {symbol.name}, {symbol.value}"
    name = symbol.name if free else quoted(symbol.name)
    core = "" if symbol.core == -1 else f", core={symbol.core}"
    size = f", bytes={symbol.bytes}" if symbol.bytes else ""
    first = f", first={symbol.first}" if symbol.first else ""
    last = "" if symbol.last == -1 else f", last={symbol.last}"
    tensor = f", tensor={quoted(symbol.tensor)}" if symbol.tensor else ""
    return f".symbol {name}, {symbol.kind}, {symbol.value}{core}{size}{first}{last}{tensor}"


class Blocks:
    """Which loops of a program nest, and the labels for the other targets."""

    def __init__(self, core: CoreProgram) -> None:
        self.ends: dict[int, int] = {}
        self.local: dict[int, str] = {}
        open_ends: list[int] = []
        size = len(core.code)
        for address, inst in enumerate(core.code):
            while open_ends and open_ends[-1] <= address:
                open_ends.pop()
            last = inst.insn.operands[-1] if inst.insn.operands else None
            if last is None or last.kind.name != ADDRESS:
                continue
            end = inst.values[-1]
            if address < end <= (open_ends[-1] if open_ends else size):
                self.ends[address] = end
                open_ends.append(end)
            elif end <= size:
                self.local[end] = f".L{end}"


def code_lines(
    core: CoreProgram, names: list[str], labels: dict[int, list[str]] | None = None
) -> Iterator[str]:
    """Yield the code of a core: blocks indented, labels, attribution."""
    blocks = Blocks(core)
    named = labels or {}
    entries = {entry.address: entry for entry in core.lines}
    before = SourceLine(0)
    open_ends: list[int] = []
    memo: dict[Inst, str] = {}

    def symbols(operand: Field, value: int) -> str | None:
        if operand.kind.name == ADDRESS:
            return blocks.local.get(value)
        if operand.kind.name == MICROPROGRAM and value < len(names) and names[value]:
            return f"@{names[value]}"
        return None

    for address in range(len(core.code) + 1):
        while open_ends and open_ends[-1] == address:
            open_ends.pop()
            yield f"{_INDENT * (len(open_ends) + 1)}}}"
        for name in named.get(address, []):
            yield f"{name}:"
        if address in blocks.local:
            yield f"{blocks.local[address]}:"
        if address == len(core.code):
            return
        indent = _INDENT * (len(open_ends) + 1)
        if address in entries:
            yield from (f"{indent}{line}" for line in _attribution(before, entries[address]))
            before = entries[address]
        inst = core.code[address]
        if address in blocks.ends:
            head = show(inst, symbols).rpartition(",")[0]
            yield f"{indent}{head} {{"
            open_ends.append(blocks.ends[address])
            continue
        text = memo.get(inst)
        if text is None:
            text = memo[inst] = show(inst, symbols)
        yield indent + text


def _attribution(old: SourceLine, new: SourceLine) -> Iterator[str]:
    changed = False
    if new.layer != old.layer:
        yield f".layer {word(new.layer)}".rstrip()
        changed = True
    if new.phase != old.phase:
        yield f".phase {word(new.phase)}".rstrip()
        changed = True
    place = (new.file, new.line, new.location)
    if place != (old.file, old.line, old.location) or not changed:
        if new.file == old.file and new.location == old.location:
            yield f".line {new.line}"
            return
        line = f", {new.line}" if new.line else ""
        at = f", at={quoted(new.location)}" if new.location else ""
        yield f".loc {quoted(new.file)}{line}{at}"
