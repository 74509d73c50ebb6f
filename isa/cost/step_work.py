"""What a training step has to do, whatever the program: terms of its products, bytes at least.

Counted in the phased module (``compiler/backend/count_work.py``) before anything is tiled, so
a program can be judged by it (``compiler/driver/step_bound.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from snncc.isa.program.model import Json

KEY: Final = "step"
"""The metadata of an object file that hold it."""
ENGINES: Final = ("fp", "bp", "wg")
"""Phases whose products run on MAC arrays of their own."""


@dataclass(frozen=True, slots=True)
class PhaseProducts:
    """The products of a layer in a phase: ``terms`` multiply-accumulates, none outside an image."""

    layer: str
    phase: str
    terms: int


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a step has to do.

    ``compulsory`` bytes pass the DRAM bus however much is kept on chip: trained parameters read and
    written, their gradients, the input once.  ``recomputing`` bytes pass it where only spikes are
    kept there between the passes: parameters for the forward, the backward pass and the update, and
    their new values, the input and every spike train written and read once, spikes as bits.
    """

    products: tuple[PhaseProducts, ...]
    compulsory: int
    recomputing: int

    def as_json(self) -> Json:
        """Return it as the object file keeps it."""
        return {
            "products": [
                {"layer": p.layer, "phase": p.phase, "terms": p.terms} for p in self.products
            ],
            "compulsory_bytes": self.compulsory,
            "recomputing_bytes": self.recomputing,
        }

    @classmethod
    def from_json(cls, found: Any) -> StepWork:
        """Read what :meth:`as_json` wrote; anything else is a ValueError, TypeError or KeyError."""
        products = tuple(
            PhaseProducts(str(p["layer"]), str(p["phase"]), int(p["terms"]))
            for p in found["products"]
        )
        return cls(products, int(found["compulsory_bytes"]), int(found["recomputing_bytes"]))
