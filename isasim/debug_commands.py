"""The commands of the debugger: words in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from snncc.isa.layout import TensorEntry, extent
from snncc.isa.spec import WORD_BYTES
from snncc.isasim.chip import Core
from snncc.isasim.debug_views import chain, numbers, raster, waits
from snncc.isasim.debugger import NOWHERE, Breakpoint, DebugError, Debugger, Quit, Watch
from snncc.isasim.decode import SLOTS
from snncc.isasim.engines.checks import Region

if TYPE_CHECKING:
    from snncc.isasim.system import System

Words: TypeAlias = Sequence[str]
Command: TypeAlias = Callable[[Debugger, Words], bool]
"""Returns True when the run goes on."""

_TYPES: Final = {"f16": np.float16, "f32": np.float32, "u8": np.uint8, "i32": np.int32}

HELP: Final = """\
break [core N] [unit U] [at ADDRESS] [line N] [file F] [layer L] [phase P]
                 stop before such instructions (waits and posts: after); of the sequencer
                 only its own waits and posts
watch TENSOR | watch core N ADDRESS BYTES | watch dram ADDRESS BYTES
                 stop after an instruction that wrote there
delete [N]       remove breakpoint or watch N, or all
stops            list breakpoints and watches
continue         go on to the next stop or the end             (c)
step [N]         go on for N instructions of any unit           (s)
next [N]         go on for N instructions of this core and unit (n)
where            the instruction, its loops and their turns     (w)
waits            every unit that waits: for what, and for whom
regs [CORE]      registers, loops and semaphores of a core's sequencer
queue [CORE]     what is in the queues of a core
print TENSOR [spikes|numbers] [INDEX]
                 a tensor by its name; INDEX like 0,3 cuts leading axes (p)
mem core N|dram ADDRESS COUNT [f16|f32|u8|i32]
                 memory as it is
tensors [TEXT]   names of tensors
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


