"""The rooms of the house, listed in docs/layout.md: ``python -m guards.rooms`` rewrites the list.

A room is a folder of modules; its line is the first line of its ``__init__.py``.
"""

import ast
import re
from pathlib import Path

from guards import tree
from guards.layers import FOLDERS

PAGE = tree.ROOT / "docs/layout.md"
BEGIN, END = "<!-- rooms: made by `make docs` -->\n", "<!-- end of rooms -->\n"


def rooms() -> dict[str, str]:
    """Return the first line of every package's docstring by folder."""
    found: dict[str, str] = {}
    for name in tree.files(*(f"{folder}/**__init__.py" for folder in FOLDERS)):
        text = (tree.ROOT / name).read_text(encoding="utf-8")
        found[str(Path(name).parent)] = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    return dict(sorted(found.items()))


def table() -> str:
    """Return the list of the rooms as a page has it."""
    lines = [f"| `{folder}/` | {line} |\n" for folder, line in rooms().items()]
    return "| room | what is in it |\n|---|---|\n" + "".join(lines)


def with_rooms(page: str) -> str:
    """Return a page with the list that is true now."""
    between = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    return between.sub(lambda _: BEGIN + table() + END, page)


if __name__ == "__main__":
    PAGE.write_text(with_rooms(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
