"""Handlers of moves: conversions of storage order, concatenation, slices, padding, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import KERNEL
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import f16_bits
from snncc.compiler.passes.tiling.kit.stacks import pad64
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream
from snncc.compiler.passes.tiling.kit.views import ELEMENT_BYTES
from snncc.compiler.passes.tiling.templates.copies import (
    Axis,
    Copy,
    emit_copy,
    pack_program,
    step_bytes,
    strides,
    unpack_program,
)
from snncc.compiler.passes.tiling.templates.dispatch import Handler, unsupported
from snncc.compiler.passes.tiling.templates.flatten import flatten, flattens, is_flatten
from snncc.isa.numbers.integers import ceil_div

BLOCK = 16
"""Input channels of a convolution that lie together."""


class _Side:
    """One tensor of a move: strides per step axis and of time."""

    def __init__(self, context: TilingContext, value: Value) -> None:
        self.value = value
        self.shape = value.type.step_shape
        self.order = context.order(value)
        self.dtype = value.type.dtype
        self.dram = context.tensors[value]
        self.start = context.starts.get(value, ZERO)
        self.strides = strides(self.shape, self.order, self.dtype)
        self.steps = value.type.shape[0] if value.type.kind == "seq" else 1
        self.step = step_bytes(self.shape, self.order, self.dtype) if self.steps > 1 else 0

    def offset(self, axis: int, index: int) -> int:
        """Return the byte offset of an index along an axis."""
        stride = self.strides[axis]
        if stride >= 0:
            return index * stride
        if index % 16:
            return -1
        return index // 8


def _axes(
    source: _Side | None, target: _Side, shape: Sequence[int], skip: Sequence[int] = ()
) -> list[Axis]:
    """Return the axes of a copy between two sides of equal rank."""
    found = [
        Axis(d, 0 if source is None or i in skip else source.strides[i], target.strides[i])
        for i, d in enumerate(shape)
    ]
    steps = target.steps
    return [Axis(steps, source.step if source is not None else 0, target.step), *found]


def _copy(
    source: _Side, target: _Side, axes: tuple[Axis, ...], source_offset: int = 0,
    target_offset: int = 0,
) -> Copy:  # fmt: skip
    """Return a copy between two sides, each from its own start (of the step in a loop)."""
    return Copy(
        source.dram,
        target.dram,
        axes,
        target.dtype,
        source.start + source_offset,
        target.start + target_offset,
    )


def _relayout(context: TilingContext, op: Op) -> None:
    if flattens(op):
        return
    if KERNEL in (context.order(op.operands[0]), context.order(op.result)):
        _relayout_kernel(context, op)
        return
    source, target = _Side(context, op.operands[0]), _Side(context, op.result)
    axes = tuple(_axes(source, target, target.shape))
    emit_copy(context, op, _copy(source, target, axes), "relayout")


def _relayout_kernel(context: TilingContext, op: Op) -> None:
    """Copy a convolution kernel [O, C, taps] from or to blocks [C/16, taps, 16, O].

    What lies in a block beyond the last channel is zero.
    """
    source, target = context.tensors[op.operands[0]], context.tensors[op.result]
    dtype = op.result.type.dtype
    size = ELEMENT_BYTES[dtype]
    outputs, channels, *kernel = op.result.type.shape
    taps = prod(kernel)
    inward = context.order(op.result) == KERNEL
    block = taps * BLOCK * outputs * size
    if inward and channels % BLOCK:
        whole = Axis(ceil_div(channels, BLOCK) * taps * BLOCK * outputs, 0, size)
        emit_copy(context, op, Copy(None, target, (whole,), dtype), "kernel_fill")
    full = channels // BLOCK
    for first, count, depth in ((0, full, BLOCK), (full, 1, channels % BLOCK)):
        if not count or not depth:
            continue
        axes = [  # natural stride, stride in blocks
            (count, BLOCK * taps * size, block),
            (taps, size, BLOCK * outputs * size),
            (depth, taps * size, outputs * size),
            (outputs, channels * taps * size, size),
        ]
        starts = (At(first * BLOCK * taps * size), At(first * block))
        found = tuple(Axis(n, a, z) if inward else Axis(n, z, a) for n, a, z in axes)
        start_in, start_out = starts if inward else starts[::-1]
        moved = Copy(source, target, found, dtype, start_in, start_out)
        emit_copy(context, op, moved, "kernel")


def _reshape(context: TilingContext, op: Op) -> None:
    """A reshape that was not a mere view: packed rows change length."""
    source, target = op.operands[0], op.result
    if is_flatten(op):
        flatten(context, op)
        return
    if source.type.dtype != "bit":
        unsupported(op)
    _repack(context, op, source, target)


def _repack(context: TilingContext, op: Op, source: Value, target: Value) -> None:
    """Copy packed spikes between natural orders whose rows differ in length."""
    a, z = context.view(source).flat(), context.view(target).flat()
    units = a.rows * a.cols
    batch = source.type.step_shape[0] * (source.type.shape[0] if source.type.kind == "seq" else 1)
    per = units // batch
    if per % a.cols or per % z.cols:
        unsupported(op)
    in_rows, out_rows = per // a.cols, per // z.cols
    b = context.task(op, "repack")
    packed_in, packed_out = b.sram("in", in_rows * a.row), b.sram("out", out_rows * z.row)
    wide = b.sram("wide", per * 2)
    need = pad64(in_rows * a.row) + pad64(out_rows * z.row) + pad64(per * 2)
    if need > context.limit:
        context.too_small(op, "a reshape of spikes", need)

    def sample(at: At, _: int, __: bool) -> None:
        b.load(packed_in, ZERO, a.dram, at * (in_rows * a.row), 1, in_rows * a.row, 0, 0)
        b.lanes(
            "ew",
            context.program("unpack", unpack_program()),
            [Stream(packed_in, ZERO, 0, a.row), Stream(wide, ZERO, 0, a.cols * 2)],
            1,
            in_rows,
            a.cols,
        )
        b.lanes(
            "ew",
            context.program("pack", pack_program()),
            [Stream(wide, ZERO, 0, z.cols * 2), Stream(packed_out, ZERO, 0, z.row)],
            1,
            out_rows,
            z.cols,
        )
        b.store(z.dram, at * (out_rows * z.row), packed_out, ZERO, 1, out_rows * z.row, 0, 0)

    b.tiles(batch, 1, sample, parallel=True)
    context.add(b)


def _concat(context: TilingContext, op: Op) -> None:
    target = _Side(context, op.result)
    axis = op.int_attr("axis") % len(target.shape)
    start = 0
    for operand in op.operands:
        source = _Side(context, operand)
        at = target.offset(axis, start)
        if at < 0 or source.dtype != target.dtype:
            unsupported(op)
        axes = tuple(_axes(source, target, source.shape))
        emit_copy(
            context,
            op,
            _copy(source, target, axes, target_offset=at),
            "concat",
        )
        start += source.shape[axis]


def _slice(context: TilingContext, op: Op) -> None:
    source, target = _Side(context, op.operands[0]), _Side(context, op.result)
    starts = op.ints_attr("starts")
    jumps = op.ints_attr("strides", (1,) * len(starts))
    offsets = [source.offset(i, s) for i, s in enumerate(starts)]
    if any(o < 0 for o in offsets) or any(
        j != 1 and source.strides[i] < 0 for i, j in enumerate(jumps)
    ):
        unsupported(op)
    axes = _axes(source, target, target.shape)
    cut = [
        Axis(a.size, a.source * j if a.source > 0 else a.source, a.target)
        for a, j in zip(axes[1:], jumps, strict=True)
    ]
    emit_copy(
        context,
        op,
        _copy(source, target, (axes[0], *cut), source_offset=sum(offsets)),
        "slice",
    )


def _pad(context: TilingContext, op: Op) -> None:
    source, target = _Side(context, op.operands[0]), _Side(context, op.result)
    value = op.float_attr("value", 0.0)
    if value and target.dtype != "f16":
        unsupported(op)
    low = op.ints_attr("low")
    offsets = [target.offset(i, n) for i, n in enumerate(low)]
    if any(o < 0 for o in offsets):
        unsupported(op)
    frame = tuple(_axes(None, target, target.shape))
    pattern = f16_bits(value)
    fill = Copy(None, target.dram, frame, target.dtype, target_start=target.start, pattern=pattern)
    emit_copy(context, op, fill, "pad_fill")
    inner = tuple(_axes(source, target, source.shape))
    emit_copy(
        context,
        op,
        _copy(source, target, inner, target_offset=sum(offsets)),
        "pad",
    )


def _expand(context: TilingContext, op: Op) -> None:
    source, target = _Side(context, op.operands[0]), _Side(context, op.result)
    lead = len(target.shape) - len(source.shape)
    axes = [Axis(target.steps, source.step, target.step)]
    for i, d in enumerate(target.shape):
        j = i - lead
        repeats = j < 0 or (source.shape[j] == 1 and d > 1)
        axes.append(Axis(d, 0 if repeats else source.strides[j], target.strides[i]))
    emit_copy(context, op, _copy(source, target, tuple(axes)), "expand")


HANDLERS: dict[str, Handler] = {
    "phase.relayout": _relayout,
    "phase.reshape": _reshape,
    "phase.transpose": _reshape,
    "phase.concat": _concat,
    "phase.slice": _slice,
    "phase.pad": _pad,
    "phase.expand": _expand,
}
