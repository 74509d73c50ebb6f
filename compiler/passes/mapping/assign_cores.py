"""Deal the parallel iterations of every task out to cores.

Each task's ``tile.parallel`` iterations are cut into contiguous runs, one per core, as even as can
be; the task is copied once per core with its run.  Iterations touch disjoint outputs and no
reduction crosses them, so the number of cores changes no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from snncc.compiler.ir.core import Attribute, Block, Module, Op, Value, op
from snncc.compiler.pipeline.registry import PassContext, compiler_pass

Affine = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """``cores``: 0 takes the number that tiling planned for."""

    cores: int = 0


@compiler_pass(takes="tiled", gives="mapped", options=Options)
def run(module: Module, options: Options, context: PassContext) -> bool:
    """Give every core its iterations of every task."""
    planned = module.attrs.get("cores", 1)
    cores = options.cores or (planned if isinstance(planned, int) else 1)
    body = module.func("step").body
    _deal(body, cores)
    module.attrs["stage"] = "mapped"
    module.attrs["cores"] = cores
    return True


def _deal(body: Block, cores: int) -> None:
    """Replace the tasks of a block (and of loops over time) by one per core."""
    old, body.ops = body.ops, []
    for each in old:
        if each.name == "tile.steps":
            _deal(each.regions[0], cores)
        if each.name != "tile.task":
            body.append(each)
            continue
        for core in range(cores):
            mine = task_of_core(each, core, cores)
            if mine is not None:
                body.append(mine)
        for inner in each.walk():
            inner.drop_operands()


def task_of_core(task: Op, core: int, cores: int) -> Op | None:
    """Return the part of a task that a core runs, or None."""
    loops = [o for o in task.regions[0].ops if o.name == "tile.parallel"]
    total = sum(o.int_attr("trips") for o in loops)
    low, high = core * total // cores, (core + 1) * total // cores
    if low == high:
        return None
    block = Block()
    values: dict[Value, Value] = {}
    outer = task.int_attr("outer", 0)
    start = 0
    for each in task.regions[0].ops:
        if each.name != "tile.parallel":
            block.append(copy(each, values, Start(0, False, outer)))
            continue
        trips = each.int_attr("trips")
        first, last = max(low - start, 0), min(high - start, trips)
        start += trips
        if first >= last:
            continue
        if last - first == 1:
            for inner in each.regions[0].ops:
                block.append(copy(inner, values, Start(first, True, outer)))
            continue
        inner_block = Block()
        for inner in each.regions[0].ops:
            inner_block.append(copy(inner, values, Start(first, False, outer)))
        block.append(
            op("tile.loop", attrs={"trips": last - first}, regions=[inner_block], loc=each.loc)
        )
    return op("tile.task", attrs={**task.attrs, "core": core}, regions=[block], loc=task.loc)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a core's run begins: iteration ``first`` of the loop below ``outer`` time loops.

    ``inline``: the run has one iteration and its loop is gone.
    """

    first: int
    inline: bool
    outer: int

    def shift(self, at: Affine) -> Affine:
        """Return an offset that starts there."""
        place = 1 + self.outer
        if len(at) <= place:
            return at
        base = at[0] + at[place] * self.first
        rest = at[place + 1 :] if self.inline else at[place:]
        return (base, *at[1:place], *rest)


def copy(source: Op, values: dict[Value, Value], start: Start) -> Op:
    """Copy an op, its parallel loop beginning where ``start`` says."""
    attrs: dict[str, Attribute] = dict(source.attrs)
    if "at" in attrs:
        at = cast("tuple[Affine, ...]", attrs["at"])
        attrs["at"] = tuple(start.shift(a) for a in at)
    if "streams" in attrs:
        streams = cast("tuple[tuple[int, Affine, int, int], ...]", attrs["streams"])
        attrs["streams"] = tuple((i, start.shift(a), step, row) for i, a, step, row in streams)
    regions: list[Block] = []
    for region in source.regions:
        block = Block()
        for inner in region.ops:
            block.append(copy(inner, values, start))
        regions.append(block)
    made = op(
        source.name,
        [values.get(v, v) for v in source.operands],
        [r.type for r in source.results],
        attrs,
        regions,
        source.loc,
        [r.name for r in source.results],
    )
    for old, new in zip(source.results, made.results, strict=True):
        values[old] = new
    return made
