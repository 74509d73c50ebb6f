"""The commands of the debugger: words in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from snncc.isa.diagnostics.printable import printable
from snncc.isa.program.layout import extent
from snncc.isa.program.model import Symbol
from snncc.isa.spec import WORD_BYTES
from snncc.isasim.debug.debugger import (
    NOWHERE,
    Breakpoint,
    DebugError,
    Debugger,
    Place,
    Quit,
    Watch,
)
from snncc.isasim.debug.memory import (
    TYPES,
    a_core,
    as_type,
    buffer,
    buffers,
    integer,
    memory,
    operands,
    space_of,
    tensor,
)
from snncc.isasim.debug.views import Array, chain, numbers, raster, waits
from snncc.isasim.engines.footprint.checks import Region
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.decode import SLOTS, unit_slot

if TYPE_CHECKING:
    from snncc.isasim.system import System

Words: TypeAlias = Sequence[str]
Command: TypeAlias = Callable[[Debugger, Words], bool]
"""Returns True when the run goes on."""

HELP: Final = """\
break [core N] [unit U] [at ADDRESS] [line N] [file F] [layer L] [phase P]
                 stop before such instructions of a unit (waits and posts: after)
watch TENSOR | watch BUFFER | watch core N ADDRESS BYTES | watch dram ADDRESS BYTES
                 stop after an instruction that wrote there
delete [N]       remove breakpoint or watch N, or all
stops            list breakpoints and watches
continue         go on to the next stop or the end             (c)
step [N]         go on for N instructions of any unit           (s)
next [N]         go on for N instructions of this core and unit (n)
where            the instruction, its operands, its loops and their turns (w)
waits            every unit that waits: for what, and for whom
regs [CORE]      registers, loops and semaphores of a core's sequencer
queue [CORE]     what is in the queues of a core
print TENSOR [spikes|numbers] [INDEX]
                 a tensor by its name; INDEX like 0,3 cuts leading axes (p)
print BUFFER [f16|f32|u8|i32|bit]
                 a scratchpad buffer of the core where the run stands
mem core N|dram ADDRESS COUNT [f16|f32|u8|i32|bit]
                 memory as it is
tensors [TEXT]   names of tensors
buffers [CORE] [TEXT]
                 names of scratchpad buffers, and for which code they hold
list [CORE [ADDRESS]]  the program around an address            (l)
quit             leave                                          (q)
ADDRESS is in bytes, decimal or 0x...; an empty line repeats step, next or continue."""


def execute(debugger: Debugger, line: str) -> bool:
    """Do one command; True when the run goes on."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise DebugError(str(error)) from None
    if not words:
        return False
    name = _SHORT.get(words[0], words[0])
    command = COMMANDS.get(name)
    if command is None:
        close = [each for each in COMMANDS if each.startswith(name)]
        if len(close) != 1:
            raise DebugError(f"no command {words[0]!r}; `help` lists them")
        command = COMMANDS[close[0]]
    return command(debugger, words[1:])


def _system(debugger: Debugger) -> System:
    if debugger.system is None:
        raise DebugError("nothing is loaded")
    return debugger.system


def _core(debugger: Debugger, words: Words) -> Core:
    if words:
        return a_core(_system(debugger), words[0])
    if debugger.place is not None:
        return debugger.place.core
    return _system(debugger).chip.cores[0]


def _pc(debugger: Debugger) -> int:
    """Return the instruction where the run stands, or that of the first core's sequencer."""
    place = debugger.place
    return place.pc if place is not None else _core(debugger, ()).seq.pc


def _break(debugger: Debugger, words: Words) -> bool:
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
    _check_exists(_system(debugger), stop)
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
    own: Place | None = None
    for core in system.chip.cores:
        for pc, inst in enumerate(core.code.program.code):
            place = Place(core, unit_slot(inst), pc, 0)
            if stop.hits(place):
                if place.slot or inst.insn.mnemonic in ("wait", "post"):
                    return
                own = own or place
    if own is None:
        raise DebugError("no instruction of this program fits all of that")
    raise DebugError(_ahead(own))


def _ahead(place: Place) -> str:
    """Say why the run does not stop at an instruction of a sequencer, and where it can."""
    core = place.core
    text = f"{core.code.text(place.pc)!r} is the sequencer's: it runs ahead of its units"
    for pc in range(place.pc + 1, core.code.words):
        inst = core.code.program.code[pc]
        if unit_slot(inst):
            return f"{text}; the next instruction of a unit is at {WORD_BYTES * pc:#x}"
    return text


