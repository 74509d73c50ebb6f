"""Parameters that differ from step to step: one tensor over all steps, cut into steps.

While steps are rolled up such a parameter is a ``SeqConst``, a constant indexed by step.  Here it
becomes ``AxisToTime`` of the parameter that the file holds for all steps, or of the parameters that
it holds for one step each, joined: every one keeps its name, its shape and its gradient.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from snncc.compiler.frontend.flat.flat import attr_int
from snncc.compiler.frontend.time.parameters import per_step_names
from snncc.compiler.frontend.time.rolled import RNode, constant, make
from snncc.compiler.frontend.time.timing import Lay


def parameters_by_step(nodes: Iterable[RNode]) -> None:
    """Turn the constants over time that hold parameters into operators on these parameters."""
    for node in list(nodes):
        if node.op == "SeqConst" and node.alias is None and per_step_names(node):
            _by_step(node)


def _by_step(node: RNode) -> None:
    lay = node.attrs.get("lay")
    if isinstance(lay, Lay):  # one tensor of the file holds all steps
        assert node.val is not None
        whole = constant(np.asarray(node.val.const), node.val)
        node.op, node.const, node.ins, node.attrs = "AxisToTime", None, [whole], {"lay": lay}
        return
    assert node.const is not None
    steps, shape = node.const.shape[0], node.const.shape[1:]
    rows: list[RNode] = []
    for t in range(steps):
        v = node.at(t)
        # what stands at a step that is not in the file has no effect (checks.py)
        held = constant(np.asarray(node.const[t]) if v is None else np.asarray(v.const), v)
        rows.append(make("View", (1, *shape), node.dtype, [held]))
    whole = make("Concat", (steps, *shape), node.dtype, rows, axis=0)
    whole.val = node.val
    row = make("AxisToTime", (1, *shape), node.dtype, [whole], lay=Lay(0))
    row.val = node.val
    first = attr_int(node.attrs, "first", 0)
    assert first == node.start
    node.op, node.const, node.ins, node.attrs = "View", None, [row], {}
