"""``import snncc``: few names, read when they are used, and known to editors and type checkers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import snncc
from guards import tree
from snncc.compiler.driver import api

PLANTED = """
import snncc
from snncc.isa.numbers import fp16

model = snncc.load(3)  # planted: a number is no path
reveal_type(snncc.compile(snncc.load("model.onnx")))
reveal_type(fp16.f64_to_bits)
"""
"""A user's file with one mistake."""


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_public_names_are_those_of_the_driver() -> None:
    assert snncc.load is api.load
    assert snncc.compile is api.compile
    assert snncc.run is api.run
    assert snncc.train is api.train
    assert set(snncc.__all__) <= set(dir(snncc))


def test_the_version_is_that_of_the_command(tmp_path: Path) -> None:
    done = python("-m", "snncc", "--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.split()[-1] == snncc.__version__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'snncc' has no attribute 'lode'"):
        getattr(snncc, "lode")  # noqa: B009 - a checker would complain of snncc.lode


def test_importing_snncc_reads_nothing_else(tmp_path: Path) -> None:
    code = "import sys, snncc; print(sorted(m for m in sys.modules if m.startswith('snncc')))"
    assert python("-c", code, cwd=tmp_path).stdout == "['snncc']\n"


def test_the_tree_runs_where_it_is_not_installed(tmp_path: Path) -> None:
    """From the root, in a Python that does not know of it: the links lead to the sources."""
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'editable' not in p]; "
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]; "
        f"sys.path.insert(0, {str(tree.ROOT)!r}); import snncc.isa.spec as m; print(m.__file__)"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout.strip() == str(tree.ROOT / "snncc/isa/spec.py"), done.stderr


def copy(target: Path) -> Path:
    """Copy the sources without any configuration, with a user's file beside them."""
    for name in tree.files("isa", "assembler", "isasim", "compiler", "models", "snncc/*.py"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree.ROOT / name, target / name)
    for link in (tree.ROOT / "snncc").iterdir():
        if link.is_symlink():
            (target / "snncc" / link.name).symlink_to(link.readlink())
    (target / "user.py").write_text(PLANTED, encoding="utf-8")
    return target


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_checker_without_configuration_finds_a_planted_error(
    tmp_path: Path, checker: str
) -> None:
    options = {"mypy": ("--config-file=", "--follow-imports=silent"), "pyright": ()}[checker]
    done = python("-m", checker, *options, "user.py", cwd=copy(tmp_path))
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    (error,) = [line for line in told.splitlines() if ": error:" in line or " - error:" in line]
    assert "user.py:5" in error
    assert "Program" in told, "the type of what compile returns is known"
    assert "could not be resolved" not in told
    assert "Cannot find" not in told
