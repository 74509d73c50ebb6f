"""How much a function does, counted in lines of Python: the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_run(function: Callable[[], object]) -> int:
    """Return how many lines of Python run within a call; a loop counts every time around."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def growth(make: Callable[[int], Callable[[], object]], n: int) -> float:
    """Return the work for ``2n`` over that for ``n``: 2 for linear work, 4 for squares."""
    make(max(2, n // 10))()  # what is done once
    return lines_run(make(2 * n)) / lines_run(make(n))
