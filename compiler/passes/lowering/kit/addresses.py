"""Addresses of operations inside loops, and the registers that follow them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from snncc.compiler.passes.lowering.kit.scalars import Scalar, split
from snncc.compiler.passes.lowering.kit.tree import LoopNode

Track: TypeAlias = "tuple[tuple[tuple[LoopNode, int], ...], Scalar]"
"""How an address moves: a step per loop, and what it has from the core and the time step."""


@dataclass(frozen=True)
class Address:
    """A base and a step per enclosing loop (outermost first, loops that do not matter left out)."""

    base: Scalar
    steps: tuple[tuple[LoopNode, int], ...] = ()

    @property
    def track(self) -> Track:
        """What it has in common with addresses that move in step with it."""
        return self.steps, split(self.base)[1]

    @property
    def start(self) -> int:
        """The constant part of the base."""
        return split(self.base)[0]


@dataclass
class Moving:
    """A register that loops step: an address, from which others are a fixed distance away."""

    address: Address
    register: int
