"""A trial run of `snncc check`: which layers ever fire."""

from __future__ import annotations

import numpy as np

from snncc.compiler.diag import Diagnostic
from snncc.compiler.driver.interface import SPIKES, Array, expose_spikes, interface_of
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module, Op

CHEAP = 3e7
"""Multiply-accumulates that are worth a run without being asked."""
SEED = 1
SPIKE_DENSITY = 0.25


def densities(module: Module, x: Array | None, where: str) -> dict[str, float] | None:
    """Return the fraction of neurons that fire per step, by layer, of a float32 forward pass.

    Without ``x`` the input is random, and the answer is None where the run would take long or the
    model has several inputs.
    """
    args = next(iter(module.funcs.values())).body.args
    if len(args) != 1 or (x is None and work(module) > CHEAP):
        return None
    from snncc.compiler.interp.evaluate import evaluate  # only now: it takes time to load

    work_copy = clone(module)
    expose_spikes(work_copy)
    if x is not None:
        value = interface_of(module, "train").check_x(x, where)
    else:
        value = np.random.default_rng(SEED).random(args[0].type.shape, np.float32)
        if args[0].type.dtype == "bit":
            value = (value < SPIKE_DENSITY).astype(np.float32)
    found = evaluate(work_copy, "main", {args[0].name: value}, "float32")
    start = f"out/{SPIKES}"
    return {
        name.removeprefix(start): float(np.count_nonzero(spikes) / max(1, np.size(spikes)))
        for name, spikes in found.items()
        if name.startswith(start)
    }


def silent(found: dict[str, float], given: bool, where: str) -> list[Diagnostic]:
    """Return the warning about layers of density 0."""
    quiet = [name for name, density in found.items() if density == 0.0]
    if not quiet:
        return []
    what = "the given input" if given else "random input (uniform from 0 to 1)"
    verb = "never fires" if len(quiet) == 1 else "never fire"
    names = ", ".join(quiet[:5]) + (f" and {len(quiet) - 5} more" if len(quiet) > 5 else "")
    first = "" if given else "--inputs FILE.npz tries your own data; "
    help_ = f"{first}larger weights, a smaller threshold or a normalisation before the layer help"
    return [Diagnostic("E0374", f"{names} {verb} on {what}", where, help=help_, severity="warning")]


def work(module: Module) -> float:
    """Return the multiply-accumulates of a forward pass, roughly."""
    total = 0.0
    for op in module.walk():
        size = float(np.prod(op.results[0].type.shape)) if op.results else 0.0
        if op.name in ("graph.linear", "graph.conv", "graph.conv_transpose"):
            weight = op.operands[1].type.shape
            total += size * float(np.prod(weight)) / max(1, _outputs(op))
        elif op.name == "graph.matmul":
            total += size * op.operands[0].type.shape[-1]
        else:
            total += size
    return total


def _outputs(op: Op) -> int:
    shape = op.operands[1].type.shape
    return shape[-1] if op.name == "graph.linear" else shape[0]
