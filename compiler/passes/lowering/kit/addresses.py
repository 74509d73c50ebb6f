"""Addresses of operations inside loops, and the registers that follow them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from snncc.compiler.passes.lowering.kit.registers import Key
from snncc.compiler.passes.lowering.kit.tree import LoopNode

Track: TypeAlias = "tuple[tuple[tuple[LoopNode, int], ...], int]"
"""How an address moves: a step per loop, and a coefficient of the time step."""


@dataclass(frozen=True)
class Address:
    """A base and a step per enclosing loop (outermost first, loops that do not matter left out)."""

    base: Key
    steps: tuple[tuple[LoopNode, int], ...] = ()

    @property
    def track(self) -> Track:
        """What it has in common with addresses that move in step with it."""
        return self.steps, 0 if isinstance(self.base, int) else self.base[1]

    @property
    def start(self) -> int:
        """The base without what time adds."""
        return self.base if isinstance(self.base, int) else self.base[0]


@dataclass
class Moving:
    """A register that loops step: an address, from which others are a fixed distance away."""

    address: Address
    register: int
