"""From the text of a pipeline to the steps that run, with the check that their stages chain."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from snncc.compiler.diag import fail
from snncc.compiler.pipeline.named import DEFAULT_LEVEL, named, names
from snncc.compiler.pipeline.options import OptionText, as_json, options_table, show_options
from snncc.compiler.pipeline.registry import Pass, Run, lookup, passes
from snncc.compiler.pipeline.spec import Item, parse_pipeline


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One pass with its options at its place in a pipeline."""

    item: Item
    each: Pass
    options: object
    run: Run
    number: int  # place in the pipeline, from 1
    occurrence: int  # 1 for the first run of this pass, 2 for the second

    @property
    def name(self) -> str:
        """The pass's name."""
        return self.each.name

    @property
    def spec(self) -> str:
        """The pass with its options, as it is written in a pipeline."""
        return self.each.name + show_options(self.options)

    @property
    def stem(self) -> str:
        """``007-dce.2``: the name of its files."""
        again = f".{self.occurrence}" if self.occurrence > 1 else ""
        return f"{self.number:03d}-{self.name}{again}"

    def options_json(self) -> dict[str, object]:
        """Return its options as plain data."""
        return as_json(self.options)


def plan(text: str, stage: str, level: int = DEFAULT_LEVEL, stop_after: str = "") -> list[Step]:
    """Return the steps of a pipeline for a module in ``stage``; mistakes are diagnostics.

    ``stop_after`` names a pass (``dce``, or ``dce@2`` for its second run) after which to stop.
    """
    steps: list[Step] = []
    count: Counter[str] = Counter()
    for item in _expand(parse_pipeline(text), level):
        found = lookup(item.name, item.span, names())
        options, run = found.bind(item.options)
        count[found.name] += 1
        steps.append(Step(item, found, options, run, len(steps) + 1, count[found.name]))
    if stop_after:
        steps = _cut(steps, stop_after)
    check_chain(steps, stage)
    return steps


def spec_of(steps: Iterable[Step]) -> str:
    """Return the text of a pipeline that runs these steps."""
    return ",".join(step.spec for step in steps)


def check_chain(steps: Sequence[Step], stage: str) -> None:
    """Refuse a pipeline in which a pass does not get the stage that it takes."""
    before = f"the input is in stage {stage}"
    for step in steps:
        if stage not in step.each.takes:
            wanted = " or ".join(step.each.takes)
            way = min(
                (w for t in step.each.takes if (w := bridge(stage, t))), key=len, default=None
            )
            if way:
                help_ = f"put {','.join(way)} before {step.name}"
            else:
                help_ = f"no pass leads from {stage} to {wanted}; a stage never reaches back"
            message = f"{step.name} takes IR in stage {wanted}, but {before}"
            fail("E0004", message, step.item.span, help=help_)
        if step.each.gives:
            stage = step.each.gives
            before = f"{step.name} leaves it in stage {stage}"


def bridge(start: str, end: str) -> list[str]:
    """Return the fewest passes that lead from one stage to another ([] when none do)."""
    known = passes().values()
    ways: dict[str, list[str]] = {start: []}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for each in known:
            if here in each.takes and each.gives and each.gives not in ways:
                ways[each.gives] = [*ways[here], each.name]
                queue.append(each.gives)
    return ways.get(end, [])


def _expand(items: Iterable[Item], level: int, within: tuple[str, ...] = ()) -> list[Item]:
    """Replace named pipelines by their passes; a pass hides an alias of its own name."""
    found: list[Item] = []
    for item in items:
        entries = None if item.name in passes() else named(item.name, level)
        if entries is None:
            found.append(item)
            continue
        if item.name in within:
            raise ValueError(f"named pipeline {item.name} contains itself")
        inner = [part for entry in entries for part in parse_pipeline(entry, item.name)]
        expanded = _expand(inner, level, (*within, item.name))
        found += _give(item, expanded) if item.options else expanded
    return found


def _give(alias: Item, items: list[Item]) -> list[Item]:
    """Hand an alias's options to every pass in it that knows them."""
    taken: set[str] = set()
    given: list[Item] = []
    for item in items:
        known = _option_names(lookup(item.name, item.span))
        mine: Mapping[str, OptionText] = {k: v for k, v in alias.options.items() if k in known}
        taken |= set(mine)
        given.append(Item(item.name, {**item.options, **mine}, item.span))
    for name, option in alias.options.items():
        if name not in taken:
            message = f"no pass of the pipeline {alias.name} has an option {name}"
            fail("E0003", message, option.span)
    return given


def _option_names(each: Pass) -> set[str]:
    return {row[0] for row in options_table(each.options)}


def _cut(steps: list[Step], stop_after: str) -> list[Step]:
    name, _, number = stop_after.partition("@")
    wanted = int(number) if number.isdigit() else 1
    for i, step in enumerate(steps):
        if step.name == name and step.occurrence == wanted:
            return steps[: i + 1]
    names = ", ".join(dict.fromkeys(step.name for step in steps)) or "no pass"
    fail("E0001", f"--stop-after {stop_after}: the pipeline runs {names}")
