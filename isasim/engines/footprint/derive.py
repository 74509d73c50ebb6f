"""Footprints from rows: for each row of the instruction table a Python function is written.

It is called for every instruction that is executed, so what the row says is worked out once; the
function does what one would write by hand.  That of ``gacc``::

    def footprint(_op):
        acc, acc_stride, a, a_stride, w, w_stride, rows, k, n, bias, init, = _op.values
        if init not in (0, 1, 2,): bad_init(_op, init)
        need_dims(_op, rows=rows, k=k, n=n)
        if not (rows and n): return [], []
        _reads, _writes = [], []
        if k:
            _found = Region('a', 'sram', a, 2 * -(-(k) // 16), 2, rows, a_stride)
            _reads.append(_found)
        ...

Its own names begin with ``_``, for operands may have any other.

An instruction with an accumulator (operand ``init``) does nothing when that is empty, any other
when one of its sizes is 0; memory with an extent of 0 is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

from snncc.isa.instructions.complete import purposes
from snncc.isa.roles import (
    FORMATS,
    WINDOW_FACTS,
    Elements,
    MemoryRole,
    Purpose,
    alternatives,
    condition,
    factors,
)
from snncc.isa.spec import ELEMENT, INIT, EnumKind, Insn
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.regions import (
    Footprint,
    Region,
    bad_choice,
    bad_init,
    need_apart,
    need_dims,
    need_flags,
    need_multiple,
    row_bytes,
)
from snncc.isasim.engines.footprint.windows import legal_window, stack_regions

Find: TypeAlias = Callable[[Resolved], Footprint]

_HELPERS = (
    Region, bad_choice, bad_init, need_apart, need_dims, need_flags, need_multiple, row_bytes,
    legal_window, stack_regions,
)  # fmt: skip
_FACTS = {
    "positions": "_window.positions",
    "taps": "_window.taps",
    "channels": "_window.channels",
    "depth": "_window.depth",
    "inputs": "_window.in_h * _window.in_w",
}


def footprint_of(row: Insn) -> Find:
    """Return the function that finds the regions of a row's instructions, or traps."""
    made: dict[str, Any] = {helper.__name__: helper for helper in _HELPERS}
    exec(compile(source_of(row), f"<footprint of {row.mnemonic}>", "exec"), made)
    return cast("Find", made["footprint"])


def source_of(row: Insn) -> str:
    """Return the text of that function."""
    return "\n    ".join(["def footprint(_op):", *_Writer(row).lines()]) + "\n"


