"""Random programs that run to their end; for comparing simulator engines.

:func:`random_program` makes programs that are sound by construction: they read initialised memory
only, their units are ordered by semaphores wherever they touch the same bytes, and every message
has its receiver.  They use DMA, MACs, lane stages, reductions, loops and, on several cores,
messages; in the end they store all of their scratchpad regions, which are the tensors of the file.

How order is kept: steps are drawn one after the other for the whole chip, so running them one by
one in this order is a valid schedule.  Before an instruction of unit U that depends on a region's
earlier use by unit V, ``post V`` and ``wait U`` are put on the semaphore of the pair (V, U).  A
loop begins and ends with the sequencer waiting for all units that were used.
"""

from __future__ import annotations

import random
import struct

from snncc.isa.machine.machine import Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.program.layout import LayoutDim, TensorEntry
from snncc.isa.program.model import CoreProgram, InitialData, ObjectFile
from snncc.isa.random_programs import windows as random_windows
from snncc.isa.random_programs.core import RandomCore, RandomRegion, row_bytes
from snncc.isa.random_programs.instructions import random_f16
from snncc.isa.spec import Unit

_ALIGN = 64
_REGIONS = ("f16", "f16", "f16", "f16", "bit", "bit", "bit", "f32", "f32", "f32")


def random_program(
    seed: int, machine: Machine, *, cores: int = 0, steps: int = 12, windows: bool = False
) -> ObjectFile:
    """Return a random program for ``cores`` cores of a machine (0: one, or any number).

    ``steps`` is the number of steps per core, before loops are unrolled.  With ``windows`` some
    steps use the instructions that read through windows.
    """
    rng = random.Random(seed)
    count = cores or (1 if rng.random() < 0.5 else rng.randint(1, machine.cores))
    count = min(count, machine.cores)
    programs: list[MicroProgram] = []
    chip = [RandomCore(number, rng) for number in range(count)]
    initial: list[InitialData] = []
    top = 0
    for core in chip:
        top = _make_regions(core, machine, top, initial)
    for _ in range(steps * count):
        core = rng.choice(chip)
        kind = rng.random()
        if count > 1 and kind < 0.15:
            _message(chip, rng)
        elif kind < 0.3:
            core.loop(programs)
        elif windows and kind < 0.5:
            random_windows.step(core)
        else:
            core.step(programs, slide=False)
    tensors: list[TensorEntry] = []
    for core in chip:
        _store_regions(core, tensors)
    return ObjectFile(
        machine_name=machine.name,
        machine_hash=machine.hash,
        machine_toml=machine.to_toml(),
        cores=tuple(CoreProgram(core.number, tuple(core.code)) for core in chip),
        micro=tuple(programs),
        tensors=tuple(tensors),
        initial=tuple(initial),
        metadata={"random_seed": seed},
    )


