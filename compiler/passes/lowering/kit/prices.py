"""What steps are expected to take, asked of the cost model once per distinct instruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from snncc.compiler.ir.core import Op
from snncc.compiler.passes.lowering.kit.footprint import Affine, mnemonic_of
from snncc.isa.cost.cost import cost
from snncc.isa.cost.expected import DEFAULT_DENSITY, expect
from snncc.isa.cost.types import CostActivity
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.machine.machine import Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.spec import EnumKind, Unit
from snncc.isa.window import Window


class Prices:
    """Cycles and latencies on a machine of whose cores ``active`` share the DRAM."""

    def __init__(self, machine: Machine, programs: Mapping[str, MicroProgram], active: int) -> None:
        self.machine = machine
        self.programs = programs
        self.share = max(1.0, machine.dram.bytes_per_cycle / max(1, active))
        self.known: dict[object, tuple[int, int]] = {}
        self.by_op: dict[Op, tuple[int, int]] = {}

    def of(self, op: Op) -> tuple[int, int]:
        """Return (cycles, latency) of an operation."""
        found = self.by_op.get(op)
        if found is None:
            found = self.by_op[op] = self._price(op)
        return found

    def barrier(self) -> int:
        """Return cycles from the arrival at a barrier to its release, everybody being there."""
        mesh = self.machine.mesh
        return 2 * self.machine.noc.hop_cycles * (mesh.rows + mesh.cols) + self.machine.cores

    def _price(self, op: Op) -> tuple[int, int]:
        mnemonic = mnemonic_of(op)
        row = BY_MNEMONIC[mnemonic]
        values: list[int] = []
        for operand in row.operands:
            value = op.attrs.get(operand.name)
            if isinstance(operand.kind, EnumKind):
                values.append(operand.kind.words.index(str(value)))
            else:
                values.append(value if isinstance(value, int) else 0)
        window = op.attrs.get("window")
        fields = Window(*cast("Affine", window)) if window is not None else None
        prog = op.attrs.get("prog")
        key = (mnemonic, tuple(values), fields, prog)
        if key in self.known:
            return self.known[key]
        operands = dict(zip(row.names, values, strict=True))
        activity = CostActivity()
        if fields is not None:
            operands |= fields._asdict()
        if row.unit is not Unit.DMA:
            done = expect(mnemonic, tuple(values), fields, DEFAULT_DENSITY)
            activity = CostActivity(done.performed, -1, done.outputs, -1)
        micro = self.programs[str(prog)] if prog is not None else None
        one = cost(mnemonic, operands, self.machine, activity, micro)
        cycles = max(one.cycles, ceil_div(one.dram_bytes, int(self.share)))
        self.known[key] = cycles, one.latency
        return self.known[key]
