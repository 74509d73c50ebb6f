"""Rules of shapes and operators that a file breaks: diagnostics with the node, never exceptions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from snncc.compiler.diag import fail


@contextmanager
def broken_rules_are_diagnostics(operator: str, place: Callable[[], str]) -> Generator[None]:
    """Turn the ValueError of a rule (its text is a sentence for people) into E0105 at a node."""
    try:
        yield
    except (ValueError, IndexError, ZeroDivisionError) as error:
        fail(
            "E0105",
            f"{operator}: {error}",
            place(),
            help="if the file fits its own shapes, it was exported for one batch size: leave "
            "--batch out, or export it with a dynamic batch axis",
        )
