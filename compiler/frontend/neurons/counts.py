"""Spikes that are counted, in cells that are no neuron of the parametrised kind.

``(h > 0) * trunc(h / theta)`` (sinabs' MultiSpike) is one spike op with one surrogate, not a
comparison with zero; a maximum of spikes per step (MaxSpike) limits the value, not its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.frontend.flat.flat import Arr
from snncc.compiler.frontend.time.rolled import RNode, constant, reachable, resolve


def mark_counts(roots: Sequence[RNode]) -> None:
    """Turn such products into nodes ``Count`` (h, theta), limited ones into ``Limited``."""
    for node in reachable(roots):
        node.ins = [resolve(i) for i in node.ins]
        found = _counted(node) if node.op == "Mul" else None
        if found is not None:
            node.op, node.ins, node.attrs = "Count", list(found), {}
        elif node.op in ("Min", "Clip") and node.ins[0].op == "Count":
            top = _limit(node)
            if top is not None:
                node.op, node.ins, node.attrs = "Limited", [node.ins[0], top], {}


def _limit(node: RNode) -> RNode | None:
    if node.op == "Min":
        other = node.ins[1]
        return other if other.uniform is not None else None
    high = node.attrs.get("max")
    if not isinstance(high, (int, float)) or node.attrs.get("min") is not None:
        return None
    return constant(np.asarray(high, np.float32))


def _counted(node: RNode) -> tuple[RNode, RNode] | None:
    for mask, count in (node.ins, node.ins[::-1]):
        if mask.op == "Cast":
            mask = resolve(mask.ins[0])
        if mask.op != "Greater" or resolve(mask.ins[1]).uniform != 0.0:
            continue
        h, ratio = resolve(mask.ins[0]), _truncated(count)
        if ratio is h:
            return h, constant(np.ones((), np.float32))
        if ratio is None or ratio.op not in ("Div", "Mul"):
            continue
        a, b = (resolve(i) for i in ratio.ins)
        if ratio.op == "Div" and a is h:
            return h, b
        factor = b if a is h else a if b is h else None
        if ratio.op == "Mul" and factor is not None and factor.const is not None:
            inverse: Arr = 1.0 / np.asarray(factor.const, np.float32)
            return h, constant(inverse)
    return None


def _truncated(node: RNode) -> RNode | None:
    """Return x of ``trunc(x)``, also written ``floor(|x|) * sign(x)``, or None."""
    if node.op == "Trunc":
        return resolve(node.ins[0])
    if node.op != "Mul":
        return None
    a, b = (resolve(i) for i in node.ins)
    if a.op == "Sign":
        a, b = b, a
    inner = resolve(a.ins[0]) if a.op == "Floor" else a
    if b.op != "Sign" or inner.op != "Abs":
        return None
    x = resolve(inner.ins[0])
    return x if x is resolve(b.ins[0]) else None
