"""Planting faults: what is left out, what is drawn, that a fault reaches the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from guards import tree
from mutation import forked
from mutation.mutants import Mutant, ignored
from mutation.reached import Reached, function_at
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


def test_all_code_but_the_models_is_mutated() -> None:
    parts = [f"{folder}/**.py" for folder in ("isa", "assembler", "isasim", "compiler")]
    wanted = [f for f in tree.files(*parts) if Path(f).name != "__init__.py"]
    assert sorted(FILES) == wanted
    assert {"isa", "isasim", "compiler/passes", "compiler/frontend", "compiler/cli"} <= {*folders()}


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
        "tests/e2e/test_nothing.py": "import snncc.isa.instructions.text",
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
    assert any(map(forked.is_compiled, FILES))
    assert not all(map(forked.is_compiled, FILES))


def test_a_fault_reaches_the_process_and_leaves_the_tree(tmp_path: Path) -> None:
    """Also where its byte code is kept: the process has imported it before."""
    file = tree.ROOT / "isa/instructions/text.py"
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


PLANTED_TESTS = """
from pathlib import Path
import subprocess, sys
from snncc.isa.instructions import text

def test_here():
    assert not hasattr(text, "PLANTED")

def test_in_a_process():
    code = "from snncc.isa.instructions import text; raise SystemExit(hasattr(text, 'PLANTED'))"
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
text = (tree.ROOT / "isa/instructions/text.py").read_text(encoding="utf-8")
def ends(added, test):
    planted = Mutant("isa/instructions/text.py", "", (1, 0), 1, "", "", text + added)
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


NOTED = """
import subprocess, sys
from snncc.isa import lines

def test_here():
    assert lines.suggestion("ad", {"add": 1}) == "; did you mean 'add'?"

def test_in_a_process():
    code = "from snncc.isa import lines; lines.strip_comment('a // b')"
    subprocess.run([sys.executable, "-c", code], check=True)

def test_neither():
    pass
"""


