"""A core's registers: numbers shared and kept, address registers stepped by loops."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from snncc.compiler.diag import fail
from snncc.compiler.passes.lowering.kit.scalars import TIME, Scalar
from snncc.isa.spec import REGISTERS, SEED_REGISTER

RESERVED = 1
"""r0 is 0; the last register holds the run's seed."""
TIME_REGISTER = SEED_REGISTER - 1
"""Counts the steps of a loop over time."""
SPARE = 14
"""Registers that loops leave free for constants of single instructions."""


@dataclass
class Registers:
    """Hands out registers and remembers which constants they hold."""

    where: str = ""
    """What is being lowered, for messages."""
    free: list[int] = field(
        default_factory=lambda: list(range(TIME_REGISTER - 1, RESERVED - 1, -1))
    )
    constants: OrderedDict[Scalar, int] = field(default_factory=OrderedDict["Scalar", int])
    """value -> register, least recently used first."""
    pinned: dict[Scalar, int] = field(default_factory=dict["Scalar", int])
    """value -> register, for as long as a loop runs."""
    locked: set[int] = field(default_factory=set[int])
    """Registers that the instruction being built uses."""

    def take(self) -> int:
        """Return a register, forgetting the least recently used constant if none is free."""
        if self.free:
            return self.free.pop()
        for value, register in self.constants.items():
            if register not in self.locked:
                del self.constants[value]
                return register
        fail(
            "E0602",
            f"{self.where} needs more than {REGISTERS} address registers at once",
            where=self.where,
            help="larger tiles need fewer: choose a machine with more scratchpad",
        )

    def give(self, register: int) -> None:
        """Return a register to the pool."""
        self.free.append(register)

    def find(self, value: Scalar) -> int | None:
        """Return the register that holds a constant, if one does."""
        if value == 0:
            return 0
        if value == TIME:
            return TIME_REGISTER
        if value in self.pinned:
            return self.pinned[value]
        if value in self.constants:
            self.constants.move_to_end(value)
            return self.constants[value]
        return None

    def spare(self) -> int:
        """Return how many registers can be taken for the instruction being built."""
        return len(self.free) + sum(r not in self.locked for r in self.constants.values())

    def room(self) -> int:
        """Return how many registers could still be pinned."""
        return len(self.free) + len(self.constants) - SPARE

    def pin(self, value: Scalar) -> tuple[int, bool]:
        """Keep a constant in a register; return it and whether it must be loaded."""
        if value in self.constants:
            register = self.constants.pop(value)
            self.pinned[value] = register
            return register, False
        register = self.take()
        self.pinned[value] = register
        return register, True

    def unpin(self, value: Scalar) -> None:
        """Let a pinned constant be forgotten when its register is needed."""
        self.constants[value] = self.pinned.pop(value)

    def forget(self) -> None:
        """Forget the constants that are not pinned (a loop changes them)."""
        for register in self.constants.values():
            self.free.append(register)
        self.constants.clear()
