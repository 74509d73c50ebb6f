"""Words for runs that did not halt: where, why, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from snncc.isa.spec import Inst
from snncc.isasim.faults import Fault, InstructionLocation, StopReason, Trap, Waiting, find_cycle
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.decode import SLOTS
from snncc.isasim.machine.sequencer import FULL

_NOC: Final = SLOTS.index("noc")
_SENDS: Final = frozenset(("send", "mcast"))
_RECEIVES: Final = frozenset(("recv", "recvadd"))
TURN: Final = "its turn"
"""What an actor waits for that is under way or starts next."""


def location(core: Core, slot: int, pc: int) -> InstructionLocation:
    """Return where an instruction is."""
    return InstructionLocation(
        core.index, SLOTS[slot], pc, core.code.text(pc), core.code.source(pc)
    )


def trap_fault(core: Core, slot: int, pc: int, trap: Trap) -> Fault:
    """Return the report of a trap."""
    return Fault(StopReason.TRAP, trap.kind, trap.message, location(core, slot, pc))


def limit_fault(core: Core, limit: int) -> Fault:
    """Return the report of a run that executed too many instructions."""
    message = f"more than {limit} instructions"
    return Fault(StopReason.LIMIT, "limit", message, location(core, 0, core.seq.pc))


def deadlock_fault(chip: Chip) -> Fault | None:
    """Return who waits for whom, or None when every program has ended and every queue is empty."""
    waiting = waits(chip)
    if not waiting:
        return None
    count = len({w.core for w in waiting})
    message = f"{len(waiting)} units of {count} core{'s' if count > 1 else ''} wait for each other"
    return Fault(
        StopReason.DEADLOCK, "deadlock", message, waiting[0].where, tuple(waiting),
        find_cycle(stuck(waiting)),
    )  # fmt: skip


def waits(chip: Chip) -> list[Waiting]:
    """Return every sequencer and unit that is not through, and what it waits for."""
    found: list[Waiting] = []
    for core in chip.cores:
        if not core.halted:
            found.append(_sequencer(core))
        for slot in range(1, len(SLOTS)):
            queue = core.seq.queues[slot]
            if queue:
                found.append(_unit(chip, core, slot, queue[0][1], queue[0][2]))
    return found


def stuck(waiting: Sequence[Waiting]) -> list[Waiting]:
    """Return those that can never go on: all who could help them are stuck as well."""
    left = {(w.core, w.unit): w for w in waiting if w.reason != TURN}
    while True:
        free = [k for k, w in left.items() if not {*w.providers, *w.later} <= left.keys()]
        if not free:
            return list(left.values())
        for key in free:
            del left[key]


def _sequencer(core: Core) -> Waiting:
    seq = core.seq
    where = location(core, 0, seq.pc)
    if seq.status == FULL:
        unit = SLOTS[seq.full_slot]
        reason = f"room in the queue of {unit} ({seq.depth} entries)"
        return Waiting(core.index, "seq", reason, ((core.index, unit),), where)
    if seq.wait is None:
        return Waiting(core.index, "seq", TURN, (), where)
    return _semaphore(core, 0, *seq.wait, where)


def _issues(core: Core, fits: Callable[[Inst], bool]) -> tuple[tuple[int, str], ...]:
    """Return the core's sequencer if it may still issue a fitting instruction, else nobody."""
    seq = core.seq
    first = seq.loops[0][1] if seq.loops else seq.pc
    may = not core.halted and any(fits(inst) for inst in core.code.program.code[first:])
    return ((core.index, "seq"),) if may else ()


def _semaphore(core: Core, slot: int, sem: int, n: int, where: InstructionLocation) -> Waiting:
    """Describe a wait; providers are the units with a post in their queue, then the sequencer."""
    held = core.semaphores.values[sem]
    if held >= n:
        return Waiting(core.index, SLOTS[slot], TURN, (), where)
    code = core.code.program.code

    def posts(inst: Inst) -> bool:
        return inst.insn.mnemonic == "post" and inst["sem"] == sem

    queued = [
        (core.index, SLOTS[s])
        for s, queue in enumerate(core.seq.queues)
        if any(posts(code[entry[1]]) for entry in queue) and s != slot
    ]
    if any(post[2] == sem for post in core.seq.posts):
        queued.append((core.index, "seq"))
    later = _issues(core, posts) if slot else ()
    name = core.code.semaphores.get(sem, "")
    reason = f"sem{sem}{f' ({name})' if name else ''} >= {n} (it is {held})"
    return Waiting(core.index, SLOTS[slot], reason, tuple(queued) or later, where, later)


def _unit(chip: Chip, core: Core, slot: int, pc: int, op: Any) -> Waiting:
    where = location(core, slot, pc)
    inst = core.code.program.code[pc]
    name = inst.insn.mnemonic
    if name == "wait":
        return _semaphore(core, slot, inst["sem"], inst["n"], where)
    wanted, lacking = chip.channels.wanted[core.index], chip.channels.lacking[core.index]
    if wanted is not None and name in ("recv", "recvadd"):
        source, tag = wanted
        reason = f"a message from core {source} with tag {tag}"
        return Waiting(core.index, SLOTS[slot], reason, _partner(chip, source, _SENDS), where)
    if lacking and name in ("send", "mcast"):
        channels = ", ".join(f"core {t}" for t in lacking)
        reason = f"credit on the channel to {channels}"
        partners = [p for t in lacking for p in _partner(chip, t, _RECEIVES)]
        return Waiting(core.index, SLOTS[slot], reason, tuple(partners), where)
    return Waiting(core.index, SLOTS[slot], TURN, (), where)


def _partner(chip: Chip, index: int, names: frozenset[str]) -> tuple[tuple[int, str], ...]:
    """Return who may bring the other half of a message: a network unit, or its sequencer."""
    core = chip.by_index[index]
    if core is None:
        return ()
    code = core.code.program.code
    if any(code[entry[1]].insn.mnemonic in names for entry in core.seq.queues[_NOC]):
        return ((index, "noc"),)
    return _issues(core, lambda inst: inst.insn.mnemonic in names)


def leftovers(chip: Chip) -> tuple[str, ...]:
    """Return the messages that were not received and the semaphores that are not 0."""
    out: list[str] = []
    for core in chip.cores:
        for (source, tag), box in sorted(chip.channels.inboxes[core.index].items()):
            if box:
                out.append(
                    f"core {core.index}: {len(box)} messages from core {source} with tag {tag}"
                )
        out += [
            f"core {core.index}: sem{i} is {n}" for i, n in enumerate(core.semaphores.values) if n
        ]
    return tuple(out)
