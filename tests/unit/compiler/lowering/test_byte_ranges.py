"""Sets of bytes and runs of steps: against sets of numbers, and by hand."""

from __future__ import annotations

import random

import pytest

from snncc.compiler.ir.core import Op
from snncc.compiler.passes.lowering.kit.steps import CoreStep, Node, Repeat
from snncc.compiler.passes.lowering.kit.versions import Spans, segments
from snncc.isa.spec import Unit


@pytest.mark.parametrize("seed", range(20))
def test_ranges_hold_the_bytes_that_were_added_and_not_removed(seed: int) -> None:
    rng = random.Random(seed)
    spans, held = Spans(), set[int]()
    for _ in range(60):
        low = rng.randrange(40)
        high = low + rng.randint(1, 12)
        if rng.random() < 0.6:
            spans.add(low, high)
            held |= set(range(low, high))
        else:
            spans.remove(low, high)
            held -= set(range(low, high))
        assert held == {byte for a, b in spans.ranges for byte in range(a, b)}
        assert all(a < b for a, b in spans.ranges)
        for (_, end), (start, _) in zip(spans.ranges, spans.ranges[1:], strict=False):
            assert end < start, "sorted, and neighbours are one range"


def test_a_hole_in_the_middle_leaves_what_lies_beyond() -> None:
    spans = Spans()
    for low in (0, 20, 40):
        spans.add(low, low + 10)
    spans.remove(5, 25)
    assert spans.ranges == [(0, 5), (25, 30), (40, 50)]
    spans.add(5, 25)
    assert spans.ranges == [(0, 30), (40, 50)]


def test_runs_of_steps_end_at_the_borders_of_loops() -> None:
    nothing = Op("tile.task", attrs={"name": "t"})
    steps = [CoreStep(nothing, nothing, Unit.FP, (), (), ((),), {}, ()) for _ in range(6)]
    a, b, c, d, e, f = steps
    nodes: list[Node] = [a, b, Repeat(3, [c, Repeat(2, [d]), e]), f]
    assert [[steps.index(s) for s in run] for run in segments(nodes)] == [
        [0, 1], [2], [3], [4], [5],
    ]  # fmt: skip
    assert segments([Repeat(2, [Repeat(2, [a])])]) == [[a]]
    assert segments([]) == []