def test_what_a_test_calls_is_noted(tmp_path: Path) -> None:
    test = tmp_path / "test_noted.py"
    test.write_text(NOTED)
    code = f"""
from pathlib import Path
from mutation import forked
forked.LIBRARIES = ("numpy",)
assert forked.run([{str(test)!r}], result=Path({str(tmp_path / "noted.json")!r})).code == 0
"""
    environment = {**os.environ, "PYTHONPATH": str(tree.ROOT / "tests")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    found = json.loads((tmp_path / "noted.json").read_text())
    called = {test.rpartition("::")[2]: functions for test, (_, functions) in found.items()}
    assert called == {
        "test_here": ["snncc.isa.lines.suggestion"],
        "test_in_a_process": ["snncc.isa.lines.strip_comment"],
        "test_neither": [],
    }


FUNCTIONS = """
X = 1


def outer(a=2):
    b = a

    def inner():
        return b

    return inner


class C:
    Y = 3

    @property
    def method(self):
        if self:
            try:
                return 4
            finally:
                pass
        match self:
            case None:
                return 5
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("X = 1", ""), ("a=2", ""), ("b = a", "outer"), ("return b", "outer.inner"),
        ("return inner", "outer"), ("Y = 3", ""), ("@property", ""), ("return 4", "C.method"),
        ("return 5", "C.method"),
    ],
)  # fmt: skip
def test_the_function_around_a_line(text: str, name: str) -> None:
    lines = FUNCTIONS.splitlines()
    (line,) = (i for i, each in enumerate(lines, 1) if text in each)
    assert function_at(FUNCTIONS, line) == name


def noted(callers: dict[str, list[str]], seconds: dict[str, float]) -> Reached:
    """Notes by function, of tests with these seconds."""
    found = Reached(None)
    for test, took in seconds.items():
        found.tests.setdefault(test.partition("::")[0], {})[test] = took
    found.callers = {name: set(tests) for name, tests in callers.items()}
    return found


SHOW = "snncc.isa.instructions.text.show"
TOOK = {
    "tests/unit/isa/test_text.py::a": 9.0, "tests/unit/isa/test_text.py::b": 1.0,
    "tests/golden/test_golden.py::c[x]": 0.5, "tests/golden/test_golden.py::c[y]": 0.6,
    "tests/golden/test_golden.py::d": 50.0, "tests/unit/isa/test_text.py::uncalled": 0.1,
}  # fmt: skip
SHOWN = [test for test in TOOK if "uncalled" not in test]


def in_show() -> Mutant:
    """A fault in the function ``show`` of isa/instructions/text.py."""
    lines = (tree.ROOT / "isa/instructions/text.py").read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines, 1) if line.startswith("def show")) + 2
    return replace(mutant("isa/instructions/text.py"), place=(at, 4))


def test_near_and_quick_tests_run_first_within_the_budget() -> None:
    runner = Runner(noted({SHOW: SHOWN}, TOOK), budget=20.0)
    order = [[test.rpartition("::")[2] for test in tests] for tests in runner.runs(in_show())]
    # b is near; c is three times as far, its second variant counts twice; d exceeds the budget
    assert order == [["b", "c[x]", "c[y]", "a"]]
    runner.noticed["tests/golden/test_golden.py"] = 20
    order = [[test.rpartition("::")[2] for test in tests] for tests in runner.runs(in_show())]
    assert order[0][:2] == ["c[x]", "c[y]"]  # it noticed much


class Runs:
    """Stands for ``forked.run``: which test fails with the fault, which one always does."""

    def __init__(self, by: str = "nobody", always: str = "nobody") -> None:
        self.by = by
        self.always = always
        self.ran: list[str] = []
        self.without: list[str] = []

    def __call__(
        self,
        tests: list[str],
        planted: Mutant | None = None,
        limit: float = 0.0,
        kernels: Path | None = None,
    ) -> forked.Ended:
        assert kernels is None
        assert limit > 10 * sum(TOOK[test] for test in tests)
        (self.ran if planted else self.without).extend(tests)
        fails = {self.always, self.by} if planted else {self.always}
        failed = [test for test in tests if test in fails]
        return forked.Ended(int(bool(failed)), 0.0, failed[0] if failed else "")


def test_a_run_ends_with_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs()
    monkeypatch.setattr(forked, "run", runs)
    monkeypatch.setattr("mutation.run.TOGETHER_LIMITS", ((0.0, 1),))
    runner = Runner(noted({SHOW: SHOWN}, TOOK), budget=20.0)
    assert runner.verdict(in_show()) == "survived"
    assert sorted(runs.ran) == sorted(test for test in SHOWN if not test.endswith("::d"))
    assert not runs.without
    runs.ran.clear()
    runs.by = "tests/golden/test_golden.py::c[x]"
    assert runner.verdict(in_show()) == "killed"
    assert runs.ran[-1] == runner.by == runs.by
    assert len(runs.ran) == 2
    assert runs.without == [runs.by]
    assert runner.noticed == {"tests/golden/test_golden.py": 1}


def test_a_failure_without_the_fault_is_no_merit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mutation.run.TOGETHER_LIMITS", ((0.0, 1),))
    always, late = "tests/golden/test_golden.py::c[x]", "tests/unit/isa/test_text.py::a"
    for by, verdict in (("nobody", "survived"), (late, "killed")):
        monkeypatch.setattr(forked, "run", Runs(by, always))
        runner = Runner(noted({SHOW: SHOWN}, TOOK), budget=20.0)
        assert runner.verdict(in_show()) == verdict
        assert runner.by == (late if verdict == "killed" else "")
        assert always not in runner.noticed
        assert f"fails without a fault, too: {always}" in capsys.readouterr().out


def test_tests_that_ran_together_are_run_again_up_to_the_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What runs after it has no part; what ran before it may have set something."""
    runs = Runs("tests/golden/test_golden.py::c[y]")
    monkeypatch.setattr(forked, "run", runs)
    runner = Runner(noted({SHOW: SHOWN}, TOOK), budget=20.0)
    assert runner.verdict(in_show()) == "killed"
    assert [test.rpartition("::")[2] for test in runs.without] == ["b", "c[x]", "c[y]"]


@pytest.mark.parametrize(("compiled", "verdict"), [(0, "survived"), (70, "killed"), (-1, "hung")])
def test_tests_find_the_faulty_kernels_compiled(
    compiled: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling takes longer than tests may: their time begins afterwards."""
    folders: list[Path] = []

    def compile_kernels(planted: Mutant, kernels: Path) -> forked.Ended:
        folders.append(kernels)
        return forked.Ended(compiled, 0.0)

    def run(tests: list[str], planted: Mutant, limit: float, kernels: Path) -> forked.Ended:
        folders.append(kernels)
        return forked.Ended(0, 0.0)

    monkeypatch.setattr(forked, "compile_kernels", compile_kernels)
    monkeypatch.setattr(forked, "run", run)
    runner = Runner(noted({}, {"tests/unit/isasim/test_engines.py::a": 1.0}), budget=20.0)
    assert runner.verdict(mutant("isasim/engines/kernels/pool.py")) == verdict
    assert len(folders) == 1 + (compiled == 0)
    assert len(set(folders)) == 1


def test_outside_of_functions_all_tests_of_the_module_count() -> None:
    runner = Runner(
        noted({SHOW: SHOWN[:1], "snncc.isa.instructions.text.match": SHOWN[1:2]}, TOOK), 20.0
    )
    found = [test for tests in runner.runs(mutant("isa/instructions/text.py")) for test in tests]
    near = "tests/unit/isa/test_text.py::uncalled"  # imports the module, and may read its tables
    assert found == [near, SHOWN[1], SHOWN[0]]


def test_notes_are_kept_until_the_test_file_changes(tmp_path: Path) -> None:
    file = "tests/unit/isa/test_text.py"
    (tmp_path / "new.json").write_text(json.dumps({f"{file}::a": [1.5, ["f", "g"]]}))
    first = Reached(tmp_path / "kept")
    first.add([file], tmp_path / "new.json")
    later = Reached(tmp_path / "kept")
    assert later.tests == first.tests == {file: {f"{file}::a": 1.5}}
    assert later.callers == {"f": {f"{file}::a"}, "g": {f"{file}::a"}}
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_text(kept.read_text().replace('"digest": "', '"digest": "0'))
    assert Reached(tmp_path / "kept").tests == {}


def test_a_cut_run_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    first, second = (Outcome(mutant(f"isa/{name}.py"), "isa", "killed", 2.5) for name in "ab")
    Kept(file, {"seed": 1}).add([first])
    later = Kept(file, {"seed": 1})
    assert later.rows[key_of(first.mutant)]["verdict"] == "killed"
    assert key_of(second.mutant) not in later.rows
    later.add([second])
    found = Kept(file, {"seed": 1})
    assert [row["file"] for row in found.rows.values()] == ["isa/a.py", "isa/b.py"]


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
