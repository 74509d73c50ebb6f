import pytest

from snncc.isa.instructions.encoding import make
from snncc.isa.spec import Inst
from snncc.isasim.faults import StopReason
from unit.isasim.programs import HALT, Asm, program, run, run_code, small


def registers(code: list[Inst]) -> list[int]:
    system, result = run_code([*code, HALT])
    assert result.reason is StopReason.HALT, result.fault
    return system.chip.cores[0].seq.registers


def li(rd: int, imm: int) -> Inst:
    return make("li", rd=rd, imm=imm)


def addi(rd: int, ra: int, imm: int) -> Inst:
    return make("addi", rd=rd, ra=ra, imm=imm)


def loopi(count: int, end: int) -> Inst:
    return make("loopi", count=count, end=end)


def test_arithmetic() -> None:
    code = [
        li(1, -7), li(2, 3), make("add", rd=3, ra=1, rb=2), make("sub", rd=4, ra=1, rb=2),
        make("mul", rd=5, ra=1, rb=2), addi(6, 1, -1), li(0, 9), make("add", rd=7, ra=0, rb=2),
    ]  # fmt: skip
    assert registers(code)[:8] == [0, -7, 3, -4, -10, -21, -8, 3]


def test_quotients_round_down() -> None:
    code = [
        li(1, -7), li(2, 3), make("div", rd=3, ra=1, rb=2), make("div", rd=4, ra=2, rb=1),
        make("min", rd=5, ra=1, rb=2), make("max", rd=6, ra=1, rb=2), make("div", rd=7, ra=2, rb=2),
    ]  # fmt: skip
    assert registers(code)[:8] == [0, -7, 3, -3, -1, -7, 3, 1]


def test_cores_know_their_numbers() -> None:
    code = [li(1, 5), make("coreid", rd=1), make("coreid", rd=0), HALT]
    system, _ = run(program(dict.fromkeys(range(3), code)))
    assert [core.seq.registers[:2] for core in system.chip.cores] == [[0, 0], [0, 1], [0, 2]]


def test_nested_loops_count_their_trips() -> None:
    code = [loopi(3, 5), addi(1, 1, 1), loopi(4, 4), addi(2, 2, 1), addi(3, 3, 1)]
    assert registers(code)[1:4] == [3, 12, 3]


def test_loops_may_end_at_the_same_address() -> None:
    code = [loopi(3, 4), addi(1, 1, 1), loopi(4, 4), addi(2, 2, 1)]
    assert registers(code)[1:3] == [3, 12]


def test_a_loop_may_begin_where_another_ends() -> None:
    code = [loopi(2, 2), addi(1, 1, 1), loopi(3, 4), addi(2, 2, 1)]
    assert registers(code)[1:3] == [2, 3]


def test_zero_trips_skip_the_body_and_close_the_outer_loop() -> None:
    code = [loopi(2, 4), addi(1, 1, 1), make("loop", count=5, end=4), addi(2, 2, 1)]
    assert registers(code)[1:3] == [2, 0]


def test_an_empty_body_does_nothing() -> None:
    assert registers([loopi(4_000_000_000, 1), addi(1, 1, 1)])[1] == 1


def test_eight_nested_loops() -> None:
    depth = 8
    code = [loopi(2, depth + 1) for _ in range(depth)] + [addi(1, 1, 1)]
    assert registers(code)[1] == 2**depth


@pytest.mark.parametrize(
    ("code", "kind", "pc"),
    [
        ([li(1, 2**63 - 1), addi(1, 1, 1)], "overflow", 1),
        ([li(1, -(2**63)), make("sub", rd=1, ra=0, rb=1)], "overflow", 1),
        ([li(1, 2**62), make("mul", rd=1, ra=1, rb=1)], "overflow", 1),
        ([li(1, -(2**63)), li(2, -1), make("div", rd=1, ra=1, rb=2)], "overflow", 2),
        ([li(1, 1), make("div", rd=1, ra=1, rb=0)], "division", 1),
        ([li(1, -1), make("loop", count=1, end=3), addi(2, 2, 1)], "loop", 1),
        ([loopi(2, 99), HALT], "loop", 0),
        ([addi(1, 1, 1), loopi(2, 1), HALT], "loop", 1),
        ([loopi(2, 3), loopi(2, 4), addi(1, 1, 1), addi(1, 1, 1)], "loop", 1),
        ([loopi(2, 10) for _ in range(9)] + [addi(1, 1, 1)], "loop", 8),
    ],
)
@pytest.mark.parametrize("timing", [True, False])
def test_traps(code: list[Inst], kind: str, pc: int, timing: bool) -> None:
    system, result = run_code([*code, HALT], timing=timing)
    assert result.fault is not None
    assert (result.reason, result.fault.kind) == (StopReason.TRAP, kind)
    assert result.exit_code == 3
    where = result.fault.where
    assert where is not None
    assert (where.core, where.unit, where.pc) == (0, "seq", pc)
    assert system.chip.cores[0].seq.registers[1] in (0, -1, 2**62, 2**63 - 1, -(2**63), 1)


def test_running_past_the_end_traps() -> None:
    _, result = run_code([addi(1, 1, 1)])
    assert result.fault is not None
    assert result.fault.kind == "illegal"
    assert "no halt" in result.fault.message


def test_the_machine_bounds_the_loop_depth() -> None:
    machine = small(**{"sequencer.loop_depth": 1})
    _, result = run(program([loopi(2, 3), loopi(2, 3), addi(1, 1, 1), HALT], machine))
    assert result.fault is not None
    assert result.fault.kind == "loop"


@pytest.mark.parametrize("timing", [True, False])
def test_the_limit_stops_a_long_program(timing: bool) -> None:
    code = [loopi(1 << 31, 2), addi(1, 1, 1), HALT]
    _, result = run_code(code, timing=timing, max_instructions=1000)
    assert (result.reason, result.exit_code) == (StopReason.LIMIT, 4)
    assert 1000 <= result.instructions <= 1003
    assert result.fault is not None
    assert result.fault.message == "more than 1000 instructions"
    where = result.fault.where
    assert where is not None
    assert (where.core, where.unit) == (0, "seq")


def test_streams_are_captured_when_the_instruction_is_issued() -> None:
    asm = Asm()
    asm.fill(0, 64, 0x3C00)
    register = asm.reg(64)
    asm.emit("stream", s=3, base=register, step=0, row=0)
    system, result = run_code(asm.done())
    assert result.reason is StopReason.HALT
    assert system.chip.cores[0].seq.streams[3] == (64, 0, 0)
