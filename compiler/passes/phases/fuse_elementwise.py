"""Join element-wise work that follows element-wise work.

A ``phase.map`` whose operand another map makes becomes one map with it; a map that only feeds a
scan moves into the scan's body.  Each saves writing and reading a tensor and the instructions for
it.  The element-wise ops stay the same, so no bit changes.  Nothing is done where shapes differ,
where a value would be needed before it is there, or where a lane program would become too long.
"""

from __future__ import annotations

from collections.abc import Iterable

from snncc.compiler.ir.core import Attribute, Block, Module, Op, Type, Value, op
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

ENDS = {"phase.output", "phase.store"}
"""Ops that only name a value: their place does not matter."""
MAX_STREAMS = 20
MAX_OPS = 120


@compiler_pass(takes="phased", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Fuse maps into maps and scans."""
    body = module.func("step").body
    changed = False
    again = True
    while again:
        again = False
        for each in list(body.ops):
            if each.parent is None:
                continue
            for producer in _producers(each):
                if each.name == "phase.map" and _joins(body, producer, each):
                    _join(body, producer, each)
                elif each.name == "phase.scan" and _enters(producer, each):
                    _enter(body, producer, each)
                else:
                    continue
                again = changed = True
                break
    return changed


def _producers(each: Op) -> list[Op]:
    if each.name not in {"phase.map", "phase.scan"}:
        return []
    owners = [v.owner for v in each.operands]
    found = [o for o in owners if isinstance(o, Op) and o.name == "phase.map"]
    return list(dict.fromkeys(found))


def _small(first: Op, second: Op) -> bool:
    ops = len(first.regions[0].ops) + len(second.regions[0].ops)
    streams = sum(len(o.operands) + len(o.results) for o in (first, second))
    return ops <= MAX_OPS and streams <= MAX_STREAMS


def _users(each: Op) -> set[Op]:
    return {user for r in each.results for user, _ in r.uses}


def _joins(body: Block, first: Op, second: Op) -> bool:
    """Whether two maps can become one at the place of the second."""
    types = {(r.type.kind, r.type.step_shape) for r in (*first.results, *second.results)}
    if len(types) != 1 or not _small(first, second) or first.parent is not body:
        return False
    if any(o.name in {"ew.rand", "ew.srnd", "ew.iota"} for o in first.regions[0].ops):
        return False
    place = body.ops.index(second)
    return all(
        user is second or user.name in ENDS or (user in body.ops and body.ops.index(user) > place)
        for user in _users(first)
    )


def _copy_ops(source: Block, target: Block, values: dict[Value, Value]) -> list[Value]:
    """Append copies of a region's ops; return what its terminator names."""
    for each in source.ops[:-1]:
        made = op(
            each.name,
            [values[v] for v in each.operands],
            [r.type for r in each.results],
            each.attrs,
            loc=each.loc,
            names=[r.name for r in each.results],
        )
        target.append(made)
        values.update(zip(each.results, made.results, strict=True))
    return [values[v] for v in source.terminator.operands]


def _step_type(v: Value) -> Type:
    return Type("tensor", v.type.step_shape, v.type.dtype)


def _unique(values: Iterable[Value]) -> list[Value]:
    return list(dict.fromkeys(values))


def _join(body: Block, first: Op, second: Op) -> None:
    """Replace two maps by one at the place of the second."""
    made_by_first = set(first.results)
    operands = _unique([*first.operands, *(v for v in second.operands if v not in made_by_first)])
    block = Block()
    args = {v: block.add_arg(_step_type(v), v.name) for v in operands}
    values = dict(zip(first.regions[0].args, (args[v] for v in first.operands), strict=True))
    inner = dict(zip(first.results, _copy_ops(first.regions[0], block, values), strict=True))
    values = {
        arg: inner[v] if v in made_by_first else args[v]
        for arg, v in zip(second.regions[0].args, second.operands, strict=True)
    }
    yielded = _copy_ops(second.regions[0], block, values)
    kept = [r for r in first.results if any(user is not second for user, _ in r.uses)]
    block.append(op("phase.yield", [*(inner[r] for r in kept), *yielded], loc=second.loc))
    attrs: dict[str, Attribute] = dict(second.attrs)
    attrs.pop("steps", None)
    if all(v.type.kind != "seq" for v in operands) and second.results[0].type.kind == "seq":
        attrs["steps"] = second.results[0].type.shape[0]
    made = op(
        "phase.map",
        operands,
        [r.type for r in (*kept, *second.results)],
        attrs,
        [block],
        second.loc,
        [r.name for r in (*kept, *second.results)],
    )
    body.insert_before(second, made)
    for user in _users(first):
        if user.name in ENDS and body.ops.index(user) < body.ops.index(made):
            body.ops.remove(user)
            body.ops.insert(body.ops.index(made) + 1, user)
    for old, new in zip((*kept, *second.results), made.results, strict=True):
        for user, index in list(old.uses):
            if user is not second:
                user.set_operand(index, new)
    second.erase()
    first.erase()


def _enters(first: Op, scan: Op) -> bool:
    """Whether a map can move into a scan: it makes sequences that nobody else reads."""
    carried, seqs = scan.int_attr("carried"), scan.int_attr("seqs")
    own = set(scan.operands[carried : carried + seqs])
    if not all(r in own and _users_are(r, scan) for r in first.results):
        return False
    shapes = {r.type.step_shape for r in first.results}
    shapes.add(max((r.type.step_shape for r in scan.results), key=_size))
    plain = all(o.name.startswith("ew.") for o in first.regions[0].ops[:-1])
    counted = any(o.name in {"ew.rand", "ew.srnd", "ew.iota"} for o in first.regions[0].ops)
    body_plain = all(o.name.startswith("ew.") for o in scan.regions[0].ops[:-1])
    steps = scan.int_attr("steps")
    whole = all(v.type.shape[0] == steps for v in first.operands if v.type.kind == "seq")
    return (
        len(shapes) == 1
        and plain
        and body_plain
        and not counted
        and whole
        and (_small(first, scan) and first.parent is scan.parent)
    )


def _users_are(value: Value, only: Op) -> bool:
    return all(user is only for user, _ in value.uses)


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


def _enter(body: Block, first: Op, scan: Op) -> None:
    """Move a map into a scan's body."""
    carried, seqs = scan.int_attr("carried"), scan.int_attr("seqs")
    made = set(first.results)
    old_seqs = [v for v in scan.operands[carried : carried + seqs] if v not in made]
    old_captured = scan.operands[carried + seqs :]
    new_seqs = _unique([*old_seqs, *(v for v in first.operands if v.type.kind == "seq")])
    captured = _unique([*old_captured, *(v for v in first.operands if v.type.kind != "seq")])
    initial = scan.operands[:carried]
    block = Block()
    states = [
        block.add_arg(_step_type(v), a.name)
        for v, a in zip(initial, scan.regions[0].args, strict=False)
    ]
    args = {v: block.add_arg(_step_type(v), v.name) for v in (*new_seqs, *captured)}
    values = dict(zip(first.regions[0].args, (args[v] for v in first.operands), strict=True))
    inner = dict(zip(first.results, _copy_ops(first.regions[0], block, values), strict=True))
    values = dict(zip(scan.regions[0].args[:carried], states, strict=True))
    for arg, v in zip(scan.regions[0].args[carried:], scan.operands[carried:], strict=True):
        values[arg] = inner[v] if v in made else args[v]
    block.append(op("phase.yield", _copy_ops(scan.regions[0], block, values), loc=scan.loc))
    attrs: dict[str, Attribute] = {**scan.attrs, "seqs": len(new_seqs), "captured": len(captured)}
    fused = op(
        "phase.scan",
        [*initial, *new_seqs, *captured],
        [r.type for r in scan.results],
        attrs,
        [block],
        scan.loc,
        [r.name for r in scan.results],
    )
    body.insert_before(scan, fused)
    for old, new in zip(scan.results, fused.results, strict=True):
        old.replace_by(new)
    scan.erase()
    first.erase()
