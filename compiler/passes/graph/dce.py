"""Remove ops whose results nobody uses.

Matches every op that its definition calls pure and none of whose results has a user, from the last
to the first, regions included; then arrays that no attribute ``resource`` names any more.  Does
nothing to arguments, and keeps ops with effects (outputs, stores) and terminators.
"""

from __future__ import annotations

from snncc.compiler.ir.core import Block, Module, Op
from snncc.compiler.ir.opdef import lookup
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass


@compiler_pass(takes=("graph", "phased"))
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Remove ops whose results nobody uses, and arrays that nobody names."""
    changed = False
    for func in module.funcs.values():
        changed |= _clean(func.body)
    named = {op.str_attr("resource", "") for op in module.walk()}
    for name in [n for n in module.resources if n not in named]:
        del module.resources[name]
        changed = True
    return changed


def _clean(block: Block) -> bool:
    kept: list[Op] = []
    for op in reversed(block.ops):
        definition = lookup(op.name)
        removable = definition is not None and definition.pure and not definition.terminator
        if removable and not any(result.uses for result in op.results):
            for inner in op.walk():
                inner.drop_operands()
            op.parent = None
            continue
        kept.append(op)
    changed = len(kept) != len(block.ops)
    block.ops = kept[::-1]
    for op in block.ops:
        for region in op.regions:
            changed |= _clean(region)
    return changed
