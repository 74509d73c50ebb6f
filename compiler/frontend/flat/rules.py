"""Rules of shapes and operators that a file breaks: diagnostics with the node, never exceptions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache

import onnx

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


def check_inputs(operator: str, inputs: Sequence[object], opset: int) -> None:
    """Raise ValueError where an ONNX operator lacks an input (None: left out) that it must have."""
    least = _least_inputs(operator, opset)
    there = next((i for i, each in enumerate(inputs) if each is None), len(inputs))
    if there < least:
        raise ValueError(f"it has {there} inputs, and needs {least}")


@cache
def _least_inputs(operator: str, opset: int) -> int:
    """Return it as of the file's version: axes, sizes and bounds were attributes before."""
    if not onnx.defs.has(operator, opset):
        return 0
    return onnx.defs.get_schema(operator, opset).min_input
