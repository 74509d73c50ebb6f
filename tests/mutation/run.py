"""Plant small faults, one at a time, and see whether the tests notice: ``make mutants``.

    PYTHONPATH=tests python -m mutation.run --seed 1 --count 200 --folder isa --json found.json

A fault is planted in what is imported, not in the tree (``hook/sitecustomize.py``).  First all
tests run without a fault, and it is noted which functions each calls; ``--reached`` keeps that, and
later only changed test files run again.  Of the tests that call the function that a fault is in,
the near, quick and various ones run first (``relevant.py`` says what is near), until one fails or
``--budget`` is spent.  The same tests must then pass without the fault, else the failure is no
merit and the next ones run.  What hangs counts as noticed, and is told.  With ``--json`` the
outcomes are kept and a run that was cut goes on; ``--again`` repeats what survived.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias

from guards import tree
from mutation import forked
from mutation.mutants import Mutant, draw
from mutation.reached import Reached, file_of
from mutation.relevant import OF_THE_TREE, relevant, test_files

HERE: Final = Path(__file__).resolve().parent
WHOLE: Final = ("isa", "assembler", "isasim")
TOGETHER: Final = 12
"""Test files that are noted in one process."""
TOGETHER_LIMITS: Final = ((3.0, 4), (10.0, 12), (30.0, 30))
"""Seconds and files of the first tests that run together, of the next, of all others."""
IN_PARTS: Final = "compiler"
"""The folder whose sub-folders are counted one by one."""

Key: TypeAlias = tuple[str, int, str, str, str]
"""What tells a mutant from others: file, line, operator, the line before and after."""


@dataclass(slots=True)
class Outcome:
    """What became of a mutant: killed, hung, survived or equivalent (then ``why``)."""

    mutant: Mutant
    folder: str
    verdict: str
    seconds: float = 0.0
    why: str = ""
    by: str = ""
    """The test that noticed it."""


@dataclass
class Runner:
    """Runs tests, with or without a fault."""

    reached: Reached
    budget: float
    """Processor seconds for one mutant: what no test noticed by then, survived."""
    most: float = 30.0
    """Seconds after which the rest of a test file is not noted, and never run."""
    factor: float = 10.0
    """A run that takes so many times as long as without a fault hangs."""
    noticed: Counter[str] = field(default_factory=Counter[str])
    """How many faults a test file noticed: what notices much runs earlier."""
    by: str = ""
    """The test that noticed the last fault."""

    def record(self) -> None:
        """Run all test files that are new or changed, without a fault: they must pass."""
        files = [f for f in test_files() if f not in {*self.reached.tests, *OF_THE_TREE}]
        files.sort(key=lambda f: not f.startswith("tests/unit/"))
        for at in range(0, len(files), TOGETHER):
            some = files[at : at + TOGETHER]
            with tempfile.TemporaryDirectory() as folder:
                result = Path(folder, "reached.json")
                ended = forked.run(some, result=result, most=self.most)
                if ended.code != 0:
                    sys.exit(f"without a fault, this ends with {ended.code}: {ended.by or some}")
                self.reached.add(some, result)
            print(f"{at + len(some)}/{len(files)} test files noted", flush=True)

    def verdict(self, mutant: Mutant) -> str:
        """Return killed, hung or survived."""
        self.by = ""
        if not forked.is_compiled(mutant.file):
            return self._verdict(mutant, None)
        with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
            code = forked.compile_kernels(mutant, Path(folder)).code
            if code != 0:
                return "hung" if code == forked.HUNG else "killed"
            return self._verdict(mutant, Path(folder))

    def _verdict(self, mutant: Mutant, kernels: Path | None) -> str:
        for tests in self.runs(mutant):
            limit = 30 + self.factor * sum(map(self._seconds, tests))
            code, _, by = forked.run(tests, mutant, limit, kernels=kernels)
            if code != 0 and self._pass(tests, by, limit):
                self.by = by
                if by:
                    self.noticed[file_of(by)] += 1
                return "hung" if code == forked.HUNG else "killed"
        return "survived"

    @staticmethod
    def _pass(tests: Sequence[str], by: str, limit: float) -> bool:
        """Return whether these tests, up to the one that failed, pass without the fault."""
        upto = tests[: tests.index(by) + 1] if by in tests else tests
        code, _, without = forked.run(upto, limit=limit)
        if code != 0:
            print(f"fails without a fault, too: {without or upto}", flush=True)
        return code == 0

    def runs(self, mutant: Mutant) -> Iterator[list[str]]:
        """Return the tests in the order to run them, those that run together as one list."""
        left, together, limits = self.budget, list[str](), iter(TOGETHER_LIMITS)
        seconds, files = next(limits)
        for test in self._ordered(mutant):
            left -= self._seconds(test)
            if left < 0:
                break
            together.append(test)
            if (
                sum(map(self._seconds, together)) > seconds
                or len(set(map(file_of, together))) > files
            ):
                yield together
                together = []
                seconds, files = next(limits, (seconds, files))
        if together:
            yield together

    def _ordered(self, mutant: Mutant) -> list[str]:
        """Return the tests that may notice a fault: near, quick and various ones first."""
        groups = relevant(mutant.file)
        rank = {file: i for i, group in enumerate(groups) for file in group}
        found = self.reached.tests_of(mutant.file, mutant.place[0])
        if forked.is_compiled(mutant.file) or not found:
            found = {t for file in rank for t in self.reached.tests.get(file, ())}
        elif self.reached.is_outside(mutant.file, mutant.place[0]):  # a table that near tests read
            found = found | {t for file in groups[0] for t in self.reached.tests.get(file, ())}
        variants: Counter[str] = Counter()
        costs: dict[str, float] = {}
        for test in sorted(found, key=lambda t: (self._seconds(t), t)):
            function = test.partition("[")[0]
            variants[function] += 1
            far = 1 + rank.get(file_of(test), len(groups))
            costs[test] = (0.05 + self._seconds(test)) * far * variants[function]
            costs[test] /= 1 + self.noticed[file_of(test)]
        return sorted(costs, key=lambda t: (costs[t], t))

    def _seconds(self, test: str) -> float:
        return self.reached.tests[file_of(test)][test]


def equivalents() -> dict[tuple[str, str, str], str]:
    """Return the reason by file, line and changed line; the file says what it holds."""
    with (HERE / "equivalent.toml").open("rb") as text:
        entries: list[dict[str, str]] = tomllib.load(text).get("equivalent", [])
    return {(e["file"], e["before"], e["after"]): e["reason"] for e in entries}


def folders() -> dict[str, list[str]]:
    """Return the source files by folder; a package's empty ``__init__`` holds no code."""
    found: dict[str, list[str]] = {}
    for file in tree.files(*(f"{top}/**.py" for top in (*WHOLE, IN_PARTS))):
        path = PurePosixPath(file)
        parts = path.parent.parts
        if path.name != "__init__.py":
            found.setdefault("/".join(parts[: 1 + (parts[0] == IN_PARTS)]), []).append(file)
    return found


