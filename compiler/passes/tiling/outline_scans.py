"""Group the element-wise ops of recurrent scans into maps.

A scan whose body holds only element-wise ops becomes one lane program.  One that also holds dense
layers (a recurrent network) runs step by step: its body must then be a list of whole ops, so runs
of element-wise ops of one shape between them become ``phase.map`` ops.
"""

from __future__ import annotations

from collections.abc import Mapping

from snncc.compiler.ir.core import Attribute, Block, Module, Op, Type, Value, op
from snncc.compiler.ir.orders import is_recurrent
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass


@compiler_pass(takes="phased", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Outline element-wise runs of scans that hold other ops."""
    changed = False
    for each in list(module.func("step").body.ops):
        if each.name == "phase.scan" and is_recurrent(each):
            changed |= _outline(each)
    return changed


def _outline(scan: Op) -> bool:
    block = scan.regions[0]
    if not any(o.name.startswith("ew.") for o in block.ops):
        return False
    common: dict[str, Attribute] = {k: scan.attrs[k] for k in ("phase", "layer") if k in scan.attrs}
    group_of: dict[Op, tuple[int, tuple[int, ...]]] = {}
    levels: dict[Value, tuple[int, tuple[int, ...] | None]] = {a: (0, None) for a in block.args}
    for each in block.ops:
        if each.name == "ew.const" or each.name == "phase.yield":
            continue
        known = [levels[v] for v in each.operands if v in levels]
        if each.name.startswith("ew."):
            shape = each.result.type.shape
            level = max((n + (s is not None and s != shape) for n, s in known), default=0)
            group_of[each] = (level, shape)
            levels[each.result] = (level, shape)
        else:
            each.attrs.update({k: v for k, v in common.items() if k not in each.attrs})
            level = max((n for n, _ in known), default=0) + 1
            for r in each.results:
                levels[r] = (level, None)
    groups: dict[tuple[int, tuple[int, ...]], list[Op]] = {}
    for each, key in group_of.items():
        groups.setdefault(key, []).append(each)
    heavy = [o for o in block.ops if not o.name.startswith("ew.") and o.name != "phase.yield"]
    order: list[tuple[int, int, list[Op]]] = [(k[0], 1, ops) for k, ops in groups.items()]
    order += [(levels[o.results[0]][0], 0, [o]) for o in heavy]
    order.sort(key=lambda entry: (entry[0], entry[1]))
    _rebuild(scan, order, common)
    return True


def _rebuild(
    scan: Op, order: list[tuple[int, int, list[Op]]], common: Mapping[str, Attribute]
) -> None:
    """Replace the body by whole ops in an order that respects their operands."""
    block = scan.regions[0]
    end = block.terminator
    consts = [o for o in block.ops if o.name == "ew.const"]
    members = {o for _, _, ops in order for o in ops}
    block.ops = []
    replaced: dict[Value, Value] = {}
    for _, kind, ops in order:
        if kind == 0:
            block.append(ops[0])
            for i, v in enumerate(ops[0].operands):
                ops[0].set_operand(i, replaced.get(v, v))
            continue
        made = _map_of(ops, members, end, replaced, common)
        block.append(made)
    for i, v in enumerate(end.operands):
        end.set_operand(i, replaced.get(v, v))
    block.append(end)
    for const in consts:
        if const.result.uses:
            raise ValueError(f"a constant of {scan.name} is used outside element-wise ops")


def _map_of(
    ops: list[Op],
    members: set[Op],
    end: Op,
    replaced: dict[Value, Value],
    common: Mapping[str, Attribute],
) -> Op:
    """Return a map of a run of ops; their outer operands become its operands."""
    inner = Block()
    inside: dict[Value, Value] = {}
    operands: list[Value] = []
    own = set(ops)
    made_consts: dict[Value, Value] = {}
    for each in ops:
        new: list[Value] = []
        for v in each.operands:
            if v in inside:
                new.append(inside[v])
                continue
            owner = v.owner
            if isinstance(owner, Op) and owner.name == "ew.const":
                if v not in made_consts:
                    copy = op("ew.const", types=[v.type], attrs=owner.attrs, loc=owner.loc)
                    inner.append(copy)
                    made_consts[v] = copy.result
                new.append(made_consts[v])
                continue
            arg = inner.add_arg(Type("tensor", v.type.shape, v.type.dtype), v.name)
            inside[v] = arg
            operands.append(replaced.get(v, v))
            new.append(arg)
        copied = op(
            each.name,
            new,
            [each.result.type],
            each.attrs,
            loc=each.loc,
            names=[each.result.name],
        )
        inner.append(copied)
        inside[each.result] = copied.result
    results = [
        o.result
        for o in ops
        if any(user not in own and (user in members or user is end) for user, _ in o.result.uses)
    ]
    inner.append(op("phase.yield", [inside[r] for r in results], loc=ops[-1].loc))
    made = op(
        "phase.map",
        operands,
        [r.type for r in results],
        common,
        [inner],
        ops[-1].loc,
        [r.name for r in results],
    )
    for each in ops:
        each.drop_operands()
    for old, new_value in zip(results, made.results, strict=True):
        replaced[old] = new_value
    return made
