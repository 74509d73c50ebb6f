"""Integer arithmetic that everybody needs."""

from __future__ import annotations


def quotient(a: int, b: int) -> int:
    """Return ``floor(a / b)``."""
    return a // b


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)
