"""All cores run one program: what differs is computed from the core's number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_steps import Made, dense
from phased_steps import random_step
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Attribute, Block, Op, Type, Value, op
from snncc.compiler.ir.portions import Portion, portions
from snncc.compiler.passes.lowering.kit.hazards import Access, dram_access
from snncc.compiler.passes.lowering.kit.scalars import (
    CORE,
    TIME,
    Scalar,
    between,
    blend,
    compute,
    count,
    first,
    has,
    split,
    value_of,
)
from snncc.compiler.passes.lowering.kit.steps import BufferUse, CoreStep, StepReader, steps_of
from snncc.compiler.passes.lowering.kit.versions import find_versions
from snncc.compiler.passes.mapping.kit.alike import alike
from snncc.compiler.passes.mapping.kit.regions import Region
from snncc.isa.spec import Unit
from snncc.isasim.system import RunOptions
from whole_stack import TILE, compiled, machine, run_passes, same, simulate

LOOPS = st.lists(st.integers(1, 30), min_size=1, max_size=5)


def dealt(loops: list[int], cores: int) -> list[Portion]:
    total = sum(loops)
    return [Portion(sum(loops[:i]), trips, total, cores) for i, trips in enumerate(loops)]


def test_shares_by_hand() -> None:
    """Seven iterations for three cores: 3, 2, 2; the loops have 4 and 3 of them."""
    one, two = dealt([4, 3], 3)
    assert [list(one.run(core)) for core in range(3)] == [[0, 1, 2], [3], []]
    assert [list(two.run(core)) for core in range(3)] == [[], [0], [1, 2]]
    assert (one.counts(), two.counts()) == ((0, 3), (0, 2))


@given(LOOPS, st.integers(1, 20))
def test_every_iteration_is_dealt_once_and_evenly(loops: list[int], cores: int) -> None:
    each = dealt(loops, cores)
    for portion in each:
        runs = [i for core in range(cores) for i in portion.run(core)]
        assert runs == list(range(portion.trips))
    mine = [sum(len(portion.run(core)) for portion in each) for core in range(cores)]
    assert max(mine) - min(mine) <= 1


@given(LOOPS, st.integers(1, 20))
def test_cores_compute_their_shares(loops: list[int], cores: int) -> None:
    for portion in dealt(loops, cores):
        for core in range(cores):
            mine = portion.run(core)
            assert value_of(count(portion), core) == len(mine)
            assert not mine or value_of(first(portion), core) == mine.start
            for i in range(4):
                assert value_of(has(portion, i), core) == (len(mine) > i)


@given(st.lists(st.integers(-99, 99), min_size=1, max_size=6), st.integers(0, 19))
def test_blends_are_the_values_of_the_parts(values: list[int], core: int) -> None:
    """Part m begins with core 3 m."""
    reached = [between(compute("sub", CORE, 3 * m - 1), 0, 1) for m in range(1, len(values))]
    assert value_of(blend(values, reached), core) == values[min(core // 3, len(values) - 1)]


MNEMONICS = ("add", "sub", "mul", "min", "max")
SCALARS = st.recursive(
    st.one_of(st.integers(-50, 50), st.just(CORE), st.just(TIME)),
    lambda inner: st.builds(compute, st.sampled_from(MNEMONICS), inner, inner),
    max_leaves=8,
)


@given(SCALARS, SCALARS, st.integers(0, 19), st.integers(0, 9))
def test_folding_changes_no_value(a: Scalar, b: Scalar, core: int, time: int) -> None:
    x, y = value_of(a, core, time), value_of(b, core, time)
    assert value_of(compute("add", a, b), core, time) == x + y
    assert value_of(compute("sub", a, b), core, time) == x - y
    assert value_of(compute("mul", a, b), core, time) == x * y
    fixed, rest = split(a)
    assert fixed + value_of(rest, core, time) == x
    assert split(rest)[0] == 0 or isinstance(a, int)


@pytest.mark.parametrize("seed", range(4))
def test_cores_share_one_program(seed: int) -> None:
    step = random_step(seed)
    expected = evaluate(clone(step.module), "step", step.inputs)
    program = compiled(step.module, machine(7, 8192))
    assert len({id(core.code) for core in program.cores}) == 1
    got = simulate(program, step.inputs, RunOptions(check_races=True))
    same(expected, got, f"random step {seed}")


def test_code_does_not_grow_with_the_number_of_cores() -> None:
    made = dense(2, 40, 90, 640)
    sizes = [len(compiled(made.module, machine(n, 16384)).cores[0].code) for n in (2, 5, 10, 20)]
    assert max(sizes) < 2 * min(sizes)


def test_loops_of_tiles_that_do_not_divide_are_alike() -> None:
    """640 columns in tiles with a remainder: one loop of full tiles, one of the rest."""
    made = dense(1, 64, 64, 600)
    work = clone(made.module)
    run_passes(work, f"{TILE},map", machine(20, 8192))
    several = 0
    for task in work.func("step").body.ops:
        if task.name != "tile.task":
            continue
        for group in alike(task):
            mine = [portions(task, 20)[loop] for loop in group]
            assert [a.start + a.trips for a in mine[:-1]] == [b.start for b in mine[1:]]
            several += len(group) > 1
    assert several
    expected = evaluate(clone(made.module), "step", made.inputs)
    program = compiled(made.module, machine(20, 8192))
    got = simulate(program, made.inputs, RunOptions(check_races=True))
    same(expected, got, "20 cores")
    assert any(np.asarray(value).any() for value in got.values())


BUFFER = Value(Type("sram", (64,), "u8"), "b")
NOTHING = Op("tile.task", attrs={"name": "t"})


def touch(*ranges: tuple[int, int], reads: bool = False) -> CoreStep:
    """A step that writes (or reads) a range of bytes in each of loops that are alike."""
    variants = tuple(
        (BufferUse(BUFFER, low, high, reads, not reads, True),) for low, high in ranges
    )
    uses = tuple(dict.fromkeys(use for one in variants for use in one))
    return CoreStep(NOTHING, NOTHING, Unit.FP, (), uses, variants, {}, ())


@pytest.mark.parametrize("order", [1, -1])
def test_a_version_ends_only_where_it_ends_in_all_loops(order: int) -> None:
    """The second step writes all in one loop, half in the other, where the first's is read."""
    steps = [touch((0, 10)), touch(*[(0, 10), (0, 5)][::order]), touch((0, 10), reads=True)]
    found, _ = find_versions(list(steps))
    assert [(v.first, v.last) for v in found] == [(0, 2)]
    both = [touch((0, 10)), touch((0, 10), (0, 10)), touch((0, 10), reads=True)]
    assert [(v.first, v.last) for v in find_versions(list(both))[0]] == [(0, 0), (1, 2)]


