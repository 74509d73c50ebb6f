"""Generated pages are up to date: `make docs` rewrites them."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from guards import rooms, tree
from snncc.compiler.cli.main import cli
from snncc.isa.diagnostics.errors import CODES

MADE = re.findall(
    r"^\t\$\(BIN\)/snncc (.+) > (\S+)\.new && mv \2\.new \2$",
    (tree.ROOT / "Makefile").read_text(encoding="utf-8"),
    re.MULTILINE,
)
"""(arguments, page) of the commands of `make docs`."""


def test_the_pages_that_make_docs_writes() -> None:
    assert [page for _, page in MADE] == ["docs/isa.md", "docs/errors.md", "docs/config.md"]


@pytest.mark.parametrize(("words", "page"), MADE)
def test_page_is_up_to_date(words: str, page: str) -> None:
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 0
    assert done.stdout == (tree.ROOT / page).read_text(encoding="utf-8"), "run `make docs`"


def test_the_list_of_rooms_is_up_to_date() -> None:
    page = rooms.PAGE.read_text(encoding="utf-8")
    assert page.count(rooms.BEGIN) == page.count(rooms.END) == 1
    assert all(rooms.rooms().values()), "every room says what is in it"
    assert rooms.with_rooms(page) == page, "run `make docs`"


def test_every_error_code_has_a_test() -> None:
    here = Path(__file__).resolve()
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted((tree.ROOT / "tests").rglob("*"))
        if path.is_file() and path.resolve() != here and path.suffix != ".pyc"
    ]
    assert [code for code in CODES if not any(code in text for text in texts)] == []


def test_links_in_the_pages_lead_somewhere() -> None:
    for page in [*tree.ROOT.glob("*.md"), *(tree.ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_pages_name_files_that_exist() -> None:
    """``fast/mac.py`` may leave out the folders before it; ADRs tell of their time."""
    ends = {name[i:] for name in tree.files() for i in _starts(name)}
    pages = ["README.md", "CONTRIBUTING.md", *tree.files(":(glob)docs/*.md", "docs/design/*.md")]
    missing: list[str] = []
    for page in pages:
        text = (tree.ROOT / page).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.(?:py|lark|toml))(?::\d+)?`", text):
            if name not in ends and name not in THEIRS:
                missing.append(f"{page}: {name}")
    assert missing == []


THEIRS = {"my_pass.py", "mine.toml", "net.toml"}
"""Files that a user would make."""


def _starts(name: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("/", name))]
