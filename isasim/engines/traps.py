"""The one exception of an illegal instruction."""

from __future__ import annotations

__all__ = ["Trap"]


class Trap(Exception):
    """An instruction cannot be executed; it has changed nothing.

    ``kind`` is a stable word: ``bounds``, ``align``, ``operand``, ``overlap``, ``microprogram``,
    ``illegal``, and what the simulator's other parts add.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
