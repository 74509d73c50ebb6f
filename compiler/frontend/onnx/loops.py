"""Sequences and control flow, resolved at import time: branches are taken, loops unrolled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat import axes
from snncc.compiler.frontend.flat.flat import I64, Val, attr_int, attr_ints
from snncc.compiler.frontend.onnx.build import (
    MAX_TRIPS,
    Bound,
    Call,
    Env,
    GraphBuilder,
    TensorList,
    rule,
)


@rule("SequenceEmpty")
def sequence_empty(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A list without entries."""
    return [TensorList()]


@rule("SequenceConstruct")
def sequence_construct(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A list of values."""
    return [TensorList([c.val(i) for i in range(len(c.ins))])]


@rule("SequenceInsert")
def sequence_insert(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A list with one more entry."""
    items, place = list(c.items(0)), c.optional(2)
    items.insert(len(items) if place is None else axes.const_ints(place)[0], c.val(1))
    return [TensorList(items)]


@rule("SequenceAt")
def sequence_at(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """An entry of a list."""
    return [c.items(0)[axes.const_ints(c.val(1))[0]]]


@rule("SequenceLength")
def sequence_length(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """The number of entries."""
    return [b.const(np.array(len(c.items(0)), I64))]


@rule("SplitToSequence")
def split_to_sequence(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Slices of length one."""
    x, sizes = c.val(0), c.optional(1)
    axis = axes.norm_axis(attr_int(c.attrs, "axis", 0), len(x.shape))
    keep = attr_int(c.attrs, "keepdims", 1)
    if sizes is not None and any(s != 1 for s in axes.const_ints(sizes)):
        fail("E0104", "SplitToSequence into parts longer than one", b.where(c.name))
    items: list[Val] = []
    for i in range(x.shape[axis]):
        index = b.const(np.array([i] if keep else i, I64))
        items.append(c.add("Gather", [x, index], {"axis": axis})[0])
    return [TensorList(items)]


@rule("ConcatFromSequence")
def concat_from_sequence(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Join or stack a list."""
    items = c.items(0)
    if not items:
        raise ValueError("the sequence is empty")
    axis = attr_int(c.attrs, "axis", 0)
    if attr_int(c.attrs, "new_axis", 0):
        return [b.stack(items, axis, c.name, c.scope)]
    return c.add("Concat", items, {"axis": axis})


@rule("If")
def branch(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """A branch that is decided at import time."""
    condition = c.val(0).const
    if condition is None:
        fail("E0104", "If on a value that only the data decides", b.where(c.name))
    return b.body(c.attrs["then_branch" if condition.all() else "else_branch"], {}, c)


@rule("Loop")
def loop(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Unroll a loop whose number of iterations is known."""
    graph = c.attrs.get("body")
    if not isinstance(graph, onnx.GraphProto):
        raise ValueError("the body is missing")
    trips = c.optional(0)
    if trips is None or trips.const is None:
        fail(
            "E0104",
            "the number of iterations of this Loop is not known at import",
            b.where(c.name),
            help="give the number of steps: timesteps in the configuration",
        )
    total = int(trips.const.item())
    if total > MAX_TRIPS:
        fail("E0109", f"Loop of {total} iterations", b.where(c.name))
    carried = [v for v in c.ins[2:] if v is not None]
    names = [i.name for i in graph.input]
    scans: list[list[Val]] = [[] for _ in graph.output[1 + len(carried) :]]
    state: Bound = c.optional(1) or b.const(np.array(True))
    for t in range(total):
        if isinstance(state, Val) and state.const is not None and not state.const.all():
            break
        values = [b.const(np.array(t, I64)), state, *carried]
        outs = b.body(graph, dict(zip(names, values, strict=False)), c)
        state, carried = outs[0], outs[1 : 1 + len(carried)]
        for kept, v in zip(scans, outs[1 + len(carried) :], strict=True):
            if isinstance(v, Val):
                kept.append(v)
    return [*carried, *(b.stack(kept, 0, c.name, c.scope) for kept in scans if kept)]


@rule("Scan")
def scan(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Unroll a scan."""
    graph, at = c.attrs.get("body"), c.attrs
    if not isinstance(graph, onnx.GraphProto):
        raise ValueError("the body is missing")
    count = attr_int(at, "num_scan_inputs", 1)
    first = len(c.ins) - count
    states: list[Bound] = [c.val(i) for i in range(first)]
    xs = [c.val(i) for i in range(first, len(c.ins))]
    in_axes = attr_ints(at, "scan_input_axes", (0,) * count)
    in_back = attr_ints(at, "scan_input_directions", (0,) * count)
    made = len(graph.output) - len(states)
    out_axes = attr_ints(at, "scan_output_axes", (0,) * made)
    out_back = attr_ints(at, "scan_output_directions", (0,) * made)
    total = xs[0].shape[in_axes[0]]
    if total > MAX_TRIPS:
        fail("E0109", f"Scan over {total} steps", b.where(c.name))
    scans: list[list[Val]] = [[] for _ in range(made)]
    names = [i.name for i in graph.input]
    for t in range(total):
        parts: list[Bound] = []
        for x, axis, back in zip(xs, in_axes, in_back, strict=True):
            index = b.const(np.array(total - 1 - t if back else t, I64))
            parts.append(c.add("Gather", [x, index], {"axis": axis})[0])
        bound: Env = dict(zip(names, [*states, *parts], strict=True))
        outs = b.body(graph, bound, c)
        states = outs[: len(states)]
        for kept, v in zip(scans, outs[len(states) :], strict=True):
            if isinstance(v, Val):
                kept.append(v)
    stacked: list[Bound] = []
    for kept, axis, back in zip(scans, out_axes, out_back, strict=True):
        stacked.append(b.stack(kept[::-1] if back else kept, axis, c.name, c.scope))
    return [*states, *stacked]
