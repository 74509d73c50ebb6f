"""Mapped IR to core programs: instructions, registers, addresses."""
