"""Small faults to plant: where in a file, and what then stands there.

The faults are those of cosmic-ray's operators.  A place is drawn first and one of its faults then,
or the eleven ways to replace a ``+`` would outnumber all else.  Left out is what no test can see:
type annotations, ``is`` for ``==``, and what ``ignored`` lists.
"""

from __future__ import annotations

import ast
import importlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

Place: TypeAlias = tuple[int, int]
"""Line from 1, column from 0."""

NEEDS_NAMES: Final = ("core/VariableReplacer", "core/VariableInserter")
SAME_OBJECTS: Final = ("_Is", "_IsNot")  # of equal small numbers and words; no fault to speak of
QUIET_DECORATORS: Final = ("cache", "lru_cache", "dataclass", "override", "overload", "final")


@dataclass(frozen=True)
class Mutant:
    """One fault: ``line`` of the file reads ``after`` in place of ``before``."""

    file: str
    operator: str
    place: Place
    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        name = self.operator.removeprefix("core/")
        return f"{self.file}:{self.line} {name}\n  - {self.before}\n  + {self.after}"


def ignored(text: str) -> list[tuple[Place, Place]]:
    """Return the parts of a source whose change no run can tell.

    Annotations are not evaluated; ``__all__`` and what only type checkers read; decorators that
    keep results, and the options of a dataclass.
    """
    found: list[tuple[Place, Place]] = []

    def leave_out(node: ast.expr | ast.stmt | None) -> None:
        if node is not None and node.end_lineno is not None and node.end_col_offset is not None:
            start = (node.lineno, max(0, node.col_offset - 1))  # with the @ of a decorator
            found.append((start, (node.end_lineno, node.end_col_offset)))

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.AnnAssign):
            leave_out(node.annotation)
            if "TypeAlias" in ast.unparse(node.annotation):
                leave_out(node.value)
        elif isinstance(node, ast.arg):
            leave_out(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for each in node.decorator_list:
                called = each.func if isinstance(each, ast.Call) else each
                if ast.unparse(called).rpartition(".")[2] in QUIET_DECORATORS:
                    leave_out(each)
            if not isinstance(node, ast.ClassDef):
                leave_out(node.returns)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            leave_out(node)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            leave_out(node)
    return found


def operators() -> dict[str, Any]:
    """Return cosmic-ray's operators by name."""
    plugins: Any = importlib.import_module("cosmic_ray.plugins")
    names = [n for n in plugins.operator_names() if n not in NEEDS_NAMES]
    return {n: plugins.get_operator(n)() for n in sorted(names) if not n.endswith(SAME_OBJECTS)}


class Source:
    """A file in which faults can be planted."""

    def __init__(self, root: Path, file: str, known: Mapping[str, Any]) -> None:
        self.file, self.operators = file, known
        self.text = (root / file).read_text(encoding="utf-8")
        self.skipped = ignored(self.text)
        self.nodes = self._parsed()

    def _parsed(self) -> list[Any]:
        """Parse again: operators change the tree in place."""
        tree: Any = importlib.import_module("cosmic_ray.ast")
        found: list[Any] = [tree.get_ast(self.text)]
        for node in found:  # it grows: parents before their children
            found += getattr(node, "children", ())
        return found

    def faults(self, number: int) -> list[tuple[str, int, Place]]:
        """Return what can be done to a node: operator, which of its faults, where."""
        node = self.nodes[number]
        found: list[tuple[str, int, Place]] = []
        for name, operator in self.operators.items():
            for which, (start, _) in enumerate(operator.mutation_positions(node)):
                place = (int(start[0]), int(start[1]))
                if not any(low <= place < high for low, high in self.skipped):
                    found.append((name, which, place))
        return found

    def mutant(self, number: int, name: str, which: int, place: Place) -> Mutant | None:
        """Plant one fault; None where the text stays the same or is no Python any more."""
        nodes = self._parsed()
        node = nodes[number]
        changed = self.operators[name].mutate(node, which)
        if changed is None:
            node.parent.children.remove(node)
        elif changed is not node:
            siblings = node.parent.children
            siblings[siblings.index(node)] = changed
            changed.parent = node.parent
        text = str(nodes[0].get_code())
        try:
            same = ast.dump(ast.parse(text)) == ast.dump(ast.parse(self.text))
        except SyntaxError:
            return None
        if same:
            return None
        lines = list(zip(self.text.splitlines(), text.splitlines(), strict=False))
        line = next((i for i, (a, b) in enumerate(lines) if a != b), len(lines) - 1)
        before, after = (each.strip() for each in lines[line])
        return Mutant(self.file, name, place, line + 1, before, after, text)


def draw(root: Path, files: Sequence[str], seed: int, count: int) -> list[Mutant]:
    """Return so many different faults; a file's share is its share of all lines of code."""
    rng = random.Random(seed)
    weights = [
        sum(bool(line.strip()) for line in (root / f).read_text(encoding="utf-8").splitlines())
        for f in files
    ]
    known = operators()
    sources: dict[str, Source] = {}
    found: list[Mutant] = []
    seen: set[tuple[str, str]] = set()
    for _ in range(100 * count):
        if len(found) == count:
            break
        file = rng.choices(files, weights)[0]
        if file not in sources:
            sources[file] = Source(root, file, known)
        mutant = _one(sources[file], rng)
        if mutant is not None and (file, mutant.text) not in seen:
            seen.add((file, mutant.text))
            found.append(mutant)
    return found


def _one(source: Source, rng: random.Random) -> Mutant | None:
    """Draw a node until something can be done to it, then one of its faults."""
    for _ in range(100):
        number = rng.randrange(len(source.nodes))
        faults = source.faults(number)
        if faults:
            return source.mutant(number, *rng.choice(faults))
    return None
