"""The programs of docs/assembly.md and tests/golden/asm run, on both engines, without races."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snncc.assembler import assemble, disassemble
from snncc.isa.program.file import to_bytes
from snncc.isasim.faults import StopReason
from snncc.isasim.system import RunOptions, System

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden" / "asm"
INF = float("inf")
SAMPLES = np.arange(96, dtype=np.float32).reshape(6, 16)

EXPECTED: dict[str, dict[str, Any]] = {
    "message": {"y": [2, 14, 26, 38, 50, 62, 74, 71]},
    "semaphores": {"y": SAMPLES.sum(axis=0).tolist()},
    "lanes": {
        "v": [0.46875, 0.15625, 0.125, 0.9375, -INF],
        "s": [[0, 0, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 1, 1, 1, 0]],
    },
    "gated": {"acc": [[11.5, 22.5, 33.5, 65548.0], [10, 20, 30, 40]]},
}


def example_of_the_manual() -> str:
    text = (ROOT / "docs" / "assembly.md").read_text(encoding="utf-8")
    found = re.search(r"```asm\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def outcome(text: str, name: str, engine: str) -> dict[str, Any]:
    program = assemble(text, name)
    options = RunOptions(engine=engine, check_races=True, strict_init=True)
    system = System(program, options)
    if name == "semaphores":
        system.write_tensor("x", SAMPLES)
    result = system.run()
    assert result.reason is StopReason.HALT, result.fault
    assert result.races == ()
    assert result.leftovers == ()
    return {t.name: system.read_tensor(t.name).tolist() for t in program.tensors}


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("name", EXPECTED)
def test_the_golden_programs_compute_what_they_say(name: str, engine: str) -> None:
    text = (GOLDEN / f"{name}.s").read_text(encoding="utf-8")
    found = outcome(text, name, engine)
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_golden_programs_survive_the_disassembler(name: str) -> None:
    program = assemble((GOLDEN / f"{name}.s").read_text(encoding="utf-8"), name)
    assert to_bytes(assemble(disassemble(program), "x")) == to_bytes(program)


def test_the_example_of_the_manual_runs() -> None:
    assert outcome(example_of_the_manual(), "double", "reference")["y"] == [2, -5, 0.5, INF]


def test_the_manual_names_every_directive() -> None:
    from snncc.assembler.directives import DIRECTIVES

    text = (ROOT / "docs" / "assembly.md").read_text(encoding="utf-8")
    assert [name for name in DIRECTIVES if f"`{name}" not in text] == []