def score(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Count verdicts; ``score`` is the share noticed of those that are faults, in percent."""
    counts = {
        verdict: sum(o.verdict == verdict for o in outcomes)
        for verdict in ("killed", "hung", "survived", "equivalent")
    }
    faults = len(outcomes) - counts["equivalent"]
    noticed = counts["killed"] + counts["hung"]
    return {**counts, "score": round(100 * noticed / faults, 1) if faults else None}


def table(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Return the score of every folder and of all."""
    names = dict.fromkeys(o.folder for o in outcomes)
    found = {name: score([o for o in outcomes if o.folder == name]) for name in names}
    return {**found, "all": score(outcomes)}


@dataclass
class Kept:
    """The outcomes in a file; ``path`` None keeps them in memory only."""

    path: Path | None
    given: dict[str, int]
    rows: dict[Key, dict[str, Any]] = field(default_factory=dict[Key, dict[str, Any]])

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        for row in json.loads(self.path.read_text(encoding="utf-8"))["mutants"]:
            key = (row["file"], row["line"], row["operator"], row["before"], row["after"])
            self.rows[key] = row

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Write; what an earlier run found out about other faults stays."""
        for o in outcomes:
            m = o.mutant
            self.rows[key_of(m)] = {
                "file": m.file, "line": m.line, "operator": m.operator, "before": m.before,
                "after": m.after, "folder": o.folder, "verdict": o.verdict,
                "seconds": o.seconds, "why": o.why, "by": o.by,
            }  # fmt: skip
        if self.path is None:
            return
        found = {**self.given, "scores": table(outcomes), "mutants": list(self.rows.values())}
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)


def key_of(mutant: Mutant) -> Key:
    """Return what tells a mutant from others."""
    return mutant.file, mutant.line, mutant.operator, mutant.before, mutant.after


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("mutation.run", description="Plant faults, run the tests.")
    parser.add_argument("--seed", type=int, default=1, help="which faults are drawn")
    parser.add_argument("--count", type=int, default=200, help="how many")
    parser.add_argument("--folder", action="append", choices=folders(), help="only these")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of tests per fault")
    parser.add_argument("--most", type=float, default=30.0, help="seconds of a test file, at most")
    parser.add_argument("--reached", type=Path, help="keep there which test calls what")
    parser.add_argument("--json", type=Path, help="keep the outcomes there, go on from there")
    parser.add_argument("--again", action="store_true", help="repeat what survived or hung")
    parser.add_argument("--list", action="store_true", help="show the faults, run nothing")
    parser.add_argument("--goal", type=float, default=0.0, help="fail below this score")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Draw, run, report."""
    given = _arguments(words)
    every = folders()
    where = {f: name for name in given.folder or every for f in every[name]}
    known, runner = equivalents(), Runner(Reached(given.reached), given.budget, given.most)
    if not given.list:
        runner.record()
    mutants = draw(tree.ROOT, sorted(where), given.seed, given.count)
    if given.list:
        for number, mutant in enumerate(mutants, 1):
            print(f"{number} {mutant}")
        return 0
    kept = Kept(given.json, {"seed": given.seed, "count": given.count})
    runner.noticed.update(
        row["by"].partition("::")[0] for row in kept.rows.values() if row.get("by")
    )
    outcomes: list[Outcome] = []
    for number, mutant in enumerate(mutants, 1):
        started = time.monotonic()
        row = kept.rows.get(key_of(mutant), {})
        why = known.get((PurePosixPath(mutant.file).name, mutant.before, mutant.after), "")
        verdict, by, seconds = row.get("verdict", ""), row.get("by", ""), row.get("seconds", 0.0)
        repeat = verdict == "equivalent" or (given.again and verdict in ("survived", "hung"))
        if why:
            verdict, by = "equivalent", ""
        elif not verdict or repeat:
            verdict, by = runner.verdict(mutant), runner.by
            seconds = round(time.monotonic() - started, 1)
        outcomes.append(Outcome(mutant, where[mutant.file], verdict, seconds, why, by))
        print(f"{number}/{len(mutants)} {verdict} {seconds} s {by} {mutant}", flush=True)
        kept.add(outcomes)
    scores = table(outcomes)
    for name, counts in scores.items():
        print(f"{name:20} " + "  ".join(f"{key} {value}" for key, value in counts.items()))
    return int((scores["all"]["score"] or 0.0) < given.goal)


if __name__ == "__main__":
    sys.exit(main())
