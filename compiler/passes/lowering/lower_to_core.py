"""Turn mapped tasks into the instructions that the cores run: one program for all of them.

Tasks become steps (``kit/steps.py``), buffers get versions and places
(``kit/versions.py``, ``kit/placement.py``), steps an order of issue (``kit/order.py``) and
semaphores (``kit/tokens.py``); ``kit/select.py`` writes instructions with registers and streams.
Barriers become messages: arrivals climb a tree of cores, its root releases all.  What differs from
core to core is computed from the core's number (``kit/scalars.py``).
"""

from __future__ import annotations

from typing import cast

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Block, Func, Location, Module, Op, Value, op
from snncc.compiler.ir.dialect_core import NAMES
from snncc.compiler.ir.microprograms import microprograms
from snncc.compiler.ir.portions import cores_at_work
from snncc.compiler.passes.lowering.kit.prices import Prices
from snncc.compiler.passes.lowering.kit.program import (
    ProgramBuilder,
    Surroundings,
    Writes,
    arrange_parts,
)
from snncc.compiler.passes.lowering.kit.registers import Registers
from snncc.compiler.passes.lowering.kit.select import CoreWriter
from snncc.compiler.passes.lowering.kit.steps import StepReader
from snncc.compiler.passes.lowering.kit.tree import Source
from snncc.compiler.passes.lowering.kit.write import TreeBuilder
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass
from snncc.isa.machine.machine import Machine


@compiler_pass(takes="mapped", gives="core", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Write one program of instructions for all cores."""
    machine = context.machine
    if not isinstance(machine, Machine):
        fail("E0403", "lowering needs to know the machine", help="name one with --target")
    programs = microprograms(module)
    body = module.func("step").body
    cores = cores_at_work(body, cast("int", module.attrs["cores"]))
    writes = Writes()
    builder = ProgramBuilder(StepReader(programs, cores), machine.scratchpad.bytes)
    _collect(body, builder, writes, cores)
    drams = {o.result: o.int_attr("address") for o in body.ops if o.name == "tile.dram"}
    parts = builder.finish()
    prices = Prices(machine, programs, cores)
    arrange_parts(parts, Surroundings(cores, prices, _sharing(drams), writes))
    where = Source("", "", Location(module.name))
    tree = TreeBuilder(drams).build(parts, where)
    block = Block()
    numbers = {name: i for i, name in enumerate(programs)}
    writer = CoreWriter(block, Registers("the program"), where, cores=cores, programs=numbers)
    writer.program(tree)
    _replace(module, body, block, cores, machine)
    return True


def _collect(body: Block, builder: ProgramBuilder, writes: Writes, cores: int) -> None:
    """Give a program its tasks and barriers; note which tensor is written when."""
    epoch = 0
    for each in body.ops:
        if each.name == "tile.barrier" and cores > 1:
            builder.barrier(each, epoch)
            epoch += 1
        elif each.name == "tile.task":
            if cores > 1:
                writes.note(each, epoch)
            builder.task(each)
        elif each.name == "tile.steps":
            inside = builder.inner()
            for inner in each.regions[0].ops:
                if inner.name == "tile.task":
                    if cores > 1:
                        writes.note(inner, epoch)
                    inside.task(inner)
                elif inner.name == "tile.barrier" and cores > 1:
                    inside.barrier(inner, 0)
            builder.over_time(each, inside.finish())


def _sharing(drams: dict[Value, int]) -> dict[Value, tuple[Value, ...]]:
    """Return for each tensor those that have bytes of DRAM in common with it."""
    found: dict[Value, list[Value]] = {}
    open_: list[tuple[int, Value]] = []
    for value, begin in sorted(drams.items(), key=lambda pair: pair[1]):
        owner = value.owner
        assert isinstance(owner, Op), "tensors are declared"
        open_ = [(end, other) for end, other in open_ if end > begin]
        for _, other in open_:
            found.setdefault(value, []).append(other)
            found.setdefault(other, []).append(value)
        open_.append((begin + owner.int_attr("bytes"), value))
    return {value: tuple(others) for value, others in found.items()}


def _replace(module: Module, body: Block, block: Block, cores: int, machine: Machine) -> None:
    """Let the module hold the data and the program only."""
    data = Block()
    for each in body.ops:
        if each.name in {"tile.task", "tile.steps"}:
            for inner in each.walk():
                inner.drop_operands()
    for each in body.ops:
        if each.name not in {"tile.task", "tile.steps", "tile.barrier"}:
            data.append(each)
    block.append(op("core.halt", loc=Location(module.name)))
    _check_size(block, machine)
    module.funcs = {
        "data": Func("data", data),
        "program": Func("program", block, {"cores": max(1, cores)}),
    }
    module.attrs["stage"] = "core"


def _check_size(block: Block, machine: Machine) -> None:
    """Refuse a program that the instruction memory cannot address."""
    count = sum(i.name not in NAMES for o in block.ops for i in o.walk())
    if count * 16 > machine.dram.bytes:
        fail(
            "E0603",
            f"the program needs {count * 16} bytes of instructions",
            help="choose a machine with more memory",
        )
