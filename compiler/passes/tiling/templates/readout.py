"""Templates for reductions over time and their gradients: lane programs that carry state."""

from __future__ import annotations

from dataclasses import replace

from snncc.compiler.ir.core import Op, Type, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import ProgramWriter, f32_bits
from snncc.compiler.passes.tiling.kit.views import View, view
from snncc.compiler.passes.tiling.templates.dispatch import Handler
from snncc.compiler.passes.tiling.templates.lanes import Feed, LaneWork, lane_work, phase_lane

MINUS_INFINITY = 0xFC00


def _load_number(w: ProgramWriter, dtype: str, stream: int) -> int:
    """Load an element as a number; a spike counts 0 or 1."""
    if dtype != "bit":
        return w.add({"f16": "ld.h", "f32": "ld.f"}[dtype], imm=stream)
    mask = w.add("ld.m", imm=stream)
    one, zero = w.add("const.h", imm=0x3C00), w.add("const.h", imm=0)
    return w.add("sel.h", (mask, one, zero))


def _still(use: View) -> View:
    """Return a view whose element is the same at every step."""
    return replace(use, steps=1, step=0)


def _work(
    context: TilingContext,
    op: Op,
    writer: ProgramWriter,
    feeds: list[Feed],
    like: View,
    steps: int,
    name: str,
) -> None:
    phase = op.str_attr("phase", "fp")
    program = context.program(f"{op.attrs.get('layer', '')}_{phase}_{name}", writer.program("p"))
    lane_work(
        context,
        op,
        LaneWork(
            program, tuple(feeds), steps, like.rows, like.cols, False, phase_lane(phase), name=name
        ),
    )


def _memory(context: TilingContext, value: Value) -> View:
    """Return a value's view with the element type that it has in memory."""
    dram = context.tensors[value]
    return view(value.type.with_(dtype=dram.type.dtype), dram)


def _reduce_time(context: TilingContext, op: Op) -> None:
    kind = op.str_attr("kind")
    x, out = context.view(op.operands[0]), context.view(op.result)
    if kind == "last":
        _copy_step(context, op, x, out)
        return
    w = ProgramWriter()
    source = Feed("in", x, x.dtype)
    if kind == "max" and out.dtype == "bit":
        seen = w.add("state.m", imm=1)
        now = w.add("or", (seen, w.add("ld.m", imm=0)))
        w.add("st.m", (now,), imm=2)
        w.add("next", (seen, now))
        state = Feed("state", None, "bit")
    elif kind == "max":
        m = w.add("state.h", imm=1)
        best = w.add("max.h", (m, _load_number(w, x.dtype, 0)))
        w.add("st.h", (best,), imm=2)
        w.add("next", (m, best))
        state = Feed("state", None, "f16", initial=MINUS_INFINITY)
    else:
        total = w.add("state.f", imm=1)
        added = w.add("add.f", (total, _load_number(w, x.dtype, 0)))
        w.add("next", (total, added))
        result = added
        if kind == "mean":
            result = w.add("div.f", (added, w.add("const.f", imm=f32_bits(float(x.steps)))))
        w.add("st.h", (w.add("f2h", (result,)),), imm=2)
        state = Feed("state", None, "f32")
    feeds = [source, state, Feed("out", _still(out), out.dtype)]
    _work(context, op, w, feeds, out, x.steps, f"time_{kind}")


def _copy_step(context: TilingContext, op: Op, x: View, out: View) -> None:
    """Copy the last step."""
    w = ProgramWriter()
    if x.dtype == "bit":
        w.add("st.m", (w.add("ld.m", imm=0),), imm=1)
    else:
        w.add("st.h", (w.add("ld.h", imm=0),), imm=1)
    last = replace(_still(x), start=x.start + (x.steps - 1) * x.step)
    feeds = [Feed("in", last, x.dtype), Feed("out", out, out.dtype)]
    _work(context, op, w, feeds, out, 1, "time_last")


