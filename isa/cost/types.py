"""What goes into the cost model and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

ENERGY_CATEGORIES = ("compute", "register", "buffer", "sram", "dram", "noc")


@dataclass(frozen=True)
class CostActivity:
    """How much of an instruction's dense work there really is: counted, or expected.

    -1 always means "not known": the work is then dense, blocks follow from the density.

    * ``active``: terms performed, of the ``rows*k*n`` dense ones (a term is one addition into an
      accumulator).  For ``colsum`` over spikes: the spikes.
    * ``blocks``: groups of ``array.rows`` neighbouring inputs of one row with an active input.
    * ``outputs``: outputs that are computed, of ``rows*n``, where a mask leaves some out.
    * ``out_blocks``: groups of ``array.cols`` neighbouring outputs of one row with such an output.
    * ``hops``: links that a message travels (for a multicast: links of its tree).
    """

    active: int = -1
    blocks: int = -1
    outputs: int = -1
    out_blocks: int = -1
    hops: float = -1.0


DENSE = CostActivity()


@dataclass(frozen=True)
class InstructionCost:
    """What an instruction costs.  Energies in pJ, sizes in bytes.

    ``cycles``: the unit is busy.  ``latency``: further cycles until the last result is in its
    place; the unit's next instruction need not wait for them, a ``post`` behind it must.
    ``buffer`` is the operand buffers inside an engine, ``sram`` the scratchpad.
    """

    cycles: int = 0
    latency: int = 0
    compute_pj: float = 0.0
    register_pj: float = 0.0
    buffer_pj: float = 0.0
    sram_pj: float = 0.0
    dram_pj: float = 0.0
    noc_pj: float = 0.0
    sram_read_bytes: int = 0
    sram_write_bytes: int = 0
    dram_read_bytes: int = 0
    dram_write_bytes: int = 0
    noc_bytes: int = 0
    macs_dense: int = 0
    macs_performed: int = 0

    @property
    def energy_pj(self) -> dict[str, float]:
        """Energy by category."""
        return {
            "compute": self.compute_pj,
            "register": self.register_pj,
            "buffer": self.buffer_pj,
            "sram": self.sram_pj,
            "dram": self.dram_pj,
            "noc": self.noc_pj,
        }

    @property
    def total_pj(self) -> float:
        """Energy of all categories together."""
        return (
            self.compute_pj
            + self.register_pj
            + self.buffer_pj
            + self.sram_pj
            + self.dram_pj
            + self.noc_pj
        )

    @property
    def dram_bytes(self) -> int:
        """DRAM bytes moved, both directions."""
        return self.dram_read_bytes + self.dram_write_bytes

    def __add__(self, other: InstructionCost) -> InstructionCost:
        """Return both costs together, as if one followed the other."""
        return InstructionCost(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(InstructionCost))
        )

    def times(self, count: int) -> InstructionCost:
        """Return the cost of ``count`` such instructions."""
        return InstructionCost(*(getattr(self, f.name) * count for f in fields(InstructionCost)))
