"""Buffers that are written one time step after the other: ScatterND chains become a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.axes import (
    norm_axis,
)
from snncc.compiler.frontend.flat.flat import I64, Attrs, Val, attr_int, attr_str, prod

if TYPE_CHECKING:
    from snncc.compiler.frontend.onnx.build import GraphBuilder


def _written_step(op: str, ins: Sequence[Val], at: Attrs) -> int | None:
    """Return t when the node replaces exactly entry t of axis 0, else None."""
    data, indices = ins[0], ins[1].const
    if indices is None or not data.shape or attr_str(at, "reduction", "none") != "none":
        return None
    inner = prod(data.shape[1:])
    if op == "ScatterElements":
        axis = norm_axis(attr_int(at, "axis", 0), len(data.shape))
        same = indices.size == inner and axis == 0 and bool((indices == indices.ravel()[0]).all())
        return int(indices.ravel()[0]) % data.shape[0] if same else None
    k = indices.shape[-1]
    rows = indices.reshape(-1, k)
    places = np.mod(rows, data.shape[:k])
    weights = np.array([prod(data.shape[i + 1 : k]) for i in range(k)])
    flat = np.asarray(places @ weights)
    per = prod(data.shape[1:k])
    if flat.size != per or flat[0] % per or not np.array_equal(flat, flat[0] + np.arange(per)):
        return None
    return int(flat[0]) // per


def scatter_step(builder: GraphBuilder, op: str, ins: Sequence[Val], at: Attrs, name: str) -> Val:
    """Return the buffer after the write; a fully written one is a Concat of its steps."""
    data, updates = ins[0], ins[2]
    t = _written_step(op, ins, at)
    if t is None:
        fail(
            "E0104",
            f"{op} that does not write whole time steps",
            builder.where(name),
            help="supported: writing entry t of axis 0, one step after the other",
        )
    parts = dict(builder.partial.get(data.id, {}))
    shape = builder.const(np.array((1, *data.shape[1:]), I64))
    parts[t] = builder.one("Reshape", updates, shape, name=name)
    if len(parts) == data.shape[0]:
        steps = [parts[i] for i in range(data.shape[0])]
        return builder.add("Concat", steps, {"axis": 0}, name)[0]
    out = builder.value(data.shape, data.dtype)
    builder.partial[out.id] = parts
    return out
