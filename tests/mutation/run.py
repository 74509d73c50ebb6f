"""Plant small faults, one at a time, and see whether the tests notice: ``make mutants``.

    PYTHONPATH=tests python -m mutation.run --seed 1 --count 200 --folder isa --json found.json

A fault is planted in what is imported, not in the tree (``hook/sitecustomize.py``).  The tests
that ``relevant.py`` finds run by nearness and then by how long they take, until one fails or
``--budget`` is spent.  All must pass without a fault.  What hangs counts as noticed, and is told.
With ``--json`` the outcomes are kept and a run that was cut goes on; ``--again`` repeats survivors.
"""

from __future__ import annotations

import argparse
import json
import sys
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
from mutation.relevant import relevant

HERE: Final = Path(__file__).resolve().parent
WHOLE: Final = ("isa", "assembler", "isasim")
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

    budget: float
    """Processor seconds for one mutant: what no test noticed by then, survived."""
    factor: float = 10.0
    """A run that takes so many times as long as without a fault hangs."""
    whole: float = 20.0
    """Files run together as long as they take no more seconds than this."""
    guess: float = 4.0
    """What a test file is thought to take that has not run yet."""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """What a test file takes that passed, without a fault or with one that it does not notice."""
    noticed: Counter[str] = field(default_factory=Counter[str])
    """How many faults a test file noticed: what notices much runs earlier."""
    by: str = ""
    """The test that noticed the last fault."""

    def verdict(self, mutant: Mutant) -> str:
        """Return killed, hung or survived."""
        for files in self._runs(relevant(mutant.file)):
            code = self._one_run(files, mutant)
            if code != 0:
                if self.by:
                    self.noticed[self.by.partition("::")[0]] += 1
                return "hung" if code == forked.HUNG else "killed"
        return "survived"

    def _one_run(self, files: Sequence[str], mutant: Mutant) -> int:
        """Return the exit code of files that passed before, or of one that has not run yet."""
        limit = 30 + self.factor * sum(self._cost(f) for f in files)
        code, seconds, self.by = forked.run(files, mutant, limit)
        if files[0] in self.seconds:
            return code
        if code == 0:
            self.seconds[files[0]] = seconds
            return 0
        without = forked.run(files)
        if without.code != 0:
            sys.exit(f"without a fault, pytest ends with {without.code}: {files[0]}")
        self.seconds[files[0]] = without.seconds
        if code == forked.HUNG and self._cost(files[0]) > self.guess:
            return self._one_run(files, mutant)
        return code

    def _runs(self, groups: Sequence[Sequence[str]]) -> Iterator[list[str]]:
        """Return the files in the order to run them, those that run together as one list."""
        left = self.budget
        for group in groups:
            together: list[str] = []
            for file in sorted(group, key=self._order):
                if left <= self._cost(file):
                    continue
                if file not in self.seconds:
                    yield [file]
                    left -= self._cost(file)
                    continue
                left -= self._cost(file)
                if together and sum(map(self._cost, [*together, file])) > self.whole:
                    yield together
                    together = []
                together.append(file)
            if together:
                yield together

    def _order(self, file: str) -> float:
        return self._cost(file) / (1 + self.noticed[file])

    def _cost(self, file: str) -> float:
        return self.seconds.get(file, self.guess)


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
    """The outcomes and the tests' seconds in a file; ``path`` None keeps them in memory only."""

    path: Path | None
    given: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    rows: dict[Key, dict[str, Any]] = field(default_factory=dict[Key, dict[str, Any]])

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        found = json.loads(self.path.read_text(encoding="utf-8"))
        self.seconds |= found["seconds of tests"]
        for row in found["mutants"]:
            key = (row["file"], row["line"], row["operator"], row["before"], row["after"])
            self.rows[key] = row

    def add(self, outcomes: Sequence[Outcome], seconds: dict[str, float]) -> None:
        """Write; what an earlier run found out about other faults stays."""
        self.seconds |= seconds
        for o in outcomes:
            m = o.mutant
            self.rows[key_of(m)] = {
                "file": m.file, "line": m.line, "operator": m.operator, "before": m.before,
                "after": m.after, "folder": o.folder, "verdict": o.verdict,
                "seconds": o.seconds, "why": o.why, "by": o.by,
            }  # fmt: skip
        if self.path is None:
            return
        found = {
            **self.given, "scores": table(outcomes), "mutants": list(self.rows.values()),
            "seconds of tests": self.seconds,
        }  # fmt: skip
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
    mutants = draw(tree.ROOT, sorted(where), given.seed, given.count)
    if given.list:
        for number, mutant in enumerate(mutants, 1):
            print(f"{number} {mutant}")
        return 0
    kept = Kept(given.json, {"seed": given.seed, "count": given.count})
    known, runner = equivalents(), Runner(given.budget, seconds=dict(kept.seconds))
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
        kept.add(outcomes, runner.seconds)
    scores = table(outcomes)
    for name, counts in scores.items():
        print(f"{name:20} " + "  ".join(f"{key} {value}" for key, value in counts.items()))
    return int((scores["all"]["score"] or 0.0) < given.goal)


if __name__ == "__main__":
    sys.exit(main())
