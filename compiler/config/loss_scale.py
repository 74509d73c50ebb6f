"""The loss scale as a configuration gives it: a number, or what moves it while training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snncc.compiler.diag import fail

if TYPE_CHECKING:
    from snncc.compiler.config.config import Config

DYNAMIC = "dynamic"
SCALE_STATE = "loss#scale"
"""The state of a training step that holds a dynamic scale (binary32, scalar)."""
DYNAMIC_KEYS = (
    "loss.initial_scale",
    "loss.growth_interval",
    "loss.minimum_scale",
    "loss.maximum_scale",
)
"""Keys that mean something only where the scale is dynamic."""


@dataclass(frozen=True, slots=True)
class LossScale:
    """``initial`` is the factor of the first step; the rest moves it where it is ``dynamic``."""

    initial: float
    dynamic: bool = False
    growth_interval: int = 1
    minimum: float = 1.0
    maximum: float = 1.0


def loss_scale(config: Config) -> LossScale:
    """Return the scale; bounds that contradict each other or move nothing are E0354."""
    if config.text("loss.scale") != DYNAMIC:
        said = [key for key in DYNAMIC_KEYS if config.said(key)]
        if said and config.origin("loss.scale") != "flag":
            fail(
                "E0354",
                f"{said[0]} means nothing beside a scale of {config.number('loss.scale'):g}",
                config.get(said[0]).where,
                help='[loss] scale = "dynamic"',
            )
        return LossScale(config.number("loss.scale"))
    found = LossScale(
        config.number("loss.initial_scale"),
        True,
        config.integer("loss.growth_interval") or 1,
        config.number("loss.minimum_scale"),
        config.number("loss.maximum_scale"),
    )
    if not found.minimum <= found.initial <= found.maximum:
        places = [config.get(key).where for key in DYNAMIC_KEYS if config.said(key)]
        fail(
            "E0354",
            f"loss.initial_scale is {found.initial:.8g}, not between loss.minimum_scale "
            f"{found.minimum:.8g} and loss.maximum_scale {found.maximum:.8g}",
            next((place for place in places if place), config.file),
        )
    return found
