"""What a check of the self-test found."""

from __future__ import annotations

from dataclasses import dataclass


class Wrong(Exception):
    """A check found wrong results; the message says which."""


@dataclass(frozen=True)
class Outcome:
    """One check: ``passed`` is None where it could not be made; ``detail`` says what was done."""

    name: str
    passed: bool | None
    detail: str
    seconds: float

    @property
    def word(self) -> str:
        """The outcome in one word."""
        return "skipped" if self.passed is None else "ok" if self.passed else "FAILED"
