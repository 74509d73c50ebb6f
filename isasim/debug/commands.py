"""The commands of the debugger: words in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from snncc.isa.diagnostics.printable import printable
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.spec import WORD_BYTES
from snncc.isasim.debug.debugger import (
    NOWHERE,
    DebugError,
    Debugger,
    Quit,
)
from snncc.isasim.debug.memory import (
    TYPES,
    a_core,
    as_type,
    buffers,
    integer,
    memory,
    operands,
    space_of,
    tensor,
)
from snncc.isasim.debug.stops import (
    Words,
    delete_stops,
    list_stops,
    named_buffer,
    set_breakpoint,
    set_watch,
)
from snncc.isasim.debug.views import Array, chain, numbers, raster, waits
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.decode import SLOTS

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


def _core(debugger: Debugger, words: Words) -> Core:
    return a_core(debugger.loaded, words[0]) if words else debugger.core


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
    for line in operands(debugger.loaded, place):
        debugger.say(printable(line))
    done = debugger.counts.get((place.core.index, place.pc), 0)
    for line in chain(place.core, place.pc, done):
        debugger.say(printable(line))
    return False


def _waits(debugger: Debugger, words: Words) -> bool:
    for line in waits(debugger.loaded.chip):
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
    system = debugger.loaded
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
    core, symbol = named_buffer(debugger, words[0])
    kind = words[1] if len(words) > 1 else "f16"
    data = memory(debugger.loaded, "sram", core.index, symbol.value, symbol.bytes)
    values = as_type(data, kind)
    if not symbol.holds(debugger.pc):
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
    space, core, rest = space_of(debugger.loaded, words)
    if not 2 <= len(rest) <= 3:
        raise DebugError("mem core N|dram ADDRESS COUNT [f16|f32|u8|i32|bit]")
    kind = rest[2] if len(rest) == 3 else "f16"
    start, count = integer(rest[0], "an address"), integer(rest[1], "a count")
    each = np.dtype(TYPES.get(kind, np.uint8)).itemsize
    size = ceil_div(count, 8) if kind == "bit" else count * each
    data = memory(debugger.loaded, space, core, start, size)
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
    for name, t in debugger.loaded.tensors.items():
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
    "break": set_breakpoint, "watch": set_watch, "delete": delete_stops, "stops": list_stops,
    "continue": _continue,
    "step": _step, "next": _next, "where": _where, "waits": _waits, "regs": _regs,
    "queue": _queue, "print": _print, "mem": _mem, "tensors": _tensors, "buffers": _buffers,
    "list": _list,
    "help": _help, "quit": _quit,
}  # fmt: skip
_SHORT: Final = {
    "b": "break", "c": "continue", "s": "step", "n": "next", "w": "where", "p": "print",
    "l": "list", "q": "quit", "h": "help", "bt": "where",
}  # fmt: skip
