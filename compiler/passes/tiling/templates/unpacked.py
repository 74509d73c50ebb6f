"""Moves of packed spikes that do not fall on whole words: done with numbers, then packed again."""

from __future__ import annotations

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Block, Op, Value
from snncc.compiler.passes.phases.kit.emit import cast_map, map_one, region_const

WORD = 16
MOVES = frozenset(("phase.concat", "phase.slice", "phase.pad"))


def unpack_moves(block: Block) -> bool:
    """Rewrite concatenations, slices and frames of spikes where the places may lie in a word."""
    inside = [unpack_moves(o.regions[0]) for o in block.ops if o.name == "phase.scan"]
    found = [o for o in block.ops if o.name in MOVES and o.result.type.dtype == "bit"]
    found = [o for o in found if _within(o)]
    found += [o for o in block.ops if o.name == "phase.reduce" and _largest_spike(o)]
    for each in found:
        _rewrite(block, each)
    mixed = [o for o in block.ops if o.name == "phase.concat" and _mixed(o)]
    single = [o for o in block.ops if o.name == "phase.reduce" and _single(o)]
    for each in (*mixed, *single):
        _widen(block, each)
    return bool(found or mixed or single or any(inside))


def _largest_spike(each: Op) -> bool:
    """Whether the largest of several spikes is wanted: whether there is one."""
    shape, axes = each.operands[0].type.step_shape, each.ints_attr("axes")
    return each.result.type.dtype == "bit" and any(shape[a] > 1 for a in axes)


def _single(each: Op) -> bool:
    """Whether a sum of spikes may run over rows that hold one spike each."""
    value = each.operands[0].type
    shape = value.step_shape
    return (
        value.dtype == "bit"
        and each.str_attr("kind") != "max"
        and len(shape) > 1
        and 1 in (shape[1], shape[-1])
    )


def _mixed(each: Op) -> bool:
    return len({v.type.dtype for v in each.operands}) > 1


def _widen(block: Block, each: Op) -> None:
    """Turn the spikes among what is joined into numbers."""
    made = Block()
    b = Builder(made, each.loc, None, **_common(each))
    for i, v in enumerate(each.operands):
        each.set_operand(i, cast_map(b, v, "f16"))
    for new in list(made.ops):
        block.insert_before(each, new)


def _common(each: Op) -> dict[str, Attribute]:
    return {k: each.attrs[k] for k in ("phase", "layer") if k in each.attrs}


def _within(each: Op) -> bool:
    """Whether a position on an axis that may be packed (any but the samples) is uneven."""
    rank = len(each.result.type.step_shape)
    packed = range(1, rank)
    if each.name == "phase.concat":
        axis = each.int_attr("axis") % rank
        sizes = [v.type.step_shape[axis] for v in each.operands[:-1]]
        return axis in packed and any(n % WORD for n in sizes)
    if each.name == "phase.slice":
        starts = each.ints_attr("starts")
        jumps = each.ints_attr("strides", (1,) * rank)
        return any(starts[a] % WORD or jumps[a] != 1 for a in packed)
    return any(each.ints_attr("low")[a] % WORD for a in packed)


def _rewrite(block: Block, each: Op) -> None:
    made = Block()
    b = Builder(made, each.loc, None, **_common(each))
    numbers = [cast_map(b, v, "f16") for v in each.operands]
    moved = b.op(each.name, *numbers, attrs=each.attrs).result

    def pack(inner: Builder, args: list[Value]) -> Value:
        return inner.one("ew.gt", args[0], region_const(inner, 0.0))

    spikes = map_one(b, [moved], pack)
    spikes.name = each.result.name
    for new in list(made.ops):
        block.insert_before(each, new)
    each.result.replace_by(spikes)
    each.erase()
