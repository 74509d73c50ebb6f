"""Which functions each test calls, noted while the tests of a file run for the first time.

A test that does not call a function cannot notice a fault in it.  What a test calls in processes
that it starts counts.  Module-level code and the code that makes machine code have no notes; nor
has a result that a cache kept from an earlier test.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import json
import os
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from guards import tree
from mutation.relevant import module_of

Notes: TypeAlias = dict[str, tuple[float, list[str]]]
"""By test, its seconds and the functions that it called."""


class Recorder:
    """A plugin of pytest that writes for every test its seconds and the functions it called.

    After ``most`` seconds the rest of a test file is left out; before that, each of its functions
    gets its turn: the variants of a test come round by round.
    """

    def __init__(self, notes: Path, result: Path, most: float) -> None:
        self.notes, self.result, self.most = notes, result, most
        self.tests: Notes = {}
        self.spent: dict[str, float] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the first variants of all tests of a file before the second ones."""
        variants: Counter[str] = Counter()
        turn: dict[str, int] = {}
        for item in items:
            function = item.nodeid.partition("[")[0]
            variants[function] += 1
            turn[item.nodeid] = variants[function]
        files = list(dict.fromkeys(file_of(item.nodeid) for item in items))
        items.sort(key=lambda item: (files.index(file_of(item.nodeid)), turn[item.nodeid]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Leave a test out when its file took long enough."""
        if self.spent.get(file_of(item.nodeid), 0.0) > self.most:
            pytest.skip("its file took long enough")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Note what is called from the test's set-up to its end."""
        file = file_of(item.nodeid)
        left_out = self.spent.get(file, 0.0) > self.most
        here: set[str] = vars(builtins)["__reached__"]
        here.clear()
        started = sum(os.times()[:4])  # with the processes that it waits for
        done = yield
        seconds = sum(os.times()[:4]) - started
        called = set(here)
        for path in self.notes.glob("*.json"):
            called.update(json.loads(path.read_text(encoding="utf-8")))
            path.unlink()
        if not left_out:
            self.spent[file] = self.spent.get(file, 0.0) + seconds
            self.tests[item.nodeid] = (seconds, sorted(called))
        return done

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write, unless a test failed: it may have ended early."""
        if exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            self.result.write_text(json.dumps(self.tests), encoding="utf-8")


@dataclass
class Reached:
    """The notes of all tests; in ``folder`` one file per test file, None: in memory only."""

    folder: Path | None
    tests: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """By test file, the seconds of each test."""
    callers: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """By function, the tests that call it."""

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.json")):
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["digest"] == _digest(kept["file"]):
                names = kept["functions"]
                self._take(
                    kept["file"],
                    {t: (s, [names[i] for i in at]) for t, (s, at) in kept["tests"].items()},
                )

    def add(self, files: Sequence[str], result: Path) -> None:
        """Take what a :class:`Recorder` wrote for test files."""
        tests: Notes = json.loads(result.read_text(encoding="utf-8"))
        for file in files:
            mine = {t: noted for t, noted in tests.items() if file_of(t) == file}
            self._take(file, mine)
            if self.folder is None:
                continue
            names = sorted({f for _, functions in mine.values() for f in functions})
            at = {name: i for i, name in enumerate(names)}
            kept = {
                "file": file, "digest": _digest(file), "functions": names,
                "tests": {t: (s, [at[f] for f in fs]) for t, (s, fs) in mine.items()},
            }  # fmt: skip
            name = file.replace("/", ".") + ".json"
            (self.folder / (name + ".new")).write_text(json.dumps(kept), encoding="utf-8")
            (self.folder / (name + ".new")).replace(self.folder / name)

    def _take(self, file: str, tests: Notes) -> None:
        self.tests[file] = {test: seconds for test, (seconds, _) in tests.items()}
        for test, (_, functions) in tests.items():
            for function in functions:
                self.callers.setdefault(function, set()).add(test)

    def tests_of(self, file: str, line: int) -> set[str]:
        """Return the tests that call the function around a line.

        Where the line is in no function, those that call any of the module.
        """
        module = module_of(file)
        name = _function(file, line)
        if name:
            return self.callers.get(f"{module}.{name}", set())
        mine = [tests for key, tests in self.callers.items() if key.startswith(module + ".")]
        return set[str]().union(*mine)

    @staticmethod
    def is_outside(file: str, line: int) -> bool:
        """Return whether a line is in no function: who only reads its result calls nothing."""
        return not _function(file, line)


def _function(file: str, line: int) -> str:
    return function_at((tree.ROOT / file).read_text(encoding="utf-8"), line)


def function_at(text: str, line: int) -> str:
    """Return the dotted name of the innermost function whose body holds a line; '' for none."""

    def inside(node: ast.AST, name: str, function: str) -> str:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr | ast.stmt | ast.excepthandler | ast.match_case):
                continue
            low, high = getattr(child, "lineno", 0), getattr(child, "end_lineno", 0)
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if low <= line <= high or isinstance(child, ast.match_case):
                    function = inside(child, name, function)
                continue
            if child.body[0].lineno <= line <= high:
                inner = f"{name}.{child.name}".lstrip(".")
                is_class = isinstance(child, ast.ClassDef)
                function = inside(child, inner, "" if is_class else inner)
        return function

    return inside(ast.parse(text), "", "")


def file_of(test: str) -> str:
    """Return the file of a test."""
    return test.partition("::")[0]


def _digest(file: str) -> str:
    path = tree.ROOT / file
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
