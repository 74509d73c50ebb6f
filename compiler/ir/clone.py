"""Copies of modules: ops, values and attributes are new, arrays are shared."""

from __future__ import annotations

from snncc.compiler.ir.core import Block, Func, Module, Op, Value, op


def clone(module: Module) -> Module:
    """Return a copy; resources are the same arrays (passes do not change arrays in place)."""
    copy = Module(module.name, dict(module.attrs), dict(module.resources))
    for name, func in module.funcs.items():
        copy.funcs[name] = Func(func.name, clone_block(func.body, {}), dict(func.attrs))
    return copy


def clone_block(block: Block, values: dict[Value, Value]) -> Block:
    """Return a copy of a block; ``values`` maps old values to new ones and is extended."""
    copy = Block()
    for arg in block.args:
        values[arg] = copy.add_arg(arg.type, arg.name)
    for each in block.ops:
        copy.append(clone_op(each, values))
    return copy


def clone_op(source: Op, values: dict[Value, Value]) -> Op:
    """Return a detached copy of an op; operands that ``values`` lacks stay as they are."""
    regions = [clone_block(region, values) for region in source.regions]
    copy = op(
        source.name,
        [values.get(v, v) for v in source.operands],
        [r.type for r in source.results],
        source.attrs,
        regions,
        source.loc,
        [r.name for r in source.results],
    )
    values.update(zip(source.results, copy.results, strict=True))
    return copy
