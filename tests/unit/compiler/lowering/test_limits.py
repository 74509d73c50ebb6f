"""What a program may use up: address registers; and a machine there must be."""

import pytest

from made_steps import dense
from snncc.compiler.diag import CompileError
from snncc.compiler.ir.clone import clone
from snncc.compiler.passes.lowering.kit.registers import Registers
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import PassManager
from snncc.compiler.pipeline.plan import plan
from snncc.isa.spec import REGISTERS
from whole_stack import machine, run_passes


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


def test_lowering_without_a_machine() -> None:
    module = clone(dense(1, 1, 2, 2).module)
    run_passes(module, "tile,map", machine(1))
    with pytest.raises(CompileError) as caught:
        PassManager(plan("lower", module.stage), PassContext()).run(module)
    (found,) = caught.value.diagnostics
    assert found.code == "E0403"
    assert "--target" in found.help
