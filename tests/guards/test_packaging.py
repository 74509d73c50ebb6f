"""What gets installed is what lies in the source folders, no less and no more."""

import fnmatch
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from guards import tree
from guards.layers import FOLDERS

PROJECT = tomllib.loads((tree.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA = [p.removeprefix("**/") for p in PROJECT["tool"]["setuptools"]["package-data"]["*"]]


def build_wheel(source: Path, out: Path) -> set[str]:
    """Build the wheel of ``source`` offline and return the names of its files under snncc/."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def copy_tree(target: Path) -> list[str]:
    """Copy what the wheel is built from to ``target``; return the files of the source folders."""
    sources = tree.files(*FOLDERS)
    own = tree.files("snncc/*.py", "snncc/py.typed")
    top = tree.files("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in")
    for name in [*sources, *own, *top]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree.ROOT / name, target / name)
    for folder in FOLDERS:
        (target / "snncc" / folder).symlink_to(Path("..", folder))
    return sources + [name.removeprefix("snncc/") for name in own]


def is_installed(name: str) -> bool:
    base = name.rpartition("/")[2]
    return name.endswith(".py") or any(fnmatch.fnmatch(base, pattern) for pattern in DATA)


def test_the_wheel_holds_the_sources(tmp_path: Path) -> None:
    sources = copy_tree(tmp_path / "tree")
    wanted = {f"snncc/{name}" for name in sources if is_installed(name)}
    assert build_wheel(tmp_path / "tree", tmp_path / "dist") == wanted


def test_the_wheel_takes_new_subpackages_and_their_data(tmp_path: Path) -> None:
    source = tmp_path / "tree"
    copy_tree(source)
    for name in ("isa/new/deep/__init__.py", "isa/new/__init__.py", "isa/new/machines/small.toml"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    found = build_wheel(source, tmp_path / "dist")
    assert {"snncc/isa/new/deep/__init__.py", "snncc/isa/new/machines/small.toml"} <= found


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {name.rpartition("/")[0] for name in tree.files(*(f"{f}/**.py" for f in FOLDERS))}
    assert {f for f in folders if not (tree.ROOT / f / "__init__.py").is_file()} == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_source_folder_is_typed_and_linked_for_the_checkers(folder: str) -> None:
    assert (tree.ROOT / folder / "py.typed").is_file()
    link = tree.ROOT / "snncc" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..", folder), "a link that holds wherever the tree lies"


def test_the_package_has_its_links_and_three_files() -> None:
    own = {"__init__.py", "__main__.py", "py.typed"}
    assert {p.name for p in (tree.ROOT / "snncc").iterdir()} - {"__pycache__"} == {*own, *FOLDERS}
    assert not (tree.ROOT / "__init__.py").exists()


def test_the_installed_version_is_the_one_of_this_tree() -> None:
    assert metadata.version("snncc") == PROJECT["project"]["version"]
