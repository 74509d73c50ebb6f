"""Run pyright and insist that it looked at every Python file of the folders that it should check.

A configuration that excludes too much makes pyright report "0 errors" about nothing.
"""

import json
import subprocess
import sys
import tomllib
from typing import Any

from guards.layers import FOLDERS
from guards.tree import ROOT, files


def included() -> list[str]:
    """Return the folders that pyproject.toml names for pyright."""
    with (ROOT / "pyproject.toml").open("rb") as text:
        return list(tomllib.load(text)["tool"]["pyright"]["include"])


def verdict(report: dict[str, Any], expected: int) -> tuple[list[str], bool]:
    """Return what to print about pyright's JSON report, and whether all is well."""
    lines: list[str] = []
    for found in report["generalDiagnostics"]:
        start = found.get("range", {}).get("start", {"line": 0, "character": 0})
        place = f"{found['file']}:{start['line'] + 1}:{start['character'] + 1}"
        rule = f" ({found['rule']})" if "rule" in found else ""
        lines.append(f"{place}: {found['severity']}: {found['message']}{rule}")
    errors, analyzed = report["summary"]["errorCount"], report["summary"]["filesAnalyzed"]
    lines.append(f"pyright: {errors} errors in {analyzed} files")
    if analyzed < expected:
        lines.append(f"pyright looked at {analyzed} files only; there are {expected}")
    return lines, errors == 0 and analyzed >= expected


def main() -> int:
    """Run pyright, print its findings, return the exit code."""
    command = [sys.executable, "-m", "pyright", "--outputjson"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        print(done.stdout, done.stderr, "pyright gave no report", sep="\n", file=sys.stderr)
        return 1
    folders = {*FOLDERS, "tests", *included()}
    expected = len(files(*(f"{folder}/**.py" for folder in folders)))
    lines, well = verdict(report, expected)
    print(*lines, sep="\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
