"""What a run counts: one record per instruction address, busy and stalled cycles per unit."""

from __future__ import annotations

from typing import Final, TypeAlias

from snncc.isasim.chip import Chip

STALL_CAUSES: Final[tuple[str, ...]] = (
    "empty", "semaphore", "message", "credit", "dram", "link", "latency", "queue", "fetch", "done",
)  # fmt: skip

RECORD: Final = (
    "executions", "busy", "dense", "performed", "spikes", "compute", "register", "buffer", "sram",
    "sram_read", "sram_write", "dram", "dram_read", "dram_write", "noc", "noc_bytes",
)  # fmt: skip
"""What a record holds, in order; the schedulers use the positions."""

Record: TypeAlias = list[float]


class Counters:
    """The counters of one run."""

    __slots__ = ("busy", "counts", "executed", "records", "stalls")

    def __init__(self, chip: Chip) -> None:
        zero: Record = [0] * len(RECORD)  # shared by what no unit executes; never written
        self.records: list[list[Record]] = [
            [zero[:] if queued else zero for queued in core.queued] if core else []
            for core in chip.by_index
        ]
        self.counts: list[list[int]] = []
        self.executed: list[int] = []
        self.busy: list[int] = [0] * (chip.count * 8)
        self.stalls: list[dict[str, int]] = [
            dict.fromkeys(STALL_CAUSES, 0) for _ in range(chip.count * 8)
        ]

    def finish(self, chip: Chip) -> None:
        """Keep what the sequencers counted, per core of ``chip.cores``."""
        self.counts = [core.seq.counts[:] for core in chip.cores]
        self.executed = [core.seq.executed for core in chip.cores]
