"""Runs a phased step at every stage and on the simulator, and compares every bit."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snncc.compiler.backend.emit import emit
from snncc.compiler.diag import CompileError
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.interp.tiled import evaluate_tiled
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import PassManager
from snncc.compiler.pipeline.plan import plan
from snncc.isa.machine.machine import Machine, load_machine
from snncc.isa.program.model import ObjectFile
from snncc.isasim.system import RunOptions, System

TILE = "tile{min-work=1}"
"""Little work goes to many cores too."""
Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


@functools.cache
def machine(cores: int, scratchpad: int = 0) -> Machine:
    """Return a machine of so many cores and bytes of scratchpad (0: what it has)."""
    found = load_machine("multicore20").with_(cores=cores)
    return found.with_(scratchpad_bytes=scratchpad) if scratchpad else found


def run_passes(module: Module, pipeline: str, target: Machine) -> None:
    """Run a pipeline in place."""
    context = PassContext(machine=target)
    PassManager(plan(pipeline, module.stage), context).run(module)


def compiled(module: Module, target: Machine) -> ObjectFile:
    """Compile a copy of a phased module."""
    work = clone(module)
    run_passes(work, f"{TILE},map,lower", target)
    return emit(work, target)


def simulate(program: ObjectFile, inputs: Arrays, options: RunOptions) -> dict[str, Array]:
    """Run a program once; return its results and what its parameters and states hold."""
    system = System(program, options)
    for name, values in inputs.items():
        system.write_tensor(name, values)
    result = system.run()
    assert result.fault is None, result.fault
    assert result.races == ()
    found: dict[str, Array] = {}
    for name, tensor in system.tensors.items():
        if name.startswith("result:"):
            found[name.removeprefix("result:")] = system.read_tensor(name)
        elif tensor.role in {"param", "state"}:
            found[f"{tensor.role}/{name}"] = system.read_tensor(name)
    return found


def same(expected: Arrays, found: Arrays, what: str) -> None:
    """Compare every bit of what is expected (indices by value)."""
    for name, array in expected.items():
        a, b = np.asarray(array), np.asarray(found[name])
        assert a.shape == b.shape, f"{what}: {name}: shape {b.shape}, not {a.shape}"
        x, y = a.astype(np.float32), b.astype(np.float32)
        differ = x.view(np.uint32) != y.view(np.uint32)
        if differ.any():
            at = tuple(int(i) for i in np.argwhere(differ)[0])
            raise AssertionError(
                f"{what}: {name}{list(at)} is {y[at]!r}, not {x[at]!r} "
                f"({int(differ.sum())} of {differ.size} differ)"
            )


def check_all(
    module: Module, inputs: Arrays, target: Machine, order: int = 1, *, races: bool = True
) -> ObjectFile:
    """Compare all stages and engines on one machine; CompileError when it does not fit.

    ``races``: let the simulator look for races as well, which takes most of the time.
    """
    work = clone(module)
    run_passes(work, TILE if order % 4 else "tile", target)
    expected = evaluate(clone(module), "step", inputs)
    same(expected, evaluate_tiled(work, inputs, order=order), "tiled")
    run_passes(work, "map", target)
    same(expected, evaluate_tiled(work, inputs, order=order + 1), "mapped")
    run_passes(work, "lower", target)
    program = emit(work, target)
    strict = RunOptions(engine="fast", strict_init=True, check_races=races)
    same(expected, simulate(program, inputs, strict), "fast")
    plain = RunOptions(engine="reference", timing=False, order_seed=order)
    same(expected, simulate(program, inputs, plain), "reference")
    return program


def check_fitting(
    module: Module,
    inputs: Arrays,
    cores: int,
    scratchpad: int,
    order: int = 1,
    *,
    races: bool = True,
) -> ObjectFile:
    """As :func:`check_all`, on the first machine of at least that scratchpad that it fits."""
    while True:
        try:
            return check_all(module, inputs, machine(cores, scratchpad), order, races=races)
        except CompileError as error:
            if any(d.code != "E0401" for d in error.diagnostics) or scratchpad >= 1 << 20:
                raise
            scratchpad *= 2
