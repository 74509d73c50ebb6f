"""A copy of the sources to follow a recipe of CONTRIBUTING.md in, and to run what it gives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from guards import tree
from guards.layers import FOLDERS


class Workshop:
    """A copy of the sources; nothing is installed, the links in ``snncc/`` lead to the copy."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in tree.files(*FOLDERS, "snncc/*.py"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree.ROOT / name, root / name)
        for folder in FOLDERS:
            (root / "snncc" / folder).symlink_to(Path("..", folder))
        self.touched: set[str] = set()

    def append(self, file: str, text: str) -> None:
        """Add a row at the end of a file."""
        path = self.root / file
        assert path.is_file(), f"the recipe names {file}"
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
        self.touched.add(file)

    def run(self, *words: str, fails: bool = False) -> str:
        """Run Python in the copy; return what it prints on stdout, on stderr where it must fail."""
        environment = dict(os.environ) | {"PYTHONPATH": str(self.root)}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.root, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def snncc(self, *words: str) -> str:
        """Run a command of the copy."""
        return self.run("-m", "snncc", *words)
