"""What one task may use up: address registers and semaphores; and a machine there must be."""

import pytest

from made_steps import dense
from snncc.compiler.diag import CompileError
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Location, Op, Type, Value
from snncc.compiler.passes.lowering.kit.registers import Registers
from snncc.compiler.passes.lowering.kit.sync import TASK_SEMAPHORES, synchronise
from snncc.compiler.passes.lowering.kit.tree import LeafNode, LoopNode
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import PassManager
from snncc.compiler.pipeline.plan import plan
from snncc.isa.spec import REGISTERS, Unit

PLACE = Location("net.onnx:fc1")


def handed_over(count: int) -> LoopNode:
    """Return a task in which the DMA unit writes ``count`` buffers that the lanes read at once."""
    task = Op("tile.task", attrs={"name": "fc1"}, loc=PLACE)
    root = LoopNode(task, None, 0)
    for _ in range(count):
        buffer = Value(Type("sram", (16,), "f16"))
        for unit in (Unit.DMA, Unit.VPU):
            leaf = LeafNode(task, root, len(root.children), unit=unit)
            leaf.accesses[buffer] = unit is Unit.DMA
            leaf.note(buffer, unit, unit is Unit.DMA)
            root.children.append(leaf)
    return root


def test_a_task_may_use_all_semaphores() -> None:
    root = handed_over(TASK_SEMAPHORES)
    synchronise(root)
    posted = {s.number for leaf in root.children for s in leaf.after}
    assert posted == set(range(TASK_SEMAPHORES))


def test_one_semaphore_too_many() -> None:
    with pytest.raises(CompileError) as caught:
        synchronise(handed_over(TASK_SEMAPHORES + 1))
    (found,) = caught.value.diagnostics
    assert (found.code, str(found.where)) == ("E0602", "net.onnx:fc1")
    assert f"more than {TASK_SEMAPHORES} semaphores" in found.message


def test_one_register_too_many() -> None:
    registers = Registers("net.onnx:fc1")
    taken = {registers.take() for _ in range(len(registers.free))}
    assert len(taken) <= REGISTERS
    with pytest.raises(CompileError) as caught:
        registers.take()
    assert caught.value.diagnostics[0].code == "E0602"
    registers.give(3)
    assert registers.take() == 3


def test_tiling_without_a_machine() -> None:
    module = clone(dense(1, 1, 2, 2).module)
    with pytest.raises(CompileError) as caught:
        PassManager(plan("tile", module.stage), PassContext()).run(module)
    (found,) = caught.value.diagnostics
    assert found.code == "E0403"
    assert "--target" in found.help
