"""``[input] spikes = true``: the model's input is a spike train, packed bits instead of numbers."""

from __future__ import annotations

from snncc.compiler.ir.build import INFER
from snncc.compiler.ir.core import Module, Value


def spike_input(module: Module) -> bool:
    """Turn the first input of the graph into bits; return whether that changed anything.

    Shape ops pass the bits on; the first layer then accumulates gated by spikes.  What it computes
    stays the same: a spike selects the weight that 1.0 would have multiplied.
    """
    body = next(iter(module.funcs.values())).body
    x = body.args[0]
    if x.type.dtype == "bit":
        return False
    x.type = x.type.with_(dtype="bit")
    changed: set[Value] = {x}
    for op in body.ops:
        infer = INFER.get(op.name)
        if infer is None or changed.isdisjoint(op.operands):
            continue
        types = infer([v.type for v in op.operands], op.attrs)
        for result, type_ in zip(op.results, types, strict=True):
            if result.type != type_:
                result.type = type_
                changed.add(result)
    return True
