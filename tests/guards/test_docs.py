"""Generated pages are up to date: `make docs` rewrites them."""

from pathlib import Path

import pytest

from guards import tree
from snncc.compiler.cli.pages import PAGES
from snncc.isa.errors import CODES


@pytest.mark.parametrize("name", ["errors", "config"])
def test_page_is_up_to_date(name: str) -> None:
    page = (tree.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert page == PAGES[name, "md"](), "run `make docs`"


def test_every_error_code_has_a_test() -> None:
    here = Path(__file__).resolve()
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted((tree.ROOT / "tests").rglob("*"))
        if path.is_file() and path.resolve() != here and path.suffix != ".pyc"
    ]
    assert [code for code in CODES if not any(code in text for text in texts)] == []


def test_links_in_the_pages_lead_somewhere() -> None:
    import re

    for page in [*tree.ROOT.glob("*.md"), *(tree.ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
