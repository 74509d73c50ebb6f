"""Prices of instructions for the scheduler, from the one cost model."""

from __future__ import annotations

from typing import TypeAlias

from snncc.isa.machine import Machine
from snncc.isasim.engines.base import Activity, Resolved

EnginePrice: TypeAlias = tuple[int, float, float]
"""Cycles, energy of the unit, energy of the scratchpad."""

SendPrice: TypeAlias = tuple[int, int, int, float, float, float]


class Pricing:
    """The cost model bound to a machine; energies in pJ."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        m = machine
        self.dram_latency = m.dma.latency_cycles + m.dram.latency_cycles
        share = max(1, min(m.dma.bytes_per_cycle, m.dram.bytes_per_cycle // m.cores))
        self.fetch_tick = -(-16 // share)

    def transfer(self, nbytes: int) -> int:
        """Return the cycles for which bytes hold the DRAM bus."""
        return -(-nbytes // self.machine.dram.bytes_per_cycle)

    def engine(self, op: Resolved, activity: Activity) -> EnginePrice:
        """Return the price of an engine instruction."""
        return 1 + activity[1] // 256, 0.5 * activity[1], 0.0

    def move(self, op: Resolved) -> tuple[int, int, int, int, float, float, float]:
        """Return cycles alone, cycles of the DRAM bus, bytes read and written, and energies."""
        name, values = op[0], op[1]
        m = self.machine
        pad = m.scratchpad
        if name == "fill":
            nbytes = values[2] * values[3]
            return 1 + -(-nbytes // pad.port_bytes), 0, 0, 0, 0.0, nbytes * pad.write_pj_per_byte, 0
        nbytes = values[2] * values[3] * values[4]
        if name == "copy":
            energy = nbytes * (pad.read_pj_per_byte + pad.write_pj_per_byte)
            return 1 + -(-nbytes // pad.port_bytes), 0, 0, 0, 0.0, energy, 0
        cycles = self.dram_latency + -(-nbytes // m.dma.bytes_per_cycle)
        loads = name == "ld"
        energy = nbytes * (pad.write_pj_per_byte if loads else pad.read_pj_per_byte)
        dram = nbytes * 8 * m.dram.pj_per_bit
        read, written = (nbytes, 0) if loads else (0, nbytes)
        return cycles, self.transfer(nbytes), read, written, 0.0, energy, dram

    def send(self, op: Resolved, links: int, targets: int) -> SendPrice:
        """Return flits, cycles of the unit, bytes sent, and energies."""
        nbytes = op[1][3]
        m = self.machine
        flits = max(1, -(-nbytes // m.noc.link_bytes_per_cycle))
        return (
            flits, flits, nbytes, 0.0, nbytes * m.scratchpad.read_pj_per_byte,
            nbytes * 8 * links * m.noc.pj_per_bit_hop,
        )  # fmt: skip

    def receive(self, op: Resolved) -> EnginePrice:
        """Return the price of storing a message."""
        nbytes = op[1][3] * (4 if op[0] == "recvadd" else 1)
        pad = self.machine.scratchpad
        energy = nbytes * pad.write_pj_per_byte
        return max(1, -(-nbytes // pad.port_bytes)), 0.0, energy

    def fetch(self, executed: int, loaded: int) -> tuple[float, float]:
        """Return the energies of reading instruction bytes from their memory, and from DRAM."""
        return (
            executed * self.machine.sequencer.fetch_pj_per_byte,
            8 * loaded * self.machine.dram.pj_per_bit,
        )

    def static(self, cycles: int, core_cycles: int) -> dict[str, float]:
        """Return the energy that time costs: leakage of everything, clock of running cores."""
        m = self.machine
        pj = 1e9 / m.clock_hz  # of one milliwatt in one cycle
        leaks = m.power.core_leakage_mw * m.cores + m.power.chip_mw
        return {
            "leakage": leaks * pj * cycles,
            "clock": m.power.core_clock_mw * pj * core_cycles,
        }