def _make_regions(core: RandomCore, machine: Machine, dram: int, initial: list[InitialData]) -> int:
    """Give a core its regions, their first contents in DRAM and the loads; return DRAM's top."""
    rng = core.rng
    room = machine.scratchpad.bytes // len(_REGIONS)
    core.stride = min(core.stride, max(16, room // 4 // 16 * 16))
    deepest = max(1, min(24, room // core.stride))
    address = 0
    for kind in _REGIONS:
        rows = rng.randint(min(4, deepest), deepest)
        widest = {"f16": core.stride // 2, "f32": core.stride // 4, "bit": 64}[kind]
        cols = rng.randint(1, min(widest, 8 * core.stride))
        region = RandomRegion(kind, rows, cols, address, core.stride)
        size = rows * region.row_bytes
        region.dram_in, region.dram_out = dram, dram + _aligned(size)
        dram += 2 * _aligned(size)
        address += rows * core.stride
        core.regions.append(region)
        data = b"".join(_random_row(kind, cols, rng) for _ in range(rows))
        initial.append(InitialData(region.dram_in, data))
        core.access(Unit.DMA, [], [region])
        core.transfer("ld", region, rows, region.row_bytes, dram=region.dram_in)
    return dram


def _aligned(size: int) -> int:
    return ceil_div(size, _ALIGN) * _ALIGN


def _random_row(kind: str, cols: int, rng: random.Random) -> bytes:
    if kind == "bit":
        density = rng.choice((0.0, 0.1, 0.5, 1.0))
        bits = sum((rng.random() < density) << i for i in range(cols))
        return bits.to_bytes(row_bytes("bit", cols), "little")
    if kind == "f16":
        return b"".join(struct.pack("<H", random_f16(rng)) for _ in range(cols))
    return b"".join(struct.pack("<f", rng.uniform(-8.0, 8.0)) for _ in range(cols))


def _store_regions(core: RandomCore, tensors: list[TensorEntry]) -> None:
    """Store every region to its place in DRAM, where it is a tensor of the file; then halt."""
    for number, region in enumerate(core.regions):
        core.access(Unit.DMA, [region], [])
        # Right side up: the tensor's rows are the region's.
        address, stride = core.load(region.address), core.load(region.stride)
        size = core.load(region.row_bytes)
        core.emit(
            "st", dst=core.load(region.dram_out), src=address, n0=core.load(1),
            n1=core.load(region.rows), bytes=size, dst0=core.load(0), dst1=size,
            src0=core.load(0), src1=stride,
        )  # fmt: skip
        width = 0 if region.kind == "bit" else region.row_bytes // region.cols
        layout = (
            LayoutDim(0, region.rows, 1, region.row_bytes),
            LayoutDim(1, region.cols, 1, width),
        )
        name = f"core{core.number}.{region.kind}{number}"
        shape = (region.rows, region.cols)
        tensors.append(TensorEntry(name, "output", region.kind, shape, region.dram_out, layout))
    core.emit("halt")


def _message(chip: list[RandomCore], rng: random.Random) -> None:
    """Append a message from one core to others, sometimes several in loops on both sides."""
    sender = rng.choice(chip)
    others = [core for core in chip if core is not sender]
    receivers = rng.sample(others, rng.randint(1, len(others)))
    multicast = len(receivers) > 1 or rng.random() < 0.3
    source = sender.pick("f16", "f32", "bit")
    widest = [max(r.row_bytes for r in core.regions if r.kind == source.kind) for core in receivers]
    size = min(source.row_bytes, *widest) if rng.random() < 0.9 else 0
    tag = rng.randint(0, 3)
    trips = rng.choice((0, 0, 0, 2, 5))
    ends: list[tuple[RandomCore, int]] = []
    if trips:
        for core in (sender, *receivers):
            ends.append((core, core.open_loop(trips, sliding=False, with_register=False)))
    sender.access(Unit.NOC, [source] if size else [], [])
    row = source.address + rng.randrange(source.rows) * source.stride
    if multicast:
        mask = sum(1 << core.number for core in receivers)
        mask |= rng.getrandbits(1) << sender.number  # the sender's own bit does nothing
        sender.emit(
            "mcast", mask=sender.load(mask), tag=tag, src=sender.load(row), bytes=sender.load(size)
        )
    else:
        number = sender.load(receivers[0].number)
        sender.emit("send", core=number, tag=tag, src=sender.load(row), bytes=sender.load(size))
    for core in receivers:
        _receive(core, sender.number, tag, source.kind, size)
    for core, start in ends:
        core.close_loop(start, sliding=False)


def _receive(core: RandomCore, sender: int, tag: int, kind: str, size: int) -> None:
    """Append the receiving half of a message."""
    fitting = [r for r in core.regions if r.kind == kind and r.row_bytes >= size]
    target = core.rng.choice(fitting)
    add = kind == "f32" and core.rng.random() < 0.5
    if add:
        core.access(Unit.NOC, [target], [target])
    else:
        core.access(Unit.NOC, [], [target])
    number, address = core.load(sender), core.load(target.address)
    if add:
        core.emit("recvadd", core=number, tag=tag, dst=address, count=core.load(size // 4))
    else:
        core.emit("recv", core=number, tag=tag, dst=address, bytes=core.load(size))
