"""What callers get who leave an argument out: nothing of theirs is replaced."""

from __future__ import annotations

import inspect

from snncc.compiler.driver import api


def test_no_run_is_overwritten_or_resumed_unless_asked() -> None:
    fit = inspect.signature(api.Training.fit).parameters
    assert fit["overwrite"].default is False
    assert fit["resume"].default is False
