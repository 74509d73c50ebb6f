"""Places of temporary tensors: those of the plain rule, in time that grows with their number."""

from __future__ import annotations

import random

import pytest

from made_steps import Made
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.clone import clone
from snncc.compiler.passes.lowering.allocate import ENDLESS, release, take
from snncc.isasim.system import RunOptions
from whole_stack import TILE, compiled, machine, run_passes, same, simulate
from work import growth


def drawn(seed: int, count: int) -> list[tuple[int, int, int]]:
    """First and last epoch and size of tensors, in the order in which they are placed."""
    rng = random.Random(seed)
    firsts = sorted(rng.randrange(count) for _ in range(count))
    return [(f, f + rng.randrange(1 + count // 4), 64 * rng.randint(1, 9)) for f in firsts]


def by_rule(lives: list[tuple[int, int, int]]) -> list[int]:
    """The lowest address at which a tensor meets none that lives with it, found by trying."""
    places: list[int] = []
    for first, _, size in lives:
        at = 0
        met = [(p, s) for p, (_, last, s) in zip(places, lives, strict=False) if last >= first]
        while any(p < at + size and at < p + s for p, s in met):
            at += 64
        places.append(at)
    return places


def by_gaps(lives: list[tuple[int, int, int]]) -> list[int]:
    free, living, places = [(0, ENDLESS)], list[tuple[int, int, int]](), list[int]()
    for first, last, size in lives:
        for ended in sorted(living)[: sum(one[0] < first for one in living)]:
            living.remove(ended)
            release(free, ended[1], ended[1] + ended[2])
        at = take(free, size)
        living.append((last, at, size))
        places.append(at)
    for _, at, size in living:
        release(free, at, at + size)
    assert free == [(0, ENDLESS)]
    return places


@pytest.mark.parametrize("seed", range(20))
def test_gaps_give_the_places_of_the_rule(seed: int) -> None:
    lives = drawn(seed, 60)
    assert by_gaps(lives) == by_rule(lives)


def all_at_once(count: int) -> None:
    """All live to the end, as activations that the backward pass wants do."""
    free = [(0, ENDLESS)]
    places = [take(free, 64) for _ in range(count)]
    for at in places[::2] + places[1::2]:
        release(free, at, at + 64)
    assert free == [(0, ENDLESS)]


def test_work_grows_with_the_tensors() -> None:
    assert growth(lambda count: lambda: all_at_once(count), 200) < 2.5


@pytest.mark.parametrize("cores", [1, 4])
def test_what_is_no_longer_needed_makes_room_on_any_number_of_cores(cores: int) -> None:
    """A chain of tensors needs the memory of two of them, not of all."""
    made = Made(1, 64)
    x = made.seq("x", 256)
    w = made.param("w", 256, 256)
    for _ in range(12):
        x = made.b.one("phase.linear", x, w)
    made.output(x=x)
    work = clone(made.module)
    run_passes(work, f"{TILE},map,allocate", machine(cores))
    kept = sum(
        -(-o.int_attr("bytes") // 64) * 64
        for o in work.func("step").body.ops
        if o.name == "tile.dram" and o.str_attr("role") != "temp"
    )
    between = 64 * 256 * 2
    assert work.attrs["dram_bytes"] == kept + 2 * between
    expected = evaluate(clone(made.module), "step", made.inputs)
    program = compiled(made.module, machine(cores))
    same(expected, simulate(program, made.inputs, RunOptions(check_races=True)), f"{cores} cores")
