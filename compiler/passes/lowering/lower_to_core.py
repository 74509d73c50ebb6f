"""Turn mapped tasks into the instructions of each core.

The tasks of a core become steps (``kit/steps.py``), buffers get versions and places
(``kit/versions.py``, ``kit/placement.py``), steps an order of issue (``kit/order.py``) and
semaphores (``kit/tokens.py``); ``kit/select.py`` writes instructions with registers and streams.
Barriers become messages: arrivals climb a tree of cores, its root releases all.
"""

from __future__ import annotations

from typing import cast

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Block, Func, Location, Module, Op, Value, op
from snncc.compiler.ir.dialect_core import NAMES
from snncc.compiler.ir.microprograms import microprograms
from snncc.compiler.passes.lowering.kit.cores import cores_in_use
from snncc.compiler.passes.lowering.kit.prices import Prices
from snncc.compiler.passes.lowering.kit.program import (
    Foreign,
    ProgramBuilder,
    Surroundings,
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
    """Write one function of instructions per core."""
    machine = context.machine
    if not isinstance(machine, Machine):
        fail("E0403", "lowering needs to know the machine", help="name one with --target")
    programs = microprograms(module)
    body = module.func("step").body
    cores, used = cast("int", module.attrs["cores"]), cores_in_use(body)
    reader = StepReader(programs)
    builders = {c: ProgramBuilder(c, reader, machine.scratchpad.bytes) for c in used}
    foreign = _collect(body, builders, used)
    drams = {o.result: o.int_attr("address") for o in body.ops if o.name == "tile.dram"}
    prices, sharing = Prices(machine, programs, len(used)), _sharing(drams)
    numbers = {name: i for i, name in enumerate(programs)}
    where = Source("", "", Location(module.name))
    blocks = {core: Block() for core in range(cores)}
    for core in used:
        parts = builders[core].finish()
        arrange_parts(parts, Surroundings(core, prices, sharing, foreign))
        tree = TreeBuilder(drams).build(parts, where)
        CoreWriter(core, used, blocks[core], numbers, Registers(f"core {core}"), where).program(
            tree
        )
    _replace(module, body, blocks, machine)
    return True


def _collect(body: Block, builders: dict[int, ProgramBuilder], used: list[int]) -> Foreign:
    """Give every core its tasks and barriers; return who writes which tensor when."""
    foreign = Foreign()
    epoch = 0
    for each in body.ops:
        if each.name == "tile.barrier" and len(used) > 1:
            for core in used:
                builders[core].barrier(each, epoch)
            epoch += 1
        elif each.name == "tile.task":
            _note(each, epoch, foreign)
            builders[each.int_attr("core")].task(each)
        elif each.name == "tile.steps":
            inside = {c: builders[c].inner() for c in used}
            for inner in each.regions[0].ops:
                if inner.name == "tile.task":
                    _note(inner, epoch, foreign)
                    inside[inner.int_attr("core")].task(inner)
                elif inner.name == "tile.barrier" and len(used) > 1:
                    for core in used:
                        inside[core].barrier(inner, 0)
            for core in used:
                builders[core].over_time(each, inside[core].finish())
    return foreign


def _note(task: Op, epoch: int, foreign: Foreign) -> None:
    core = task.int_attr("core")
    for each in task.walk():
        if each.name == "tile.st":
            foreign.note(each.operands[0], epoch, core)


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


def _replace(module: Module, body: Block, blocks: dict[int, Block], machine: Machine) -> None:
    """Let the module hold the data and the programs only."""
    data = Block()
    for each in body.ops:
        if each.name in {"tile.task", "tile.steps"}:
            for inner in each.walk():
                inner.drop_operands()
    for each in body.ops:
        if each.name not in {"tile.task", "tile.steps", "tile.barrier"}:
            data.append(each)
    module.funcs = {"data": Func("data", data)}
    for core, block in blocks.items():
        block.append(op("core.halt", loc=Location(module.name)))
        _check_size(core, block, machine)
        module.funcs[f"core{core}"] = Func(f"core{core}", block, {"core": core})
    module.attrs["stage"] = "core"


def _check_size(core: int, block: Block, machine: Machine) -> None:
    """Refuse a program that the instruction memory cannot address."""
    count = sum(i.name not in NAMES for o in block.ops for i in o.walk())
    if count * 16 > machine.dram.bytes:
        fail(
            "E0603",
            f"core {core} needs {count * 16} bytes of instructions",
            help="choose a machine with more memory",
        )
