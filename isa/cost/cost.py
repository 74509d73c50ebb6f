"""THE cost model: cycles and energy of an instruction.

:func:`cost` is called by the compiler with expected activity and by the simulator with counted
activity; nothing else knows what an instruction costs.  It is a pure function of its arguments.
Formulas of the MAC arrays are in :mod:`snncc.isa.cost.array`, of microprograms and reductions in
:mod:`snncc.isa.cost.lanes`, of pooling in :mod:`snncc.isa.cost.pool`; those of the transfers are
here.

* **Sequencer instructions, wait, post**: one cycle, no energy beyond the fetch.
* **Fetch** of any instruction: 16 bytes at ``sequencer.fetch_pj_per_byte`` (:func:`fetch_cost`).
* **ld, st**: the DRAM side is cut into runs of contiguous bytes (rows whose stride is their length
  merge); every run moves whole bursts.  Cycles: ``max(DRAM bytes / min(dma, dram bytes per cycle),
  bytes / port, runs)``, latency ``dma + dram`` latencies.  Bandwidth shared between cores is the
  simulator's business.
* **copy, fill**: ``max(bytes / port, rows)`` cycles; the two directions work side by side.
* **send, mcast**: ``ceil(bytes/link)`` flits, at least one (a token is a flit), one per cycle;
  latency ``hops * hop_cycles`` (multicast: of its longest way, approximated by the mesh's
  diameter); energy ``flits * link bytes * 8 * hops * pj_per_bit_hop`` with the links of the tree as
  hops.  Unknown hops are the mesh's average.
* **recv, recvadd**: one flit per cycle from the network, one pass through the port; recvadd also
  reads the sums and performs ``count`` binary32 additions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from snncc.isa.cost import array as cost_array
from snncc.isa.cost import lanes as cost_lanes
from snncc.isa.cost import pool as cost_pool
from snncc.isa.cost.types import DENSE, ENERGY_CATEGORIES, CostActivity, InstructionCost
from snncc.isa.instructions.table import TABLE
from snncc.isa.machine.machine import Array, Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.roles import Family
from snncc.isa.spec import WORD_BYTES, Insn, Unit

__all__ = [
    "COSTS",
    "DENSE",
    "ENERGY_CATEGORIES",
    "CostActivity",
    "InstructionCost",
    "cost",
    "dram_runs",
    "fetch_cost",
    "static_pj",
]

Operands: TypeAlias = Mapping[str, int]
Formula: TypeAlias = Callable[
    [Machine, Operands, CostActivity, MicroProgram | None], InstructionCost
]


def cost(
    mnemonic: str,
    operands: Operands,
    machine: Machine,
    activity: CostActivity = DENSE,
    micro: MicroProgram | None = None,
) -> InstructionCost:
    """Return what one execution of an instruction costs.

    ``operands`` maps the operand names of the instruction's row to their values, registers
    replaced by what they hold; those that are no amount
    (:func:`snncc.isa.instructions.operands.amounts`) are not looked at and may be missing, except
    the ``mask`` of a multicast whose hops are not known.  With a window there are also its fields
    (:class:`snncc.isa.window.Window`).  ``micro`` is the program of a lane instruction.
    """
    return COSTS[mnemonic](machine, operands, activity, micro)


def fetch_cost(machine: Machine) -> InstructionCost:
    """Return what fetching one instruction costs, besides the instruction itself."""
    return InstructionCost(sram_pj=WORD_BYTES * machine.sequencer.fetch_pj_per_byte)


def static_pj(machine: Machine, cycles: float, running_core_cycles: float) -> float:
    """Return the energy (pJ) that flows in ``cycles`` whatever is computed.

    ``running_core_cycles`` is the sum over cores of the cycles until each has halted.
    """
    power = machine.power
    always_mw = power.chip_mw + machine.cores * power.core_leakage_mw
    per_mw = 1e9 / machine.clock_hz  # pJ of 1 mW in one cycle
    return per_mw * (always_mw * cycles + power.core_clock_mw * running_core_cycles)


def dram_runs(n0: int, n1: int, size: int, stride0: int, stride1: int) -> tuple[int, int]:
    """Return ``(count, bytes)`` of the contiguous runs of n0 x n1 rows of ``size`` bytes."""
    if n0 * n1 * size == 0:
        return 0, 0
    count, run = n0 * n1, size
    if n1 == 1 or stride1 == size:
        count, run = n0, n1 * size
        if n0 == 1 or stride0 == run:
            count, run = 1, n0 * run
    return count, run


def _one_cycle(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return InstructionCost(cycles=1)


def _dram(machine: Machine, ops: Operands, *, load: bool) -> InstructionCost:
    dram, pad = machine.dram, machine.scratchpad
    n0, n1, size = ops["n0"], ops["n1"], ops["bytes"]
    side = "src" if load else "dst"
    count, run = dram_runs(n0, n1, size, ops[f"{side}0"], ops[f"{side}1"])
    moved = count * ceil_div(run, dram.burst_bytes) * dram.burst_bytes
    total = n0 * n1 * size
    per_byte = pad.write_pj_per_byte if load else pad.read_pj_per_byte
    return InstructionCost(
        cycles=max(
            1,
            ceil_div(moved, min(machine.dma.bytes_per_cycle, dram.bytes_per_cycle)),
            ceil_div(total, pad.port_bytes),
            count,
        ),
        latency=machine.dma.latency_cycles + dram.latency_cycles,
        sram_pj=total * per_byte,
        dram_pj=8 * moved * dram.pj_per_bit,
        sram_read_bytes=0 if load else total,
        sram_write_bytes=total if load else 0,
        dram_read_bytes=moved if load else 0,
        dram_write_bytes=0 if load else moved,
    )


def _ld(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return _dram(machine, ops, load=True)


def _st(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return _dram(machine, ops, load=False)


def _sram(
    machine: Machine, *, rows: int, read: int, write: int, latency: int = 0
) -> InstructionCost:
    pad = machine.scratchpad
    return InstructionCost(
        cycles=max(1, rows, ceil_div(max(read, write), pad.port_bytes)),
        latency=latency,
        sram_pj=read * pad.read_pj_per_byte + write * pad.write_pj_per_byte,
        sram_read_bytes=read,
        sram_write_bytes=write,
    )


def _copy(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    rows = ops["n0"] * ops["n1"]
    total = rows * ops["bytes"]
    return _sram(machine, rows=rows, read=total, write=total, latency=machine.dma.latency_cycles)


def _fill(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    total = ops["n0"] * ops["bytes"]
    return _sram(machine, rows=ops["n0"], read=0, write=total, latency=machine.dma.latency_cycles)


def _flits(machine: Machine, size: int) -> int:
    return max(1, ceil_div(size, machine.noc.link_bytes_per_cycle))


def _transmit(machine: Machine, size: int, hops: float, longest: float) -> InstructionCost:
    flits = _flits(machine, size)
    noc = machine.noc
    bits = 8 * flits * noc.link_bytes_per_cycle
    return InstructionCost(
        cycles=max(flits, ceil_div(size, machine.scratchpad.port_bytes)),
        latency=round(longest * noc.hop_cycles),
        sram_pj=size * machine.scratchpad.read_pj_per_byte,
        noc_pj=bits * hops * noc.pj_per_bit_hop,
        sram_read_bytes=size,
        noc_bytes=size,
    )


def _send(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    hops = act.hops if act.hops >= 0 else machine.average_hops
    return _transmit(machine, ops["bytes"], hops, hops)


def _mcast(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    hops = act.hops
    if hops < 0:
        hops = float((ops["mask"] & (1 << machine.cores) - 1).bit_count())
    diameter = machine.mesh.rows + machine.mesh.cols - 2
    return _transmit(machine, ops["bytes"], hops, min(hops, diameter))


def _recv(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    size = ops["bytes"]
    return _sram(machine, rows=_flits(machine, size), read=0, write=size)


def _recvadd(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    count = ops["count"]
    size = 4 * count
    adds = InstructionCost(
        compute_pj=count * machine.energy.add_f32,
        register_pj=count * 3 * 32 * machine.energy.register_pj_per_bit,
    )
    return _sram(machine, rows=_flits(machine, size), read=size, write=size) + adds


def _accumulate(row: Insn) -> Formula:
    """Return the formula of an accumulating instruction: its unit's array, its family's flow."""
    flow = cost_array.output_stationary
    if row.family is Family.MAC:
        flow = cost_array.weight_stationary
    name, spikes = row.unit.value, row.gated

    def found(
        machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
    ) -> InstructionCost:
        array: Array = getattr(machine, name)
        return flow(machine, array, ops, act, spikes=spikes)

    return found


def _lanes(row: Insn) -> Formula:
    """Return the formula of a lane instruction: the stage of its unit."""
    unit = row.unit

    def found(
        machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
    ) -> InstructionCost:
        if micro is None:
            raise ValueError("the cost of a lane instruction needs its microprogram")
        stage = {Unit.FP: machine.fp.stage, Unit.BP: machine.bp.stage, Unit.VPU: machine.vpu}[unit]
        return cost_lanes.lanes(machine, stage, ops, micro)

    return found


def _rowred(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return cost_lanes.rowred(machine, ops)


def _colsum(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return cost_lanes.colsum(machine, ops, act)


def _pool(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return cost_pool.pool(machine, ops, act)


def _poolgrad(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return cost_pool.poolgrad(machine, ops)


def _transpose(
    machine: Machine, ops: Operands, act: CostActivity, micro: MicroProgram | None
) -> InstructionCost:
    return cost_pool.transpose(machine, ops)


_BY_FAMILY: Final[Mapping[Family, Callable[[Insn], Formula]]] = {
    Family.CONTROL: lambda _: _one_cycle,
    Family.MAC: _accumulate,
    Family.OUTER: _accumulate,
    Family.LANES: _lanes,
    Family.REDUCTION: lambda _: _colsum,
    Family.POOLING: lambda _: _pool,
    Family.POOL_GRADIENT: lambda _: _poolgrad,
    Family.TRANSPOSE: lambda _: _transpose,
}
_BY_NAME: Final[Mapping[str, Formula]] = {
    "ld": _ld,
    "st": _st,
    "copy": _copy,
    "fill": _fill,
    "send": _send,
    "mcast": _mcast,
    "recv": _recv,
    "recvadd": _recvadd,
    "rowred": _rowred,
}
"""Instructions that differ from their family."""


def _formula(row: Insn) -> Formula:
    if row.mnemonic in _BY_NAME:
        return _BY_NAME[row.mnemonic]
    if row.family not in _BY_FAMILY:
        raise AssertionError(
            f"{row.mnemonic}: family {row.family.value} has no common cost formula"
        )
    return _BY_FAMILY[row.family](row)


COSTS: Final[Mapping[str, Formula]] = {row.mnemonic: _formula(row) for row in TABLE}
"""The formula of every instruction."""
