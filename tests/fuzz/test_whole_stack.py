"""Many more random steps and networks than the unit tests try; see `make fuzz`."""

import os
import random

import pytest

from lowered import phased
from phased_steps import random_step
from rich_networks import rich_network
from snncc.compiler.diag import CompileError
from strategies_networks import random_inputs, random_network
from whole_stack import check_fitting

SEED = int(os.environ.get("SNNCC_FUZZ_SEED", "1"))
PARTS, PART = 20, 50
pytestmark = pytest.mark.slow


def draw(part: int, i: int) -> tuple[int, random.Random]:
    """Return the seed of an example and what else it needs."""
    seed = (SEED * 1_000_003 + part * PART + i) % (1 << 32)
    return seed, random.Random(seed)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_steps(part: int) -> None:
    for i in range(PART):
        seed, rng = draw(part, i)
        step = random_step(seed, rng.choice((4, 8, 16)))
        scratchpad = rng.choice((256, 512, 1024, 2048, 4096, 32768))
        try:
            check_fitting(step.module, step.inputs, rng.randint(1, 20), scratchpad, seed)
        except Exception as error:
            error.add_note(f"random_step({seed})")
            raise


@pytest.mark.parametrize("part", range(PARTS))
def test_random_networks(part: int) -> None:
    refused: list[str] = []
    for i in range(2 * PART):
        seed, rng = draw(2 * part, i)
        graph = (rich_network if i % 2 else random_network)(seed)
        step, given = phased(graph), random_inputs(graph, seed)
        inputs = {a.name: given[a.name] for a in step.func("step").body.args}
        scratchpad = rng.choice((1024, 4096, 32768))
        try:
            check_fitting(step, inputs, rng.randint(1, 20), scratchpad, seed)
        except CompileError as error:  # a clear refusal is no wrong bit, but must stay rare
            refused += [f"{seed}: {d.message}" for d in error.diagnostics]
            if any(d.code != "E0402" for d in error.diagnostics) or len(refused) > PART // 10:
                error.add_note(f"random_network({seed}); refused: {refused}")
                raise
        except Exception as error:
            error.add_note(f"random_network({seed})")
            raise
