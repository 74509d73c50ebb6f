"""Parallel loops that are alike: they run the same operations and differ in numbers only.

Where channels or images do not divide by the size of a tile, a task has several parallel loops.
Loops that are alike count as one whose addresses and sizes depend on the iteration, so that all
cores can run one program.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

from snncc.compiler.ir.core import Block, Op
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.spec import REG

Affine = tuple[int, ...]
StreamUse = tuple[int, Affine, int, int]


@dataclass(slots=True)
class _Group:
    loops: list[Op]
    slopes: tuple[int, ...] | None
    """How addresses move from iteration to iteration; None: all loops have only one."""


def alike(task: Op) -> list[list[Op]]:
    """Return the parallel loops of a task, those that are alike together.

    In the first of several, addresses move as in all others that have more than one iteration.
    """
    place = 1 + task.int_attr("outer", 0)
    found: dict[Hashable, list[_Group]] = {}
    groups: list[_Group] = []
    for each in task.regions[0].ops:
        if each.name != "tile.parallel":
            continue
        slopes = None
        if each.int_attr("trips") > 1:
            slopes = tuple(at[place] for op in each.walk() for at in written(op))
        similar = found.setdefault(_shape(each.regions[0], place), [])
        for group in similar:
            if slopes is None or group.slopes is None or slopes == group.slopes:
                break
        else:
            group = _Group([], None)
            similar.append(group)
            groups.append(group)
        group.slopes = group.slopes or slopes
        group.loops.append(each)
    return [sorted(group.loops, key=lambda o: o.int_attr("trips") == 1) for group in groups]


def written(op: Op) -> tuple[Affine, ...]:
    """Return the offsets of an operation's operands or streams."""
    if "streams" in op.attrs:
        return tuple(at for _, at, _, _ in cast("tuple[StreamUse, ...]", op.attrs["streams"]))
    return cast("tuple[Affine, ...]", op.attrs.get("at", ()))


def registers_of(op: Op) -> list[str]:
    """Return the operands of an operation that are numbers in registers."""
    row = BY_MNEMONIC[op.name.partition(".")[2]]
    names = [f.name for f in row.operands if f.kind is REG and f.name != "seed"]
    return [n for n in names if isinstance(op.attrs.get(n), int)]


def _shape(block: Block, place: int) -> Hashable:
    """Return what blocks that are alike have in common: all but bases and sizes.

    ``place``: where the coefficient of the parallel loop stands.
    """
    return tuple(_operation(op, place) for op in block.ops)


def _operation(op: Op, place: int) -> Hashable:
    if op.name == "tile.loop":
        return op.int_attr("trips"), _shape(op.regions[0], place)
    if op.name == "tile.sram":
        return op
    fixed = dict(op.attrs)
    places = tuple((at[1:place], at[place + 1 :]) for at in written(op))
    fixed.pop("at", None)
    streams = cast("tuple[StreamUse, ...]", fixed.pop("streams", ()))
    for name in registers_of(op):
        del fixed[name]
    sources = tuple(operand for operand, _, _, _ in streams)
    return op.name, tuple(op.operands), sources, places, tuple(sorted(fixed.items()))
