"""Runs the golden files of this folder; see tests/golden_files.py."""

from pathlib import Path

import pytest

import golden_files
from golden_files import Mismatch, check

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", [str(p.relative_to(HERE)) for p in golden_files.tests(HERE)])
def test_golden(name: str, update_golden: bool) -> None:
    try:
        check(HERE / name, update_golden)
    except Mismatch as error:
        pytest.fail(str(error), pytrace=False)


def test_every_expectation_belongs_to_a_test() -> None:
    assert golden_files.orphans(HERE) == []


def test_a_mismatch_is_shown_as_a_diff(tmp_path: Path) -> None:
    file = tmp_path / "x.snnir"
    file.write_text("// RUN: opt %s\nmodule @m { }\n", encoding="utf-8")
    with pytest.raises(Mismatch, match=r"x\.expect is missing"):
        check(file, update=False)
    check(file, update=True)
    check(file, update=False)
    file.write_text("// RUN: opt %s\n\nmodule @n { }\n", encoding="utf-8")
    with pytest.raises(Mismatch) as caught:
        check(file, update=False)
    assert "\n-@m: error[E0260]: the module's stage is missing\n+@n: error" in str(caught.value)
    file.unlink()
    assert golden_files.orphans(tmp_path) == [tmp_path / "x.expect"]


def test_a_file_without_a_command_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.snnir").write_text("module @m { }\n", encoding="utf-8")
    with pytest.raises(Mismatch, match=r"x\.snnir has no RUN line"):
        check(tmp_path / "x.snnir", update=False)
