"""Bands of output rows: each loads the input rows that its taps reach, found tap by tap."""

import random

import pytest

from snncc.compiler.passes.tiling.kit.windows import Band, Geometry, band_rows, bands
from snncc.isa.window import Window


def window(seed: int) -> Window:
    """Return the window of a forward convolution, or (odd seeds) of its input gradient."""
    rng = random.Random(seed)
    kernel, stride, dilation = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 3)
    reach = (kernel - 1) * dilation + 1
    size = rng.randint(reach, reach + 12)
    before, after = rng.randint(0, reach), rng.randint(0, reach)
    out = (size + before + after - reach) // stride + 1
    made = Geometry((kernel, 2), (stride, 1), (before, 0), (dilation, 1), 1)
    if seed % 2:
        return made.backward((out, 6), (size, 7), 3)
    return made.forward((size, 7), (out, 6), 3)


def positions(w: Window, row: int) -> list[int]:
    """Return where the taps of an output row lie, in parts of ``div_h`` of an input row."""
    return [row * w.mul_h + w.base_h + k * w.step_h for k in range(w.k_h)]


def one_by_one(found: Band) -> list[tuple[int, int]]:
    """Return the first output and input row of every band of a loop."""
    return [(found.first + i * found.rows, found.low + i * found.low_step)
            for i in range(found.count)]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("seed", range(60))
def test_bands_see_what_the_whole_sees(seed: int, rows: int) -> None:
    whole, next_row, most = window(seed), 0, 0
    for found in bands(whole, rows):
        cut = found.window
        most = max(most, cut.in_h)
        for first, low in one_by_one(found):
            assert first == next_row
            assert found.rows == min(rows, whole.out_h - first)
            next_row += found.rows
            taps = [p for r in range(first, next_row) for p in positions(whole, r)]
            inside = [i for i in range(whole.in_h)
                      if min(taps) <= i * whole.div_h <= max(taps)]  # fmt: skip
            assert (low, cut.in_h) == ((inside[0], len(inside)) if inside else (0, 1))
            for r in range(found.rows):
                moved = [p + low * whole.div_h for p in positions(cut, r)]
                assert moved == positions(whole, first + r)
            assert cut.out_h == found.rows
            unchanged = {"in_h": whole.in_h, "out_h": whole.out_h, "base_h": whole.base_h}
            assert cut._replace(**unchanged) == whole
    assert next_row == whole.out_h
    assert band_rows(whole, rows) == most


def test_equal_bands_are_one_loop() -> None:
    """A 3-row kernel over 12 rows without padding: bands of 2 rows read 4, 2 further each time."""
    whole = Geometry((3, 1), (1, 1), (0, 0), (1, 1), 1).forward((12, 5), (10, 5), 8)
    (found,) = bands(whole, 2)
    assert (found.first, found.rows, found.count, found.low, found.low_step) == (0, 2, 5, 0, 2)
    assert (found.window.in_h, found.window.out_h, found.window.base_h) == (4, 2, 0)


def test_bands_at_the_border_stand_alone() -> None:
    """Padding of 1: the first and the last band lack a row above or below."""
    whole = Geometry((3, 1), (1, 1), (1, 0), (1, 1), 1).forward((10, 5), (10, 5), 8)
    found = [(b.first, b.count, b.low, b.window.in_h, b.window.base_h) for b in bands(whole, 2)]
    assert found == [(0, 1, 0, 3, -1), (2, 3, 1, 4, 0), (8, 1, 7, 3, 0)]
