"""Engines: they execute resolved instructions on a core's scratchpad, all with the same bits."""

from __future__ import annotations

import sys
from collections.abc import Callable

from snncc.isasim.engines.base import (
    FP32,
    LANE_MNEMONICS,
    MNEMONICS,
    Activity,
    Engine,
    EngineNumerics,
    Resolved,
)
from snncc.isasim.engines.footprint.checks import Footprint, Region, check, footprint, overlapping
from snncc.isasim.engines.lanes import LaneProgram, prepare
from snncc.isasim.faults import Trap

__all__ = [
    "ENGINES",
    "FP32",
    "LANE_MNEMONICS",
    "MNEMONICS",
    "Activity",
    "Engine",
    "EngineNumerics",
    "Footprint",
    "LaneProgram",
    "Region",
    "Resolved",
    "Trap",
    "check",
    "footprint",
    "overlapping",
    "prepare",
    "select_engine",
]

ENGINES = ("fast", "reference")
"""The names that :func:`select_engine` knows."""

Notice = Callable[[str], None]


_told: set[str] = set()


def to_stderr(message: str) -> None:
    """Print a notice for the user, once in a process."""
    if message not in _told:
        _told.add(message)
        print(f"snncc: note: {message}", file=sys.stderr)


def show_progress(name: str, done: int, total: int) -> None:
    """Say on a terminal how many kernels are compiled."""
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r  {done} of {total} kernels", end=end, file=sys.stderr, flush=True)


def select_engine(
    name: str = "fast", numerics: EngineNumerics = FP32, notice: Notice = to_stderr
) -> Engine:
    """Return the engine called ``name``.

    ``fast`` becomes ``reference`` (slower, same bits) where numba is missing, broken or told not to
    compile.  ``notice`` is told that, and also when kernels have to be compiled first, when the
    cache cannot be used, and when conversions of binary16 take integer operations because the CPU
    has none (slower, same bits).  Numba is imported here, not before.
    """
    from snncc.isasim.engines.reference.engine import ReferenceEngine

    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    if name == "fast":
        try:
            from snncc.isasim.engines.kernels import kernel_cache

            kernel_cache.progress.notice = notice
            kernel_cache.progress.listener = show_progress
            from snncc.isasim.engines.fast.engine import FastEngine
            from snncc.isasim.engines.kernels import emit
        except (ImportError, OSError) as error:  # OSError: a shared library that does not load
            notice(f"the fast engine is not available ({error}); using the reference engine")
        else:
            if not emit.HALF_INSTRUCTIONS:
                notice("no binary16 instructions (F16C); the fast engine is slower, same results")
            return FastEngine(numerics)
    return ReferenceEngine(numerics)
