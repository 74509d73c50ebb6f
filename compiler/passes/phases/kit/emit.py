"""Shared by the phase passes: builders for maps and small values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from snncc.compiler.ir.build import Builder, lift, stacked, step_type
from snncc.compiler.ir.core import UNKNOWN, Block, Func, Location, Op, Type, Value, tensor
from snncc.compiler.ir.surrogate import constant

Body = Callable[[Builder, list[Value]], Sequence[Value]]


def location(*sources: Op | Value) -> Location:
    """Return the first known location."""
    for source in sources:
        op = source.owner if isinstance(source, Value) else source
        if isinstance(op, Op) and op.loc != UNKNOWN:
            return op.loc
    return UNKNOWN


def build_map(
    b: Builder,
    operands: Sequence[Value],
    body: Body,
    steps: int | None = None,
    names: Sequence[str] = (),
) -> Op:
    """Add a ``phase.map`` whose region ``body`` builds from the step values of the operands.

    ``steps`` makes the results seqs when no operand is one.
    """
    block = Block()
    args = [block.add_arg(step_type(v.type), v.name) for v in operands]
    inner = Builder(block, b.loc)
    found = list(body(inner, args))
    inner.op("phase.yield", *found)
    types = [v.type for v in operands]
    results = [lift(types, v.type.shape, v.type.dtype) for v in found]
    if steps is not None and not any(t.kind == "seq" for t in types):
        results = [stacked(t, steps) for t in results]
        return b.op("phase.map", *operands, types=results, regions=[block], names=names,
                    steps=steps)  # fmt: skip
    return b.op("phase.map", *operands, types=results, regions=[block], names=names)


def map_one(
    b: Builder, operands: Sequence[Value], body: Callable[[Builder, list[Value]], Value]
) -> Value:
    """Add a map with one result and return it."""
    return build_map(b, operands, lambda inner, args: [body(inner, args)]).result


def zeros(b: Builder, type_: Type) -> Value:
    """Add a constant tensor of zeros."""
    return b.op("phase.const", types=[type_], value=0.0).result


def cast_map(b: Builder, v: Value, to: str) -> Value:
    """Convert a value with a map (itself when it has the type)."""
    if v.type.dtype == to:
        return v
    return map_one(b, [v], lambda inner, a: inner.one("ew.cast", a[0], to=to))


def full(b: Builder, v: Value, shape: tuple[int, ...], dtype: str = "f16") -> Value:
    """Inside a region: give a value the full shape and type (adding 0 where it is smaller)."""
    if v.type.dtype == "bit" and dtype == "f16":
        v = b.one("ew.cast", v, to="f16")
    if v.type.shape == shape:
        return v
    return b.one("ew.expand", v, shape=shape)


def number_value(b: Builder, v: Value) -> Value:
    """Inside a region: bits as numbers."""
    return b.one("ew.cast", v, to="f16") if v.type.dtype == "bit" else v


def region_const(b: Builder, value: float, dtype: str = "f16") -> Value:
    """Inside a region: a scalar constant."""
    return constant(b, value, dtype)


def ends(func: Func) -> list[Op]:
    """Return the outputs of a function."""
    return [o for o in func.body.ops if o.name == "phase.output"]


def scalar(dtype: str = "f16") -> Type:
    """Return the type of a scalar."""
    return tensor((), dtype)
