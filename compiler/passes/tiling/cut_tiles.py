"""Cut every op of the training step into tasks that fit a core's scratchpad.

Matches each op of ``@step`` and emits ``tile.task`` ops over DRAM tensors (one ``tile.dram`` per
value that lives in memory), with loops of static trip count and tile operations that mirror the
instruction table.  Sizes come from the machine's scratchpad and core count.  The result holds the
single function ``@step`` of stage ``tiled``.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.diag import CompileError, fail
from snncc.compiler.ir.core import Block, Func, Location, Module, Op, Type, Value, op
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.sizes import Room
from snncc.compiler.passes.tiling.templates import batched as _batched
from snncc.compiler.passes.tiling.templates import conv as _conv
from snncc.compiler.passes.tiling.templates import conv_gradient as _conv_gradient
from snncc.compiler.passes.tiling.templates import loss as _loss
from snncc.compiler.passes.tiling.templates import moves as _moves
from snncc.compiler.passes.tiling.templates import norm as _norm
from snncc.compiler.passes.tiling.templates import pool as _pool
from snncc.compiler.passes.tiling.templates import readout as _readout
from snncc.compiler.passes.tiling.templates import steps as _steps
from snncc.compiler.passes.tiling.templates import sums as _sums
from snncc.compiler.passes.tiling.templates.dispatch import HANDLERS, Handler, unsupported
from snncc.compiler.passes.tiling.templates.readout import copy_tensor
from snncc.compiler.passes.tiling.templates.tensors import TensorPlan, export_ops, plan_tensors
from snncc.compiler.pipeline.registry import PassContext, compiler_pass
from snncc.isa.machine.machine import Machine
from snncc.isa.numbers.integers import ceil_div

__all__ = ["Options", "run"]

for _family in (_readout, _loss, _moves, _norm, _sums, _batched, _conv, _conv_gradient, _pool):
    HANDLERS.update(_family.HANDLERS)
HANDLERS.update(_steps.HANDLERS_OF_STEPS)


@dataclass(frozen=True, slots=True)
class Options:
    """Limits; 0 means what the machine has.

    ``min_work``: elements (or 16 multiply-accumulates) that are worth starting one more core for.
    """

    scratchpad: int = 0
    cores: int = 0
    min_work: int = 4096


@compiler_pass(takes="phased", gives="tiled", options=Options)
def run(module: Module, options: Options, context: PassContext) -> bool:
    """Replace the phased function by tiled tasks."""
    machine = context.machine
    if not isinstance(machine, Machine):
        fail("E0403", "tiling needs to know the machine", help="name one with --target")
    limit = options.scratchpad or machine.scratchpad.bytes
    cores = options.cores or machine.cores
    step = module.func("step")
    plan = plan_tensors(step, lambda product: fusing_pays(product, limit), limit)
    body = Block()
    tiling = TilingContext(
        Room(limit, limit // 2),
        limit,
        cores,
        machine,
        arguments=plan.arguments,
        fused=plan.fused,
        followers=plan.followers,
    )
    declared = _declare(body, plan, tiling)
    for each in step.body.ops:
        if each in plan.silent:
            continue
        handler = HANDLERS.get(each.name)
        if handler is None:
            unsupported(each)
            continue
        product = plan.fused.get(each, each)
        tiling.cores = max(cores_for(o, cores, options.min_work) for o in (each, product))
        _roomy(tiling, handler, each)
    for store, value, target in plan.copies:
        copy_tensor(tiling, store, value, target.type, declared[id(target)])
    for each in (*tiling.extra, *tiling.tasks, *export_ops(plan, tiling.tensors)):
        body.append(each)
    body.append(op("tile.return", loc=Location(module.name)))
    module.funcs = {"step": Func("step", body)}
    module.attrs["stage"] = "tiled"
    module.attrs["cores"] = cores
    module.attrs["microprograms"] = dict(tiling.programs)
    return True


def _roomy(tiling: TilingContext, handler: Handler, each: Op) -> None:
    """Cut an op so that its next tiles find room beside its tiles, where that can be."""
    count, tasks = tiling.count, len(tiling.tasks)
    tiling.limit = tiling.room.several
    try:
        handler(tiling, each)
    except CompileError:
        del tiling.tasks[tasks:]
        tiling.count, tiling.limit = count, tiling.room.most
        handler(tiling, each)
    tiling.limit = tiling.room.most


PRODUCTS = {
    "phase.linear",
    "phase.linear_dx",
    "phase.linear_dw",
    "phase.conv",
    "phase.conv_dx",
    "phase.conv_dw",
    "phase.conv_transpose",
    "phase.matmul",
}


def fusing_pays(product: Op, limit: int) -> bool:
    """Whether a product's weights leave enough room beside a scan's own buffers."""
    k = product.operands[0].type.shape[-1]
    return k * 16 * 2 * 4 <= limit


def cores_for(each: Op, cores: int, min_work: int) -> int:
    """Return how many cores an op is dealt out to: few for little work.

    Starting a task costs every core some twenty instructions and a barrier.
    """
    work = sum(v.type.size for v in (*each.operands, *each.results))
    if each.name in PRODUCTS:
        rows = each.operands[0].type.size
        second = each.operands[1].type
        work = max(work, rows * second.size // max(1, second.step_shape[0]) // 16)
    return max(1, min(cores, ceil_div(work, max(1, min_work))))


def _declare(body: Block, plan: TensorPlan, tiling: TilingContext) -> dict[int, Value]:
    """Declare DRAM tensors; values that share memory share one declaration."""
    made: dict[int, Value] = {}
    for value, tensor in plan.tensors.items():
        if id(tensor) not in made:
            type_ = Type("dram", tensor.type.shape, tensor.type.dtype)
            declared = op(
                "tile.dram",
                types=[type_],
                attrs=tensor.attrs(),
                loc=tensor.loc,
                names=[tensor.name],
            )
            body.append(declared)
            made[id(tensor)] = declared.result
        tiling.tensors[value] = made[id(tensor)]
    return made
