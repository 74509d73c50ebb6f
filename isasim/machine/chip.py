"""The state of all cores, and what one instruction does to it whatever the order of execution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isasim.engines.base import Resolved
from snncc.isasim.faults import Trap
from snncc.isasim.machine import movement
from snncc.isasim.machine.decode import Code, unit_kind
from snncc.isasim.machine.rules import Channels, Semaphores
from snncc.isasim.machine.sequencer import Sequencer

Bytes: TypeAlias = npt.NDArray[np.uint8]

POISON: Final = 0x7E
"""What the scratchpad holds before it is written: binary16 0x7E7E is a NaN, so it shows."""

_MASK: Final = (1 << 64) - 1
"""All bits of a register."""


class Core:
    """One core: program, sequencer, scratchpad and semaphores."""

    __slots__ = (
        "code",
        "halted",
        "index",
        "kinds",
        "semaphores",
        "seq",
        "sram",
    )

    def __init__(
        self, code: Code, sram: Bytes, depth: int, tick: int,
        semaphore_max: int, loop_depth: int,
    ) -> None:  # fmt: skip
        self.index = code.core
        self.code = code
        self.seq = Sequencer(code, depth, tick, loop_depth)
        self.kinds = [unit_kind(i.insn.mnemonic) for i in code.program.code]
        self.sram = sram
        self.semaphores = Semaphores(semaphore_max)
        self.halted = False

    def reset(self, start: int, seed: int = 0) -> None:
        """Go back to the start of the program; the scratchpad keeps its contents."""
        self.seq.reset(start, seed)
        self.semaphores.reset()
        self.halted = False


class Chip:
    """All cores, the DRAM and the messages under way."""

    def __init__(
        self, codes: Sequence[Code], sram: int, dram: Bytes, depth: int,
        ticks: Sequence[int], credits: int, cores: int, semaphore_max: int, loop_depth: int,
    ) -> None:  # fmt: skip
        self.dram = dram
        self.sram_bytes = sram
        self.count = cores
        self.cores: list[Core] = []
        self.by_index: list[Core | None] = [None] * cores
        self.channels = Channels(cores, credits)
        for code, tick in zip(codes, ticks, strict=True):
            memory = np.full(sram, POISON, np.uint8)
            core = Core(code, memory, depth, tick, semaphore_max, loop_depth)
            self.cores.append(core)
            self.by_index[code.core] = core

    def reset(self, starts: Sequence[int], seed: int = 0) -> None:
        """Go back to the start of every program; memories keep their contents."""
        for core, start in zip(self.cores, starts, strict=True):
            core.reset(start, seed)
        self.channels.reset()

    def poison(self) -> None:
        """Fill the scratchpads with the pattern of memory that was never written."""
        for core in self.cores:
            core.sram.fill(POISON)

    def move(self, core: Core, op: Resolved) -> None:
        """Execute a DMA instruction."""
        name = op[0]
        if name == "fill":
            movement.fill(op, core.sram)
        else:
            source = self.dram if name == "ld" else core.sram
            target = self.dram if name == "st" else core.sram
            movement.copy(op, source, target, self.sram_bytes, self.dram.size)

    def targets(self, core: Core, op: Resolved) -> tuple[int, ...]:
        """Return the cores that ``send`` or ``mcast`` addresses; trap on one without a program."""
        where = op[1][0]
        if op[0] == "send":
            targets: tuple[int, ...] = (where,)
        else:
            where &= _MASK  # a register is signed, a mask is not
            if where >> self.count:
                raise Trap("core", f"mcast: mask {where:#x} names cores beyond {self.count - 1}")
            targets = tuple(i for i in range(self.count) if where >> i & 1 and i != core.index)
        for target in targets:
            self.check_core(op, target)
        return targets

    def check_core(self, op: Resolved, target: int) -> None:
        """Trap unless the core exists and has a program."""
        if not 0 <= target < self.count:
            raise Trap("core", f"{op[0]}: there is no core {target}; cores are 0..{self.count - 1}")
        if self.by_index[target] is None:
            raise Trap("core", f"{op[0]}: core {target} has no program in this object file")
