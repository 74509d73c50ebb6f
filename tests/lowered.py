"""Run the phase passes on a module, for tests of what comes after them."""

from __future__ import annotations

from collections.abc import Iterator

from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.verify import verify
from snncc.compiler.pipeline.registry import PassContext, lookup

PHASES = (
    *("split-forward", "add-loss", "derive-backward", "add-optimizer", "legalize-ew"),
    "dce",
)


def stages(module: Module) -> Iterator[tuple[str, Module]]:
    """Yield a copy of the module after each phase pass, verified."""
    work = clone(module)
    for name in PHASES:
        found = lookup(name)
        _, run = found.bind({})
        run(work, PassContext())
        verify(work)
        yield name, clone(work)


def phased(module: Module) -> Module:
    """Return the module after all phase passes."""
    return list(stages(module))[-1][1]
