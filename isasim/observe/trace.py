"""Trace sinks: text for people, JSON lines for tools, trace events (JSON) for Chrome and Perfetto.

Perfetto's own format, with more in it, is :mod:`snncc.isasim.observe.perfetto`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from snncc.isa.spec import WORD_BYTES
from snncc.isasim.engines.footprint.checks import Footprint, Region
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.decode import SLOTS

_SHOWN_BYTES = 16


def _region_text(region: Region) -> str:
    rows = region.n0 * region.n1
    shape = f"{region.size}" if rows == 1 else f"{region.n0 * region.n1}x{region.size}"
    return f"{region.space}[{region.start:#x}:{shape}]"


def _first_bytes(core: Core, region: Region) -> str:
    if region.space != "sram":
        return ""
    data = core.sram[region.start : region.start + min(region.size, _SHOWN_BYTES)].tobytes()
    return data.hex() + (".." if region.size > _SHOWN_BYTES or region.n0 * region.n1 > 1 else "")


class TextTrace:
    """One line per instruction: ``cycles | core unit | address | instruction | what it wrote``."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def begin(self) -> None:
        """Nothing to do."""

    def instruction(
        self, core: Core, slot: int, pc: int, start: int, end: int, footprint: Footprint
    ) -> None:
        """Write one line."""
        writes = ", ".join(
            f"{_region_text(r)}={_first_bytes(core, r)}".rstrip("=") for r in footprint[1]
        )
        self.out.write(
            f"{start:>10} {end:>10} | core {core.index} {SLOTS[slot]:<3} | "
            f"{WORD_BYTES * pc:08x} | {core.code.text(pc)} | {writes}\n"
        )

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int, sent: bool) -> None:
        """Write one line."""
        what = "sent" if sent else "received"
        names = ", ".join(f"#{n}" for n in numbers)
        self.out.write(f"{time:>10} {'':>10} | core {core.index} {SLOTS[slot]} | {what} {names}\n")

    def before(self, core: Core, slot: int, pc: int, time: int) -> None:
        """Nothing to do."""

    def semaphore(
        self, core: Core, slot: int, pc: int, sem: int, n: int, time: int, posted: bool
    ) -> None:
        """Nothing to do: waits and posts are instructions."""

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """Nothing to do."""

    def finish(self, end: int) -> None:
        """Write the last line."""
        self.out.write(f"{end:>10} {end:>10} | end\n")


class JsonTrace:
    """One JSON object per line with the same contents."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def _write(self, record: Mapping[str, Any]) -> None:
        self.out.write(json.dumps(record, separators=(",", ":")) + "\n")

    def begin(self) -> None:
        """Nothing to do."""

    def instruction(
        self, core: Core, slot: int, pc: int, start: int, end: int, footprint: Footprint
    ) -> None:
        """Write one object."""
        writes = [
            {
                "operand": r.operand, "space": r.space, "start": r.start, "size": r.size,
                "n0": r.n0, "s0": r.s0, "n1": r.n1, "s1": r.s1, "first": _first_bytes(core, r),
            }
            for r in footprint[1]
        ]  # fmt: skip
        self._write(
            {
                "core": core.index, "unit": SLOTS[slot], "pc": pc, "address": WORD_BYTES * pc,
                "text": core.code.text(pc), "start": start, "end": end, "writes": writes,
            }
        )  # fmt: skip

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int, sent: bool) -> None:
        """Write one object."""
        event = "sent" if sent else "received"
        self._write({"core": core.index, "event": event, "messages": list(numbers), "time": time})

    def before(self, core: Core, slot: int, pc: int, time: int) -> None:
        """Nothing to do."""

    def semaphore(
        self, core: Core, slot: int, pc: int, sem: int, n: int, time: int, posted: bool
    ) -> None:
        """Nothing to do: waits and posts are instructions."""

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """Nothing to do."""

    def finish(self, end: int) -> None:
        """Write the last object."""
        self._write({"event": "end", "time": end})


class EventTrace:
    """Trace events (JSON) for Perfetto: a track per core and unit, an arrow per message.

    Cycles are converted to microseconds with the machine's clock.
    """

    def __init__(self, out: TextIO, clock_hz: float) -> None:
        self.out = out
        self.scale = 1e6 / clock_hz
        self._first = True
        self._end = 0
        self._offset = 0
        self._named: set[tuple[int, int]] = set()

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._end:  # a further run: go on where the array was closed
            self.out.seek(self._end)
            self._end = 0
        self.out.write("[\n" if self._first else ",\n")
        self.out.write(json.dumps(record, separators=(",", ":")))
        self._first = False

    def begin(self) -> None:
        """Nothing to do: tracks are named when they are first used."""

    def _track(self, core: int, slot: int) -> None:
        if (core, -1) not in self._named:
            self._named.add((core, -1))
            name = {"name": f"core {core}"}
            self._write({"ph": "M", "name": "process_name", "pid": core, "args": name})
        if (core, slot) not in self._named:
            self._named.add((core, slot))
            self._write(
                {
                    "ph": "M", "name": "thread_name", "pid": core, "tid": slot,
                    "args": {"name": SLOTS[slot]},
                }
            )  # fmt: skip

    def instruction(
        self, core: Core, slot: int, pc: int, start: int, end: int, footprint: Footprint
    ) -> None:
        """Write a slice."""
        self._track(core.index, slot)
        line = core.code.program.source(pc)
        about = {"layer": line.layer, "phase": line.phase} if line else {}
        writes = [_region_text(r) for r in footprint[1]]
        self._write(
            {
                "ph": "X", "name": core.code.program.code[pc].insn.mnemonic,
                "cat": about.get("phase") or "core", "pid": core.index, "tid": slot,
                "ts": (start + self._offset) * self.scale, "dur": (end - start) * self.scale,
                "args": {
                    "text": core.code.text(pc), "address": WORD_BYTES * pc, "start": start,
                    "end": end, "writes": writes, **about,
                },
            }
        )  # fmt: skip

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int, sent: bool) -> None:
        """Write one end of an arrow per message."""
        self._track(core.index, slot)
        for number in numbers:
            self._write(
                {
                    "ph": "s" if sent else "f", "bp": "e", "id": number, "name": "message",
                    "cat": "message", "pid": core.index, "tid": slot,
                    "ts": (time + self._offset) * self.scale,
                }
            )  # fmt: skip

    def before(self, core: Core, slot: int, pc: int, time: int) -> None:
        """Nothing to do."""

    def semaphore(
        self, core: Core, slot: int, pc: int, sem: int, n: int, time: int, posted: bool
    ) -> None:
        """Nothing to do: waits and posts are instructions."""

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """Nothing to do."""

    def finish(self, end: int) -> None:
        """Close the array; a further run in a seekable file opens it again, later in time."""
        if self._first:
            self._write({"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "core 0"}})
        self._offset += end + 1
        if self.out.seekable():
            self._end = self.out.tell()
        self.out.write("]\n")
