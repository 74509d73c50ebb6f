"""Give DRAM tensors and scratchpad buffers their addresses.

DRAM: 64-byte aligned; temporary tensors share memory when all cores agree on the order of their
lives: a barrier lies between them, or a single core does everything.
Scratchpad: the buffers of a task one after the other; tasks share the space, since a task starts
only when the one before is through.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import cast

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Block, Module, Op, Value
from snncc.compiler.ir.portions import cores_at_work
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass
from snncc.isa.machine.machine import Machine

ALIGNMENT = 64
FOREVER = 1 << 60
"""The last epoch of what the outside may read."""
ENDLESS = 1 << 62
"""Where addresses end."""


def _aligned(value: int) -> int:
    return (value + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@compiler_pass(takes="mapped", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Assign addresses in DRAM and scratchpad."""
    machine = context.machine
    body = module.func("step").body
    for op in module.walk():
        if op.name == "tile.task":
            _scratchpad(op, machine)
    dram = _allocate_dram(body, cast("int", module.attrs["cores"]))
    module.attrs["dram_bytes"] = dram
    if isinstance(machine, Machine) and dram > machine.dram.bytes:
        fail(
            "E0601",
            f"the step's tensors need {dram} bytes of DRAM, but machine '{machine.name}' has "
            f"{machine.dram.bytes}: {dram - machine.dram.bytes} bytes short",
            help="use a smaller batch, fewer time steps, or a machine with more DRAM",
        )
    return True


@dataclass
class _Life:
    """From the first to the last epoch in which a tensor is touched; see :func:`_lives`."""

    op: Op
    first: int = -1
    last: int = -1

    @property
    def size(self) -> int:
        """Aligned bytes."""
        return _aligned(self.op.int_attr("bytes"))


def _lives(body: Block, cores: int) -> list[_Life]:
    """Return the lives of all DRAM tensors, in order of declaration.

    An epoch is the time between two barriers.  Where one core runs all tasks there is none, and
    every task is an epoch: its program order is the order of its transfers.
    """
    lives: dict[Value, _Life] = {}
    ends = {"tile.barrier"} if cores_at_work(body, cores) > 1 else {"tile.task", "tile.steps"}
    epoch = 0
    for op in body.ops:
        if op.name == "tile.dram":
            lives[op.result] = _Life(op)
            continue
        for inner in op.walk():
            for v in inner.operands:
                if v in lives:
                    life = lives[v]
                    life.first = epoch if life.first < 0 else life.first
                    life.last = FOREVER if op.name == "tile.export" else max(life.last, epoch)
        epoch += op.name in ends
    return list(lives.values())


def _allocate_dram(body: Block, cores: int) -> int:
    """Place DRAM tensors; return the bytes needed.

    A temporary tensor may take the place of one that was last touched in an earlier epoch than its
    own first use, so that no two cores can disagree about what lies there.
    """
    lives = _lives(body, cores)
    top = 0
    for life in lives:
        if life.op.str_attr("role") != "temp":
            life.op.attrs["address"] = top
            top += life.size
    high = top
    free = [(top, ENDLESS)]
    ends: list[tuple[int, int, int]] = []  # last epoch, address and size of what lives; a heap
    temporary = [life for life in lives if life.op.str_attr("role") == "temp"]
    for life in sorted(temporary, key=lambda one: (one.first, -one.size)):
        while ends and ends[0][0] < life.first:  # lives come in the order of their beginnings
            _, start, size = heappop(ends)
            release(free, start, start + size)
        at, wanted = take(free, life.size), life.size
        life.op.attrs["address"] = at
        high = max(high, at + wanted)
        heappush(ends, (life.last, at, wanted))
    return high


def take(free: list[tuple[int, int]], size: int) -> int:
    """Take bytes from the first gap that has them; ``free``: begin and end of gaps, in order."""
    for i, (start, end) in enumerate(free):
        if end - start >= size:
            free[i : i + 1] = [(start + size, end)] if end - start > size else []
            return start
    raise AssertionError("the last gap has no end")


def release(free: list[tuple[int, int]], start: int, end: int) -> None:
    """Give bytes back; gaps that touch become one."""
    i = bisect_left(free, (start, end))
    if i < len(free) and free[i][0] == end:
        end = free.pop(i)[1]
    if i and free[i - 1][1] == start:
        i -= 1
        start = free.pop(i)[0]
    free.insert(i, (start, end))


def _scratchpad(task: Op, machine: object) -> None:
    """Lay out the buffers of one task."""
    top = 0
    for op in task.regions[0].ops:
        if op.name != "tile.sram":
            continue
        op.attrs["offset"] = top
        top += _aligned(op.result.type.size) * op.int_attr("slots")
    if isinstance(machine, Machine) and top > machine.scratchpad.bytes:
        fail(
            "E0401",
            f"task {task.str_attr('name')} needs {top} bytes of scratchpad, but machine "
            f"'{machine.name}' has {machine.scratchpad.bytes}",
            where=str(task.loc),
        )
