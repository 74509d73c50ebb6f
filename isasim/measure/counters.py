"""What a run counts: one record per instruction address, busy and stalled cycles per unit."""

from __future__ import annotations

from typing import Final

from snncc.isasim.machine.chip import Chip
from snncc.isasim.measure.pricing import Price

STALL_CAUSES: Final[tuple[str, ...]] = (
    "empty", "semaphore", "message", "credit", "dram", "link", "latency", "queue", "fetch", "done",
)  # fmt: skip

EMPTY, SEMAPHORE, MESSAGE, CREDIT, DRAM, LINK, LATENCY, QUEUE = range(8)
"""Places in :data:`STALL_CAUSES`."""
CAUSE_BITS: Final = 4
"""A wait is counted under ``pc << CAUSE_BITS | cause``."""

USE_BITS: Final = 32
"""A use is counted under ``pc << USE_BITS | number of its price``."""


class Counters:
    """The counters of one run.

    Instructions are not charged one by one: per core, ``uses`` counts how often an address had a
    price, and the statistics multiply.
    """

    __slots__ = (
        "busy",
        "counts",
        "dense",
        "executed",
        "performed",
        "prices",
        "spent",
        "spikes",
        "stalls",
        "uses",
        "waits",
    )

    def __init__(self, chip: Chip, prices: list[Price] | None = None) -> None:
        self.prices = prices if prices is not None else []
        self.uses: list[dict[int, int]] = [{} for _ in range(chip.count)]
        words = [core.code.words if core else 0 for core in chip.by_index]
        self.spent = [[0] * n for n in words]
        """Per core and address: cycles for which its unit was busy."""
        self.waits: list[dict[int, int]] = [{} for _ in range(chip.count)]
        """Per core, by address and cause: cycles for which its unit (or the sequencer) waited."""
        self.spikes = [[0] * n for n in words]
        self.dense = [[0] * n for n in words]
        """Untimed runs only, as ``performed``: terms and lane elements."""
        self.performed = [[0] * n for n in words]
        self.busy: list[int] = [0] * (chip.count * 8)
        self.stalls: list[dict[str, int]] = [
            dict.fromkeys(STALL_CAUSES, 0) for _ in range(chip.count * 8)
        ]
        self.counts: list[list[int]] = []
        self.executed: list[int] = []

    def wait(self, core: int, actor: int, pc: int, cause: int, cycles: int) -> None:
        """An actor waited for an instruction of a core."""
        self.stalls[actor][STALL_CAUSES[cause]] += cycles
        waits, key = self.waits[core], pc << CAUSE_BITS | cause
        waits[key] = waits.get(key, 0) + cycles

    def finish(self, chip: Chip) -> None:
        """Keep what the sequencers counted, per core of ``chip.cores``."""
        self.counts = [core.seq.counts[:] for core in chip.cores]
        self.executed = [core.seq.executed for core in chip.cores]
