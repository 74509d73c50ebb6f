"""What the debugger says about memory: tensors and buffers by name, bytes, places of operands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from snncc.isa.program.layout import TensorEntry, extent
from snncc.isa.program.model import Symbol
from snncc.isasim.debug.debugger import DebugError, RunPlace
from snncc.isasim.engines.footprint.checks import Region, check
from snncc.isasim.faults import Trap
from snncc.isasim.machine.chip import Core

if TYPE_CHECKING:
    from snncc.isasim.system import System

TYPES: Final = {"f16": np.float16, "f32": np.float32, "u8": np.uint8, "i32": np.int32}


def integer(word: str, what: str) -> int:
    """Return a number that somebody wrote."""
    try:
        return int(word, 0)
    except ValueError:
        raise DebugError(f"{what} must be a number, not {word!r}") from None


def tensor(system: System, name: str) -> TensorEntry | None:
    """Return the tensor of a name, or of the only name that ends like that."""
    found = system.tensors.get(name)
    if found is None:
        ends = [t for n, t in system.tensors.items() if n.endswith(name)]
        found = ends[0] if len(ends) == 1 else None
    return found


def buffer(core: Core, name: str, pc: int) -> Symbol | None:
    """Return the scratchpad buffer of a name; of several lives, the one that holds at ``pc``."""
    named = [s for s in core.code.places["sram"] if s.name == name or s.name.endswith(f".{name}")]
    living = [s for s in named if s.holds(pc)]
    if living:
        return living[0]
    exact = [s for s in named if s.name == name]
    return exact[0] if exact else None


def memory(system: System, space: str, core: int, start: int, size: int) -> npt.NDArray[np.uint8]:
    """Return bytes of the DRAM or of a scratchpad."""
    found = system.chip.by_index[core] if space == "sram" else None
    all_bytes = system.dram if found is None else found.sram
    if start < 0 or size < 1 or start + size > all_bytes.size:
        raise DebugError(f"{start:#x}..{start + size - 1:#x} is outside 0..{all_bytes.size - 1:#x}")
    return all_bytes[start : start + size]


def as_type(data: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[Any]:
    """Return bytes as numbers of a type, or as bits."""
    if kind == "bit":
        return np.unpackbits(data, bitorder="little")
    if kind not in TYPES:
        raise DebugError(f"no type {kind!r}; types are {', '.join((*TYPES, 'bit'))}")
    dtype = np.dtype(TYPES[kind])
    return np.frombuffer(data[: data.size // dtype.itemsize * dtype.itemsize].tobytes(), dtype)


def names(system: System, core: Core, pc: int, space: str, start: int, end: int) -> str:
    """Return the names of what lies in some bytes, as the instruction at ``pc`` means them."""
    if space == "sram":
        found = [
            (s.value, s.value + s.bytes, f"{s.name} ({s.tensor})" if s.tensor else s.name)
            for s in core.code.places["sram"]
            if s.holds(pc)
        ]
        here = [t for t in system.program.tensors if t.space == "sram" and t.core == core.index]
    else:
        found = []
        here = [t for t in system.program.tensors if t.space == "dram"]
    found += [(*extent(t), t.name) for t in here]
    inside = [
        name + (f"+{start - low:#x}" if start > low else "")
        for low, high, name in found
        if low < end and start < high
    ]
    return ", ".join(dict.fromkeys(inside))


def operands(system: System, place: RunPlace) -> Iterator[str]:
    """Yield the values of an instruction's operands and what it reads and writes, with names."""
    op = place.op
    if op is None:
        return
    row = place.core.code.program.code[place.pc].insn
    yield "  " + " ".join(
        f"{field.name}={value}" for field, value in zip(row.operands, op.values, strict=True)
    )
    try:
        reads, writes = check(op, place.core.sram.size, system.dram.size)
    except Trap as trap:
        yield f"  will trap: {trap}"
        return
    for word, regions in (("reads", reads), ("writes", writes)):
        for region in regions:
            yield f"  {word:6} {_region(system, place, region)}"


def _region(system: System, place: RunPlace, r: Region) -> str:
    steps = [(n - 1) * s for n, s in ((r.n0, r.s0), (r.n1, r.s1))]
    low = r.start + sum(min(0, d) for d in steps)
    high = r.start + sum(max(0, d) for d in steps) + r.size
    where = "dram" if r.space == "dram" else f"core {place.core.index}"
    name = names(system, place.core, place.pc, r.space, low, high)
    rows = f", {r.n0 * r.n1} rows of {r.size} bytes" if r.n0 * r.n1 > 1 else ""
    return f"{r.operand}: {where} {low:#x}..{high - 1:#x}{rows}{f'  {name}' if name else ''}"


def buffers(core: Core, text: str) -> Iterator[str]:
    """Yield a line per named scratchpad buffer with when it lives."""
    for s in core.code.places["sram"]:
        if text in s.name or text in s.tensor:
            last = "end" if s.last < 0 else f"{16 * s.last:08x}"
            about = f"  of {s.tensor}" if s.tensor else ""
            yield (
                f"  {s.name:28} {s.value:#8x}..{s.value + s.bytes - 1:#x}  "
                f"code {16 * s.first:08x}..{last}{about}"
            )


def space_of(system: System, words: Sequence[str]) -> tuple[str, int, Sequence[str]]:
    """Take ``dram`` or ``core N`` off the words."""
    if words[:1] == ["dram"]:
        return "dram", -1, words[1:]
    if words[:1] == ["core"] and len(words) > 1:
        return "sram", a_core(system, words[1]).index, words[2:]
    raise DebugError("say `dram ADDRESS ...` or `core N ADDRESS ...`")


def a_core(system: System, word: str) -> Core:
    """Return a core with a program."""
    number = integer(word, "a core")
    cores = system.chip.by_index
    found = cores[number] if 0 <= number < len(cores) else None
    if found is None:
        raise DebugError(f"core {number} has no program")
    return found
