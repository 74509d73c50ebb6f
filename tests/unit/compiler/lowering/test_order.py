"""Versions, places, order of issue and semaphores: each against a plain rule that is tried out."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from made_steps import Made, dense
from snncc.compiler.diag import CompileError
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Op, Type, Value
from snncc.compiler.ir.microprograms import microprograms
from snncc.compiler.passes.lowering.kit.order import Issue, arrange
from snncc.compiler.passes.lowering.kit.placement import FreeSpace, place
from snncc.compiler.passes.lowering.kit.steps import (
    BufferUse,
    CoreStep,
    Repeat,
    StepReader,
    steps_of,
)
from snncc.compiler.passes.lowering.kit.tokens import PAIRS, tokens
from snncc.compiler.passes.lowering.kit.versions import Version, aligned, find_versions
from snncc.isa.cost.trips import CodeReader
from snncc.isa.spec import Unit
from snncc.isasim.system import RunOptions, System
from whole_stack import TILE, compiled, machine, run_passes, same, simulate

UNITS = (Unit.DMA, Unit.NOC, Unit.FP, Unit.WG, Unit.VPU)
BUFFER = Value(Type("sram", (128,), "u8"))
NOTHING = Op("tile.task", attrs={"name": "t"})


def drawn(seed: int) -> list[Issue]:
    """Entries with dependences on earlier ones of other units."""
    rng = random.Random(seed)
    entries: list[Issue] = []
    for number in range(60):
        unit = rng.choice(UNITS)
        after = {n for n in range(max(0, number - 12), number) if rng.random() < 0.15}
        entries.append(Issue(number, unit, rng.randrange(1, 200), rng.randrange(70), after))
    return entries


@pytest.mark.parametrize("seed", range(30))
def test_everything_is_issued_behind_what_it_depends_on(seed: int) -> None:
    entries = drawn(seed)
    order = arrange(entries)
    assert sorted(order) == list(range(len(entries)))
    places = {number: place for place, number in enumerate(order)}
    for entry in entries:
        assert all(places[before] < places[entry.number] for before in entry.after)
    for unit in UNITS:
        mine = [n for n in order if entries[n].unit is unit]
        if unit is not Unit.DMA:
            assert mine == sorted(mine), "engines keep their order"


@pytest.mark.parametrize("seed", range(30))
def test_semaphores_let_nothing_start_too_early_and_nobody_wait_for_ever(seed: int) -> None:
    """Units run at random speeds, held back by nothing but their tokens."""
    entries, rng = drawn(seed), random.Random(seed)
    order = arrange(entries)
    found, most = tokens(entries, order)
    queues = {u: deque(n for n in order if entries[n].unit is u) for u in UNITS}
    held: Counter[int] = Counter()
    done: set[int] = set()
    while any(queues.values()):
        able = [
            u for u, queue in queues.items()
            if queue and all(held[PAIRS[s, u]] > 0 for s in found[queue[0]].waits)
        ]  # fmt: skip
        assert able, "deadlock"
        unit = rng.choice(able)
        number = queues[unit].popleft()
        held.subtract(PAIRS[source, unit] for source in found[number].waits)
        assert entries[number].after <= done
        done.add(number)
        held.update(PAIRS[unit, target] for target in found[number].posts)
        assert max(held.values(), default=0) <= most
    assert not +held, "every token is taken"


def test_a_token_that_another_one_implies_is_left_out() -> None:
    """The store waits for the lanes, which waited for the product, which waited for the load."""
    entries = [
        Issue(0, Unit.DMA, 10, 0),
        Issue(1, Unit.FP, 10, 0, {0}),
        Issue(2, Unit.VPU, 10, 0, {0, 1}),
        Issue(3, Unit.DMA, 10, 0, {1, 2}),
    ]
    found, most = tokens(entries, arrange(entries))
    assert most == 1
    assert [t.waits for t in found] == [[], [Unit.DMA], [Unit.FP], [Unit.VPU]]
    assert [t.posts for t in found] == [[Unit.FP], [Unit.VPU], [Unit.DMA], []]


def test_tokens_that_one_semaphore_may_hold() -> None:
    """Four loads run ahead of what uses them; behind a transfer that waits for the second use, two
    tokens are known to be taken, so two are left."""
    loads = [Issue(n, Unit.DMA, 10, 0) for n in range(4)]
    uses = [Issue(4 + n, Unit.FP, 500, 0, {n}) for n in range(4)]
    assert tokens([*loads, *uses], range(8))[1] == 4
    entries = [*loads, *uses, Issue(8, Unit.DMA, 10, 0, {5})]
    assert tokens(entries, [0, 1, 4, 5, 8, 2, 3, 6, 7])[1] == 2


def test_a_machine_that_counts_too_little_is_refused() -> None:
    made = dense(8, 16, 512, 256)
    with pytest.raises(CompileError) as caught:
        compiled(made.module, machine(1).with_(**{"sequencer.semaphore_max": 1}))
    assert caught.value.diagnostics[0].code == "E0604"


def step(low: int, high: int, *, reads: bool, writes: bool, whole: bool = True) -> CoreStep:
    uses = (BufferUse(BUFFER, low, high, reads, writes, whole),)
    return CoreStep(NOTHING, NOTHING, Unit.FP, (), uses, (uses,), {}, ())


def versions_of(steps: list[CoreStep]) -> list[tuple[int, int]]:
    found, maps = find_versions(list(steps))
    assert len(maps) == len(steps)
    return [(v.first, v.last) for v in found]


def test_a_version_begins_where_no_old_byte_is_read_any_more() -> None:
    def load(low: int, high: int) -> CoreStep:
        return step(low, high, reads=False, writes=True)

    def use(low: int, high: int) -> CoreStep:
        return step(low, high, reads=True, writes=False)

    assert versions_of([load(0, 64), use(0, 64), load(0, 64), use(0, 64)]) == [(0, 1), (2, 3)]
    # half of it is kept
    assert versions_of([load(0, 64), use(0, 64), load(0, 32), use(0, 64)]) == [(0, 3)]
    # two loads make one value
    assert versions_of([load(0, 32), load(32, 64), use(0, 64), load(0, 64), use(0, 8)]) == [
        (0, 2),
        (3, 4),
    ]
    # sums go on
    assert versions_of([load(0, 64), step(0, 64, reads=True, writes=True), use(0, 64)]) == [(0, 2)]
    # a write with gaps ends nothing
    gaps = step(0, 64, reads=False, writes=True, whole=False)
    assert versions_of([load(0, 64), use(0, 64), gaps, use(0, 64)]) == [(0, 3)]


def test_what_crosses_the_border_of_a_kept_loop_has_one_version() -> None:
    load = step(0, 64, reads=False, writes=True)
    inside = step(0, 64, reads=True, writes=True)
    store = step(0, 64, reads=True, writes=False)
    found, _ = find_versions([load, Repeat(9, [inside]), store])
    assert [(v.first, v.last, v.size) for v in found] == [(0, 2, 128)]


@pytest.mark.parametrize("seed", range(20))
def test_versions_that_live_together_lie_apart(seed: int) -> None:
    rng = random.Random(seed)
    pad = FreeSpace(4096)
    for clock in range(0, 900, 90):
        versions = [
            Version(BUFFER, first, first + rng.randrange(6), rng.randrange(1, 700))
            for first in sorted(rng.randrange(90) for _ in range(60))
        ]
        if not place(versions, pad, clock):
            assert pad.take(4096) == 0, "a failure leaves the scratchpad as it was"
            pad = FreeSpace(4096)
            continue
        for i, a in enumerate(versions):
            assert 0 <= a.address <= 4096 - aligned(a.size)
            for b in versions[:i]:
                apart = (
                    a.address + a.size <= b.address
                    or b.address + b.size <= a.address
                    or a.first > b.last
                    or b.first > a.last
                )
                assert apart


def test_accumulators_are_versions_per_tile_not_per_chunk() -> None:
    made = dense(1, 64, 256, 64)
    work = clone(made.module)
    run_passes(work, f"{TILE},map,allocate", machine(1, 16384))
    reader = StepReader(microprograms(work), 1, limit=100_000)
    tasks = (o for o in work.func("step").body.ops if o.name == "tile.task")
    nodes = reader.read(next(t for t in tasks if any(o.name == "tile.gacc" for o in t.walk())))
    versions, _ = find_versions(nodes)
    stores = sum(s.op.name == "tile.st" for s in steps_of(nodes))
    sums = sum(s.op.name == "tile.gacc" for s in steps_of(nodes))
    names = Counter(o.str_attr("name") for v in versions if isinstance(o := v.buffer.owner, Op))
    assert names["acc"] == names["y"] == stores
    assert names["x"] == sums


def test_units_of_one_core_overlap() -> None:
    """Loads, products and stores of one core take less time than one after the other."""
    made = dense(8, 16, 512, 256)
    program = compiled(made.module, machine(1, 65536))
    system = System(program, RunOptions())
    for name, values in made.inputs.items():
        system.write_tensor(name, values)
    result = system.run()
    assert result.fault is None
    busy = [unit["busy"] for unit in result.stats["units"].values()]
    assert max(busy) <= result.cycles < 0.8 * sum(busy)


def test_loads_pass_barriers_that_they_need_not_wait_for() -> None:
    """Weights of the second layer are loaded before the cores meet behind the first one."""
    made = Made(1, 40)
    x = made.seq("x", 128)
    for name in ("a", "b"):
        x = made.b.one("phase.linear", x, made.param(name, 128, 128))
    made.output(x=x)
    program = compiled(made.module, machine(4))
    place_b = next(t for t in program.tensors if t.name == "b").address
    for core in program.cores:
        reader, seen = CodeReader(core.code, [core.core]), list[str]()
        for _, inst, times in reader.instructions():
            name = inst.insn.mnemonic
            if times and name == "recv":
                seen.append("barrier")
            elif times and name == "ld":
                source = reader.registers[inst["src"]]
                assert isinstance(source, int)
                if 0 <= source - place_b < 128 * 128 * 2:
                    seen.append("weights")
        assert seen.index("weights") < seen.index("barrier")
    expected = evaluate(clone(made.module), "step", made.inputs)
    same(expected, simulate(program, made.inputs, RunOptions(check_races=True)), "4 cores")
