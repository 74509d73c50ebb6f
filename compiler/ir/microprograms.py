"""The microprograms of a module, which its attributes hold as text."""

from __future__ import annotations

from typing import cast

from snncc.compiler.ir.core import Module
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.microprograms.text import parse_micro


def microprograms(module: Module) -> dict[str, MicroProgram]:
    """Return the module's microprograms by name, in their order."""
    texts = cast("dict[str, str]", module.attrs.get("microprograms", {}))
    return {name: parse_micro(text.splitlines()) for name, text in texts.items()}