class _Writer:
    """Writes the lines of a row's function."""

    def __init__(self, row: Insn) -> None:
        self.row = row
        self.kinds = {f.name: f.kind for f in row.operands}

    def lines(self) -> Iterable[str]:
        """Yield the body, line by line."""
        row = self.row
        yield f"{', '.join(row.names)}, = _op.values"
        yield from self._window()
        yield from self._choices()
        for memory in row.memory:
            if memory.multiple > 1:
                yield f"need_multiple(_op, {memory.multiple}, {memory.row}={memory.row})"
        if not row.windowed or set(row.sizes) & set(WINDOW_FACTS):
            yield f"need_dims(_op, {', '.join(f'{name}={name}' for name in row.sizes)})"
        yield f"if not ({' and '.join(self._needed()) or 'True'}): return [], []"
        yield "_reads, _writes = [], []"
        for memory in row.memory:
            yield from self._memory(memory)
        if "overlap" in row.traps:
            yield "need_apart(_op, _reads[0], _writes[0])"
        yield "return _reads, _writes"

    def _needed(self) -> list[str]:
        """Return the sizes without which nothing is touched."""
        if "init" not in self.kinds:
            return [name for name in self.row.sizes if name in self.kinds]
        sums = next(m for m in self.row.memory if m.role == "inout")
        return [n for extent in sums.extents for n in factors(extent) if n in self.kinds]

    def _window(self) -> Iterable[str]:
        if not self.row.windowed:
            return
        yield f"_window = legal_window(_op, images{', n' if 'n' in self.kinds else ''})"
        plain = [m for m in self.row.memory if not m.reached]
        used = {n for m in plain for extent in m.extents for n in factors(extent)}
        for name in WINDOW_FACTS:
            if name in used:
                yield f"{name} = {_FACTS[name]}"

    def _choices(self) -> Iterable[str]:
        illegal: dict[str, list[str]] = {}
        for text in self.row.illegal:
            name, word = condition(text)
            illegal.setdefault(name, []).append(word)

        def legal(name: str) -> str:
            kind = self.kinds[name]
            assert isinstance(kind, EnumKind)
            legal = [str(i) for i, w in enumerate(kind.words) if w not in illegal.get(name, ())]
            return f"({', '.join(legal)},)"

        found = purposes(self.row)
        choices = [n for n in self.row.names if found[n] is Purpose.CHOICE]
        words = [n for n in choices if isinstance(self.kinds[n], EnumKind)]
        others = [n for n in words if self.kinds[n] is not INIT]
        if others:
            wrong = " or ".join(f"{name} not in {legal(name)}" for name in others)
            yield f"if {wrong}: bad_choice(_op, {', '.join(f'{n}={n}' for n in others)})"
        if "init" in words:
            yield f"if init not in {legal('init')}: bad_init(_op, init)"
        flags = [n for n in choices if n not in words]
        if flags:
            wrong = " or ".join(f"{name} not in (0, 1)" for name in flags)
            yield f"if {wrong}: need_flags(_op, {', '.join(f'{n}={n}' for n in flags)})"

    def _holds(self, text: str) -> str:
        """Return a condition as an expression."""
        name, word = condition(text)
        kind = self.kinds[name]
        if not isinstance(kind, EnumKind):
            return name
        return f"{name} == {kind.words.index(word)}"

    def _memory(self, memory: MemoryRole) -> Iterable[str]:
        present = set(self._needed())
        gates = [self._holds(text) for text in memory.when]
        inner = [n for extent in memory.extents for n in factors(extent) if n in self.kinds]
        gates += [n for n in dict.fromkeys(inner) if n not in present and n not in gates]
        lines = list(self._region(memory))
        if memory.reads:
            read = "_reads.append(_found)" if not memory.reached else "_reads += _found"
            asked = " and ".join(self._holds(text) for text in memory.read_when)
            lines.append(f"if {asked}: {read}" if asked else read)
        if memory.writes:
            lines.append("_writes.append(_found)")
        if gates:
            yield f"if {' and '.join(gates)}:"
            yield from (f"    {line}" for line in lines)
        else:
            yield from lines

    def _region(self, memory: MemoryRole) -> Iterable[str]:
        """Assign the region (of a reached stack: the regions) to ``_found``."""
        name, at = memory.address, memory.address
        if memory.reached:
            (_, image), (_, stride) = memory.rows
            kind = self._kind(memory.element)
            place = f"({at}, {stride}, {image})"
            yield f"_found = stack_regions(_op, {name!r}, {kind}, {place}, _window, images)"
            return
        size, align = self._row(memory, memory.row)
        dims = "".join(f", {extent}, {distance}" for extent, distance in memory.rows)
        lead = f"{name!r}, {memory.space!r}, {at}"
        if isinstance(memory.element, str) and memory.element in FORMATS:
            whole = f"_found = Region({lead}, {size}, {align}{dims or ', 1, 0'})"
        else:
            yield f"_size, _align = row_bytes({self._kind(memory.element)}, {memory.row})"
            whole = f"_found = Region({lead}, _size, _align{dims or ', 1, 0'})"
        if memory.turned:
            extent, distance = memory.rows[0]
            turned, _ = self._row(memory, extent)
            other = f"Region({lead}, {turned}, {align}, {memory.row}, {distance})"
            whole = f"{whole} if not {memory.turned} else {other}"
        yield whole

    def _row(self, memory: MemoryRole, extent: str) -> tuple[str, int]:
        """Return the bytes of a row of a fixed format, as an expression, and the alignment."""
        element = memory.element
        if not isinstance(element, str) or element not in FORMATS:
            return "", 0
        align = max(FORMATS[element], memory.multiple)
        if element == "bit":
            return f"2 * -(-({extent}) // 16)", align
        return (extent if element == "byte" else f"{FORMATS[element]} * {extent}"), align

    def _kind(self, element: Elements) -> str:
        """Return an element format, or what says it, as an expression of its number."""
        text = ""
        for conditions, name in alternatives(element):
            number = name if name in self.kinds else str(ELEMENT.words.index(name))
            gate = " and ".join(self._holds(one) for one in conditions)
            text += f"{number} if {gate} else " if gate else number
        return text
