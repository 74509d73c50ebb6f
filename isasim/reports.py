"""Words for runs that did not halt: where, why, and who waits for whom."""

from __future__ import annotations

from snncc.isasim.chip import Chip, Core
from snncc.isasim.decode import SLOTS
from snncc.isasim.faults import Fault, Location, StopReason, Trap, Waiting, find_cycle
from snncc.isasim.sequencer import FULL

_NOC = SLOTS.index("noc")


def location(core: Core, slot: int, pc: int) -> Location:
    """Return where an instruction is."""
    return Location(core.index, SLOTS[slot], pc, core.code.text(pc), core.code.source(pc))


def trap_fault(core: Core, slot: int, pc: int, trap: Trap) -> Fault:
    """Return the report of a trap."""
    return Fault(StopReason.TRAP, trap.kind, trap.message, location(core, slot, pc))


def limit_fault(core: Core, limit: int) -> Fault:
    """Return the report of a run that executed too many instructions."""
    message = f"more than {limit} instructions"
    return Fault(StopReason.LIMIT, "limit", message, location(core, 0, core.seq.pc))


def deadlock_fault(chip: Chip) -> Fault | None:
    """Return who waits for whom, or None when every program has ended and every queue is empty."""
    waiting: list[Waiting] = []
    for core in chip.cores:
        if not core.halted:
            waiting.append(_sequencer(core))
        for slot in range(1, len(SLOTS)):
            queue = core.seq.queues[slot]
            if queue:
                waiting.append(_unit(core, slot, queue[0][1], queue[0][2]))
    if not waiting:
        return None
    count = len({w.core for w in waiting})
    message = f"{len(waiting)} units of {count} core{'s' if count > 1 else ''} wait for each other"
    return Fault(
        StopReason.DEADLOCK, "deadlock", message, waiting[0].where, tuple(waiting),
        find_cycle(waiting),
    )  # fmt: skip


def _sequencer(core: Core) -> Waiting:
    seq = core.seq
    where = location(core, 0, seq.pc)
    if seq.status == FULL:
        unit = SLOTS[seq.full_slot]
        reason = f"room in the queue of {unit} ({seq.depth} entries)"
        return Waiting(core.index, "seq", reason, ((core.index, unit),), where)
    sem, n = seq.wait or (0, 0)
    return _semaphore(core, 0, sem, n, where)


def _semaphore(core: Core, slot: int, sem: int, n: int, where: Location) -> Waiting:
    """Describe a wait; providers are the units that post the semaphore anywhere in the program."""
    slots = {
        inst["unit"]
        for inst in core.code.program.code
        if inst.insn.mnemonic == "post" and inst["sem"] == sem
    }
    queued = {
        s
        for s in slots
        if any(core.code.program.code[e[1]].insn.mnemonic == "post" and e[2][0] == sem
               for e in core.seq.queues[s])
    }  # fmt: skip
    found = sorted(queued or slots)
    providers = [(core.index, SLOTS[s]) for s in found]
    if not queued and not core.halted and found != [0] and slot != 0:
        providers.insert(0, (core.index, "seq"))  # a post that is not issued yet
    reason = f"sem{sem} >= {n} (it is {core.sems[sem]})"
    return Waiting(core.index, SLOTS[slot], reason, tuple(providers), where)


def _unit(core: Core, slot: int, pc: int, op: tuple[object, ...]) -> Waiting:
    where = location(core, slot, pc)
    name = core.code.program.code[pc].insn.mnemonic
    if name == "wait":
        inst = core.code.program.code[pc]
        return _semaphore(core, slot, inst["sem"], inst["n"], where)
    if core.recv_wait is not None and name in ("recv", "recvadd"):
        source, tag = core.recv_wait
        reason = f"a message from core {source} with tag {tag}"
        return Waiting(core.index, SLOTS[slot], reason, ((source, "noc"),), where)
    if core.credit_wait and name in ("send", "mcast"):
        channels = ", ".join(f"core {t}" for t in core.credit_wait)
        reason = f"credit on the channel to {channels}"
        return Waiting(
            core.index, SLOTS[slot], reason, tuple((t, "noc") for t in core.credit_wait), where
        )
    return Waiting(core.index, SLOTS[slot], "its turn", (), where)


def leftovers(chip: Chip) -> tuple[str, ...]:
    """Return the messages that were not received and the semaphores that are not 0."""
    out: list[str] = []
    for core in chip.cores:
        for (source, tag), box in sorted(core.inbox.items()):
            if box:
                out.append(
                    f"core {core.index}: {len(box)} messages from core {source} with tag {tag}"
                )
        out += [f"core {core.index}: sem{i} is {n}" for i, n in enumerate(core.sems) if n]
    return tuple(out)
