"""Put a barrier before a task that touches what another core wrote or read since the last one.

The regions of DRAM tensors that a core touches in a task are known exactly; two tasks on different
cores need an order when their regions meet and one of them is written.
"""

from __future__ import annotations

from itertools import groupby

from snncc.compiler.ir.core import Module, Op, Value, op
from snncc.compiler.passes.mapping.kit.regions import Region, dram_regions
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

Touched = dict[Value, list[tuple[int, Region]]]


@compiler_pass(takes="mapped", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Order tasks of different cores by barriers."""
    body = module.func("step").body
    old, body.ops = body.ops, []
    since: Touched = {}
    changed = False

    def key(each: Op) -> int:
        return each.int_attr("id") if each.name == "tile.task" else -1 - (each.name == "tile.steps")

    for number, group in groupby(old, key):
        ops = list(group)
        if number < 0:
            steps = [each for each in ops if each.name == "tile.steps"]
            if steps:
                for each in steps:
                    _between_tasks(each)
                    changed = True
                for each in ops:
                    body.append(each)
                body.append(op("tile.barrier", loc=steps[0].loc))
                since = {}
                continue
            for each in ops:
                body.append(each)
            continue
        mine: Touched = {}
        for task in ops:
            for tensor, region in dram_regions(task):
                entry = (task.int_attr("core"), region)
                found = mine.setdefault(tensor, [])
                if entry not in found:
                    found.append(entry)
        if _conflict(since, mine):
            body.append(op("tile.barrier", loc=ops[0].loc))
            since = {}
            changed = True
        for task in ops:
            body.append(task)
        for tensor, entries in mine.items():
            since.setdefault(tensor, []).extend(entries)
    return changed


def _between_tasks(steps: Op) -> None:
    """Order all tasks of a loop over time, the first of a step after the last of the one before."""
    body = steps.regions[0]
    old, body.ops = body.ops, []
    for _, group in groupby(old, lambda each: each.int_attr("id")):
        ops = list(group)
        body.append(op("tile.barrier", loc=ops[0].loc))
        for each in ops:
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
