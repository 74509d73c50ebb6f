"""Say how many cores there are: every task's parallel iterations are dealt out to them.

Which core has which is a function of that number (:mod:`snncc.compiler.ir.portions`).  Loops that
are alike become neighbours, so that a core's run of iterations is one run of such loops as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Module, Op
from snncc.compiler.passes.mapping.kit.alike import alike
from snncc.compiler.pipeline.registry import PassContext, compiler_pass


@dataclass(frozen=True, slots=True)
class Options:
    """``cores``: 0 takes the number that tiling planned for."""

    cores: int = 0


@compiler_pass(takes="tiled", gives="mapped", options=Options)
def run(module: Module, options: Options, context: PassContext) -> bool:
    """Deal the iterations of every task out to cores."""
    planned = module.attrs.get("cores", 1)
    module.attrs["cores"] = options.cores or (planned if isinstance(planned, int) else 1)
    module.attrs["stage"] = "mapped"
    for each in module.walk():
        if each.name == "tile.task":
            _sort(each)
    return True


def _sort(task: Op) -> None:
    """Let loops that are alike follow one another: the order of parallel iterations is free."""
    ops = task.regions[0].ops
    loops = [each for group in alike(task) for each in group]
    first = next((i for i, each in enumerate(ops) if each.name == "tile.parallel"), 0)
    if all(each.name == "tile.parallel" for each in ops[first : first + len(loops)]):
        ops[first : first + len(loops)] = loops
