"""Defaults of the configuration that other tests do not need, as docs/config.md has them."""

from __future__ import annotations

from snncc.compiler.config.config import parse_config


def test_bounds_of_a_dynamic_loss_scale() -> None:
    config = parse_config('[loss]\nscale = "dynamic"\n')
    assert config.number("loss.minimum_scale") == 1.0
    assert config.number("loss.maximum_scale") == 16777216.0
