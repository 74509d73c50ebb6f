"""Random steps and networks compute the same bits at every stage and on the simulator."""

import random
from typing import Any

import numpy as np
import pytest

from lowered import phased
from phased_steps import random_step
from rich_networks import rich_network
from snncc.compiler.ir.core import Module
from strategies_networks import random_inputs, random_network
from whole_stack import check_fitting

STEPS, NETWORKS, PART = 60, 100, 5
SAMPLE = {"steps": 4, "networks": 1}
"""Parts that every run tries; the others are slow."""
SCRATCHPADS = (512, 1024, 2048, 4096, 32768)


def parts(what: str, count: int) -> list[Any]:
    """Return the numbers of the parts, all but the first ones marked as slow."""
    return [
        pytest.param(part, marks=[pytest.mark.slow] if part >= SAMPLE[what] else [])
        for part in range(count // PART)
    ]


@pytest.mark.parametrize("part", parts("steps", STEPS))
def test_random_steps_have_the_same_bits_everywhere(part: int) -> None:
    for seed in range(part * PART, (part + 1) * PART):
        rng = random.Random(seed)
        step = random_step(seed)
        cores, scratchpad = rng.randint(1, 20), rng.choice(SCRATCHPADS)
        races = seed % 5 == 0
        check_fitting(step.module, step.inputs, cores, scratchpad, seed, races=races)


def network(seed: int) -> tuple[Module, dict[str, np.ndarray]]:
    """Return a phased network and what to feed it; odd seeds draw from all layer types."""
    graph = (rich_network if seed % 2 else random_network)(seed)
    step, given = phased(graph), random_inputs(graph, seed)
    return step, {a.name: given[a.name] for a in step.func("step").body.args}


@pytest.mark.parametrize("part", parts("networks", NETWORKS))
def test_random_networks_have_the_same_bits_everywhere(part: int) -> None:
    for seed in range(part * PART, (part + 1) * PART):
        step, inputs = network(seed)
        rng = random.Random(seed)
        cores, scratchpad = rng.randint(1, 20), rng.choice(SCRATCHPADS)
        check_fitting(step, inputs, cores, scratchpad, seed, races=seed % 5 == 0)
