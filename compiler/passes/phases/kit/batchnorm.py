"""Batch normalisation as phase ops: statistics, factors per channel, running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from snncc.compiler.ir.build import Builder, flag, integer, number
from snncc.compiler.ir.core import Attribute, Op, Type, Value
from snncc.compiler.ir.training import TrainingSettings
from snncc.compiler.passes.phases.kit.emit import build_map, cast_map, map_one, region_const
from snncc.compiler.passes.phases.kit.scan_builder import ScanBuilder


def batchnorm(
    b: Builder, update: Builder, op: Op, args: Sequence[Value], training: TrainingSettings
) -> Value:
    """Emit statistics, 1/sqrt(var + eps), then the normalisation as one op.

    ``update`` writes what moves the running statistics; ``args``: x, scale, shift, mean, var.
    """
    x, scale, shift, mean, var = args
    axis = integer(op.attrs, "axis", 1)
    batch = training.batch_statistics
    if batch:
        attrs: dict[str, Attribute] = {"axis": axis}
        if flag(op.attrs, "per_step") and x.type.kind == "seq":
            attrs["per_step"] = True
        stats = b.op("phase.bn_stats", x, attrs=attrs)
        if training.optimizer is not None:
            momentum = number(op.attrs, "momentum", 0.1)
            _running(update, [mean, var], stats.results, _terms(x.type, attrs, axis), momentum)
        mean, var = stats.results
    return b.one(
        "phase.batchnorm", x, cast_map(b, mean, "f32"), _inverse(b, op, var), scale, shift,
        axis=axis, statistics="batch" if batch else "running",
    )  # fmt: skip


def channel_factors(b: Builder, op: Op, args: Sequence[Value]) -> tuple[Value, Value]:
    """Emit k and m of ``y = x*k + m`` for running statistics, f32, as columns of the step shape.

    ``args``: scale, shift, mean, var.
    """
    scale, shift, mean, var = args
    shape, axis = op.operands[0].type.step_shape, integer(op.attrs, "axis", 1)
    inv = _inverse(b, op, var)

    def factors(inner: Builder, a: list[Value]) -> list[Value]:
        k = inner.one("ew.mul", a[0], a[1])
        return [k, inner.one("ew.sub", a[2], inner.one("ew.mul", a[3], k))]

    made = build_map(b, [scale, inv, shift, cast_map(b, mean, "f32")], factors)
    column = tuple(d if i == axis else 1 for i, d in enumerate(shape))[axis:]
    k, m = (v if len(column) == 1 else b.one("phase.reshape", v, shape=column)
            for v in made.results)  # fmt: skip
    return k, m


def _inverse(b: Builder, op: Op, var: Value) -> Value:
    eps = number(op.attrs, "eps")

    def invert(inner: Builder, a: list[Value]) -> Value:
        sd = inner.one("ew.add", a[0], region_const(inner, eps, "f32"))
        one = region_const(inner, 1.0, "f32")
        return inner.one("ew.div", one, inner.one("ew.sqrt", sd))

    return map_one(b, [cast_map(b, var, "f32")], invert)


def _terms(x: Type, attrs: dict[str, Attribute], axis: int) -> int:
    """Return how many elements a channel's statistics are made of."""
    size = prod(x.step_shape) if attrs.get("per_step") else x.size
    return size // x.step_shape[axis]


def _running(
    b: Builder, old: Sequence[Value], new: Sequence[Value], count: int, momentum: float
) -> None:
    """Move the running statistics: old + momentum*(new - old); the variance unbiased.

    Statistics of every step move them once a step, in f32, and are rounded at the end; or, where
    every step has running statistics of its own, each moves those of its step.
    """
    factors = (1.0, count / max(count - 1, 1))
    for before, found, factor in zip(old, new, factors, strict=True):

        def move(inner: Builder, a: list[Value], factor: float = factor) -> Value:
            scaled = inner.one("ew.mul", a[1], region_const(inner, factor, "f32"))
            keep = inner.one("ew.mul", a[0], region_const(inner, 1 - momentum, "f32"))
            part = inner.one("ew.mul", scaled, region_const(inner, momentum, "f32"))
            return inner.one("ew.add", keep, part)

        def once(inner: Builder, a: list[Value], factor: float = factor) -> Value:
            return inner.one("ew.cast", move(inner, a, factor), to="f16")

        for t, own in enumerate(_of_each_step(before)):
            here = map_one(b, [own, _at_step(b, found, t)], once)
            b.op("phase.store", here, name=_name(own), kind="param")
        owner = before.owner
        if not isinstance(owner, Op) or owner.name != "phase.param":
            continue
        if found.type.kind == "seq":
            scan = ScanBuilder(b, found.type.shape[0])
            held = scan.carry(cast_map(b, before, "f32"), "running")
            scan.next(held, move(scan.inner, [held, scan.read(found)]))
            scan.finish([])
            value = cast_map(b, scan.last[0], "f16")
        else:
            value = map_one(b, [before, found], once)
        b.op("phase.store", value, name=owner.str_attr("name"), kind="param")


def _of_each_step(value: Value) -> list[Value]:
    """Return the parameters that a sequence of statistics consists of, in the order of the steps.

    They are joined, and the tensor of all is cut into steps; empty for anything else.
    """
    found: list[Value] = []
    joined = _source(value, "phase.axis_to_time")
    parts = _source(joined[0], "phase.concat") if joined else []
    for part in parts:
        owner = part.owner
        while isinstance(owner, Op) and owner.name in ("phase.reshape", "phase.expand"):
            part = owner.operands[0]
            owner = part.owner
        if isinstance(owner, Op) and owner.name == "phase.param":
            found.append(part)
    return found if len(found) == len(parts) else []


def _source(value: Value, name: str) -> list[Value]:
    """Return the operands of the op that made a value, other shapes aside, where it is that op."""
    owner = value.owner
    while isinstance(owner, Op) and owner.name == "phase.reshape":
        owner = owner.operands[0].owner
    return owner.operands if isinstance(owner, Op) and owner.name == name else []


def _at_step(b: Builder, value: Value, t: int) -> Value:
    """Return one step of a sequence."""
    whole, shape = b.one("phase.time_to_axis", value), value.type.step_shape
    starts, ends = (t, *(0 for _ in shape)), (t + 1, *shape)
    return b.one(
        "phase.reshape", b.one("phase.slice", whole, starts=starts, ends=ends), shape=shape
    )


def _name(param: Value) -> str:
    owner = param.owner
    assert isinstance(owner, Op)
    return owner.str_attr("name")
