"""Large networks are compared at a smaller size: the same text, imported for fewer samples.

Batch and steps change nothing in how a text is read, so a twin stands for the module where it has
the same ops with the same attributes, sizes excepted; :func:`compare_small` makes sure of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Attribute, Module, Op
from snncc.compiler.validate.compare import CODE, HELP, Reference, Report, Settings, compare
from snncc.compiler.validate.work import products

SMALL = 300_000
"""Products of one evaluation up to which a module is compared as it is."""
LARGE = 20_000_000
"""Products from which on only the smooth comparison is made."""
SIZES = ((2, 4), (2, 3), (1, 3), (1, 2))
"""Batch and steps of twins; the first that is no larger than ``LARGE`` is taken, or the last."""
ENOUGH = 3
"""Steps in which states and what comes late show; a module of fewer has a longer twin."""

Build = Callable[[int, int], Module]
"""Imports the text again: batch, steps."""


def compare_small(
    module: Module,
    reference_of: Callable[[Module], Reference],
    build: Build,
    settings: Settings,
    *,
    all_steps: bool,
) -> Report:
    """Compare a module with its text, or a twin of it where the module is large.

    ``reference_of`` gives the text's evaluator for the steps that a module has;
    ``all_steps``: a twin has as many steps as the module, as something in it counts steps.
    """
    size = products(module)
    if size <= SMALL:
        report = compare(module, reference_of(module), settings)
        if module.steps >= ENOUGH:
            return report
    each = max(1, size // (module.batch * module.steps))
    fitting = [s for s in SIZES if s[0] * s[1] * each <= LARGE]
    batch, steps = fitting[0] if fitting else SIZES[-1]
    batch = min(batch, module.batch)
    if all_steps:
        steps = max(steps, module.steps)
    elif module.steps >= ENOUGH:
        steps = min(steps, module.steps)
    twin = module
    reference = reference_of(module)
    if (batch, steps) != (module.batch, module.steps):
        twin = build(batch, steps)
        reference = reference_of(twin)
        if not (all_steps and steps > module.steps):  # more steps, more of them are late
            _same_ops(module, twin, reference.file)
    if each * batch * steps > LARGE:
        settings = replace(settings, hard=())
    return compare(twin, reference, settings)


def _same_ops(module: Module, twin: Module, file: str) -> None:
    for ours, other in zip_longest(module.walk(), twin.walk()):
        if ours is None or other is None or _said(ours) != _said(other):
            place = "" if ours is None else str(ours.loc)
            fail(CODE, "the import depends on batch or steps in more than sizes", file,
                 notes=[f"first at {place}"], help=HELP)  # fmt: skip


def _said(op: Op) -> tuple[str, dict[str, Attribute]]:
    """Return an op's name and attributes without batch and steps."""
    said = {k: v for k, v in op.attrs.items() if k != "steps"}
    shape = said.get("shape")
    if isinstance(shape, tuple) and op.name != "graph.param":
        said["shape"] = shape[1:]
    return op.name, said