def _watch(debugger: Debugger, words: Words) -> bool:
    system = _system(debugger)
    if len(words) == 1:
        entry = tensor(system, words[0])
        if entry is not None:
            low, high = extent(entry)
            region = Region("watch", entry.space, low, high - low, 1, 1, 0)
            watch = Watch(entry.name, entry.core, region)
        else:
            core, symbol = _buffer(debugger, words[0])
            region = Region("watch", "sram", symbol.value, symbol.bytes, 1, 1, 0)
            watch = Watch(symbol.name, core.index, region)
    else:
        space, index, rest = space_of(system, words)
        if len(rest) != 2:
            raise DebugError("watch NAME, watch core N ADDRESS BYTES or watch dram ADDRESS BYTES")
        start, size = integer(rest[0], "an address"), integer(rest[1], "a size")
        memory(system, space, index, start, size)
        watch = Watch("memory", index, Region("watch", space, start, size, 1, 1, 0))
    debugger.say(f"{debugger.add(watch)}: {watch}")
    return False


def _buffer(debugger: Debugger, name: str) -> tuple[Core, Symbol]:
    core = _core(debugger, ())
    found = buffer(core, name, _pc(debugger))
    if found is None:
        raise DebugError(
            f"no tensor {name!r} and no buffer of core {core.index}; `tensors`, `buffers` list them"
        )
    return core, found


def _delete(debugger: Debugger, words: Words) -> bool:
    if words:
        number = integer(words[0], "a breakpoint")
        if debugger.stops.pop(number, None) is None:
            raise DebugError(f"no breakpoint {number}")
    else:
        debugger.stops.clear()
    return False


def _stops(debugger: Debugger, words: Words) -> bool:
    for number, stop in debugger.stops.items():
        debugger.say(f"{number}: {stop}")
    if not debugger.stops:
        debugger.say("no breakpoints")
    return False


def _count(words: Words) -> int:
    count = integer(words[0], "the number of steps") if words else 1
    if count < 1:
        raise DebugError("the number of steps must be positive")
    return count


def _continue(debugger: Debugger, words: Words) -> bool:
    debugger.go(NOWHERE)
    return True


def _step(debugger: Debugger, words: Words) -> bool:
    debugger.go(_count(words))
    return True


def _next(debugger: Debugger, words: Words) -> bool:
    debugger.go(_count(words), same=True)
    return True


def _where(debugger: Debugger, words: Words) -> bool:
    place = debugger.place
    if place is None:
        debugger.say("before the first instruction")
        return False
    debugger.say(str(place))
    for line in operands(_system(debugger), place):
        debugger.say(printable(line))
    done = debugger.counts.get((place.core.index, place.pc), 0)
    for line in chain(place.core, place.pc, done):
        debugger.say(printable(line))
    return False


def _waits(debugger: Debugger, words: Words) -> bool:
    for line in waits(_system(debugger).chip):
        debugger.say(printable(line))
    return False


def _regs(debugger: Debugger, words: Words) -> bool:
    core = _core(debugger, words)
    seq = core.seq
    debugger.say(f"core {core.index} sequencer at {WORD_BYTES * seq.pc:08x}, ahead of its units")
    shown = [f"r{i}={v}" for i, v in enumerate(seq.registers[:64]) if v]
    debugger.say("  " + (" ".join(shown) or "all registers are 0"))
    for left, start, end in seq.loops:
        debugger.say(
            f"  loop {WORD_BYTES * (start - 1):08x}..{WORD_BYTES * end:08x}: {left} turns left"
        )
    sems = [f"sem{i}={v}" for i, v in enumerate(core.semaphores.values) if v]
    debugger.say("  " + (" ".join(sems) or "all semaphores are 0"))
    return False


def _queue(debugger: Debugger, words: Words) -> bool:
    core = _core(debugger, words)
    for slot, queue in enumerate(core.seq.queues):
        for i, entry in enumerate(queue):
            mark = "head" if i == 0 else "    "
            debugger.say(
                f"  {SLOTS[slot]:3} {mark} {WORD_BYTES * entry[1]:08x}: {core.code.text(entry[1])}"
            )
    return False


