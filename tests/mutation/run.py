"""Plant small faults, one at a time, and see whether the tests notice: ``make mutants``.

    PYTHONPATH=tests python -m mutation.run --seed 1 --count 200 --folder isa --json found.json

A fault is planted in what is imported, not in the tree (``hook/sitecustomize.py``).  Of the tests
that ``relevant.py`` names, the near ones run first and the others only if those pass; a run ends
with the first failure.  Both must pass without a fault.  What hangs counts as noticed, and is told.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from guards import tree
from mutation.mutants import Mutant, draw
from mutation.relevant import relevant

HERE: Final = Path(__file__).resolve().parent
FOLDERS: Final = {
    "isa": "isa", "isasim": "isasim", "passes": "compiler/passes",
    "front end": "compiler/frontend", "cli": "compiler/cli", "driver": "compiler/driver",
}  # fmt: skip
COMPILED: Final = (
    "code_store", "emit", "host_cpu", "kernel_cache", "kernels_*", "lane_code", "lane_fused",
    "lane_ops",
)  # fmt: skip
"""Modules of isasim/engines that decide machine code, which is kept on disk."""


@dataclass(slots=True)
class Outcome:
    """What became of a mutant: killed, hung, survived or equivalent (then ``why``)."""

    mutant: Mutant
    folder: str
    verdict: str
    seconds: float = 0.0
    why: str = ""


@dataclass
class Runner:
    """Runs tests, with or without a fault."""

    factor: float = 6.0
    """A run that takes so many times as long as without a fault hangs."""
    baseline: dict[tuple[str, ...], float] = field(default_factory=dict[tuple[str, ...], float])

    def verdict(self, mutant: Mutant) -> str:
        """Return killed, hung or survived."""
        tests = relevant(mutant.file)
        for group in (tests.near, tests.far):
            if not group:
                continue
            if group not in self.baseline:
                started = time.monotonic()
                code = _pytest(group, None, None)
                if code != 0:
                    sys.exit(f"without a fault, pytest ends with {code}: {' '.join(group)}")
                self.baseline[group] = time.monotonic() - started
            code = _pytest(group, mutant, 60 + self.factor * self.baseline[group])
            if code is None:
                return "hung"
            if code != 0:
                return "killed"
        return "survived"


def _pytest(paths: Sequence[str], mutant: Mutant | None, limit: float | None) -> int | None:
    """Run tests until the first failure; return the exit code, None after ``limit`` seconds."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider"),
        *(str(tree.ROOT / "tests" / path) for path in paths),
    ]
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        environment = dict(os.environ)
        if mutant is not None:
            text = Path(folder, "mutant.py")
            text.write_text(mutant.text, encoding="utf-8")
            paths = [str(HERE / "hook"), environment.get("PYTHONPATH", "")]
            environment |= {
                "MUTANT_FILE": str((tree.ROOT / mutant.file).resolve()),
                "MUTANT_TEXT": str(text),
                "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            }
            if _is_compiled(mutant.file):
                environment["NUMBA_CACHE_DIR"] = folder
        with subprocess.Popen(
            command, cwd=tree.ROOT, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as run:  # fmt: skip
            try:
                return run.wait(limit)
            except subprocess.TimeoutExpired:
                return None
            finally:
                if run.poll() is None:
                    os.killpg(run.pid, signal.SIGKILL)


def _is_compiled(file: str) -> bool:
    path = Path(file)
    inside = path.parent.as_posix() == "isasim/engines"
    return inside and any(fnmatchcase(path.stem, pattern) for pattern in COMPILED)


def equivalents() -> dict[tuple[str, str, str], str]:
    """Return the reason by file, line and changed line; the file says what it holds."""
    with (HERE / "equivalent.toml").open("rb") as text:
        entries: list[dict[str, str]] = tomllib.load(text).get("equivalent", [])
    return {(e["file"], e["before"], e["after"]): e["reason"] for e in entries}


def chosen(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the source files by folder."""
    found = {name: tree.files(f"{FOLDERS[name]}/**.py") for name in names}
    return {
        name: [f for f in files if not f.endswith("__init__.py")]
        for name, files in found.items()
        if files
    }


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


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("mutation.run", description="Plant faults, run the tests.")
    parser.add_argument("--seed", type=int, default=1, help="which faults are drawn")
    parser.add_argument("--count", type=int, default=200, help="how many")
    parser.add_argument("--folder", action="append", choices=FOLDERS, help="only these")
    parser.add_argument("--json", type=Path, help="write all outcomes there")
    parser.add_argument("--list", action="store_true", help="show the faults, run nothing")
    parser.add_argument("--goal", type=float, default=0.0, help="fail below this score")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Draw, run, report."""
    given = _arguments(words)
    files = chosen(given.folder or list(FOLDERS))
    where = {file: name for name, group in files.items() for file in group}
    mutants = draw(tree.ROOT, sorted(where), given.seed, given.count)
    known, runner = equivalents(), Runner()
    outcomes: list[Outcome] = []
    for number, mutant in enumerate(mutants, 1):
        if given.list:
            print(f"{number} {mutant}")
            continue
        started = time.monotonic()
        why = known.get((mutant.file, mutant.before, mutant.after), "")
        verdict = "equivalent" if why else runner.verdict(mutant)
        seconds = round(time.monotonic() - started, 1)
        outcomes.append(Outcome(mutant, where[mutant.file], verdict, seconds, why))
        print(f"{number}/{len(mutants)} {verdict} {seconds} s  {mutant}", flush=True)
        if given.json:
            _write(given.json, given, outcomes)
    if given.list:
        return 0
    scores = table(outcomes)
    for name, counts in scores.items():
        print(f"{name:10} " + "  ".join(f"{key} {value}" for key, value in counts.items()))
    return int((scores["all"]["score"] or 0.0) < given.goal)


def _write(path: Path, given: argparse.Namespace, outcomes: Sequence[Outcome]) -> None:
    rows = [
        {
            "file": o.mutant.file, "line": o.mutant.line, "operator": o.mutant.operator,
            "before": o.mutant.before, "after": o.mutant.after, "folder": o.folder,
            "verdict": o.verdict, "seconds": o.seconds, "why": o.why,
        }
        for o in outcomes
    ]  # fmt: skip
    found = {"seed": given.seed, "count": given.count, "scores": table(outcomes), "mutants": rows}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
