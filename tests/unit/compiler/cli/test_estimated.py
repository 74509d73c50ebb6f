"""Why a run took longer than its estimate: the sentences, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from snncc.compiler.driver.estimated import shares, with_estimate
from snncc.compiler.driver.words import UNITS
from snncc.isa.cost.estimate import KEY
from snncc.isa.program.model import ObjectFile


def told(bound: dict[str, Any], stalls: dict[str, dict[str, int]], cycles: int = 250) -> list[str]:
    """Return the sentences about a run of one core; its fp was busy for 120 cycles, its bus 80."""
    units = {
        unit: {
            "stall": stalls.get(unit, {}),
            "cores": [{"core": 1, "busy": 120, "stall": stalls.get(unit, {})}],
        }
        for unit in UNITS
    }
    stats: dict[str, Any] = {"layers": [], "cycles": cycles, "units": units, "dram": {"busy": 80}}
    program = ObjectFile("small", "", "", (), metadata={KEY: {"layers": [], "bound": bound}})
    why: list[str] = with_estimate(stats, program)["estimate"]["why"]
    return why


FP = {"cycles": 120, "unit": "fp", "core": 1}


def test_an_engine_that_waited_for_others() -> None:
    assert told(FP, {"fp": {"semaphore": 100, "latency": 30}}) == [
        "At least 120 cycles were estimated: unit fp of core 1 is busy that long.",
        "The run took 250 cycles: it waited for 130 cycles (52 %): 77 % waiting for other units, "
        "23 % waiting for results under way.",
    ]


def test_another_activity_than_the_estimate_had() -> None:
    assert told({**FP, "cycles": 150}, {})[1:] == [
        "In this run it was busy for 120 (-30): the activity was another.",
        "The run took 250 cycles: it waited for 130 cycles (52 %).",
    ]


def test_contention_is_the_waiting_of_all_units_for_what_they_share() -> None:
    stalls = {"dma": {"dram": 40, "queue": 7}, "noc": {"link": 5, "credit": 2}, "wg": {"empty": 9}}
    assert told(FP, stalls)[-1] == (
        "Contention, which an estimate leaves out, cost units 47 cycles of waiting for the DRAM "
        "bus, links and receivers."
    )
    assert not any("Contention" in text for text in told(FP, {"dma": {"queue": 7}}))


def test_the_bus_is_the_bound() -> None:
    stalls = {"dma": {"dram": 30, "done": 100}, "fp": {"semaphore": 10}, "seq": {"queue": 90}}
    assert told({"cycles": 80, "unit": "dram", "core": 0}, stalls, cycles=100)[1] == (
        "The run took 100 cycles: the bus was idle for 20 cycles (20 %); units waited: "
        "75 % waiting for the DRAM bus, 25 % waiting for other units."
    )
    assert told({"cycles": 80, "unit": "dram", "core": 0}, {}, cycles=100)[1].endswith(
        "units waited: not at all."
    )


def test_an_untimed_run_says_nothing() -> None:
    assert told(FP, {}, cycles=0) == []


@pytest.mark.parametrize(
    ("stall", "text"),
    [
        ({"dram": 700, "link": 291, "queue": 9}, "70 % waiting for the DRAM bus, "
         "29 % waiting for a link"),  # what is less than a hundredth is left out
        ({"dram": 99, "link": 1}, "99 % waiting for the DRAM bus, 1 % waiting for a link"),
        ({"credit": 10, "fetch": 40, "link": 20, "queue": 30}, "40 % fetching code, "
         "30 % waiting for room in a queue, 20 % waiting for a link"),  # three at most
        ({"link": 5, "dram": 5}, "50 % waiting for the DRAM bus, 50 % waiting for a link"),
        ({"another": 3}, "100 % another"),
    ],
)  # fmt: skip
def test_causes_of_waiting_with_their_shares(stall: dict[str, int], text: str) -> None:
    assert shares(stall) == text
