"""Levels of optimisation are counted from 0 to 3."""

from __future__ import annotations

from snncc.compiler.pipeline.named import DEFAULT_LEVEL, LEVELS, named


def test_levels() -> None:
    assert LEVELS == (0, 1, 2, 3)
    assert DEFAULT_LEVEL in LEVELS
    for level in LEVELS:
        assert named("all", level) or named("lower", level)