def copy_tensor(context: TilingContext, op: Op, value: Value, type_: Type, target: Value) -> None:
    """Copy a value to where a state lives, element by element."""
    copy_views(context, op, context.view(value), view(type_, target, context.order(value)))


def copy_views(context: TilingContext, op: Op, x: View, out: View) -> None:
    """Copy a tensor into another one of the same shape; numbers may change their format."""
    w = ProgramWriter()
    if x.dtype == out.dtype:
        kind = {"f16": "h", "f32": "f", "bit": "m"}[x.dtype]
        value = w.add(f"ld.{kind}", imm=0)
    else:
        value = _load_number(w, x.dtype, 0)
        kind = {"f16": "h", "f32": "f"}[out.dtype]
        if x.dtype == "f32":
            value = w.add("f2h", (value,))
    w.add(f"st.{kind}", (value,), imm=1)
    feeds = [Feed("in", x, x.dtype), Feed("out", out, out.dtype)]
    _work(context, op, w, feeds, out, x.steps, "copy")


def _argmax_time(context: TilingContext, op: Op) -> None:
    x = context.view(op.operands[0])
    w = ProgramWriter()
    best, index, now = (w.add("state.h", imm=1), w.add("state.f", imm=2), w.add("state.f", imm=3))
    number = _load_number(w, x.dtype, 0)
    # the first NaN wins, as it does in a maximum
    wrong = w.add("not", (w.add("eq", (number, number)),))
    first_wrong = w.add("and", (wrong, w.add("eq", (best, best))))
    greater = w.add("or", (w.add("gt", (number, best)), first_wrong))
    new_best = w.add("sel.h", (greater, number, best))
    new_index = w.add("sel.f", (greater, now, index))
    w.add("next", (best, new_best))
    w.add("next", (index, new_index))
    w.add("next", (now, w.add("add.f", (now, w.add("const.f", imm=f32_bits(1.0))))))
    feeds = [
        Feed("in", x, x.dtype),
        Feed("state", None, "f16", initial=MINUS_INFINITY),
        Feed("state", None, "f32"),
        Feed("state", None, "f32"),
    ]
    like = x
    for value, register, name in zip(
        op.results, (new_best, new_index), ("st.h", "st.f"), strict=True
    ):
        if value.uses:
            like = _memory(context, value)
            if like.dtype == "bit":
                zero = w.add("const.h", imm=0)
                register, name = w.add("not", (w.add("eq", (register, zero)),)), "st.m"
            w.add(name, (register,), imm=len(feeds))
            feeds.append(Feed("out", _still(like), like.dtype))
    _work(context, op, w, feeds, like, x.steps, "time_argmax")


def _select_time(context: TilingContext, op: Op) -> None:
    g, out = context.view(op.operands[0]), context.view(op.result)
    w = ProgramWriter()
    now = w.add("state.f", imm=1)
    feeds = [
        Feed("in", _still(g), g.dtype),
        Feed("state", None, "f32"),
        Feed("out", out, out.dtype),
    ]
    gradient = _load_number(w, g.dtype, 0)
    if len(op.operands) > 1:
        index = _memory(context, op.operands[1])
        feeds.append(Feed("in", _still(index), "f32"))
        wanted = w.add("ld.f", imm=3)
    else:
        wanted = w.add("const.f", imm=f32_bits(float(op.int_attr("at"))))
    here = w.add("eq", (now, wanted))
    w.add("st.h", (w.add("sel.h", (here, gradient, w.add("const.h", imm=0))),), imm=2)
    w.add("next", (now, w.add("add.f", (now, w.add("const.f", imm=f32_bits(1.0))))))
    _work(context, op, w, feeds, out, out.steps, "time_select")


HANDLERS: dict[str, Handler] = {
    "phase.reduce_time": _reduce_time,
    "phase.argmax_time": _argmax_time,
    "phase.select_time": _select_time,
}
