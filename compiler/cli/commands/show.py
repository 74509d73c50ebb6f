"""Warnings, shown to the user."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from snncc.compiler.diag import Diagnostic, render
from snncc.compiler.driver.failure import show_validation


def show_warnings(warnings: Iterable[Diagnostic], validation: object = None) -> None:
    """Print warnings to stderr, and that a model was not compared with its file."""
    for each in warnings:
        print(render(each), file=sys.stderr)
    show_validation(validation)
