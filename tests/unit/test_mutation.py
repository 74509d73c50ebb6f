"""Planting faults: what is left out, what is drawn, that a fault reaches the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from guards import tree
from mutation import forked
from mutation.mutants import Mutant, ignored
from mutation.relevant import THROUGH, relevant
from mutation.run import HERE, Kept, Outcome, Runner, equivalents, folders, key_of, score, table

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


FILES = [file for files in folders().values() for file in files]


def test_every_source_file_has_tests() -> None:
    for file in FILES:
        groups = relevant(file)
        assert sum(map(len, groups)) >= 3, file
        every = [test for group in groups for test in group]
        assert len(every) == len(set(every)), file


def test_importers_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tree in which every way to be relevant occurs once."""
    texts = {
        "isa/size.py": "",
        "isa/user.py": "from snncc.isa import size",
        "tests/helper.py": "import snncc.isa.size",
        "tests/unit/isa/test_near.py": "from snncc.isa.size import f",
        "tests/unit/isa/test_other.py": "",
        "tests/e2e/test_helped.py": "from helper import g",
        "tests/e2e/test_beyond.py": "from snncc.isa import user",
        "tests/e2e/test_named.py": "m = 'snncc.isa.size'",
        "tests/e2e/test_nothing.py": "import snncc.isa.text",
        "tests/golden/test_golden.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    code = (
        "import pathlib, guards.tree as t, json; t.ROOT = pathlib.Path.cwd();"
        "old = t.files; t.files = lambda *p: old(*p, root=t.ROOT);"
        "from mutation.relevant import relevant; print(json.dumps(relevant('isa/size.py')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tree.ROOT / "tests")},
    )  # fmt: skip
    groups = [[test.rpartition("/")[2] for test in group] for group in json.loads(done.stdout)]
    assert [sorted(group) for group in groups] == [
        ["test_named.py", "test_near.py"],
        ["test_helped.py", "test_other.py"],
        ["test_golden.py"],
        ["test_beyond.py"],
    ]


def test_the_table_names_what_is_there() -> None:
    for folder, places in THROUGH.items():
        assert any(file.startswith(folder + "/") for file in FILES), folder
        for place in places:
            assert (tree.ROOT / "tests" / place).exists(), place
    for pattern in forked.COMPILED:
        assert any(
            fnmatchcase(Path(file).stem, pattern) and forked.is_compiled(file) for file in FILES
        ), pattern


def test_a_fault_reaches_the_process_and_leaves_the_tree(tmp_path: Path) -> None:
    """Also where its byte code is kept: the process has imported it before."""
    file = tree.ROOT / "isa" / "text.py"
    before = file.read_text(encoding="utf-8")
    (tmp_path / "text.py").write_text(before + "\nPLANTED = 1\n")
    environment = {
        **os.environ, "PYTHONPATH": str(HERE / "hook"), "MUTANT_FILE": str(file.resolve()),
        "MUTANT_TEXT": str(tmp_path / "text.py"),
    }  # fmt: skip
    code = "import snncc.isa.text as m; print(getattr(m, 'PLANTED', 0))"
    for extra, wanted in (({}, "1"), ({"MUTANT_FILE": ""}, "0")):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**environment, **extra},
        )  # fmt: skip
        assert done.stdout.strip() == wanted
    assert file.read_text(encoding="utf-8") == before


PLANTED_TESTS = """
from pathlib import Path
import subprocess, sys
from snncc.isa import text

def test_here():
    assert not hasattr(text, "PLANTED")

def test_in_a_process():
    code = "from snncc.isa import text; raise SystemExit(hasattr(text, 'PLANTED'))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

def test_waits():
    while hasattr(text, "WAITS"):
        pass
"""


