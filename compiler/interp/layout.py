"""From the IR's layout of a result to the file's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snncc.compiler.interp.numerics import Array
from snncc.compiler.ir.build import Attrs, flag, integer, ints
from snncc.compiler.ir.core import Func


def file_layout(attrs: Attrs, array: Array, is_seq: bool) -> Array:
    """Give a result the layout that its output op asks for.

    ``transpose``: the file holds the transpose (2-D parameters).  ``axis``: where the file has the
    time axis of a seq.  ``batch_in_time``: the file folds (sample, step) into axis 0, sample-major.
    ``shape``: the file's shape.
    """
    if flag(attrs, "transpose"):
        array = array.T
    if is_seq and flag(attrs, "batch_in_time"):
        array = np.swapaxes(array, 0, 1)
        array = array.reshape(-1, *array.shape[2:])
    elif is_seq:
        array = np.moveaxis(array, 0, max(integer(attrs, "axis", 0), 0))
    if attrs.get("shape") is not None:
        array = array.reshape(ints(attrs, "shape"))
    return np.asarray(array, order="C")


def in_file_layout(func: Func, results: Mapping[str, Array]) -> dict[str, Array]:
    """Apply :func:`file_layout` to what ``evaluate`` returned for a function of either stage."""
    out = dict(results)
    for op in func.body.ops:
        if op.name in ("phase.output", "graph.output", "phase.store"):
            name = op.str_attr("name")
            if op.name == "graph.output":
                name = f"out/{name}"
            elif op.name == "phase.store":
                name = f"{'param' if op.attrs.get('kind') == 'param' else 'state'}/{name}"
            if name in out:
                is_seq = op.operands[0].type.kind == "seq"
                out[name] = file_layout(op.attrs, out[name], is_seq)
    return out
