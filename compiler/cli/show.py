"""Warnings, shown to the user."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from snncc.compiler.diag import Diagnostic, render


def show_warnings(warnings: Iterable[Diagnostic]) -> None:
    """Print warnings to stderr."""
    for each in warnings:
        print(render(each), file=sys.stderr)
