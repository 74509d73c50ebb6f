"""Prices of instructions for the scheduler: the one cost model, bound to a machine and remembered.

A price depends on the operands that say how much
(:func:`snncc.isa.instructions.operands.amounts`), on window, microprogram and activity; not on
addresses, nor on distances within a scratchpad.  So few distinct ones occur; each is worked out
once.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

import numpy as np

from snncc.isa.cost.cost import CostActivity, InstructionCost, cost, fetch_cost, static_pj
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.instructions.operands import amounts
from snncc.isa.instructions.table import TABLE
from snncc.isa.machine.machine import Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.spec import WORD_BYTES, Insn, Unit
from snncc.isa.window import Window
from snncc.isasim.engines import base
from snncc.isasim.engines.base import Resolved

MAX_REMEMBERED: Final = 1 << 17


class Price(NamedTuple):
    """What the scheduler needs of a :class:`~snncc.isa.cost.cost.Cost`; energies in pJ."""

    cycles: int
    latency: int
    dense: int
    performed: int
    compute: float
    register: float
    buffer: float
    sram: float
    sram_read: int
    sram_write: int
    dram: float = 0.0
    dram_read: int = 0
    dram_write: int = 0
    noc: float = 0.0
    noc_bytes: int = 0
    transfer: int = 0
    """Cycles for which the DRAM bus, or the links of the path, are taken."""
    number: int = 0
    """Place in :attr:`Pricing.prices`: schedulers count uses by number."""


PRICED_NUMBERS: Final = (
    "dram_read", "dram_write", "sram_read", "sram_write", "noc_bytes", "dense", "performed",
)  # fmt: skip
"""Counts of a price."""
PRICED_ENERGIES: Final = ("compute", "register", "buffer", "sram", "dram", "noc")
"""Energies of a price, pJ."""


class PriceTable:
    """A growing list of prices as arrays [price, column]."""

    def __init__(self, prices: list[Price]) -> None:
        self.prices = prices
        self.numbers = np.zeros((0, len(PRICED_NUMBERS)), np.int64)
        self.energies = np.zeros((0, len(PRICED_ENERGIES)))

    def extend(self) -> None:
        """Take in the prices that are new."""
        new = self.prices[len(self.numbers) :]
        if new:
            numbers = np.array([_NUMBERS(price) for price in new], np.int64)
            energies = np.array([_ENERGIES(price) for price in new], np.float64)
            self.numbers = np.concatenate([self.numbers, numbers])
            self.energies = np.concatenate([self.energies, energies])


_NUMBERS, _ENERGIES = attrgetter(*PRICED_NUMBERS), attrgetter(*PRICED_ENERGIES)


def _price(found: InstructionCost, transfer: int = 0) -> Price:
    c = found
    return Price(
        c.cycles, c.latency, c.macs_dense, c.macs_performed, c.compute_pj, c.register_pj,
        c.buffer_pj, c.sram_pj, c.sram_read_bytes, c.sram_write_bytes, c.dram_pj,
        c.dram_read_bytes, c.dram_write_bytes, c.noc_pj, c.noc_bytes, transfer,
    )  # fmt: skip


def _getter(row: Insn) -> Callable[[tuple[int, ...]], Any]:
    kept = [row.names.index(name) for name in amounts(row)]
    return itemgetter(*kept) if kept else lambda values: ()


SIZES: Final = {row.mnemonic: _getter(row) for row in TABLE}
"""Per mnemonic: of its operands, those on which a price depends."""
_AMOUNTS: Final = {row.mnemonic: amounts(row) for row in TABLE}


class Pricing:
    """The cost model of a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        m = machine
        self.load_latency = m.dma.latency_cycles + m.dram.latency_cycles
        share = max(1, min(m.dma.bytes_per_cycle, m.dram.bytes_per_cycle // m.cores))
        self.fetch_tick = -(-WORD_BYTES // share)
        self.fetch_pj = fetch_cost(machine).total_pj
        self.prices: list[Price] = []
        arrays = {Unit.FP: m.fp, Unit.BP: m.bp, Unit.WG: m.wg}
        self._blocks = {
            row.mnemonic: (
                arrays[row.unit].skip == "block" and arrays[row.unit].rows == base.BLOCK,
                arrays[row.unit].skip != "none" and arrays[row.unit].cols == base.BLOCK,
            )
            for row in TABLE
            if row.unit in arrays
        }
        self._known: dict[Any, Price] = {}
        self._table = PriceTable(self.prices)

    def table(self, prices: list[Price]) -> PriceTable:
        """Return a list of prices as arrays: the present list, or that of an earlier run."""
        if self._table.prices is not prices:
            self._table = PriceTable(prices)
        self._table.extend()
        return self._table

    def begin(self) -> None:
        """A run begins; numbers given before it are void when too many were."""
        if len(self.prices) > MAX_REMEMBERED:
            self.prices = []  # results of earlier runs keep the old list
            self._known = {}

    def transfer(self, nbytes: int) -> int:
        """Return the cycles for which bytes hold the DRAM bus."""
        return -(-nbytes // self.machine.dram.bytes_per_cycle)

    def _cost(self, op: Resolved, activity: CostActivity) -> InstructionCost:
        micro = MicroProgram(op.micro.name, op.micro.code) if op.micro is not None else None
        o = op.operands
        operands = {name: getattr(o, name) for name in _AMOUNTS[op.mnemonic]}
        if BY_MNEMONIC[op.mnemonic].windowed:
            operands |= zip(Window._fields, op.streams[0], strict=False)
        return cost(op.mnemonic, operands, self.machine, activity, micro)

    def _remember(self, key: Any, price: Price) -> Price:
        self._known[key] = price = price._replace(number=len(self.prices))
        self.prices.append(price)
        return price

    def engine(self, op: Resolved, activity: base.Activity) -> Price:
        """Return the price of an engine instruction that did what was counted."""
        name, values, captured, micro = op
        if micro is None:
            done = self._counted(name, activity)
            key: Any = (name, SIZES[name](values), captured, done)
        else:
            done, key = (-1,), (name, SIZES[name](values), micro)
        found = self._known.get(key)
        if found is None:
            found = self._remember(key, _price(self._cost(op, CostActivity(*done))))
        return found

    def _counted(self, name: str, activity: base.Activity) -> tuple[int, ...]:
        """Return what was counted as the cost model takes it: active, blocks, outputs, out_blocks.

        Engines count blocks of 16; an array of another size is priced with the expected number.
        """
        _, performed, _, outputs, blocks, out_blocks = activity
        keeps_blocks, keeps_out_blocks = self._blocks.get(name, (False, False))
        return (
            performed,
            blocks if keeps_blocks else -1,
            outputs,
            out_blocks if keeps_out_blocks else -1,
        )

    def move(self, op: Resolved) -> Price:
        """Return the price of a DMA instruction."""
        key = (op[0], SIZES[op[0]](op[1]))
        found = self._known.get(key)
        if found is None:
            one = self._cost(op, CostActivity())
            found = self._remember(key, _price(one, self.transfer(one.dram_bytes)))
        return found

    def send(self, op: Resolved, links: int) -> Price:
        """Return the price of a message over a number of links."""
        nbytes = op.operands.bytes
        key = (op[0], nbytes, links)
        found = self._known.get(key)
        if found is None:
            one = self._cost(op, CostActivity(hops=links))
            flits = max(1, -(-nbytes // self.machine.noc.link_bytes_per_cycle))
            found = self._remember(key, _price(one, flits)._replace(latency=0))
        return found

    def receive(self, op: Resolved) -> Price:
        """Return the price of storing a message."""
        key = (op[0], SIZES[op[0]](op[1]))
        found = self._known.get(key)
        if found is None:
            found = self._remember(key, _price(self._cost(op, CostActivity())))
        return found

    def static(self, cycles: int, core_cycles: int) -> dict[str, float]:
        """Return the energy that time costs: leakage of everything, clock of running cores."""
        return {
            "leakage": static_pj(self.machine, cycles, 0),
            "clock": static_pj(self.machine, 0, core_cycles),
        }
