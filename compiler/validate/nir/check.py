"""Comparing the import of a NIR file with the file (docs/nir.md)."""

from __future__ import annotations

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.nir.file import NirGraph
from snncc.compiler.ir.build import number
from snncc.compiler.ir.core import Module
from snncc.compiler.validate.compare import CODE, HELP, Report, Settings
from snncc.compiler.validate.dsl.declared import parameters_of
from snncc.compiler.validate.nir.reference import TRAINED, NirReference
from snncc.compiler.validate.twins import Build, compare_small

TOLERANCE = 1e-9
"""Numbers of neurons are worked out on both sides, in another order."""


def check_nir(
    module: Module,
    path: str,
    graph: NirGraph,
    build: Build,
    dt: float | None = None,
    settings: Settings | None = None,
) -> Report:
    """Compare a module as imported with its file; ``E0114`` where they differ.

    ``build`` imports the graph again for other sizes; ``dt`` is what the user said.
    """
    settings = settings or Settings(tolerance=TOLERANCE)
    taken = number(module.attrs, "dt", 1.0)
    if dt is not None and taken != dt:
        fail(CODE, f"the import takes steps of {taken:g}, not of {dt:g}", path, help=HELP)
    reference = NirReference(path, graph, taken)
    _check_parameters(module, reference)
    counts = any(node.kind == "Delay" for node in reference.wiring.nodes.values())
    return compare_small(module, lambda _: reference, build, settings, all_steps=counts)


def _check_parameters(module: Module, reference: NirReference) -> None:
    """Compare first values and names: no parameter may be lost, changed or made up."""
    wanted, found = reference.parameters, parameters_of(module)
    for name in sorted({*wanted, *found}):
        where = f"{reference.file}:{name}"
        if name not in wanted or name not in found:
            side = "import" if name not in found else "file"
            fail(CODE, f"the {side} has no parameter {name!r}", where, help=HELP)
        a, b = wanted[name].astype(np.float32), found[name].astype(np.float32)
        if name.rpartition(".")[2] in TRAINED:
            a = a.reshape(b.shape) if a.size == b.size and b.ndim <= 1 else a
            right = a.shape == b.shape and np.array_equal(a, b)
        else:  # worked out from the file's numbers on both sides, and given axes by the import
            right = a.size == b.size and bool(np.allclose(a.ravel(), b.ravel(), 1e-6, 0))
        if not right:
            fail(CODE, f"the values of {name} are not those of the file", where, help=HELP)
    for op in module.walk():
        fires = (op.name == "graph.neuron" and len(op.results) > 1) or op.name == "graph.spike"
        if fires and op.attrs.get("compare") != "strict":
            text = f"compare: NIR says strict, the import {op.attrs.get('compare')}"
            fail(CODE, text, str(op.loc), help=HELP)
        if op.name == "graph.param":
            name = op.str_attr("name")
            trained = name.rpartition(".")[2] in TRAINED
            if (op.attrs.get("train") is True) != trained:
                text = f"{name} is {'not ' * trained}trained in the import"
                fail(CODE, text, f"{reference.file}:{name}", help=HELP)
