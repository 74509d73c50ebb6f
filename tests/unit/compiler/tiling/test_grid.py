"""Dealing work out along two axes: expected grids from times worked out by hand."""

from hypothesis import given
from hypothesis import strategies as st

from snncc.compiler.ir.core import Location
from snncc.compiler.passes.tiling.kit.grid import Axis, Grid, deal, deal_parts
from snncc.compiler.passes.tiling.kit.task import At, TaskBuilder
from snncc.isa.machine.machine import load_machine

MACHINE = load_machine("multicore20")  # 256 terms a cycle; DRAM 64, a core's DMA 16 bytes a cycle


def test_large_weights_are_loaded_once() -> None:
    # 512 outputs with 4,718,592 bytes of weights, 16 images of 1,024 bytes, 16 * 4608 terms each.
    # By outputs: 32 * 16 * 73,728 / 256 = 147,456 cycles + 4,980,736 / 64 = 77,824 of loads.
    # By images: 512 * 1 * 73,728 / 256 = 147,456 + (16 * 4,718,592 + 16,384) / 64 = 1,179,904.
    grid = deal(
        Axis(512, 16, 4_718_592), Axis(16, 1, 16_384), 73_728, MACHINE.fp, MACHINE, MACHINE.cores
    )
    assert grid == Grid(32, 16)


def test_large_images_are_loaded_once() -> None:
    # 32 outputs with 1,024 bytes of weights, 20 images of 100,000 bytes, 10,000 terms each.
    # By images: 32 * 1 * 10,000 / 256 = 1,250 cycles + (20 * 1,024 + 2,000,000) / 64 = 31,570.
    # 10 parts of 2: 2,500 + 31,410.  Two parts of the outputs: 1,250 + 2 * 2,000,000 / 64 and more.
    images = Axis(20, 1, 2_000_000)
    grid = deal(Axis(32, 16, 1_024), images, 10_000, MACHINE.fp, MACHINE, MACHINE.cores)
    assert grid == Grid(32, 1)


def test_both_axes_are_cut_where_neither_has_enough_parts() -> None:
    # 64 outputs make 4 parts of 16, 5 images 5 parts: 20 cores, each 16 * 1 of 320 pairs.
    grid = deal(Axis(64, 16, 64), Axis(5, 1, 64), 1 << 20, MACHINE.fp, MACHINE, MACHINE.cores)
    assert grid == Grid(16, 1)


def test_one_core_gets_everything() -> None:
    assert deal(Axis(64, 16, 64), Axis(5, 1, 64), 1000, MACHINE.fp, MACHINE, 1) == Grid(64, 5)


@given(
    st.integers(1, 200), st.integers(1, 40), st.integers(1, 64), st.integers(0, 1 << 24),
    st.integers(0, 1 << 24),
)  # fmt: skip
def test_parts_cover_every_pair_once(
    first: int, second: int, cores: int, a_bytes: int, b_bytes: int
) -> None:
    grid = deal(Axis(first, 16, a_bytes), Axis(second, 1, b_bytes), 100, MACHINE.fp, MACHINE, cores)
    seen: dict[tuple[int, int], int] = {}
    b = TaskBuilder("t", "", "fp", Location("test:1"))
    parts = 0

    def body(a: At, n: int, c: At, m: int) -> None:
        nonlocal parts
        loops = [*a.terms, *c.terms]
        trips = loops[0].trips if loops else 1
        parts += trips
        for i in range(trips):
            x, y = (at.base + sum(k * i for k in at.terms.values()) for at in (a, c))
            for u in range(x, x + n):
                for v in range(y, y + m):
                    seen[u, v] = seen.get((u, v), 0) + 1

    deal_parts(b, first, second, grid, body)
    assert seen == {(u, v): 1 for u in range(first) for v in range(second)}
    assert parts <= cores
    assert len([o for o in b.block.ops if o.name == "tile.parallel"]) >= 1
