"""Sets of bytes as ranges, compared with sets of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snncc.compiler.passes.lowering.kit.versions import Spans

CHANGES = st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(1, 9)), max_size=12)


@given(CHANGES)
def test_adding_and_removing(changes: list[tuple[bool, int, int]]) -> None:
    spans, numbers = Spans(), set[int]()
    for adds, low, size in changes:
        if adds:
            spans.add(low, low + size)
            numbers |= set(range(low, low + size))
        else:
            spans.remove(low, low + size)
            numbers -= set(range(low, low + size))
        found = [n for low, high in spans.ranges for n in range(low, high)]
        assert found == sorted(numbers)


def test_what_lies_behind_a_removed_range_stays() -> None:
    spans = Spans()
    for low in (0, 10, 20):
        spans.add(low, low + 5)
    spans.remove(9, 16)
    assert spans.ranges == [(0, 5), (20, 25)]
    spans.remove(2, 3)
    assert spans.ranges == [(0, 2), (3, 5), (20, 25)]
