"""What a command is working on, kept for the report of an internal error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snncc.compiler.ir.core import Module
    from snncc.isa.program.model import ObjectFile


@dataclass
class Evidence:
    """The graph as imported and the program, as far as the command has come."""

    module: Module | None = None
    program: ObjectFile | None = None

    def forget(self) -> None:
        """A command begins."""
        self.module = self.program = None


EVIDENCE = Evidence()
