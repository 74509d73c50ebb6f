"""First steps that differ from the later ones: what the file computes there stands beside the body.

Steps are rolled up as the later ones are; where a first step does not compute the same, it is not
guessed how it could.  A state then starts from the value that the file gives it, whatever that is
computed from; any other value is chosen by a mask over time: at that step what the file computes,
at all others the body.  Both are exactly what the file says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.frontend.flat.flat import BOOL
from snncc.compiler.frontend.time.checks import as_delay
from snncc.compiler.frontend.time.roll import Check, Roller
from snncc.compiler.frontend.time.rolled import RNode, make, resolve


def take_from_file(roller: Roller, failing: Sequence[Check]) -> None:
    """Put what the file computes at its first steps in the place of what the body would."""
    for check in failing:
        asked, body = check.asked, resolve(check.asked)
        first = roller.static(check.val)
        if check.t == 0 and asked is not body and as_delay(body, asked, first):
            continue
        _choose(roller, asked, body, first, check.t)
    roller.run()


def _choose(roller: Roller, asked: RNode, body: RNode, first: RNode, step: int) -> None:
    """Let a node be ``first`` at one step and ``body`` at the others."""
    mask = RNode("SeqConst", (), BOOL, const=np.arange(roller.steps) == step)
    mask.attrs = {"first": 0, "last": roller.steps, "parameters": ()}
    inner = body
    if asked is body:  # nothing stands between the body and what uses it
        inner = RNode(body.op, body.shape, body.dtype, list(body.ins), dict(body.attrs), body.const)
        inner.val, inner.start, inner.vals, inner.init = body.val, body.start, body.vals, body.init
    chosen = make("Where", body.shape, body.dtype, [mask, first, inner])
    chosen.val = body.val
    asked.alias = None
    asked.op, asked.ins, asked.attrs, asked.const = "Where", chosen.ins, {}, None
