"""The commands of the debugger that set and remove stops: breakpoints and watches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from snncc.isa.program.layout import extent
from snncc.isa.program.model import Symbol
from snncc.isa.spec import WORD_BYTES
from snncc.isasim.debug.debugger import Breakpoint, DebugError, Debugger, MemoryWatch, RunPlace
from snncc.isasim.debug.memory import a_core, buffer, integer, memory, space_of, tensor
from snncc.isasim.engines.footprint.checks import Region
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.decode import SLOTS, unit_slot

if TYPE_CHECKING:
    from snncc.isasim.system import System

Words: TypeAlias = Sequence[str]
"""What somebody wrote behind the name of the command."""


def set_breakpoint(debugger: Debugger, words: Words) -> bool:
    """Do ``break``."""
    names = {"core": "core", "unit": "unit", "at": "address", "address": "address",
             "line": "line", "file": "file", "layer": "layer", "phase": "phase"}  # fmt: skip
    given: dict[str, int | str] = {}
    if len(words) % 2:
        raise DebugError("break takes pairs: break core 0 unit fp layer fc1")
    for key, value in zip(words[::2], words[1::2], strict=True):
        name = names.get(key)
        if name is None:
            raise DebugError(f"break knows {', '.join(names)}, not {key!r}")
        given[name] = integer(value, key) if name in ("core", "address", "line") else value
    unit, address = given.get("unit"), given.get("address")
    if unit is not None and unit not in SLOTS:
        raise DebugError(f"no unit {unit!r}; units are {', '.join(SLOTS)}")
    if isinstance(address, int) and address % WORD_BYTES:
        raise DebugError(f"address {address:#x} is no multiple of {WORD_BYTES}")
    stop = Breakpoint(**given)  # type: ignore[arg-type]
    _check_exists(debugger.loaded, stop)
    debugger.say(f"{debugger.add(stop)}: {stop}")
    return False


def _check_exists(system: System, stop: Breakpoint) -> None:
    """Refuse a place where the run would never stop."""
    lines = [line for core in system.program.cores for line in core.lines]
    for name in ("layer", "phase", "line"):
        wanted = getattr(stop, name)
        there = sorted({getattr(line, name) for line in lines} - {"", 0}, key=str)
        if wanted is not None and wanted not in there:
            known = ", ".join(map(str, there[:12])) or "none"
            raise DebugError(f"no {name} {wanted!r} in this program; there are {known}")
    if stop.core is not None:
        a_core(system, str(stop.core))
    own: RunPlace | None = None
    for core in system.chip.cores:
        for pc, inst in enumerate(core.code.program.code):
            place = RunPlace(core, unit_slot(inst), pc, 0)
            if stop.hits(place):
                if place.slot or inst.insn.mnemonic in ("wait", "post"):
                    return
                own = own or place
    if own is None:
        raise DebugError("no instruction of this program fits all of that")
    raise DebugError(_ahead(own))


def _ahead(place: RunPlace) -> str:
    """Say why the run does not stop at an instruction of a sequencer, and where it can."""
    core = place.core
    text = f"{core.code.text(place.pc)!r} is the sequencer's: it runs ahead of its units"
    for pc in range(place.pc + 1, core.code.words):
        inst = core.code.program.code[pc]
        if unit_slot(inst):
            return f"{text}; the next instruction of a unit is at {WORD_BYTES * pc:#x}"
    return text


def set_watch(debugger: Debugger, words: Words) -> bool:
    """Do ``watch``."""
    system = debugger.loaded
    if len(words) == 1:
        entry = tensor(system, words[0])
        if entry is not None:
            low, high = extent(entry)
            region = Region("watch", entry.space, low, high - low, 1, 1, 0)
            watch = MemoryWatch(entry.name, entry.core, region)
        else:
            core, symbol = named_buffer(debugger, words[0])
            region = Region("watch", "sram", symbol.value, symbol.bytes, 1, 1, 0)
            watch = MemoryWatch(symbol.name, core.index, region)
    else:
        space, index, rest = space_of(system, words)
        if len(rest) != 2:
            raise DebugError("watch NAME, watch core N ADDRESS BYTES or watch dram ADDRESS BYTES")
        start, size = integer(rest[0], "an address"), integer(rest[1], "a size")
        memory(system, space, index, start, size)
        watch = MemoryWatch("memory", index, Region("watch", space, start, size, 1, 1, 0))
    debugger.say(f"{debugger.add(watch)}: {watch}")
    return False


def named_buffer(debugger: Debugger, name: str) -> tuple[Core, Symbol]:
    """Return a scratchpad buffer of the core where the run stands."""
    core = debugger.core
    found = buffer(core, name, debugger.pc)
    if found is None:
        raise DebugError(
            f"no tensor {name!r} and no buffer of core {core.index}; `tensors`, `buffers` list them"
        )
    return core, found


def delete_stops(debugger: Debugger, words: Words) -> bool:
    """Do ``delete``."""
    if words:
        number = integer(words[0], "a breakpoint")
        if debugger.stops.pop(number, None) is None:
            raise DebugError(f"no breakpoint {number}")
    else:
        debugger.stops.clear()
    return False


def list_stops(debugger: Debugger, words: Words) -> bool:
    """Do ``stops``."""
    for number, stop in debugger.stops.items():
        debugger.say(f"{number}: {stop}")
    if not debugger.stops:
        debugger.say("no breakpoints")
    return False
