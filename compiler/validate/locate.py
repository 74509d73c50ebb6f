"""Where a difference begins: the first op of the import whose values the file does not have."""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.core import Module
from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.draws import Point


def first_difference(
    module: Module,
    point: Point,
    arithmetic: Arithmetic,
    places: Sequence[tuple[str, Array]],
) -> tuple[str, list[str]]:
    """Return the file's node and words about both values; nothing where no place is known."""
    return "", []