def _print(debugger: Debugger, words: Words) -> bool:
    system = _system(debugger)
    if not words:
        raise DebugError("print TENSOR [spikes|numbers] [INDEX] or print BUFFER [TYPE]")
    entry = tensor(system, words[0])
    if entry is None:
        return _print_buffer(debugger, words)
    values = np.asarray(system.read_tensor(entry.name)).reshape(entry.shape)
    how = "spikes" if entry.dtype == "bit" else "numbers"
    index: tuple[int, ...] = ()
    for word in words[1:]:
        if word in ("spikes", "numbers"):
            how = word
        else:
            index = tuple(integer(part, "an index") for part in word.split(","))
    try:
        part = np.asarray(values[index])
    except IndexError:
        raise DebugError(f"{entry.name} has shape {'x'.join(map(str, entry.shape))}") from None
    shape = "x".join(map(str, part.shape)) or "scalar"
    debugger.say(f"{printable(entry.name)}{list(index) if index else ''} {entry.dtype} {shape}")
    for line in raster(part) if how == "spikes" else numbers(part):
        debugger.say("  " + line)
    return False


def _print_buffer(debugger: Debugger, words: Words) -> bool:
    core, symbol = _buffer(debugger, words[0])
    kind = words[1] if len(words) > 1 else "f16"
    data = memory(_system(debugger), "sram", core.index, symbol.value, symbol.bytes)
    values = as_type(data, kind)
    if not symbol.holds(_pc(debugger)):
        debugger.say(f"{printable(symbol.name)} does not hold here; this is what lies there now")
    about = f" of {symbol.tensor}" if symbol.tensor else ""
    debugger.say(printable(f"core {core.index} {symbol.name}{about}: {values.size} {kind}"))
    _show(debugger, values, kind)
    return False


def _show(debugger: Debugger, values: Array, kind: str) -> None:
    for line in (
        raster(values.reshape(-1, 64 if values.size % 64 == 0 else values.size))
        if (kind == "bit")
        else numbers(values)
    ):
        debugger.say("  " + line)


def _mem(debugger: Debugger, words: Words) -> bool:
    space, core, rest = space_of(_system(debugger), words)
    if not 2 <= len(rest) <= 3:
        raise DebugError("mem core N|dram ADDRESS COUNT [f16|f32|u8|i32|bit]")
    kind = rest[2] if len(rest) == 3 else "f16"
    start, count = integer(rest[0], "an address"), integer(rest[1], "a count")
    size = -(-count // 8) if kind == "bit" else count * np.dtype(TYPES.get(kind, np.uint8)).itemsize
    data = memory(_system(debugger), space, core, start, size)
    _show(debugger, as_type(data, kind)[:count], kind)
    return False


def _buffers(debugger: Debugger, words: Words) -> bool:
    core = _core(debugger, words[:1] if words and words[0].isdigit() else ())
    rest = words[1:] if words and words[0].isdigit() else words
    found = list(buffers(core, rest[0] if rest else ""))
    for line in found or [f"core {core.index}: the program names no such buffers"]:
        debugger.say(printable(line))
    return False


def _tensors(debugger: Debugger, words: Words) -> bool:
    text = words[0] if words else ""
    for name, t in _system(debugger).tensors.items():
        if text in name:
            shape = "x".join(map(str, t.shape)) or "scalar"
            kind = f"{t.role:8} {t.dtype:4} {shape:>14}"
            debugger.say(f"  {printable(name):32} {kind}  {t.space} {t.address:#x}")
    return False


def _list(debugger: Debugger, words: Words) -> bool:
    core = _core(debugger, words)
    here = debugger.place
    pc = here.pc if here is not None and here.core is core else core.seq.pc
    if len(words) > 1:
        pc = integer(words[1], "an address") // WORD_BYTES
    for at in range(max(0, pc - 5), min(core.code.words, pc + 6)):
        mark = "->" if here is not None and here.core is core and at == here.pc else "  "
        source = core.code.source(at)
        text = f"{mark} {WORD_BYTES * at:08x}: {core.code.text(at)}"
        debugger.say(f"{text}  ({source})" if source else text)
    return False


def _help(debugger: Debugger, words: Words) -> bool:
    for line in HELP.splitlines():
        debugger.say(printable(line))
    return False


def _quit(debugger: Debugger, words: Words) -> bool:
    raise Quit


COMMANDS: Final[dict[str, Command]] = {
    "break": _break, "watch": _watch, "delete": _delete, "stops": _stops, "continue": _continue,
    "step": _step, "next": _next, "where": _where, "waits": _waits, "regs": _regs,
    "queue": _queue, "print": _print, "mem": _mem, "tensors": _tensors, "buffers": _buffers,
    "list": _list,
    "help": _help, "quit": _quit,
}  # fmt: skip
_SHORT: Final = {
    "b": "break", "c": "continue", "s": "step", "n": "next", "w": "where", "p": "print",
    "l": "list", "q": "quit", "h": "help", "bt": "where",
}  # fmt: skip
