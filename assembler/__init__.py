"""Assembly text to object files and back."""

from snncc.assembler.assemble import assemble
from snncc.assembler.disassemble import disassemble

__all__ = ["assemble", "disassemble"]
