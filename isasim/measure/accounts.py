"""Where everything went: one account per instruction address, added up by layer, phase, mnemonic.

Whatever an instruction causes is on the account of its address: its own cycles, the cycles that its
unit (or the sequencer) waited for it, energy, bytes, terms, and the fetch of its word.  Leakage and
clock energy belong to time; they are divided in proportion to busy cycles.

Accounts are the rows of tables; sums are taken row after row, in the order of cores and addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from snncc.isa.spec import WORD_BYTES
from snncc.isasim.engines.base import MAC_MNEMONICS
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.decode import SLOTS
from snncc.isasim.measure.counters import CAUSE_BITS, STALL_CAUSES, USE_BITS, Counters
from snncc.isasim.measure.pricing import PRICED_ENERGIES, PRICED_NUMBERS, Pricing

ENERGIES: Final = (*PRICED_ENERGIES, "instruction", "static")
"""Columns of energies, pJ; ``dram`` with the loading of code."""
NUMBERS: Final = ("instructions", "cycles", "code", "spikes", *PRICED_NUMBERS)
"""Columns of counts.  ``cycles``: busy ones of units; the sequencer's are ``instructions``."""
K = TypeVar("K", bound=Hashable)
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_INSTRUCTIONS, _CYCLES, _CODE, _SPIKES = range(4)
_DENSE, _PERFORMED = NUMBERS.index("dense"), NUMBERS.index("performed")
_DRAM, _FETCH, _STATIC = (ENERGIES.index(name) for name in ("dram", "instruction", "static"))
_CAUSES: Final = len(STALL_CAUSES)


class AccountKey(NamedTuple):
    """What an account belongs to."""

    core: int
    pc: int
    mnemonic: str
    unit: str
    layer: str
    phase: str


class Account(NamedTuple):
    """Sums of one address or of several."""

    numbers: dict[str, int]
    energies: dict[str, float]
    units: dict[str, int]
    """Busy cycles by unit."""
    stall: dict[str, int]
    """Cycles waited by cause."""

    @property
    def energy(self) -> float:
        """All energy."""
        return sum(self.energies.values())

    @property
    def waited(self) -> int:
        """Cycles waited."""
        return sum(self.stall.values())

    @property
    def density(self) -> float:
        """The share of multiply-accumulates that were performed."""
        dense = self.numbers["dense"]
        return self.numbers["performed"] / dense if dense else 0.0


class Addresses:
    """The addresses of a chip's programs: what no run changes."""

    def __init__(self, chip: Chip) -> None:
        self.places = [place for core in chip.cores for place in _places(core)]
        slots = {name: i for i, name in enumerate(SLOTS)}
        self.units = np.array([slots[place.unit] for place in self.places], np.intp)
        """Columns of units."""
        self.others = np.array([p.mnemonic not in MAC_MNEMONICS for p in self.places], np.bool_)
        """Which are no accumulations."""


class Ledger:
    """The accounts of all addresses."""

    def __init__(self, addresses: Addresses) -> None:
        self.places = places = addresses.places
        count = len(places)
        self.numbers: Ints = np.zeros((count, len(NUMBERS)), np.int64)
        self.energies: Floats = np.zeros((count, len(ENERGIES)))
        self.units: Ints = np.zeros((count, len(SLOTS)), np.int64)
        self.stall: Ints = np.zeros((count, _CAUSES), np.int64)

    def group(self, key: Callable[[AccountKey], K]) -> dict[K, Account]:
        """Return the sums by a key."""
        order: dict[K, int] = {}
        rows = np.array([order.setdefault(key(p), len(order)) for p in self.places], np.intp)
        tables = [
            _added(table, rows, len(order))
            for table in (self.numbers, self.energies, self.units, self.stall)
        ]
        return {k: _account(*(table[i].tolist() for table in tables)) for k, i in order.items()}

    def total(self) -> Account:
        """Return the sum of all accounts."""
        tables = (self.numbers, self.energies, self.units, self.stall)
        return _account(*(_last(np.add.accumulate(table, axis=0)) for table in tables))

    def heaviest(self, count: int) -> list[tuple[AccountKey, Account]]:
        """Return the accounts with most cycles, spent or waited."""
        weight = self.numbers[:, _CYCLES] + self.stall.sum(axis=1)
        order = np.argsort(-weight, kind="stable")[:count]
        return [
            (
                self.places[i],
                _account(
                    self.numbers[i].tolist(), self.energies[i].tolist(), self.units[i].tolist(),
                    self.stall[i].tolist(),
                ),
            )
            for i in order.tolist()
            if weight[i]
        ]  # fmt: skip


def _added(table: Any, rows: Any, count: int) -> Any:
    """Return the sums of rows, added one after the other."""
    out = np.zeros((count, table.shape[1]), table.dtype)
    for column, values in enumerate(table.T):
        if table.dtype == np.float64:
            out[:, column] = np.bincount(rows, values, count)  # in the order of the rows
        else:
            np.add.at(out[:, column], rows, values)
    return out


