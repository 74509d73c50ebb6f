"""Surrogates as attributes of the functions of ``ai.snncc`` (docs/onnx-functions.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from snncc.compiler.frontend.flat.flat import AttrValue
from snncc.compiler.ir.core import Attribute
from snncc.compiler.ir.surrogate import SURROGATES, rule_of


def parameter_hints(name: str) -> dict[str, str]:
    """Return the attribute that holds each parameter: ``surrogate_alpha`` holds the first."""
    first, *rest = list(SURROGATES[name].params) or [""]
    found = {first: "surrogate_alpha"} if first else {}
    return {**found, **{key: f"surrogate_{key}" for key in rest}}


SURROGATE_HINTS = tuple(
    dict.fromkeys(
        ("surrogate", *(hint for name in SURROGATES for hint in parameter_hints(name).values()))
    )
)
"""All attributes that say something about a surrogate."""


def read_surrogate_hints(hints: Mapping[str, AttrValue]) -> dict[str, Attribute] | None:
    """Return the surrogate that a call's attributes say, None when there is none or no such."""
    said = hints.get("surrogate")
    if not isinstance(said, str) or not said:
        return None
    name = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", said).replace("-", "_").lower()
    name = {"superspike": "super_spike", "fastsigmoid": "fast_sigmoid"}.get(name, name)
    rule = rule_of(name)
    if rule is None:
        return None
    surrogate: dict[str, Attribute] = {"name": rule.name}
    for key, hint in parameter_hints(rule.name).items():
        value = hints.get(hint)
        if hint == "surrogate_alpha" and value is None:
            value = hints.get("surrogate_slope")
        if isinstance(value, (int, float)):
            surrogate[key] = float(value)
    return surrogate
