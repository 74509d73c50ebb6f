"""Which constants of a file are parameters: their values say nothing about what the model computes.

A parameter of which all elements are 0 or 1 when the model is exported (a zero bias, a unit gain, a
ReZero factor) has other values after the first update: no rewrite may look at it.  Exporters keep
the names of parameters and number what they computed themselves; a scalar with such a name, and an
array filled with one number, is a constant (the state before the first step, a factor 1).  So is
a number that a framework registers as a setting of its neurons.
"""

from __future__ import annotations

from typing import cast

from snncc.compiler.frontend.flat.flat import Val
from snncc.compiler.frontend.time.rolled import RNode


def is_parameter(v: Val | None) -> bool:
    """Whether a value is a float initializer that training may change, or one that is reshaped."""
    if v is not None and v.trained and v.const is not None and v.dtype.kind == "f":
        return True
    if v is None or v.const is None or not v.param or v.dtype.kind != "f" or not v.size:
        return False
    if not v.made_up:
        return True
    return v.size > 1 and bool((v.const != v.const.reshape(-1)[0]).any())


def holds_parameter(node: RNode) -> bool:
    """Whether a node of the rolled graph is a parameter."""
    return node.op in ("Const", "SeqConst") and is_parameter(node.val)


def per_step_names(node: RNode) -> tuple[str, ...]:
    """Return the parameters that a constant takes its values from, another one at every step."""
    names = node.attrs.get("parameters", ())
    assert isinstance(names, tuple)
    return tuple(str(n) for n in cast("tuple[object, ...]", names))


def number(node: RNode) -> float | None:
    """Return the number that fills a constant, None for a parameter or other numbers."""
    return None if holds_parameter(node) else node.uniform
