"""Tables of source lines in object files: addresses and lines are no negative numbers."""

from __future__ import annotations

import pytest

from snncc.isa.program.container import ObjectFileError
from snncc.isa.program.json import lines_from


def table(*row: int) -> dict[str, object]:
    return {"strings": ["a", ""], "cores": {"0": [list(row)]}}


def test_a_row_by_hand() -> None:
    (line,) = lines_from(table(7, 0, 3, 1, 1, 1))[0]  # type: ignore[arg-type]
    assert (line.address, line.file, line.line, line.location) == (7, "a", 3, "")


@pytest.mark.parametrize(
    "row", [(-1, 0, 3, 1, 1, 1), (7, 0, -1, 1, 1, 1), (7, 2, 3, 1, 1, 1), (7, 0, 3, -1, 1, 1)]
)
def test_numbers_outside_their_range_are_refused(row: tuple[int, ...]) -> None:
    with pytest.raises(ObjectFileError, match=r"LINE\.cores\.0"):
        lines_from(table(*row))  # type: ignore[arg-type]
