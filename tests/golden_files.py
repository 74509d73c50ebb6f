"""Golden tests: a file whose first lines say ``// RUN: opt %s -p dce`` and what that must print.

Beside ``x.snnir`` lies ``x.expect``: for every RUN line the exit code, stdout and stderr.  Commands
run in this process, in the file's folder; ``%s`` is the file, ``%t`` a fresh folder.  A file may
hold several inputs separated by ``// -----``: each is run by itself, with its line numbers kept.
``pytest tests/golden --update-golden`` rewrites the expected files; read the diff you get.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import shlex
import tempfile
from collections.abc import Generator
from pathlib import Path

from click.testing import CliRunner

from snncc.compiler.cli.main import cli

NO_TESTS = {".expect", ".npz", ".toml", ".py", ".pyc", ".md", ".txt", ".onnx", ".nir"}
INTERNAL_ERROR = 70  # never what a test expects
_RUN = re.compile(r"^(?://|#|;) RUN: (.*)$", re.MULTILINE)
_SPLIT = re.compile(r"^(?://|#|;) -----$", re.MULTILINE)


class Mismatch(Exception):
    """The output differs from what is expected, or there is nothing to compare with."""


def commands(text: str) -> list[str]:
    """Return the commands of the RUN lines."""
    return [m.group(1).strip() for m in _RUN.finditer(text)]


def parts(text: str) -> list[str]:
    """Return the inputs of a file; blank lines stand for what is above each."""
    found: list[str] = []
    start = 0
    for match in [*_SPLIT.finditer(text), None]:
        end = match.start() if match else len(text)
        found.append("\n" * text.count("\n", 0, start) + text[start:end])
        start = match.end() if match else end
    return found


def outcome(path: Path) -> str:
    """Run a golden file's commands and return what there is to compare."""
    text = path.read_text(encoding="utf-8")
    wanted = commands(text)
    if not wanted:
        raise Mismatch(f"{path.name} has no RUN line")
    blocks: list[str] = []
    for number, part in enumerate(pieces := parts(text), 1):
        for command in wanted:
            with _input(path, part if len(pieces) > 1 else None) as (folder, scratch):
                title = f" (part {number})" if len(pieces) > 1 else ""
                blocks.append(f"$ {command}{title}\n{_run(command, path.name, folder, scratch)}")
    return "".join(blocks)


@contextlib.contextmanager
def _input(path: Path, part: str | None) -> Generator[tuple[Path, Path]]:
    """Yield the folder to run in and a scratch folder."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name).resolve()
        if part is None:
            yield path.parent, scratch
            return
        folder = scratch / "input"
        folder.mkdir()
        (folder / path.name).write_text(part, encoding="utf-8")
        yield folder, scratch


def _run(command: str, name: str, folder: Path, scratch: Path) -> str:
    words = [w.replace("%s", name).replace("%t", str(scratch)) for w in shlex.split(command)]
    with contextlib.chdir(folder):
        result = CliRunner().invoke(cli, words, prog_name="snncc")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == INTERNAL_ERROR:
        raise Mismatch(f"$ {command}\n{result.stderr}")
    shown = f"code {result.exit_code}\n"
    for title, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text:
            ending = "" if text.endswith("\n") else "\n[no newline]\n"
            shown += f"--- {title}\n{text.replace(str(scratch), '%t')}{ending}"
    return shown


def expect_path(path: Path) -> Path:
    """Return where the expected output of a golden file lies."""
    return path.with_suffix(".expect")


def check(path: Path, update: bool) -> None:
    """Compare a golden file's outcome with what is expected, or write it down."""
    got = outcome(path)
    expected = expect_path(path)
    if update:
        expected.write_text(got, encoding="utf-8")
        return
    if not expected.is_file():
        raise Mismatch(f"{expected.name} is missing; write it with --update-golden and read it")
    want = expected.read_text(encoding="utf-8")
    if got != want:
        lines = difflib.unified_diff(
            want.splitlines(), got.splitlines(), "expected", "found", lineterm=""
        )
        raise Mismatch("\n".join(lines))


def tests(root: Path) -> list[Path]:
    """Return the golden files below a folder, sorted."""
    found = [p for p in root.rglob("*") if p.is_file() and p.suffix not in NO_TESTS]
    return sorted(p for p in found if not p.name.startswith((".", "_")))


def orphans(root: Path) -> list[Path]:
    """Return the expected files that belong to no test."""
    wanted = {expect_path(p) for p in tests(root)}
    return sorted(p for p in root.rglob("*.expect") if p not in wanted)
