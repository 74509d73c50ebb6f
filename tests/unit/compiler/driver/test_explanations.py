"""What `snncc run --stats` says about a run: causes of waiting and contention, by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from snncc.compiler.driver.estimated import shares, with_estimate
from snncc.compiler.driver.words import UNITS
from unit.isasim.programs import HALT, program


@pytest.mark.parametrize(
    ("stall", "text"),
    [
        ({"a": 3, "b": 1}, "75 % a, 25 % b"),
        ({"b": 2, "a": 2}, "50 % a, 50 % b"),
        ({"a": 300, "b": 2}, "99 % a"),  # less than one in a hundred is left out
        ({"a": 99, "b": 1}, "99 % a, 1 % b"),
        ({"a": 10, "b": 0}, "100 % a"),
    ],
)
def test_causes_with_their_shares(stall: dict[str, int], text: str) -> None:
    assert shares(stall) == text


def stats(stall: dict[str, int]) -> dict[str, Any]:
    """A run of 100 cycles; unit fp of core 0 is busy for 40, units wait for ``stall``."""
    unit = {"stall": stall, "cores": [{"core": 0, "busy": 40, "stall": stall}]}
    return {"cycles": 100, "units": dict.fromkeys(["seq", *UNITS], unit), "layers": []}


def said(stall: dict[str, int]) -> str:
    kept: dict[str, Any] = {"bound": {"cycles": 40, "unit": "fp", "core": 0}, "layers": []}
    file = dataclasses.replace(program([HALT]), metadata={"estimate": kept})
    return "\n".join(with_estimate(stats(stall), file)["estimate"]["why"])


def test_contention_is_told_where_there_is_some() -> None:
    quiet = said({"token": 60})
    assert "At least 40 cycles were estimated: unit fp of core 0 is busy that long." in quiet
    assert "it waited for 60 cycles (60 %)" in quiet
    assert "Contention" not in quiet
    assert f"cost units {5 * len(UNITS)} cycles" in said({"dram": 3, "link": 2})
