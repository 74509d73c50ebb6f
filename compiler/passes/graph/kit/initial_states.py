"""Parameters that states start from, under a name of their own.

Exporters fold and rename initial states: a model's ``v0`` is ``onnx::Expand_84`` in the file, or a
part of a tensor called ``mul``.  So such a parameter is also called by what it is: ``STATE.v0``,
where STATE is the layer of a neuron or the state of a delay.
"""

from __future__ import annotations

from snncc.compiler.ir.core import Module, Op, Value
from snncc.compiler.ir.neuron_step import param_names

ROLES = {"v_init": "v0", "i_init": "i0"}


def initial_state_names(module: Module) -> dict[Op, list[str]]:
    """Return the further names of the parameters that initial states are computed from."""
    found: dict[Op, list[str]] = {}
    for op in module.walk():
        starts: list[tuple[Value, str]] = []
        if op.name == "graph.delay":
            starts = [(v, f"{op.str_attr('state')}.v0") for v in op.operands]
        elif op.name == "graph.neuron":
            layer = op.str_attr("layer", "neuron")
            named = zip(op.operands[1:], param_names(op.attrs), strict=True)
            starts = [(v, f"{layer}.{ROLES[role]}") for v, role in named if role in ROLES]
        for value, name in starts:
            for param in _parameters_of(value):
                found.setdefault(param, []).append(name)
    return found


def _parameters_of(value: Value) -> list[Op]:
    """Return the parameters from which alone a value is computed; none where data enter."""
    found: list[Op] = []
    stack, seen = [value], set[Value]()
    while stack:
        v = stack.pop()
        owner = v.owner
        if v in seen:
            continue
        seen.add(v)
        if not isinstance(owner, Op) or owner.name == "graph.delay":
            return []
        if owner.name == "graph.param":
            found.append(owner)
        stack.extend(owner.operands)
    return found
