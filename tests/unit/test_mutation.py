"""Planting faults: what is left out, what is drawn, that a fault reaches the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guards import tree
from mutation.mutants import Mutant, ignored
from mutation.relevant import RELEVANT, relevant
from mutation.run import FOLDERS, HERE, Outcome, chosen, equivalents, score, table

SOURCE = """from functools import cache
from typing import TypeAlias

Number: TypeAlias = int | float
__all__ = ["f"]
START: int | None = 1 + 2


@cache
def f(x: int | None, y: int = 3) -> int | None:
    return x and y
"""


def test_what_is_not_evaluated_is_left_out() -> None:
    parts = ignored(SOURCE)

    def out(text: str) -> bool:
        line, column = next(
            (i, row.index(text)) for i, row in enumerate(SOURCE.splitlines(), 1) if text in row
        )
        return any(low <= (line, column) < high for low, high in parts)

    assert all(out(text) for text in ("int | float", "int | None", "@cache", '"f"'))
    assert not any(out(text) for text in ("1 + 2", "x and y", "3) ->"))


@pytest.mark.parametrize("file", [f for group in chosen(list(FOLDERS)).values() for f in group])
def test_every_source_file_has_tests(file: str) -> None:
    tests = relevant(file)
    assert tests.near
    for path in (*tests.near, *tests.far):
        assert (tree.ROOT / "tests" / path).exists(), path


def test_every_pattern_fits_a_file() -> None:
    files = [f for group in chosen(list(FOLDERS)).values() for f in group]
    unused = [p for p in RELEVANT if not any(relevant(f) is RELEVANT[p] for f in files)]
    assert unused == []


def test_a_fault_reaches_the_process_and_leaves_the_tree(tmp_path: Path) -> None:
    """Also where its byte code is kept: the process has imported it before."""
    file = tree.ROOT / "isa" / "text.py"
    before = file.read_text(encoding="utf-8")
    (tmp_path / "text.py").write_text(before + "\nPLANTED = 1\n")
    environment = {
        **os.environ, "PYTHONPATH": str(HERE / "hook"), "MUTANT_FILE": str(file.resolve()),
        "MUTANT_TEXT": str(tmp_path / "text.py"),
    }  # fmt: skip
    code = "import snncc.isa.instructions.text as m; print(getattr(m, 'PLANTED', 0))"
    for extra, wanted in (({}, "1"), ({"MUTANT_FILE": ""}, "0")):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**environment, **extra},
        )  # fmt: skip
        assert done.stdout.strip() == wanted
    assert file.read_text(encoding="utf-8") == before


def mutant(file: str) -> Mutant:
    return Mutant(file, "core/AddNot", (1, 0), 1, "if a:", "if not a:", "")


def test_scores() -> None:
    verdicts = ["killed", "hung", "survived", "equivalent"]
    outcomes = [Outcome(mutant("isa/a.py"), "isa", v) for v in verdicts]
    outcomes.append(Outcome(mutant("isasim/b.py"), "isasim", "survived"))
    found = table(outcomes)
    assert found["isa"]["score"] == 66.7  # two of three; an equivalent fault is none
    assert found["isasim"]["score"] == 0.0
    assert found["all"] == {
        "killed": 1, "hung": 1, "survived": 2, "equivalent": 1, "score": 50.0,
    }  # fmt: skip
    assert score([])["score"] is None


def test_equivalent_faults_are_of_lines_that_are_there() -> None:
    for (file, before, after), reason in equivalents().items():
        lines = (tree.ROOT / file).read_text(encoding="utf-8").splitlines()
        assert before in [line.strip() for line in lines], (file, before)
        assert before != after
        assert reason
