"""Habits that a linter does not know."""

import ast
import re
from pathlib import Path

import pytest

from guards import tree
from guards.layers import FOLDERS

MAX_LINES = 600
FEW_LINES = 400
REASON = re.compile(rf"^Over {FEW_LINES} lines: \w.{{15,}}", re.MULTILINE)
FIRST_LINES = 20
CODE = [f"{folder}/**.{kind}" for folder in FOLDERS for kind in ("py", "lark")]


def swallowed_errors(text: str) -> list[int]:
    """Return the lines of handlers that catch everything and do nothing about it."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ExceptHandler)
        and any(name in (None, "Exception", "BaseException") for name in _caught(node))
        and all(
            isinstance(step, ast.Pass | ast.Continue)
            or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
            for step in node.body
        )
    ]


def _caught(handler: ast.ExceptHandler) -> list[str | None]:
    if handler.type is None:
        return [None]
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [ast.unparse(each) for each in types]


def too_long(text: str) -> str:
    """Return what is wrong with the length of a file, '' for nothing."""
    lines = text.splitlines()
    reason = REASON.search("\n".join(lines[:FIRST_LINES]))
    if len(lines) > MAX_LINES:
        return f"{len(lines)} lines, more than {MAX_LINES}: cut it"
    if len(lines) > FEW_LINES and not reason:
        return (
            f"{len(lines)} lines: cut it, or say why not in a line of its docstring, among the "
            f"first {FIRST_LINES} of the file: 'Over {FEW_LINES} lines: a table of ...'"
        )
    if len(lines) <= FEW_LINES and reason:
        return f"{len(lines)} lines: it needs no excuse any more"
    return ""


def test_no_source_file_is_too_long() -> None:
    found = {f: too_long((tree.ROOT / f).read_text(encoding="utf-8")) for f in _code()}
    assert {f: wrong for f, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("first", "lines", "wrong"),
    [
        ("pass", 400, ""),
        ("pass", 401, "say why not"),
        ("Over 400 lines: a table, one row for each colour.", 401, ""),
        ("Over 400 lines: yes.", 401, "say why not"),
        ("Over 400 lines: a table, one row for each colour.", 400, "no excuse"),
        ("Over 400 lines: a table, one row for each colour.", 601, "cut it"),
        ("\n" * 30 + "Over 400 lines: a table, one row for each colour.", 431, "say why not"),
    ],
)
def test_the_check_for_long_files(first: str, lines: int, wrong: str) -> None:
    text = first + "\n" * (lines - first.count("\n"))
    assert len(text.splitlines()) == lines
    assert wrong in too_long(text)
    assert bool(wrong) == bool(too_long(text))


def test_no_source_file_swallows_errors() -> None:
    sources = {f: (tree.ROOT / f).read_text(encoding="utf-8") for f in _code() if f[-3:] == ".py"}
    assert [f"{f}:{n}" for f, text in sources.items() for n in swallowed_errors(text)] == []


FRAMEWORKS = ("torch", "snntorch", "spikingjelly", "norse", "sinabs", "onnxscript")


def test_no_test_is_skipped_where_pytorch_is_not_installed() -> None:
    """What it computes is stored: tests/pytorch_results.py."""
    files = tree.files("tests/**.py")
    assert "tests/pytorch_results.py" in files
    skips = [rf"(importorskip|find_spec)\(\"{name}\b" for name in FRAMEWORKS]
    texts = {f: (tree.ROOT / f).read_text(encoding="utf-8") for f in files}
    assert [f for f, text in texts.items() if re.search("|".join(skips), text)] == []


def _code() -> list[str]:
    found = tree.files(*CODE)
    assert "isa/__init__.py" in found
    return found


@pytest.mark.parametrize(
    ("handler", "found"),
    [
        ("except Exception: pass", [3]),
        ("except: pass", [3]),
        ("except (OSError, BaseException): ...", [3]),
        ("except Exception as error: 'why not'", [3]),
        ("except OSError: pass", []),
        ("except Exception: log()", []),
        ("except Exception: raise", []),
    ],
)
def test_the_check_for_swallowed_errors(handler: str, found: list[int]) -> None:
    assert swallowed_errors(f"try:\n    work()\n{handler}\n") == found


def test_new_files_count_and_ignored_ones_do_not(tmp_path: Path) -> None:
    tree.git("init", "-q", root=tmp_path)
    (tmp_path / ".gitignore").write_text("skip.py\n")
    (tmp_path / "skip.py").touch()
    (tmp_path / "new.py").touch()
    assert tree.files("*.py", root=tmp_path) == ["new.py"]