def test_a_run_notices_a_fault_and_a_hang(tmp_path: Path) -> None:
    """In a process of its own: this one has imported snncc, a run must not."""
    (tmp_path / "test_planted.py").write_text(PLANTED_TESTS)
    code = f"""
import json
from guards import tree
from mutation import forked
from mutation.mutants import Mutant
forked.LIBRARIES = ("numpy",)
text = (tree.ROOT / "isa/text.py").read_text(encoding="utf-8")
def ends(added, test):
    planted = Mutant("isa/text.py", "", (1, 0), 1, "", "", text + added)
    file = {str(tmp_path / "test_planted.py")!r}
    ended = forked.run([file + test], planted, 60 if "WAITS" not in added else 4)
    return ended.code, ended.by.rpartition("::")[2]
print(json.dumps([
    ends("", ""), ends("PLANTED = 1", ""), ends("PLANTED = 1", "::test_in_a_process"),
    ends("WAITS = 1", ""),
]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tree.ROOT / "tests")},
    )  # fmt: skip
    assert json.loads(done.stdout) == [
        [0, ""], [1, "test_here"], [1, "test_in_a_process"], [forked.HUNG, ""],
    ]  # fmt: skip


def test_quick_tests_run_first_and_the_budget_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    took = {"a": 9.0, "b": 2.0, "c": 3.0, "d": 1.0, "e": 50.0, "f": 1.0}
    ran: list[list[str]] = []
    noticed_by = "nobody"

    def run(files: list[str], planted: Mutant | None, limit: float) -> forked.Ended:
        assert limit > sum(took[f] for f in files)
        ran.append(files)
        return forked.Ended(int(noticed_by in files), 0.0, f"{noticed_by}::test")

    monkeypatch.setattr(forked, "run", run)
    monkeypatch.setattr("mutation.run.relevant", lambda _file: [["a", "b", "c"], ["d", "e"], ["f"]])
    runner = Runner(budget=20.0, whole=5.0, seconds=took)
    assert runner.verdict(mutant("isa/a.py")) == "survived"
    assert ran == [["b", "c"], ["a"], ["d"], ["f"]]  # 2 + 3, then 9, 1, 1 of 20; 50 is too much
    ran.clear()
    noticed_by = "a"
    assert runner.verdict(mutant("isa/a.py")) == "killed"
    assert ran == [["b", "c"], ["a"]]
    assert runner.by == "a::test"
    ran.clear()
    runner.noticed["a"] = 8  # as if it took 1
    assert runner.verdict(mutant("isa/a.py")) == "killed"
    assert ran[0] == ["a"]


def test_what_has_not_run_yet_must_pass_without_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, bool]] = []
    broken = ""

    def run(files: list[str], planted: Mutant | None = None, limit: float = 0.0) -> forked.Ended:
        (file,) = files
        ran.append((file, planted is not None))
        return forked.Ended(int(file == broken or (file == "b" and planted is not None)), 4.0)

    monkeypatch.setattr(forked, "run", run)
    monkeypatch.setattr("mutation.run.relevant", lambda _file: [["a"], ["b"]])
    runner = Runner(budget=20.0)
    assert runner.verdict(mutant("isa/a.py")) == "killed"
    assert ran == [("a", True), ("b", True), ("b", False)]
    assert runner.seconds == {"a": 4.0, "b": 4.0}
    ran.clear()
    assert runner.verdict(mutant("isa/b.py")) == "killed"
    assert ran == [("a", True), ("b", True)]  # once is enough
    broken = "a"
    with pytest.raises(SystemExit, match=r"without a fault, pytest ends with 1: a"):
        Runner(budget=20.0).verdict(mutant("isa/b.py"))


def test_a_cut_run_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    first, second = (Outcome(mutant(f"isa/{name}.py"), "isa", "killed", 2.5) for name in "ab")
    Kept(file, {"seed": 1}).add([first], {"tests/x.py": 4.0})
    later = Kept(file, {"seed": 1})
    assert later.rows[key_of(first.mutant)]["verdict"] == "killed"
    assert key_of(second.mutant) not in later.rows
    later.add([second], {"tests/y.py": 5.0})
    found = Kept(file, {"seed": 1})
    assert [row["file"] for row in found.rows.values()] == ["isa/a.py", "isa/b.py"]
    assert found.seconds == {"tests/x.py": 4.0, "tests/y.py": 5.0}


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
    for (name, before, after), reason in equivalents().items():
        texts = [(tree.ROOT / f).read_text(encoding="utf-8") for f in FILES if Path(f).name == name]
        assert texts, name
        assert any(before in [line.strip() for line in text.splitlines()] for text in texts), before
        assert before != after
        assert reason
