"""Where everything went: one account per instruction address, added up by layer, phase, mnemonic.

Whatever an instruction causes is on the account of its address: its own cycles, the cycles that its
unit (or the sequencer) waited for it, energy, bytes, terms, and the fetch of its word.  Leakage and
clock energy belong to time; they are divided in proportion to busy cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from snncc.isa.spec import WORD_BYTES
from snncc.isasim.chip import Chip, Core
from snncc.isasim.counters import USE_BITS, Counters
from snncc.isasim.decode import SLOTS
from snncc.isasim.pricing import Price, Pricing

MAC_MNEMONICS: Final = frozenset(
    {"gacc", "mac", "bmac", "gouter", "outer", "gaccw", "macw", "bmacw", "gouterw", "outerw"}
)
"""Instructions whose terms are multiply-accumulates."""
ENERGIES: Final = (
    "compute", "register", "buffer", "sram", "dram", "noc", "instruction", "static",
)  # fmt: skip
K = TypeVar("K", bound=Hashable)


@dataclass
class Account:
    """Sums of one address or of several; energies in pJ, ``dram`` with the loading of code."""

    instructions: int = 0
    cycles: int = 0
    """Busy cycles of units; the sequencer's are ``instructions``."""
    waited: int = 0
    compute: float = 0.0
    register: float = 0.0
    buffer: float = 0.0
    sram: float = 0.0
    dram: float = 0.0
    noc: float = 0.0
    instruction: float = 0.0
    static: float = 0.0
    dram_read: int = 0
    dram_write: int = 0
    code: int = 0
    sram_read: int = 0
    sram_write: int = 0
    noc_bytes: int = 0
    dense: int = 0
    performed: int = 0
    spikes: int = 0
    units: dict[str, int] = field(default_factory=dict[str, int])
    """Busy cycles by unit."""

    @property
    def energy(self) -> float:
        """All energy."""
        return sum(float(getattr(self, name)) for name in ENERGIES)

    @property
    def density(self) -> float:
        """The share of multiply-accumulates that were performed."""
        return self.performed / self.dense if self.dense else 0.0

    def use(self, price: Price, count: int) -> None:
        """Add ``count`` uses of a price."""
        for name in _PRICED:
            setattr(self, name, getattr(self, name) + count * getattr(price, name))

    def add(self, other: Account) -> None:
        """Add another account."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for unit, cycles in other.units.items():
            self.units[unit] = self.units.get(unit, 0) + cycles


_NUMBERS: Final = tuple(f.name for f in fields(Account) if f.name != "units")
_PRICED: Final = (
    "compute", "register", "buffer", "sram", "dram", "noc", "dram_read", "dram_write",
    "sram_read", "sram_write", "noc_bytes", "dense", "performed",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """The account of one address of one core."""

    core: int
    pc: int
    mnemonic: str
    unit: str
    layer: str
    phase: str
    account: Account


def accounts(
    chip: Chip, counters: Counters, pricing: Pricing, fetched: Sequence[int], static: float
) -> list[Entry]:
    """Return the accounts of all addresses; ``static`` pJ are divided over them."""
    found = [
        entry
        for core, counts, code in zip(chip.cores, counters.counts, fetched, strict=True)
        for entry in _core(core, counters, counts, pricing, code)
    ]
    busy = sum(entry.account.cycles for entry in found)
    for entry in found:
        share = entry.account.cycles / busy if busy else 1 / len(found)
        entry.account.static = static * share
    return found


def _core(
    core: Core, counters: Counters, counts: Sequence[int], pricing: Pricing, fetched: int
) -> list[Entry]:
    index, program = core.index, core.code.program
    found: list[Entry] = []
    for pc, inst in enumerate(program.code):
        count = counts[pc]
        code = WORD_BYTES * count if fetched < 0 else WORD_BYTES
        unit = inst.insn.unit.value
        if inst.insn.mnemonic in ("wait", "post"):
            unit = SLOTS[inst["unit"]]
        one = Account(
            instructions=count,
            cycles=counters.spent[index][pc],
            waited=counters.waited[index][pc],
            dram=pricing.code_load(code),
            instruction=count * pricing.fetch_pj,
            code=code,
            spikes=counters.spikes[index][pc],
        )
        if one.cycles:
            one.units[unit] = one.cycles
        if counters.dense[index][pc]:  # an untimed run
            one.dense, one.performed = counters.dense[index][pc], counters.performed[index][pc]
        line = program.source(pc)
        layer, phase = (line.layer, line.phase) if line else ("", "")
        found.append(Entry(index, pc, inst.insn.mnemonic, unit, layer, phase, one))
    for use, count in counters.uses[index].items():
        price = counters.prices[use & ((1 << USE_BITS) - 1)]
        found[use >> USE_BITS].account.use(price, count)
    for entry in found:
        if entry.mnemonic not in MAC_MNEMONICS:
            entry.account.dense = entry.account.performed = 0
    return found


def total(entries: Iterable[Entry]) -> Account:
    """Return the sum of accounts."""
    out = Account()
    for entry in entries:
        out.add(entry.account)
    return out


def group(entries: Iterable[Entry], key: Callable[[Entry], K]) -> dict[K, Account]:
    """Return the sums by a key."""
    out: dict[K, Account] = {}
    for entry in entries:
        out.setdefault(key(entry), Account()).add(entry.account)
    return out


def as_json(account: Account) -> dict[str, Any]:
    """Return an account in the shape of ``--stats``."""
    a = account
    return {
        "cycles": a.cycles,
        "waited": a.waited,
        "units": dict(sorted(a.units.items())),
        "energy_pj": a.energy,
        "energy_by": {name: getattr(a, name) for name in ENERGIES},
        "dram_bytes": {"read": a.dram_read, "write": a.dram_write, "instruction": a.code},
        "sram_bytes": {"read": a.sram_read, "write": a.sram_write},
        "noc_bytes": a.noc_bytes,
        "instructions": a.instructions,
        "macs": {"dense": a.dense, "performed": a.performed},
        "density": a.density,
        "spikes": a.spikes,
    }
