"""The benchmarks: which there are, how a row is judged, the table and results.json."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks import chip, compiling, convnets, startup, timing, trainstep
from benchmarks.common import Case, Finding, Outcome, measure

HERE = Path(__file__).resolve().parent

SUITES: tuple[Callable[[], list[Case]], ...] = (
    trainstep.cases,
    convnets.cases,
    compiling.cases,
    startup.cases,
    timing.cases,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of results.json."""

    name: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    unit: str
    peer: str
    limit: float
    note: str = ""


def judge(case: Case, outcome: Outcome) -> Row:
    """Return the row of a measured case."""
    ours = median(outcome.ours) if outcome.ours else None
    theirs = median(outcome.theirs) if outcome.theirs else None
    if theirs is None and case.budget is not None:
        theirs = case.budget
    ratio = ours / theirs if ours is not None and theirs else None
    return Row(
        case.name,
        None if ours is None else round(ours, 6),
        None if theirs is None else round(theirs, 6),
        None if ratio is None else round(ratio, 4),
        "s",
        case.peer,
        case.limit,
        outcome.note,
    )


def row_of(found: Finding) -> Row:
    """Return the row of a number that is no time."""
    ratio = found.ours / found.theirs if found.theirs else None
    return Row(
        found.name,
        round(found.ours, 6),
        found.theirs,
        None if ratio is None else round(ratio, 4),
        found.unit,
        "at least" if found.higher else "at most",
        found.limit,
        found.note,
    )


def main() -> int:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description="Measure snncc against its peers.")
    parser.add_argument("--only", default="", help="only names that contain this text")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    args = parser.parse_args()
    rows: list[Row] = []
    print(f"{'name':48} {'ours':>12} {'theirs':>12} {'ratio':>7} {'limit':>8}  peer")
    for suite in SUITES:
        for case in suite():
            if args.only not in case.name:
                continue
            rows.append(judge(case, measure(case, args.repeats)))
            _show(rows[-1])
    slow = [r.name for r in rows if r.ratio is not None and r.ratio > r.limit]
    for found in chip.findings(args.only):
        rows.append(row_of(found))
        _show(rows[-1])
        slow += [] if found.good else [found.name]
    args.out.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    print(f"{len(rows)} results in {args.out}")
    if slow:
        print("miss their limit:", ", ".join(slow), file=sys.stderr)
    return 1 if slow else 0


def _show(row: Row) -> None:
    cells = [_cell(v, 12) for v in (row.ours, row.theirs)] + [_cell(row.ratio, 7)]
    print(f"{row.name:48} {' '.join(cells)} {row.limit:8.2f}  {row.peer}  {row.note}", flush=True)


def _cell(value: float | None, width: int) -> str:
    return f"{'missing':>{width}}" if value is None else f"{value:{width}.4f}"