def test_places_that_depend_on_the_core() -> None:
    """Rectangles that are moved alike are compared; others may lie anywhere."""
    rows = [Region(write, low, low + 2, 0, 8) for write, low in ((True, 0), (False, 4), (False, 1))]
    here = compute("mul", CORE, 16)
    store, apart, over = (Access(region, here) for region in rows)
    assert not store.meets(apart)
    assert store.meets(over)
    for moved in (0, compute("mul", CORE, 32)):
        assert store.meets(Access(rows[1], moved))
        assert not over.meets(Access(rows[1], moved))  # nobody writes


def test_a_step_touches_what_it_touches_in_any_of_its_loops() -> None:
    """A remainder that comes first, and is narrower than the tiles behind it."""

    def loop(trips: int, size: int) -> Op:
        at = ((0, 0), (0, 64))
        attrs: dict[str, Attribute] = {
            "addr": ("dst", "src"), "at": at, "n0": 1, "n1": 1, "bytes": size,
            "dst0": 0, "dst1": 0, "src0": 0, "src1": 0,
        }  # fmt: skip
        body = Block()
        body.append(op("tile.ld", [buffer, tensor_], attrs=attrs))
        return op("tile.parallel", attrs={"trips": trips}, regions=[body])

    dram = op("tile.dram", types=[Type("dram", (4, 32), "f16")],
              attrs={"name": "x", "role": "input", "row_bytes": 64, "bytes": 256})  # fmt: skip
    sram = op("tile.sram", types=[Type("sram", (64,), "u8")], attrs={"name": "b", "slots": 1})
    buffer, tensor_ = sram.result, dram.result
    block = Block()
    for each in (sram, loop(2, 16), loop(2, 64)):
        block.append(each)
    task = op("tile.task", attrs={"name": "t", "id": 0}, regions=[block])
    steps = list(steps_of(StepReader({}, 4).read(task)))
    assert len(steps) == 1
    assert {(use.low, use.high) for use in steps[0].uses} == {(0, 16), (0, 64)}
    assert [value_of(steps[0].values["bytes"], core) for core in range(4)] == [16, 16, 64, 64]
    starts = [value_of(steps[0].at[1][0], core) for core in range(4)]
    assert starts == [0, 64, 0, 64]
    place = dram_access(steps[0], 4)
    assert place is not None
    assert place[1].region.row_high >= 4, "the size depends on the core: anywhere in the tensor"


def test_sixty_four_cores_meet_at_barriers() -> None:
    """The mask of all others has the bit that is a register's sign."""
    made = Made(1, 64)
    x = made.seq("x", 64)
    for name, k, n in (("a", 64, 2048), ("b", 2048, 64)):
        x = made.b.one("phase.linear", x, made.param(name, k, n))
    made.output(x=x)
    expected = evaluate(clone(made.module), "step", made.inputs)
    program = compiled(made.module, machine(64))
    assert len(program.cores) == 64
    got = simulate(program, made.inputs, RunOptions(check_races=True))
    same(expected, got, "64 cores")
