"""Comparing the import of a .snn file with the text (docs/dsl.md)."""

from __future__ import annotations

from collections.abc import Mapping

from snncc.compiler.frontend.dsl.parse import Program
from snncc.compiler.ir.core import Module
from snncc.compiler.validate.arithmetic import Array
from snncc.compiler.validate.compare import Report, Settings
from snncc.compiler.validate.dsl.declared import check_declared, parameters_of
from snncc.compiler.validate.dsl.reference import DslReference
from snncc.compiler.validate.twins import Build, compare_small

TOLERANCE = 1e-10
"""Both sides compute with the same numbers, so only the order of additions differs."""


def check_dsl(
    module: Module,
    program: Program,
    build: Build,
    weights: Mapping[str, Array] | None = None,
    settings: Settings | None = None,
) -> Report:
    """Compare a module as imported with its text; ``E0114`` where they differ.

    ``build`` imports the text again for other sizes; ``weights`` are the arrays of the npz that the
    text names.
    """
    settings = settings or Settings(tolerance=TOLERANCE)
    reference = DslReference(program, parameters_of(module), module.steps)

    def sized(like: Module) -> DslReference:
        reference.steps = like.steps
        return reference

    report = compare_small(module, sized, build, settings, all_steps=False)
    check_declared(module, reference, weights)
    return report