def _last(table: Any) -> Any:
    return table[-1].tolist() if len(table) else table.sum(axis=0).tolist()


def _account(
    numbers: list[int], energies: list[float], units: list[int], stall: list[int]
) -> Account:
    return Account(
        dict(zip(NUMBERS, numbers, strict=True)),
        dict(zip(ENERGIES, energies, strict=True)),
        {name: n for name, n in zip(SLOTS, units, strict=True) if n},
        {name: n for name, n in zip(STALL_CAUSES, stall, strict=True) if n},
    )


def accounts(
    chip: Chip, addresses: Addresses, counters: Counters, pricing: Pricing,
    fetched: Sequence[int], static: float,
) -> Ledger:  # fmt: skip
    """Return the accounts of all addresses; ``static`` pJ are divided over them."""
    found = Ledger(addresses)
    priced = pricing.table(counters.prices)
    uses: list[Ints] = []
    begin = 0
    for core, counts, code in zip(chip.cores, counters.counts, fetched, strict=True):
        end = begin + core.code.words
        _core(found, slice(begin, end), core, counters, counts, code)
        _waits(found, begin, counters.waits[core.index])
        uses.append(_uses(begin, counters.uses[core.index]))
        begin = end
    rows, number, times = np.concatenate(uses, axis=1)
    count = len(found.places)
    found.numbers[:, -len(PRICED_NUMBERS) :] += _added(
        times[:, None] * priced.numbers[number], rows, count
    )
    found.energies[:, : len(PRICED_ENERGIES)] = _added(
        times[:, None] * priced.energies[number], rows, count
    )
    other = addresses.others
    found.numbers[other, _DENSE] = found.numbers[other, _PERFORMED] = 0
    numbers, energies = found.numbers, found.energies
    found.units[np.arange(len(found.places)), addresses.units] = numbers[:, _CYCLES]
    energies[:, _DRAM] += 8 * numbers[:, _CODE] * pricing.machine.dram.pj_per_bit
    energies[:, _FETCH] = numbers[:, _INSTRUCTIONS] * pricing.fetch_pj
    cycles = numbers[:, _CYCLES]
    busy = int(cycles.sum())
    energies[:, _STATIC] = static * (cycles / busy if busy else 1 / max(1, len(found.places)))
    return found


def _places(core: Core) -> list[AccountKey]:
    program = core.code.program
    found: list[AccountKey] = []
    lines = iter(program.lines)
    line = next(lines, None)
    layer = phase = ""
    for pc, inst in enumerate(program.code):
        while line is not None and line.address <= pc:
            layer, phase = line.layer, line.phase
            line = next(lines, None)
        name, unit = inst.insn.mnemonic, inst.insn.unit.value
        if name in ("wait", "post"):
            unit = SLOTS[inst["unit"]]
        found.append(AccountKey(core.index, pc, name, unit, layer, phase))
    return found


def _core(
    found: Ledger, rows: slice, core: Core, counters: Counters, counts: Sequence[int], code: int
) -> None:
    """Enter what was counted by address."""
    index, mine = core.index, found.numbers[rows]
    mine[:, _INSTRUCTIONS] = counts
    mine[:, _CYCLES] = counters.spent[index]
    mine[:, _CODE] = WORD_BYTES * mine[:, _INSTRUCTIONS] if code < 0 else WORD_BYTES
    mine[:, _SPIKES] = counters.spikes[index]
    mine[:, _DENSE] = counters.dense[index]  # an untimed run; else 0, and prices say it
    mine[:, _PERFORMED] = counters.performed[index]


def _waits(found: Ledger, begin: int, waits: dict[int, int]) -> None:
    keys = np.fromiter(waits.keys(), np.int64, len(waits))
    causes = keys & ((1 << CAUSE_BITS) - 1)
    found.stall[begin + (keys >> CAUSE_BITS), causes] = list(waits.values())


def _uses(begin: int, uses: dict[int, int]) -> Ints:
    """Return rows, numbers of prices and how often they were used."""
    keys = np.fromiter(uses.keys(), np.int64, len(uses))
    times = np.fromiter(uses.values(), np.int64, len(uses))
    return np.stack([begin + (keys >> USE_BITS), keys & ((1 << USE_BITS) - 1), times])


def as_json(account: Account) -> dict[str, Any]:
    """Return an account in the shape of ``--stats``."""
    n = account.numbers
    return {
        "cycles": n["cycles"],
        "waited": account.waited,
        "stall": account.stall,
        "units": dict(sorted(account.units.items())),
        "energy_pj": account.energy,
        "energy_by": account.energies,
        "dram_bytes": {"read": n["dram_read"], "write": n["dram_write"], "instruction": n["code"]},
        "sram_bytes": {"read": n["sram_read"], "write": n["sram_write"]},
        "noc_bytes": n["noc_bytes"],
        "instructions": n["instructions"],
        "macs": {"dense": n["dense"], "performed": n["performed"]},
        "density": account.density,
        "spikes": n["spikes"],
    }
