"""How many examples a property is tried on: `make test` takes a share, `make test-slow` all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

WHOLE = 100
"""Examples per property in ``make test-slow`` where the test names no number."""
SHARE = 40
"""The same in ``make test``."""


def examples(whole: int) -> int:
    """Return how many of a test's own number of examples the present profile wants.

    ``make fuzz`` wants more than the whole.
    """
    profile = settings.default
    assert profile is not None
    return max(1, whole * profile.max_examples // WHOLE)


def sampled(cases: Iterable[Any], every: int) -> list[Any]:
    """Return cases of a parametrised test: every n-th for ``make test``, the others are slow."""
    return [
        case if i % every == 0 else pytest.param(case, marks=pytest.mark.slow)
        for i, case in enumerate(cases)
    ]
