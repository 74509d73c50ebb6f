"""Units of a core and causes of stalls, in words: keys of a run's statistics."""

from __future__ import annotations

from typing import Final

UNITS: Final[dict[str, str]] = {
    "seq": "sequencers",
    "dma": "DMA units",
    "noc": "network units",
    "fp": "forward engines (fp)",
    "bp": "back-propagation engines (bp)",
    "wg": "weight-gradient engines (wg)",
    "vpu": "vector units (vpu)",
}
CAUSES: Final[dict[str, str]] = {
    "empty": "nothing to do yet",
    "semaphore": "waiting for other units",
    "message": "waiting for a message",
    "credit": "waiting for room at the receiver",
    "dram": "waiting for the DRAM bus",
    "link": "waiting for a link",
    "latency": "waiting for results under way",
    "queue": "waiting for room in a queue",
    "fetch": "fetching code",
    "done": "finished",
}
