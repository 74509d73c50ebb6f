"""One word, one thing: no two public classes of the sources share a name."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from guards import tree
from guards.layers import FOLDERS

APART = "validate is written apart from what it checks, in the words of the file formats"
SYNTAX = "a node of a syntax tree, known to its own reader only"
REBUILT = "tiling and mapping are rebuilt: it is named anew then"

ALLOWED = {
    "Axis": REBUILT,
    "Call": SYNTAX,
    "Item": SYNTAX,
    "Layer": SYNTAX,
    "Neuron": APART,
    "Options": "the options of a pass, in the file of the pass",
    "Place": REBUILT,
    "Program": SYNTAX,
    "Reader": APART,
    "Region": REBUILT,
    "Scope": APART,
    "Step": APART,
    "Stream": REBUILT,
    "Surrogate": APART,
    "Tape": APART,
}
"""Names that several classes have, and why that is right or when it ends."""


def classes(text: str) -> Iterator[str]:
    """Yield the public classes of a file, also those in classes and functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def shared(files: Iterable[str], root: Path = tree.ROOT) -> dict[str, list[str]]:
    """Return the names that more than one class has, with their files."""
    found: dict[str, list[str]] = {}
    for file in files:
        for name in classes((root / file).read_text(encoding="utf-8")):
            found.setdefault(name, []).append(file)
    return {name: there for name, there in found.items() if len(there) > 1}


def test_no_two_classes_share_a_name() -> None:
    files = tree.files(*(f"{folder}/**.py" for folder in FOLDERS))
    assert "isa/spec.py" in files
    found = shared(files)
    assert {name: there for name, there in found.items() if name not in ALLOWED} == {}
    assert sorted(set(ALLOWED) - set(found)) == [], "these need no permission any more"


def test_the_check_for_shared_names(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("class Cost: ...\nclass Only: ...\nclass _Own: ...\n")
    (tmp_path / "two.py").write_text("def f():\n    class Cost: ...\nclass _Own: ...\n")
    assert shared(["one.py", "two.py"], tmp_path) == {"Cost": ["one.py", "two.py"]}
