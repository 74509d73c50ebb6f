"""What the rules of derivatives may ask of whoever walks a graph backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Value

Outer: TypeAlias = Callable[[Builder, Value | None, Value], Value]


class Tape(Protocol):
    """What a rule may ask: the block being written, forward values, and where adjoints go."""

    b: Builder

    def fwd(self, value: Value) -> Value:
        """Return a forward value in the block being written."""
        ...

    def wants(self, value: Value) -> bool:
        """Whether an operand needs an adjoint."""
        ...

    def give(self, value: Value, adjoint: Value) -> None:
        """Add to the adjoint of an operand."""
        ...


class PhaseTape(Tape, Protocol):
    """What a structural rule may ask."""

    def outer(self, weight: Value, x: Value | None, g: Value, emit: Outer) -> None:
        """Add a parameter gradient that sums over all steps of x and g."""
        ...

    def fit(self, value: Value, g: Value) -> Value:
        """Sum an adjoint over the axes along which its value was repeated."""
        ...