def _int(word: str, what: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise DebugError(f"{what} must be a number, not {word!r}") from None


def _system(debugger: Debugger) -> System:
    if debugger.system is None:
        raise DebugError("nothing is loaded")
    return debugger.system


def _core(debugger: Debugger, words: Words) -> Core:
    if words:
        number = _int(words[0], "a core")
        cores = _system(debugger).chip.by_index
        found = cores[number] if 0 <= number < len(cores) else None
        if found is None:
            raise DebugError(f"core {number} has no program")
        return found
    if debugger.place is not None:
        return debugger.place.core
    return _system(debugger).chip.cores[0]


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
        given[name] = _int(value, key) if name in ("core", "address", "line") else value
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
    """Refuse a layer, phase or source line that the program does not have."""
    lines = [line for core in system.program.cores for line in core.lines]
    for name in ("layer", "phase", "line"):
        wanted = getattr(stop, name)
        there = sorted({getattr(line, name) for line in lines} - {"", 0}, key=str)
        if wanted is not None and wanted not in there:
            known = ", ".join(map(str, there[:12])) or "none"
            raise DebugError(f"no {name} {wanted!r} in this program; there are {known}")


def _watch(debugger: Debugger, words: Words) -> bool:
    system = _system(debugger)
    if len(words) == 1:
        entry = _tensor(system, words[0])
        low, high = extent(entry)
        region = Region("watch", entry.space, low, high - low, 1, 1, 0)
        watch = Watch(entry.name, entry.core, region)
    else:
        space, core, rest = _space(debugger, words)
        if len(rest) != 2:
            raise DebugError("watch TENSOR, watch core N ADDRESS BYTES or watch dram ADDRESS BYTES")
        start, size = _int(rest[0], "an address"), _int(rest[1], "a size")
        _memory(system, space, core, start, size)
        watch = Watch("memory", core, Region("watch", space, start, size, 1, 1, 0))
    debugger.say(f"{debugger.add(watch)}: {watch}")
    return False


def _space(debugger: Debugger, words: Words) -> tuple[str, int, Words]:
    if words[:1] == ["dram"]:
        return "dram", -1, words[1:]
    if words[:1] == ["core"] and len(words) > 1:
        return "sram", _core(debugger, words[1:2]).index, words[2:]
    raise DebugError("say `dram ADDRESS ...` or `core N ADDRESS ...`")


def _memory(system: System, space: str, core: int, start: int, size: int) -> bytes:
    found = system.chip.by_index[core] if space == "sram" else None
    memory = system.dram if found is None else found.sram
    if start < 0 or size < 1 or start + size > memory.size:
        raise DebugError(f"{start:#x}..{start + size - 1:#x} is outside 0..{memory.size - 1:#x}")
    return memory[start : start + size].tobytes()


def _delete(debugger: Debugger, words: Words) -> bool:
    if words:
        number = _int(words[0], "a breakpoint")
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
    count = _int(words[0], "the number of steps") if words else 1
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
    done = debugger.counts.get((place.core.index, place.pc), 0)
    for line in chain(place.core, place.pc, done):
        debugger.say(line)
    return False


def _waits(debugger: Debugger, words: Words) -> bool:
    for line in waits(_system(debugger).chip):
        debugger.say(line)
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
    sems = [f"sem{i}={v}" for i, v in enumerate(core.sems) if v]
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


def _tensor(system: System, name: str) -> TensorEntry:
    found = system.tensors.get(name)
    if found is None:
        ends = [t for n, t in system.tensors.items() if n.endswith(name)]
        if len(ends) != 1:
            raise DebugError(f"no tensor {name!r}; `tensors` lists them")
        found = ends[0]
    return found


def _print(debugger: Debugger, words: Words) -> bool:
    system = _system(debugger)
    if not words:
        raise DebugError("print TENSOR [spikes|numbers] [INDEX]")
    entry = _tensor(system, words[0])
    values = np.asarray(system.read_tensor(entry.name)).reshape(entry.shape)
    how = "spikes" if entry.dtype == "bit" else "numbers"
    index: tuple[int, ...] = ()
    for word in words[1:]:
        if word in ("spikes", "numbers"):
            how = word
        else:
            index = tuple(_int(part, "an index") for part in word.split(","))
    try:
        part = np.asarray(values[index])
    except IndexError:
        raise DebugError(f"{entry.name} has shape {'x'.join(map(str, entry.shape))}") from None
    shape = "x".join(map(str, part.shape)) or "scalar"
    debugger.say(f"{entry.name}{list(index) if index else ''} {entry.dtype} {shape}")
    for line in raster(part) if how == "spikes" else numbers(part):
        debugger.say("  " + line)
    return False


def _mem(debugger: Debugger, words: Words) -> bool:
    space, core, rest = _space(debugger, words)
    if not 2 <= len(rest) <= 3:
        raise DebugError("mem core N|dram ADDRESS COUNT [f16|f32|u8|i32]")
    kind = rest[2] if len(rest) == 3 else "f16"
    if kind not in _TYPES:
        raise DebugError(f"no type {kind!r}; types are {', '.join(_TYPES)}")
    dtype = np.dtype(_TYPES[kind])
    start, count = _int(rest[0], "an address"), _int(rest[1], "a count")
    data = _memory(_system(debugger), space, core, start, count * dtype.itemsize)
    for line in numbers(np.frombuffer(data, dtype)):
        debugger.say("  " + line)
    return False


def _tensors(debugger: Debugger, words: Words) -> bool:
    text = words[0] if words else ""
    for name, t in _system(debugger).tensors.items():
        if text in name:
            shape = "x".join(map(str, t.shape)) or "scalar"
            kind = f"{t.role:8} {t.dtype:4} {shape:>14}"
            debugger.say(f"  {name:32} {kind}  {t.space} {t.address:#x}")
    return False


def _list(debugger: Debugger, words: Words) -> bool:
    core = _core(debugger, words)
    here = debugger.place
    pc = here.pc if here is not None and here.core is core else core.seq.pc
    if len(words) > 1:
        pc = _int(words[1], "an address") // WORD_BYTES
    for at in range(max(0, pc - 5), min(core.code.words, pc + 6)):
        mark = "->" if here is not None and here.core is core and at == here.pc else "  "
        source = core.code.source(at)
        text = f"{mark} {WORD_BYTES * at:08x}: {core.code.text(at)}"
        debugger.say(f"{text}  ({source})" if source else text)
    return False


def _help(debugger: Debugger, words: Words) -> bool:
    for line in HELP.splitlines():
        debugger.say(line)
    return False


def _quit(debugger: Debugger, words: Words) -> bool:
    raise Quit


COMMANDS: Final[dict[str, Command]] = {
    "break": _break, "watch": _watch, "delete": _delete, "stops": _stops, "continue": _continue,
    "step": _step, "next": _next, "where": _where, "waits": _waits, "regs": _regs,
    "queue": _queue, "print": _print, "mem": _mem, "tensors": _tensors, "list": _list,
    "help": _help, "quit": _quit,
}  # fmt: skip
_SHORT: Final = {
    "b": "break", "c": "continue", "s": "step", "n": "next", "w": "where", "p": "print",
    "l": "list", "q": "quit", "h": "help", "bt": "where",
}  # fmt: skip
