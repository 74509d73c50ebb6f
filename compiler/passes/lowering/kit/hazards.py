"""Which steps of a core must wait for which: hazards on scratchpad bytes and on DRAM.

Steps of one engine keep their order, and so do stores; loads may be moved ahead of anything that
they do not depend on.  Steps are known by their numbers in program order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.lowering.kit.footprint import mnemonic_of
from snncc.compiler.passes.lowering.kit.scalars import Scalar, split, value_of
from snncc.compiler.passes.lowering.kit.steps import CoreStep
from snncc.compiler.passes.lowering.kit.versions import Version, aligned
from snncc.compiler.passes.mapping.kit.regions import Region, rectangle, row_bytes_of
from snncc.isa.spec import Unit


@dataclass(slots=True)
class _Engine:
    """What one engine did to a version: the last step that reads and writes, and which bytes."""

    read: int = -1
    read_low: int = 0
    read_high: int = 0
    write: int = -1
    write_low: int = 0
    write_high: int = 0


@dataclass(slots=True)
class _History:
    """Accesses to one version so far."""

    before: list[_History]
    """What lay at its place."""
    engines: dict[Unit, _Engine] = field(default_factory=dict["Unit", "_Engine"])
    transfers: list[tuple[int, int, int, bool]] = field(
        default_factory=list["tuple[int, int, int, bool]"]
    )
    """Step, bytes and whether they are written, of the DMA unit."""

    def everything(self, unit: Unit) -> list[int]:
        """Return the steps after which nobody uses it, those of ``unit`` left out."""
        found = [max(e.read, e.write) for u, e in self.engines.items() if u is not unit]
        return found + [step for step, _, _, _ in self.transfers]


class SramHazards:
    """Finds, step by step, what must be through before a step may touch the scratchpad."""

    def __init__(self) -> None:
        self.histories: dict[Version, _History] = {}
        self.occupants: list[tuple[int, int, _History]] = []

    def add(self, number: int, step: CoreStep, versions: Mapping[Value, Version]) -> set[int]:
        """Record a step; return the numbers of those that it depends on."""
        found: set[int] = set()
        for use in step.uses:
            version = versions[use.buffer]
            history = self.histories.get(version) or self._begin(version)
            if step.unit is Unit.DMA:
                self._transfer(number, use.low, use.high, use.reads, use.writes, history, found)
            else:
                engine = history.engines.get(step.unit)
                if use.writes and (engine is None or engine.write < 0):
                    for old in history.before:
                        found.update(old.everything(step.unit))
                self._conflicts(step.unit, use.low, use.high, use.writes, history, found)
        for use in step.uses:
            history = self.histories[versions[use.buffer]]
            if step.unit is Unit.DMA:
                history.transfers.append((number, use.low, use.high, use.writes))
                continue
            engine = history.engines.setdefault(step.unit, _Engine())
            if use.reads:
                fresh = engine.read < 0
                engine.read_low = use.low if fresh else min(engine.read_low, use.low)
                engine.read_high = max(engine.read_high, use.high)
                engine.read = number
            if use.writes:
                fresh = engine.write < 0
                engine.write_low = use.low if fresh else min(engine.write_low, use.low)
                engine.write_high = max(engine.write_high, use.high)
                engine.write = number
        found.discard(number)
        return found

    def _begin(self, version: Version) -> _History:
        low, high = version.address, version.address + aligned(version.size)
        before: list[_History] = []
        kept: list[tuple[int, int, _History]] = []
        for a, b, old in self.occupants:
            if b <= low or a >= high:
                kept.append((a, b, old))
                continue
            before.append(old)
            if a < low:
                kept.append((a, low, old))
            if b > high:
                kept.append((high, b, old))
        made = self.histories[version] = _History(before)
        self.occupants = [*kept, (low, high, made)]
        return made

    def _transfer(
        self,
        number: int,
        low: int,
        high: int,
        reads: bool,
        writes: bool,
        history: _History,
        found: set[int],
    ) -> None:
        if writes:
            for old in history.before:
                found.update(old.everything(Unit.DMA))
        self._conflicts(Unit.DMA, low, high, writes, history, found)

    @staticmethod
    def _conflicts(
        unit: Unit, low: int, high: int, writes: bool, history: _History, found: set[int]
    ) -> None:
        for other, engine in history.engines.items():
            if other is unit:
                continue
            if engine.write >= 0 and engine.write_low < high and low < engine.write_high:
                found.add(engine.write)
            if writes and engine.read >= 0 and engine.read_low < high and low < engine.read_high:
                found.add(engine.read)
        for step, a, b, written in history.transfers:
            if (writes or written) and a < high and low < b:
                found.add(step)


@dataclass(frozen=True, slots=True)
class Access:
    """A load's or store's rectangle; ``moved``: by how much it lies further on a core."""

    region: Region
    moved: Scalar = 0

    def meets(self, other: Access) -> bool:
        """Whether both may touch a byte, on some core, one of them writing."""
        if self.moved != other.moved:
            return self.region.write or other.region.write
        return self.region.meets(other.region)


def dram_access(step: CoreStep, cores: int) -> tuple[Value, Access] | None:
    """Return the tensor that a load or store touches, and where; None for other steps."""
    mnemonic = mnemonic_of(step.op)
    if mnemonic not in ("ld", "st"):
        return None
    write = mnemonic == "st"
    side, index = ("dst", 0) if write else ("src", 1)
    tensor = step.op.operands[index]
    start, loops = step.at[index]
    owner, row = tensor.owner, row_bytes_of(tensor)
    assert isinstance(owner, Op)
    everything = Access(Region(write, 0, owner.int_attr("bytes") // row + 1, 0, row))
    needed = (f"{side}0", f"{side}1", "n0", "n1", "bytes")
    sizes = [n for name in needed if isinstance(n := step.values[name], int)]
    if any(loops) or len(sizes) < len(needed):  # another place or size in every turn or loop
        return tensor, everything
    base, moved = split(start)
    distance, other, n0, n1, size = sizes
    region = rectangle(write, base, [(distance, n0), (other, n1)], size, tensor)
    if moved == 0:
        return tensor, Access(region)
    far = {value_of(moved, core) for core in range(cores)}
    if any(distance % row for distance in far):  # columns: they must stay within their rows
        low, high = region.col_low + min(far), region.col_high + max(far)
        if low < 0 or high > row or region.col_high == row:
            return tensor, everything
    return tensor, Access(region, moved)


class DramHazards:
    """Finds what must be through before a core's own load or store."""

    def __init__(self, sharing: Mapping[Value, tuple[Value, ...]]) -> None:
        """``sharing``: for a tensor those that lie, at another time, at the same addresses."""
        self.sharing = sharing
        self.loads: dict[Value, list[tuple[int, Access]]] = {}
        self.stores: dict[Value, list[tuple[int, Access]]] = {}
        self.last_store = -1

    def add(self, number: int, tensor: Value, access: Access) -> set[int]:
        """Record an access; return the numbers of those that it depends on."""
        found: set[int] = set()
        for other in self.sharing.get(tensor, ()):
            for records in (self.loads, self.stores):
                if access.region.write or records is self.stores:
                    found.update(n for n, _ in records.get(other, ()))
            if (
                access.region.write
            ):  # whatever comes is behind this store, as stores keep their order
                self.loads.pop(other, None)
                self.stores.pop(other, None)
        for earlier, written in reversed(self.stores.get(tensor, ())):
            if written.meets(access):
                found.add(earlier)
                break
        if access.region.write:
            if self.last_store >= 0:
                found.add(self.last_store)
            self.last_store = number
            kept: list[tuple[int, Access]] = []
            for earlier, read in self.loads.get(tensor, ()):
                if access.meets(read):
                    found.add(earlier)
                else:
                    kept.append((earlier, read))
            self.loads[tensor] = kept
            self.stores.setdefault(tensor, []).append((number, access))
        else:
            self.loads.setdefault(tensor, []).append((number, access))
        return found
