"""Which test files could notice a fault in a source file: the nearest first.

It is derived from what imports what, so that files may move.  Near are the test files that import
the module, or that share a word of their name with it; then come those of the folder that mirrors
its folder and those that reach the module through a helper of the tests; then what ``THROUGH``
names for the folder, whose code is run through others; then what imports a module that imports it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import Final

from guards import tree

THROUGH: Final[dict[str, tuple[str, ...]]] = {
    "isa": ("unit/isa", "unit/isasim", "unit/assembler", "golden"),
    "assembler": ("golden", "e2e/test_inspection.py"),
    "isasim": ("unit/isasim", "fuzz", "e2e/test_inspection.py", "e2e/test_sums.py"),
    "compiler": (
        "golden", "unit/compiler/backend", "unit/compiler/tiling", "e2e/test_frameworks.py",
        "e2e/test_check.py", "e2e/test_commands.py",
    ),
    "compiler/frontend": ("unit/compiler/frontend", "unit/compiler/validate"),
    "compiler/passes": ("unit/compiler/phases", "unit/compiler/test_configure.py"),
    "compiler/interp": ("unit/compiler/phases",),
    "compiler/cli": ("unit/compiler/cli", "e2e"),
}  # fmt: skip
"""By source folder, the tests that run its code without importing it; of all folders that fit."""

OF_THE_TREE: Final = (
    "tests/unit/test_mutation.py", "tests/guards/test_layers.py", "tests/guards/test_packaging.py",
    "tests/guards/test_sources.py", "tests/guards/test_run_pyright.py",
)  # fmt: skip
"""These read source files, or the runner: no planted fault reaches them."""

SOURCES: Final = ("isa", "assembler", "isasim", "compiler")
_WORD: Final = re.compile(r"[a-z0-9]{4,}")
_QUOTED: Final = re.compile(r"""["'](snncc(?:\.\w+)+)["']""")
_TOO_MANY: Final = 12
"""A module that so many others import tells nothing about who runs it."""


def relevant(file: str) -> list[list[str]]:
    """Return test files by nearness, each once; an empty list where there are none so near."""
    name = module_of(file)
    mirrored = _mirror(file)
    alike = [t for t in test_files() if _words(t) & _words(file) and file.split("/")[0] in t]
    importers = _importers().get(name, frozenset())
    near = [t for t in test_files() if name in _imports(t)] + alike
    helped = [t for t in test_files() if name in _reach(t)]
    through = [t for t in test_files() if any(t.startswith(p) for p in _places(file))]
    beyond: list[str] = []
    if len(importers) <= _TOO_MANY:
        beyond = [t for t in test_files() if any(m in _reach(t) for m in importers)]
    found: list[list[str]] = []
    seen: set[str] = set(OF_THE_TREE)
    for group in (near, [*helped, *mirrored], through, beyond):
        found.append([t for t in dict.fromkeys(group) if t not in seen])
        seen.update(group)
    return found


def module_of(file: str) -> str:
    """Return the name under which a file is imported: ``isa/spec.py`` is ``snncc.isa.spec``."""
    path = PurePosixPath(file).with_suffix("")
    parts = path.parent.parts if path.name == "__init__" else path.parts
    return ".".join(parts[1:] if parts[0] == "tests" else ("snncc", *parts))


@cache
def test_files() -> list[str]:
    """Return the files that pytest collects."""
    return [f for f in tree.files("tests/**.py") if PurePosixPath(f).name.startswith("test_")]


def _places(file: str) -> Iterator[str]:
    for folder, places in THROUGH.items():
        if file.startswith(folder + "/"):
            yield from (f"tests/{place}" for place in places)


def _mirror(file: str) -> list[str]:
    """Return the tests in folders called as the innermost of the file's folders that has some."""
    for folder in reversed(PurePosixPath(file).parent.parts):
        if folder == "compiler":
            break  # it holds all others
        found = [t for t in test_files() if folder in PurePosixPath(t).parent.parts]
        if found:
            return found
    return []


@cache
def _words(file: str) -> frozenset[str]:
    """Return the words of a file's name, without the endings that a test's name may differ in."""
    return frozenset(w[:4] for w in _WORD.findall(PurePosixPath(file).stem)) - {"test"}


@cache
def _imports(file: str) -> frozenset[str]:
    """Return the modules that a file names: in imports, and as text that is a module's name."""
    text = (tree.ROOT / file).read_text(encoding="utf-8")
    found = set(_QUOTED.findall(text))
    for node in _statements(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Return the statements in a node, those inside others as well; not the expressions."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner: list[ast.AST] = getattr(node, name, [])
        for each in inner:
            if isinstance(each, ast.stmt):
                yield each
            yield from _statements(each)


@cache
def _helpers() -> dict[str, str]:
    """Return the files of the tests by the name under which they are imported."""
    files = tree.files("tests/**.py")
    return {module_of(f): f for f in files if not f.startswith("tests/mutation/")}


@cache
def _reach(file: str) -> frozenset[str]:
    """Return the modules that a test names, or a helper of the tests that it imports."""
    todo, seen, found = [file], {file}, set[str]()
    while todo:
        names = _imports(todo.pop())
        found |= names
        for helper in {_helpers()[n] for n in names if n in _helpers()} - seen:
            seen.add(helper)
            todo.append(helper)
    return frozenset(found)


@cache
def _importers() -> dict[str, frozenset[str]]:
    """Return for every source module the source modules that import it."""
    found: dict[str, set[str]] = {}
    for file in tree.files(*(f"{folder}/**.py" for folder in SOURCES)):
        for name in _imports(file):
            found.setdefault(name, set()).add(module_of(file))
    return {name: frozenset(modules) for name, modules in found.items()}
