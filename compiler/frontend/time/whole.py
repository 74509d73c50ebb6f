"""Operators on whole sequences: where they may stand.

``TimeToAxis`` makes one tensor of all steps, ``AxisToTime`` cuts one into steps
(docs/design/time-axis.md).  Between the two an operator sees the past and the future, so neither
can lie on a cycle through delays.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.diag import fail
from snncc.compiler.frontend.time.roll import Roller
from snncc.compiler.frontend.time.rolled import RNode, reachable, resolve
from snncc.compiler.ir.components import components

WHOLE = ("TimeToAxis", "AxisToTime", "StepOf")


def refuse_whole_recurrences(roller: Roller, outputs: Sequence[RNode]) -> None:
    """Refuse a recurrence in which an operator takes several steps together."""
    order = reachable(outputs)
    for group in components(order, lambda n: [resolve(i) for i in n.ins]):
        found = next((n for n in group if n.op in WHOLE), None)
        if found is None or len(group) < 2:
            continue
        v = next((n.val for n in (found, *map(resolve, found.ins), *group) if n.val), None)
        name = v.node.op if v is not None and v.node is not None else "an operator"
        fail(
            "E0107",
            f"{name} takes several steps together inside the recurrence that computes them",
            roller.where(v) if v is not None else roller.flat.file,
            help="apply it before or after the recurrent part of the model",
        )
