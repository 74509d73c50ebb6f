"""Turn mapped tasks into the instructions of each core.

Semaphores come from hazards on scratchpad buffers, registers and streams are assigned, barriers
become messages: every core tells core 0, core 0 releases all.
"""

from __future__ import annotations

from typing import cast

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Attribute, Block, Func, Location, Module, Op, Value, op
from snncc.compiler.ir.microprograms import microprograms
from snncc.compiler.passes.lowering.allocate import cores_in_use
from snncc.compiler.passes.lowering.kit.registers import TIME_REGISTER, Registers
from snncc.compiler.passes.lowering.kit.select import CoreWriter
from snncc.compiler.passes.lowering.kit.sync import END, START, synchronise
from snncc.compiler.passes.lowering.kit.tree import build_tree
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass
from snncc.isa.machine.machine import Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.spec import Unit

BARRIER_TAG = 0


@compiler_pass(takes="mapped", gives="core", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Write one function of instructions per core."""
    programs = microprograms(module)
    body = module.func("step").body
    cores = cast("int", module.attrs["cores"])
    addresses: dict[Value, int] = {}
    keep: list[Op] = []
    blocks = [Block() for _ in range(cores)]
    registers = [Registers() for _ in range(cores)]
    numbers = {name: i for i, name in enumerate(programs)}
    used = cores_in_use(body)
    for each in body.ops:
        if each.name == "tile.dram":
            addresses[each.result] = each.int_attr("address")
            keep.append(each)
        elif each.name == "tile.barrier":
            for core in used:
                _barrier(blocks[core], registers[core], core, used, each.loc)
        elif each.name == "tile.task":
            core = each.int_attr("core")
            _task(blocks[core], registers[core], each, programs, numbers, addresses)
        elif each.name == "tile.steps":
            _steps(blocks, used, each, programs, numbers, addresses)
            for core in used:  # the loop's tasks used them as they liked
                registers[core].forget()
        else:
            keep.append(each)
    data = Block()
    for each in body.ops:
        if each.name in {"tile.task", "tile.steps"}:
            for inner in each.walk():
                inner.drop_operands()
    for each in keep:
        data.append(each)
    module.funcs = {"data": Func("data", data)}
    for core, block in enumerate(blocks):
        block.append(op("core.halt", loc=Location(module.name)))
        _check_size(core, block, context.machine)
        module.funcs[f"core{core}"] = Func(f"core{core}", block, {"core": core})
    module.attrs["stage"] = "core"
    return True


def _steps(
    blocks: list[Block],
    used: list[int],
    steps: Op,
    programs: dict[str, MicroProgram],
    numbers: dict[str, int],
    drams: dict[Value, int],
) -> None:
    """Write a loop over time on every core in use; a register counts the steps."""
    bodies = {core: Block() for core in used}
    registers = {core: Registers() for core in used}
    for each in steps.regions[0].ops:
        if each.name == "tile.barrier":
            for core in used:
                _barrier(bodies[core], registers[core], core, used, each.loc)
        else:
            core = each.int_attr("core")
            _task(bodies[core], registers[core], each, programs, numbers, drams)
    for core in used:
        writer = CoreWriter(blocks[core], {}, {}, Registers("steps"), "", "sync", steps.loc)
        writer.emit("li", rd=TIME_REGISTER, imm=0)
        inner = CoreWriter(bodies[core], {}, {}, Registers("steps"), "", "sync", steps.loc)
        inner.emit("addi", rd=TIME_REGISTER, ra=TIME_REGISTER, imm=1)
        writer.loop(steps.int_attr("trips"), bodies[core])


def _task(
    block: Block,
    registers: Registers,
    task: Op,
    programs: dict[str, MicroProgram],
    numbers: dict[str, int],
    drams: dict[Value, int],
) -> None:
    """Write one task."""
    root = build_tree(task, programs)
    root.outer = task.int_attr("outer", 0)
    synchronise(root)
    addresses = dict(drams)
    for each in task.regions[0].ops:
        if each.name == "tile.sram":
            addresses[each.result] = each.int_attr("offset")
    name = task.str_attr("name")
    _name_buffers(block, task)
    registers.begin(str(task.loc))
    writer = CoreWriter(
        block,
        numbers,
        addresses,
        registers,
        task.str_attr("layer", name),
        task.str_attr("phase", ""),
        task.loc,
    )
    writer.task(root)


def _name_buffers(block: Block, task: Op) -> None:
    """Say which buffers a task has, for those who look into a run."""
    tensors: dict[Value, str] = {}
    for each in task.walk():
        if each.name in {"tile.ld", "tile.st"}:
            names = [_tensor_name(v) for v in each.operands]
            for value, other in zip(each.operands, reversed(names), strict=True):
                if other:
                    tensors.setdefault(value, other)
    for each in task.regions[0].ops:
        if each.name == "tile.sram":
            attrs: dict[str, Attribute] = {
                "name": f"{task.str_attr('name')}.{each.str_attr('name')}",
                "address": each.int_attr("offset"),
                "bytes": each.result.type.size * each.int_attr("slots"),
                "tensor": tensors.get(each.result, ""),
            }
            block.append(op("core.buffer", attrs=attrs, loc=task.loc))


def _tensor_name(value: Value) -> str:
    owner = value.owner
    named = isinstance(owner, Op) and owner.name == "tile.dram"
    return owner.str_attr("name") if named and isinstance(owner, Op) else ""


def _barrier(block: Block, registers: Registers, core: int, used: list[int], loc: Location) -> None:
    """Write a core's part of a barrier; the first core in use is the hub."""
    registers.begin("barrier")
    writer = CoreWriter(block, {}, {}, registers, "", "sync", loc)
    units = {u: i for i, u in enumerate(Unit)}
    hub, others = used[0], [c for c in used if c != used[0]]
    if not others:
        return
    before, after = START[Unit.NOC], END[Unit.NOC]
    writer.emit("post", unit=units[Unit.DMA], sem=before, n=1)
    writer.emit("wait", unit=units[Unit.NOC], sem=before, n=1)
    if core == hub:
        for other in others:
            place = writer.constant(other)
            writer.emit("recv", core=place, tag=BARRIER_TAG, dst=0, bytes=0)
            registers.locked.clear()
        mask = sum(1 << c for c in others)
        place = writer.constant(mask if mask < 1 << 63 else mask - (1 << 64))
        writer.emit("mcast", mask=place, tag=BARRIER_TAG, src=0, bytes=0)
    else:
        place = writer.constant(hub)
        writer.emit("send", core=place, tag=BARRIER_TAG, src=0, bytes=0)
        writer.emit("recv", core=place, tag=BARRIER_TAG, dst=0, bytes=0)
    writer.emit("post", unit=units[Unit.NOC], sem=after, n=1)
    writer.emit("wait", unit=units[Unit.DMA], sem=after, n=1)


def _check_size(core: int, block: Block, machine: object) -> None:
    """Refuse a program that the instruction memory cannot address."""
    count = sum(i.name != "core.buffer" for o in block.ops for i in o.walk())
    if isinstance(machine, Machine) and count * 16 > machine.dram.bytes:
        fail(
            "E0603",
            f"core {core} needs {count * 16} bytes of instructions",
            help="choose a machine with more memory",
        )
