"""Whether a row of the instruction table says everything that others derive from it."""

from __future__ import annotations

from collections.abc import Iterator

from snncc.isa.roles import (
    FAMILY_OPERANDS,
    FORMATS,
    WINDOW_FACTS,
    Family,
    MemoryRole,
    Purpose,
    alternatives,
    condition,
    factors,
)
from snncc.isa.spec import ELEMENT, F16, INIT, MICRO, REG, TAG, WINDOW, EnumKind, Insn, Unit

_CHOICES = ("flag",)


def purposes(row: Insn) -> dict[str, Purpose]:
    """Return what each operand of a unit's instruction is for; one that nothing explains is absent.

    Operands in :attr:`Insn.sizes` are sizes, and so are those that extents are made of.
    """
    found: dict[str, Purpose] = {}
    for memory in row.memory:
        found[memory.address] = Purpose.ADDRESS
        dram = memory.space == "dram"
        for distance in memory.distances:
            found[distance] = Purpose.DRAM_DISTANCE if dram else Purpose.DISTANCE
        for extent in memory.extents:
            found |= dict.fromkeys(set(factors(extent)) & set(row.names), Purpose.SIZE)
    found |= dict.fromkeys(row.sizes, Purpose.SIZE)
    found |= dict.fromkeys(row.route, Purpose.ROUTE)
    for operand in row.operands:
        if isinstance(operand.kind, EnumKind) or operand.kind.name in _CHOICES:
            found[operand.name] = Purpose.CHOICE
        elif operand.kind is WINDOW:
            found[operand.name] = Purpose.WINDOW
        elif operand.kind is MICRO:
            found[operand.name] = Purpose.PROGRAM
        elif operand.kind is TAG:
            found[operand.name] = Purpose.TAG
        elif operand.kind is F16:
            found[operand.name] = Purpose.PATTERN
    if row.family is Family.LANES:
        found["seed"] = Purpose.SEED
    return found


def problems(row: Insn) -> Iterator[str]:
    """Yield what is missing or wrong in a row, a sentence each."""
    if row.unit is Unit.SEQ:
        if row.family is not Family.CONTROL or row.memory:
            yield "the sequencer executes it, so it is of family control and touches no memory"
        return
    if row.family is Family.CONTROL:
        yield f"unit {row.unit.value} executes it, so it needs a family other than control"
        return
    if not row.memory and row.family is not Family.LANES:
        yield "it says nothing of the memory that it touches (memory=...)"
    if row.unit not in (Unit.DMA, Unit.NOC) and not row.meaning:
        yield "an engine executes it, but no function says what it computes (meaning=...)"
    for memory in row.memory:
        for sentence in _memory_problems(row, memory):
            yield f"memory at '{memory.address}': {sentence}"
    yield from _operand_problems(row)


def _operand_problems(row: Insn) -> Iterator[str]:
    names, fixed = set(row.names), dict(row.fixed)
    for name in (*row.sizes, *row.route):
        if name not in names and not (row.windowed and name in WINDOW_FACTS):
            yield f"sizes or route name '{name}', which is no operand"
    for name in fixed:
        if name in names:
            yield f"'{name}' is an operand and has a fixed value"
    for name in FAMILY_OPERANDS.get(row.family, ()):
        if row.windowed and name in ("rows", "k"):
            continue
        if name not in names and name not in fixed:
            yield f"family {row.family.value} has '{name}': it needs that operand or a fixed value"
    explained = purposes(row)
    for operand in row.operands:
        if operand.name not in explained:
            yield (
                f"nothing says what operand '{operand.name}' is for: an address or a distance "
                f"(memory=...), a size (sizes=...), another core (route=...)"
            )
    for text in row.illegal:
        yield from _condition_problems(row, text)


def _memory_problems(row: Insn, memory: MemoryRole) -> Iterator[str]:
    operands = {f.name: f.kind for f in row.operands}
    if operands.get(memory.address) is not REG:
        yield "there is no such register operand"
    if memory.space not in ("sram", "dram"):
        yield f"there is no memory '{memory.space}'"
    if memory.role not in ("in", "out", "inout"):
        yield "it has no role: in, out or inout"
    if not memory.row:
        yield "it does not say how many elements a row has"
    for extent, distance in memory.rows:
        if operands.get(distance) is not REG:
            yield f"there is no register operand '{distance}' for the distance of {extent} rows"
    for extent in memory.extents:
        for name in factors(extent):
            if name and name not in operands and not (row.windowed and name in WINDOW_FACTS):
                yield f"the extent '{extent}' has '{name}', which is no operand"
    if len(memory.rows) > 2:
        yield "regions have at most two dimensions of rows"
    for conditions, element in alternatives(memory.element):
        if element not in FORMATS and operands.get(element) is not ELEMENT:
            yield f"'{element}' is no element format and no operand that says one"
        for text in conditions:
            yield from _condition_problems(row, text)
    for text in (*memory.when, *memory.read_when):
        yield from _condition_problems(row, text)
    if memory.read_when and memory.role != "inout":
        yield "only an inout is read under a condition"
    if memory.turned and memory.turned not in operands:
        yield f"it is turned by '{memory.turned}', which is no operand"
    if memory.read_when and operands.get("init") is not INIT:
        yield "what is read under a condition is an accumulator: the row needs an operand init"


def _condition_problems(row: Insn, text: str) -> Iterator[str]:
    name, word = condition(text)
    kind = next((f.kind for f in row.operands if f.name == name), None)
    if kind is None:
        yield f"the condition '{text}' names '{name}', which is no operand"
    elif word and not (isinstance(kind, EnumKind) and word in kind.words):
        yield f"the condition '{text}': {name} is never {word}"
