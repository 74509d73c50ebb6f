"""Which layer an op or a parameter belongs to."""

from __future__ import annotations

from snncc.compiler.ir.core import Module, Op


def layer_of(op: Op) -> str:
    """Return the layer's name: its own, or what its weight is called without the last part."""
    layer = op.attrs.get("layer")
    if isinstance(layer, str):
        return layer
    for v in op.operands[1:]:
        if isinstance(v.owner, Op) and v.owner.name == "graph.param":
            return v.owner.str_attr("name").partition("#")[0].rpartition(".")[0]
    return ""


def parameter_layers(module: Module) -> dict[str, str]:
    """Return the layer of each parameter of a graph or phased module: where it is first used."""
    found: dict[str, str] = {}
    for op in module.walk():
        if op.name in ("graph.param", "phase.param"):
            users = [user for user, _ in op.result.uses]
            layer = next((name for name in map(layer_of, (op, *users)) if name), "")
            if layer:
                found[op.str_attr("name")] = layer
    return found
