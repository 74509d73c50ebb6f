"""Registers, semaphores and addresses of lowered programs."""

import pytest

from made_steps import Made, dense
from snncc.compiler.diag import CompileError
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Value
from snncc.isa.spec import REGISTERS, STREAMS
from snncc.isasim.system import RunOptions
from whole_stack import TILE, check_all, compiled, machine, run_passes, same, simulate


def many_streams(count: int) -> Made:
    """Return a map over many operands with rows and columns that need all loops."""
    made = Made(3, 5)
    operands = [made.seq(f"x{i}", 70) for i in range(count)]

    def total(e: Builder, args: list[Value]) -> list[Value]:
        found = args[0]
        for each in args[1:]:
            found = e.one("ew.add", found, each)
        return [found]

    made.output(y=made.region("map", operands, [operands[0].type], total)[0])
    return made


@pytest.mark.parametrize("count", [1, 10, STREAMS - 1])
@pytest.mark.parametrize("scratchpad", [4096, 0])
def test_as_many_streams_as_there_are(count: int, scratchpad: int) -> None:
    made = many_streams(count)
    check_all(made.module, made.inputs, machine(3, scratchpad))


def test_more_streams_than_there_are_is_an_error_of_the_model() -> None:
    made = many_streams(STREAMS)
    with pytest.raises(CompileError) as caught:
        compiled(made.module, machine(3))
    assert caught.value.diagnostics[0].code == "E0402"


def test_programs_keep_to_the_registers() -> None:
    made = many_streams(STREAMS - 1)
    program = compiled(made.module, machine(1, 4096))
    for inst in program.cores[0].code:
        for operand, value in zip(inst.insn.operands, inst.values, strict=True):
            if operand.kind.name == "register":
                assert 0 <= value < REGISTERS


def test_nothing_loads_zero_which_register_zero_holds() -> None:
    """But for what counts from there: addresses and steps that a loop moves on."""
    zeros = 0
    for made in (many_streams(10), dense(3, 4, 90, 70), dense(8, 16, 512, 256)):
        for core in compiled(made.module, machine(2, 8192)).cores:
            writes = [i for i in core.code if any(o.name == "rd" for o in i.insn.operands)]
            for at, inst in enumerate(writes):
                if inst.insn.mnemonic == "li" and inst["imm"] == 0:
                    later = next((i for i in writes[at + 1 :] if i["rd"] == inst["rd"]), None)
                    assert later is not None
                    assert (later.insn.mnemonic, later["ra"]) == ("addi", inst["rd"])
                    zeros += 1
    assert zeros


def test_any_legal_order_of_units_gives_the_same_bits() -> None:
    made = dense(3, 4, 90, 70)
    expected = evaluate(clone(made.module), "step", made.inputs)
    program = compiled(made.module, machine(3, 2048))
    for seed in range(10):
        options = RunOptions(engine="fast", timing=False, order_seed=seed)
        same(expected, simulate(program, made.inputs, options), f"order {seed}")


def test_dram_that_is_too_small() -> None:
    made = dense(2, 2, 600, 600)
    small = machine(1).with_(dram_bytes=1 << 16)
    with pytest.raises(CompileError) as caught:
        compiled(made.module, small)
    (found,) = caught.value.diagnostics
    assert found.code == "E0601"
    assert "65536" in found.message


def test_every_buffer_of_a_task_has_a_place_of_its_own() -> None:
    made = dense(2, 3, 50, 60)
    work = clone(made.module)
    target = machine(4, 4096)
    run_passes(work, f"{TILE},map,allocate", target)
    for task in work.func("step").body.ops:
        if task.name != "tile.task":
            continue
        top = 0
        for each in task.regions[0].ops:
            if each.name == "tile.sram":
                assert each.int_attr("offset") == top
                top += each.result.type.size * each.int_attr("slots")
        assert top <= 4096


def test_a_program_that_is_too_large_for_its_memory() -> None:
    tiny = machine(1).with_(dram_bytes=1 << 10)
    with pytest.raises(CompileError) as caught:
        compiled(dense(1, 1, 2, 2).module, tiny)
    (found,) = caught.value.diagnostics
    assert found.code == "E0603", found
    assert "the program needs" in found.message
