"""Give DRAM tensors and scratchpad buffers their addresses.

DRAM: one after the other, 64-byte aligned.  Scratchpad: the buffers of a task one after the other;
tasks share the space, since a task starts only when the one before is through.
"""

from __future__ import annotations

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Module, Op
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass
from snncc.isa.machine import Machine

ALIGNMENT = 64


def _aligned(value: int) -> int:
    return (value + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@compiler_pass(takes="mapped", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Assign addresses in DRAM and scratchpad."""
    machine = context.machine
    dram = 0
    for op in module.func("step").body.ops:
        if op.name == "tile.steps":
            for inner in op.regions[0].ops:
                if inner.name == "tile.task":
                    _scratchpad(inner, machine)
        if op.name == "tile.dram":
            op.attrs["address"] = dram
            dram = _aligned(dram + op.int_attr("bytes"))
        elif op.name == "tile.task":
            _scratchpad(op, machine)
    module.attrs["dram_bytes"] = dram
    if isinstance(machine, Machine) and dram > machine.dram.bytes:
        fail(
            "E0601",
            f"the step's tensors need {dram} bytes of DRAM, but machine '{machine.name}' has "
            f"{machine.dram.bytes}: {dram - machine.dram.bytes} bytes short",
            help="use a smaller batch, fewer time steps, or a machine with more DRAM",
        )
    return True


def _scratchpad(task: Op, machine: object) -> None:
    """Lay out the buffers of one task."""
    top = 0
    for op in task.regions[0].ops:
        if op.name != "tile.sram":
            continue
        op.attrs["offset"] = top
        top += _aligned(op.result.type.size) * op.int_attr("slots")
    if isinstance(machine, Machine) and top > machine.scratchpad.bytes:
        fail(
            "E0401",
            f"task {task.str_attr('name')} needs {top} bytes of scratchpad, but machine "
            f"'{machine.name}' has {machine.scratchpad.bytes}",
            where=str(task.loc),
        )
