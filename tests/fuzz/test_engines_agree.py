"""Random programs: both engines, timed and untimed, any legal order, give the same bits.

``make fuzz`` runs many of them; SNNCC_FUZZ_SEED chooses the first.
"""

from __future__ import annotations

import os

import pytest

from snncc.isa.machine.machine import load_machine
from snncc.isa.random_programs.programs import random_program
from snncc.isasim.system import RunOptions, System

FIRST = int(os.environ.get("SNNCC_FUZZ_SEED", "0"))
COUNT = 200 if "SNNCC_FUZZ_SEED" in os.environ else 12
SMALL = load_machine("small")


def outcome(seed: int, options: RunOptions) -> tuple[dict[str, bytes], int]:
    program = random_program(seed, SMALL)
    system = System(program, options)
    result = system.run()
    assert result.exit_code == 0, (seed, result.fault)
    assert result.races == (), seed
    memory = {t.name: system.read_tensor(t.name).tobytes() for t in program.tensors}
    return memory, result.cycles


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_engines_agree(seed: int) -> None:
    checked = RunOptions(
        engine="reference", timing=False, strict_init=True, check_races=True, order_seed=seed
    )
    expected, _ = outcome(seed, checked)
    slow, slow_cycles = outcome(seed, RunOptions(engine="reference"))
    fast, fast_cycles = outcome(seed, RunOptions(engine="fast"))
    assert expected == slow == fast
    assert slow_cycles == fast_cycles
