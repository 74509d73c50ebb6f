"""What the debugger shows: tensors, loops, who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from snncc.isa.spec import WORD_BYTES
from snncc.isasim import reports
from snncc.isasim.faults import find_cycle
from snncc.isasim.machine.chip import Chip, Core

Array = npt.NDArray[Any]
MAX_ROWS = 64
MAX_COLUMNS = 160


def numbers(values: Array) -> list[str]:
    """Return numbers as lines; long rows and many rows are cut in the middle."""
    shown = values.astype(np.float64) if values.dtype.kind == "f" else values
    text = np.array2string(
        shown, max_line_width=100, threshold=200, edgeitems=6,
        formatter={"float_kind": lambda x: f"{x:.5g}"},
    )  # fmt: skip
    return text.splitlines()


def raster(values: Array) -> list[str]:
    """Return spikes as rows of ``#`` and ``.``, the last axis along the row (multi-spikes: digits).

    Leading axes become headings.
    """
    if values.ndim == 0:
        values = values.reshape(1)
    rows = values.reshape(-1, values.shape[-1])
    height = values.shape[-2] if values.ndim > 1 else 1
    out: list[str] = []
    for i, row in enumerate(rows[:MAX_ROWS]):
        if values.ndim > 2 and i % height == 0:
            place = np.unravel_index(i // height, values.shape[:-2])
            out.append("[" + ",".join(str(int(n)) for n in place) + "]")
        marks = "".join(_mark(float(v)) for v in row[:MAX_COLUMNS])
        out.append(marks + (" .." if len(row) > MAX_COLUMNS else ""))
    if len(rows) > MAX_ROWS:
        out.append(f".. {len(rows) - MAX_ROWS} more rows")
    active = int(np.count_nonzero(values))
    out.append(f"{active} of {values.size} active ({100 * active / max(1, values.size):.1f} %)")
    return out


def _mark(value: float) -> str:
    if value == 0:
        return "."
    return "#" if value == 1 else str(int(value)) if 1 < value < 10 else "+"


def chain(core: Core, pc: int, done: int) -> Iterator[str]:
    """Yield the loops around an instruction, innermost first, with their turns.

    ``done``: how often the instruction was executed before.  Turns are known where all trip counts
    are constants.
    """
    nest: list[tuple[int, int | None]] = []
    for at in range(pc):
        inst = core.code.program.code[at]
        if inst.insn.mnemonic in ("loop", "loopi") and at < pc < inst["end"]:
            nest.append((at, inst["count"] if inst.insn.mnemonic == "loopi" else None))
    rest: int | None = done
    for at, count in reversed(nest):
        turn = "?"
        if count is None:
            rest = None
        elif rest is not None and count:
            turn, rest = str(rest % count), rest // count
        yield (
            f"  in loop {WORD_BYTES * at:08x} {core.code.text(at)}: turn {turn} of "
            f"{'?' if count is None else count}"
        )
    yield f"  executed {done} times before"


def waits(chip: Chip) -> Iterator[str]:
    """Yield a line for every unit with something in its queue and what it waits for."""
    found = reports.waits(chip)
    if not found:
        yield "nothing waits: every program has ended"
        return
    for waiting in found:
        if waiting.reason == reports.TURN and waiting.where is not None:
            yield f"  {waiting.where} is under way or starts next"
        else:
            yield f"  {waiting}"
    lost = reports.stuck(found)
    if lost:
        yield "  stuck for ever: " + ", ".join(f"core {w.core} {w.unit}" for w in lost)
        cycle = find_cycle(lost)
        if cycle:
            yield "  circle: " + " -> ".join(f"core {c} {u}" for c, u in (*cycle, cycle[0]))
