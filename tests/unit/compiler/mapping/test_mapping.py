"""Iterations are dealt out evenly; barriers stand exactly where cores must wait for each other."""

from typing import Any

import numpy as np
import pytest

from lowered import phased
from made_steps import Made, dense
from phased_steps import random_step
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.interp.tile_memory import TileError
from snncc.compiler.interp.tiled import evaluate_tiled
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module, Value
from snncc.compiler.ir.portions import cores_at_work, portions
from snncc.isasim.system import RunOptions
from strategies_networks import Net, random_inputs
from whole_stack import TILE, compiled, machine, run_passes, same, simulate


def mapped(module: Module, cores: int, scratchpad: int = 0) -> Module:
    """Return the mapped stage of a copy."""
    work = clone(module)
    run_passes(work, f"{TILE},map", machine(cores, scratchpad))
    return work


def barriers(module: Module) -> list[int]:
    ops = module.func("step").body.ops
    return [i for i, o in enumerate(ops) if o.name == "tile.barrier"]


def test_one_core_needs_no_barrier() -> None:
    made = dense(2, 3, 50, 60)
    assert barriers(mapped(made.module, 1)) == []


def test_every_barrier_is_needed() -> None:
    """Without any one of them the interpreter finds two cores at one place."""
    found = 0
    for seed in range(12):
        step = random_step(seed)
        module = mapped(step.module, 5)
        for at in barriers(module):
            work = clone(module)
            del work.func("step").body.ops[at]
            with pytest.raises(TileError):
                evaluate_tiled(work, step.inputs, order=seed)
            found += 1
    assert found > 10


def recurrent() -> tuple[Module, dict[str, Any]]:
    """A layer that is fed its own spikes, and one behind it."""
    net = Net(4, 3)
    rng = np.random.default_rng(1)
    x = net.linear(net.input((20,)), "in", rng.normal(size=(20, 33)))
    back = net.b.one("graph.delay", state="s", shape=(3, 33), dtype="bit", steps=4)
    total = net.b.one("graph.add", x, net.linear(back, "rec", rng.normal(size=(33, 33))))
    spikes, _ = net.neuron(total, "lif", None, threshold=0.5)
    net.b.op("graph.delay_next", spikes, state="s")
    net.output(net.linear(spikes, "out", rng.normal(size=(33, 5))))
    step, given = phased(net.train()), random_inputs(net.module, 1)
    return step, {a.name: given[a.name] for a in step.func("step").body.args}


def test_a_loop_over_time_stands_between_barriers() -> None:
    """Before each of its tasks, and behind the loop: what follows may read what it wrote."""
    step, inputs = recurrent()
    module = mapped(step, 3, 4096)
    ops = module.func("step").body.ops
    loops = [i for i, o in enumerate(ops) if o.name == "tile.steps"]
    assert loops
    for at in loops:
        assert ops[at + 1].name == "tile.barrier"
        inside = ops[at].regions[0].ops
        assert inside[0].name == "tile.barrier"
        numbers = [o.int_attr("id") for o in inside if o.name == "tile.task"]
        assert sum(o.name == "tile.barrier" for o in inside) == len(set(numbers)) > 1
    expected = evaluate(clone(step), "step", inputs)
    program = compiled(step, machine(3, 4096))
    same(expected, simulate(program, inputs, RunOptions(check_races=True)), "3 cores")


def test_no_core_is_idle_while_there_are_iterations() -> None:
    made = dense(1, 64, 64, 640)
    tiled = clone(made.module)
    run_passes(tiled, TILE, machine(20, 8192))
    trips = {
        task.int_attr("id"): sum(
            o.int_attr("trips") for o in task.regions[0].ops if o.name == "tile.parallel"
        )
        for task in tiled.func("step").body.ops
        if task.name == "tile.task"
    }
    module = mapped(made.module, 20, 8192)
    tasks = {o.int_attr("id"): o for o in module.func("step").body.ops if o.name == "tile.task"}
    for number, total in trips.items():
        dealt = portions(tasks[number], 20).values()
        mine = [sum(len(portion.run(core)) for portion in dealt) for core in range(20)]
        assert sum(mine) == total
        assert max(mine) - min(mine) <= 1


def test_a_chain_through_shared_rows_is_right_on_every_number_of_cores() -> None:
    made = Made(3, 5)

    def twice(e: Builder, args: list[Value]) -> list[Value]:
        return [e.one("ew.add", args[0], args[0])]

    x = made.seq("x", 33)
    w = made.param("w", 33, 33)
    for _ in range(3):
        x = made.b.one("phase.linear", made.region("map", [x], [x.type], twice)[0], w)
    made.output(x=x)
    expected = evaluate(clone(made.module), "step", made.inputs)
    for cores in (1, 2, 3, 4, 5, 7, 11, 16, 20):  # samples, steps and columns are no multiples
        program = compiled(made.module, machine(cores, 4096))
        same(expected, simulate(program, made.inputs, RunOptions(check_races=True)), str(cores))


def test_more_cores_than_iterations() -> None:
    made = dense(1, 1, 3, 2)
    module = mapped(made.module, 20)
    assert 0 < cores_at_work(module.func("step").body, 20) < 20
    program = compiled(made.module, machine(20))
    expected = evaluate(clone(made.module), "step", made.inputs)
    same(expected, simulate(program, made.inputs, RunOptions(check_races=True)), "20 cores")
