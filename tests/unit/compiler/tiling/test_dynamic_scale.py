"""A loss scale that is data: the same bits at every stage, and those of a fixed scale."""

import random
from collections.abc import Mapping

import numpy as np
import pytest

from lowered import phased
from rich_networks import rich_network
from snncc.compiler.config.loss_scale import SCALE_STATE
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Module
from strategies_networks import random_inputs, random_network
from whole_stack import check_fitting

QUICK, SLOW = range(300, 303), range(303, 320)


def networks(seed: int) -> tuple[Module, Module, dict[str, np.ndarray]]:
    """Return one training step with a fixed and one with a dynamic scale, and their inputs."""
    made: list[Module] = []
    inputs: dict[str, np.ndarray] = {}
    for dynamic in (False, True):
        graph = (rich_network if seed % 2 else random_network)(seed)
        training = graph.attrs["training"]
        assert isinstance(training, Mapping)
        loss = training["loss"]
        assert isinstance(loss, Mapping)
        graph.attrs["training"] = {**training, "loss": {**loss, "dynamic": dynamic}}
        made.append(phased(graph))
        given = random_inputs(graph, seed)
        inputs = {a.name: given[a.name] for a in made[-1].func("step").body.args}
    return made[0], made[1], inputs


@pytest.mark.parametrize(
    "seed", [*QUICK, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW)]
)
def test_all_stages_and_a_fixed_scale_agree(seed: int) -> None:
    fixed, dynamic, inputs = networks(seed)
    states = {o.str_attr("name") for o in dynamic.walk() if o.name == "phase.state"}
    assert SCALE_STATE in states
    expected, found = evaluate(fixed, "step", inputs), evaluate(dynamic, "step", inputs)
    assert set(expected) == set(found)
    assert any(name.startswith("grad/") for name in found)
    for name, value in expected.items():
        assert np.asarray(value).tobytes() == np.asarray(found[name]).tobytes(), name
    rng = random.Random(seed)
    check_fitting(dynamic, inputs, rng.randint(1, 8), rng.choice((2048, 8192)), seed, races=False)


def test_the_scale_is_read_when_the_step_runs() -> None:
    """Another scale in the state: as if the program had been made with it."""
    _, dynamic, inputs = networks(QUICK[0])
    start = next(o for o in dynamic.walk() if o.attrs.get("name") == SCALE_STATE)
    first = evaluate(dynamic, "step", inputs)
    other = evaluate(dynamic, "step", inputs, state={SCALE_STATE: np.float32(2.0**40)})
    start.attrs["init"] = 2.0**40
    again = evaluate(dynamic, "step", inputs)
    differ = [n for n in first if first[n].tobytes() != other[n].tobytes()]
    assert any(name.startswith("grad/") for name in differ)  # at 2^40 gradients overflow
    assert all(other[n].tobytes() == again[n].tobytes() for n in first)
