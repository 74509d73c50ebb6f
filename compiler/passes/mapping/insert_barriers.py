"""Put a barrier before a task that touches what another core wrote or read since the last one.

The regions of DRAM tensors that a core touches in a task are known exactly; two tasks on different
cores need an order when their regions meet and one of them is written.
"""

from __future__ import annotations

from typing import cast

from snncc.compiler.ir.core import Module, Op, Value, op
from snncc.compiler.ir.portions import portions, whole
from snncc.compiler.passes.mapping.kit.regions import Region, dram_regions
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

Touched = dict[Value, list[tuple[int, Region]]]


@compiler_pass(takes="mapped", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Order tasks of different cores by barriers."""
    body, cores = module.func("step").body, cast("int", module.attrs["cores"])
    old, body.ops = body.ops, []
    since: Touched = {}
    changed = False
    behind_loop: Op | None = None
    for each in old:
        if behind_loop is not None and each.name != "tile.steps":
            body.append(op("tile.barrier", loc=behind_loop.loc))
            behind_loop = None
        if each.name == "tile.steps":
            _between_tasks(each)
            behind_loop, since, changed = each, {}, True
        elif each.name == "tile.task":
            mine = _touched(each, cores)
            if _conflict(since, mine):
                body.append(op("tile.barrier", loc=each.loc))
                since, changed = {}, True
            for tensor, entries in mine.items():
                since.setdefault(tensor, []).extend(entries)
        body.append(each)
    return changed


def _touched(task: Op, cores: int) -> Touched:
    """Return which core touches which parts of which tensors."""
    found: dict[Value, dict[tuple[int, Region], None]] = {}
    everything, dealt = whole(task, cores), portions(task, cores)
    for core in range(cores):
        if not everything.run(core):
            continue
        for tensor, region in dram_regions(task, {o: s.run(core) for o, s in dealt.items()}):
            found.setdefault(tensor, {})[core, region] = None
    return {tensor: list(entries) for tensor, entries in found.items()}


def _between_tasks(steps: Op) -> None:
    """Order all tasks of a loop over time, the first of a step after the last of the one before."""
    body = steps.regions[0]
    old, body.ops = body.ops, []
    for each in old:
        body.append(op("tile.barrier", loc=each.loc))
        body.append(each)


def _conflict(since: Touched, mine: Touched) -> bool:
    """Whether a region meets one of another core."""
    for tensor, entries in mine.items():
        earlier = since.get(tensor)
        if not earlier:
            continue
        for core, region in entries:
            for other, before in earlier:
                if other != core and region.meets(before):
                    return True
    return False
