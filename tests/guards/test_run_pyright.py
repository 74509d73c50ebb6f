from typing import Any

from guards.layers import FOLDERS
from guards.run_pyright import included, verdict


def report(errors: int, analyzed: int) -> dict[str, Any]:
    found = {
        "file": "isa/spec.py",
        "severity": "error",
        "message": "no such name",
        "rule": "reportUndefinedVariable",
        "range": {"start": {"line": 6, "character": 3}},
    }
    return {
        "generalDiagnostics": [found] * errors,
        "summary": {"errorCount": errors, "filesAnalyzed": analyzed},
    }


def test_clean() -> None:
    assert verdict(report(0, 12), expected=12) == (["pyright: 0 errors in 12 files"], True)


def test_an_error_is_printed_with_its_place() -> None:
    lines, well = verdict(report(1, 12), expected=12)
    assert lines[0] == "isa/spec.py:7:4: error: no such name (reportUndefinedVariable)"
    assert not well


def test_a_clean_report_about_too_few_files_fails() -> None:
    lines, well = verdict(report(0, 1), expected=12)
    assert lines[-1] == "pyright looked at 1 files only; there are 12"
    assert not well


def test_every_source_folder_is_checked() -> None:
    assert {*FOLDERS, "tests"} <= set(included())
