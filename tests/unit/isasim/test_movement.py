import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.isasim.faults import StopReason
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import Asm, program, run, run_code

RNG = np.random.default_rng(1)


def test_a_strided_load_gathers_rows() -> None:
    asm = Asm()
    asm.copy("ld", 8, 100, 6, n0=3, n1=2, dst0=20, dst1=6, src0=-30, src1=10)
    file = program(asm.done())
    system, _ = run(file)
    system.dram[:] = RNG.integers(0, 256, system.dram.size, dtype=np.uint8)
    assert system.run().reason is StopReason.HALT
    sram = system.chip.cores[0].sram
    for i in range(3):
        for j in range(2):
            at, source = 8 + 20 * i + 6 * j, 100 - 30 * i + 10 * j
            assert (sram[at : at + 6] == system.dram[source : source + 6]).all()


@given(st.data())
def test_copies_equal_a_loop_over_rows(data: st.DataObject) -> None:
    draw = data.draw
    n0, n1, size = (draw(st.integers(0, 4)) for _ in range(3))
    strides = [draw(st.integers(-12, 12)) for _ in range(4)]
    name = draw(st.sampled_from(["ld", "st"]))
    asm = Asm()
    asm.copy(name, 100, 120, size, n0, n1, *strides)
    system, _ = run(program(asm.done()), poison=False)
    core = system.chip.cores[0]
    system.dram[:] = RNG.integers(0, 256, system.dram.size, dtype=np.uint8)
    core.sram[:] = RNG.integers(0, 256, core.sram.size, dtype=np.uint8)
    source, target = (system.dram, core.sram) if name == "ld" else (core.sram, system.dram)
    expected = target.copy()
    for i in range(n0):
        for j in range(n1):
            to = 100 + i * strides[0] + j * strides[1]
            at = 120 + i * strides[2] + j * strides[3]
            expected[to : to + size] = source[at : at + size]
    assert system.run().reason is StopReason.HALT
    assert (target == expected).all()


def test_fill_writes_rows_of_the_pattern() -> None:
    asm = Asm()
    asm.fill(10, 6, 0x3C01, n0=3, dst0=8)
    system, result = run_code(asm.done())
    assert result.reason is StopReason.HALT
    expected = np.full(40, 0x7E, np.uint8)
    for row in range(3):
        expected[10 + 8 * row : 16 + 8 * row] = [1, 0x3C] * 3
    assert (system.chip.cores[0].sram[:40] == expected).all()


SRAM = 32_768


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("ld", (SRAM - 3, 0, 4), "bounds"),
        ("ld", (0, 4093, 4), "bounds"),
        ("ld", (-1, 0, 4), "bounds"),
        ("ld", (0, -4, 4), "bounds"),
        ("st", (0, SRAM - 3, 4), "bounds"),
        ("st", (4093, 0, 4), "bounds"),
        ("ld", (0, 0, 4, 2, 1, SRAM, 0, 4, 0), "bounds"),
        ("ld", (0, 0, 4, 2, 2, 8, 4, 8, -4), "bounds"),
        ("ld", (0, 0, -4), "operand"),
        ("ld", (0, 0, 4, -1), "operand"),
        ("copy", (0, 2, 4), "overlap"),
        ("copy", (0, 4, 4, 3, 1, 8, 0, 6, 0), "overlap"),
        ("ld", (1 << 62, 0, 4), "bounds"),
        ("ld", (0, 0, 4, 1 << 40), "operand"),
        ("st", (0, 0, 1 << 11, 1 << 22), "operand"),
    ],
)
@pytest.mark.parametrize("timing", [True, False])
def test_traps_change_nothing(name: str, values: tuple[int, ...], kind: str, timing: bool) -> None:
    asm = Asm()
    pc = asm.copy(name, *values)
    system, result = run_code(asm.done(), timing=timing)
    assert result.fault is not None
    assert (result.reason, result.fault.kind) == (StopReason.TRAP, kind)
    where = result.fault.where
    assert where is not None
    assert (where.core, where.unit, where.pc, where.address) == (0, "dma", pc, 16 * pc)
    assert where.text.startswith(f"{name} [")
    assert (system.chip.cores[0].sram == 0x7E).all()
    assert not system.dram.any()


@pytest.mark.parametrize("options", [{}, {"check_races": True}, {"strict_init": True}])
def test_absurd_row_counts_trap_whatever_watches(options: dict[str, bool]) -> None:
    asm = Asm()
    asm.copy("ld", 0, 0, 4, 1 << 40)
    _, result = run_code(asm.done(), **options)
    assert result.fault is not None
    assert result.fault.kind == "operand"


@pytest.mark.parametrize(
    ("dst", "size", "kind"),
    [(1, 4, "alignment"), (0, 3, "operand"), (SRAM - 2, 4, "bounds"), (0, -2, "operand")],
)
def test_fill_traps(dst: int, size: int, kind: str) -> None:
    asm = Asm()
    asm.fill(dst, size, 0x3C00)
    system, result = run_code(asm.done())
    assert result.fault is not None
    assert result.fault.kind == kind
    assert (system.chip.cores[0].sram == 0x7E).all()


@pytest.mark.parametrize(
    ("n0", "n1", "size", "message"),
    [
        (1, 1 << 40, 8, "st: n1 is 1099511627776, at most 16777216 is allowed"),
        (1 << 13, 1 << 13, 4, "st: src has 67108864 rows, at most 16777216 are allowed"),
        (1 << 12, 1 << 12, 1 << 10, "st: 17179869184 elements, at most 4294967296 are allowed"),
    ],
)
def test_amounts_that_strides_of_0_allow_trap_alike_on_every_way(
    n0: int, n1: int, size: int, message: str
) -> None:
    asm = Asm()
    asm.copy("st", 0, 0, size, n0=n0, n1=n1)
    for options in (
        RunOptions(), RunOptions(plan=False), RunOptions(engine="reference"),
        RunOptions(timing=False), RunOptions(threads=2), RunOptions(check_races=True),
        RunOptions(strict_init=True),
    ):  # fmt: skip
        fault = System(program(asm.done()), options).run().fault
        assert fault is not None
        assert (fault.kind, fault.message) == ("operand", message), options
