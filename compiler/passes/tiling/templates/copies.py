"""Templates that move data: conversions of storage order, concatenation, slices, padding, repeats.

Every move is a copy over one index space: a list of axes with a size and a byte stride on each
side.  Where some axis is contiguous on both sides rows are copied; otherwise blocks are transposed
in the scratchpad (packed spikes are unpacked for it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import Order, natural
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import ProgramWriter
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import ELEMENT_BYTES, row_bytes
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div


@dataclass(frozen=True)
class Axis:
    """One axis of a copy; strides in bytes, -1: consecutive bits of a packed row."""

    size: int
    source: int
    target: int


@dataclass(frozen=True)
class Copy:
    """Elements ``source + i*strides`` to ``target + i*strides`` over all axes.

    ``source`` None fills with ``pattern``.
    """

    source: Value | None
    target: Value
    axes: tuple[Axis, ...]
    dtype: str
    source_start: At = ZERO
    target_start: At = ZERO
    pattern: int = 0


def strides(shape: Sequence[int], order: Order, dtype: str) -> list[int]:
    """Return the byte stride of every step axis of a stored tensor (-1: bits of a row)."""
    rank = len(shape)
    found = [0] * rank
    stride = -1 if dtype == "bit" else ELEMENT_BYTES[dtype]
    for axis in reversed(order or natural(rank)):
        found[axis] = stride
        stride = row_bytes("bit", shape[axis]) if stride < 0 else stride * shape[axis]
    return found


def step_bytes(shape: Sequence[int], order: Order, dtype: str) -> int:
    """Return the bytes of one time step."""
    fastest = (order or natural(len(shape)))[-1] if shape else -1
    size = 1
    for axis, d in enumerate(shape):
        if axis != fastest:
            size *= d
    return size * row_bytes(dtype, shape[fastest] if shape else 1)


def unpack_program() -> MicroProgram:
    """Return the program that turns packed spikes into 0.0 and 1.0."""
    w = ProgramWriter()
    mask = w.add("ld.m", imm=0)
    one, zero = w.add("const.h", imm=0x3C00), w.add("const.h", imm=0)
    w.add("st.h", (w.add("sel.h", (mask, one, zero)),), imm=1)
    return w.program("unpack")


def pack_program() -> MicroProgram:
    """Return the program that packs numbers: 1 where they are not 0."""
    w = ProgramWriter()
    number = w.add("ld.h", imm=0)
    is_zero = w.add("eq", (number, w.add("const.h", imm=0)))
    w.add("st.m", (w.add("not", (is_zero,)),), imm=1)
    return w.program("pack")


def emit_copy(context: TilingContext, op: Op, copy: Copy, name: str) -> None:
    """Emit the task of a copy."""
    axes = [a for a in copy.axes if a.size != 1] or [Axis(1, _unit(copy), _unit(copy))]
    axes.sort(key=lambda a: -abs(a.target))
    axes = _merge(axes)
    row = next((a for a in axes if a.source == a.target == _unit(copy)), None)
    b = context.task(op, name)
    if copy.source is None:
        row = next((a for a in axes if a.target == _unit(copy)), None)
    if row is not None:
        _copy_rows(context, b, copy, [a for a in axes if a is not row], row.size)
    else:
        fast_in = next((a for a in axes if a.source == _unit(copy)), None)
        fast_out = next((a for a in axes if a.target == _unit(copy)), None)
        if copy.dtype == "bit" and (fast_in or fast_out) is not None:
            fast_in = fast_in or Axis(1, -1, 0)  # rows of one spike
            fast_out = fast_out or Axis(1, 0, -1)
        if fast_in is not None and fast_out is not None:
            rest = [a for a in axes if a is not fast_in and a is not fast_out]
            _transpose_blocks(context, b, copy, rest, fast_in, fast_out)
        else:
            _copy_rows(context, b, copy, axes, 1)
    context.add(b)


def _unit(copy: Copy) -> int:
    return -1 if copy.dtype == "bit" else ELEMENT_BYTES[copy.dtype]


def _copy_rows(
    context: TilingContext, b: TaskBuilder, copy: Copy, axes: list[Axis], cols: int
) -> None:
    """Copy rows of ``cols`` elements that are contiguous on both sides."""
    size = row_bytes(copy.dtype, cols)
    axes = _merge(axes)
    while axes and axes[-1].source == axes[-1].target == size:
        size *= axes.pop().size
    limit = context.limit // 2 // 64 * 64
    piece = min(size, limit)
    if piece < size:
        axes.append(Axis(size // piece, piece, piece))
    rest = size % piece
    inner = axes.pop() if axes else Axis(1, 0, 0)
    count = max(1, min(inner.size, limit // piece))
    buffer = b.sram("rows", count * piece)
    if not axes:  # something must be dealt out to cores
        share = max(1, ceil_div(inner.size, context.cores))
        count = min(count, share)

    def move(source: At, target: At, n: int, width: int) -> None:
        if copy.source is None:
            b.emit(
                "fill", [("dst", buffer, ZERO)], dst0=0, n0=1, bytes=n * width, pattern=copy.pattern
            )
        else:
            b.load(buffer, ZERO, copy.source, source, n, width, width, inner.source)
        b.store(copy.target, target, buffer, ZERO, n, width, inner.target, width)

    def walk(depth: int, source: At, target: At) -> None:
        if depth < len(axes):
            axis = axes[depth]
            b.tiles(
                axis.size,
                1,
                lambda at, _, __: walk(
                    depth + 1, source + at * axis.source, target + at * axis.target
                ),
                parallel=depth == 0,
            )
            return

        def rows(at: At, n: int, _: bool) -> None:
            move(source + at * inner.source, target + at * inner.target, n, piece)

        b.tiles(inner.size, count, rows, parallel=not axes)
        if rest:
            end = inner.size * piece
            if axes:
                move(source + end, target + end, 1, rest)
            else:
                with b.loop(1, parallel=True):
                    move(source + end, target + end, 1, rest)

    walk(0, copy.source_start, copy.target_start)


def _merge(axes: list[Axis]) -> list[Axis]:
    """Join neighbours that are one axis on both sides."""
    found: list[Axis] = []
    for axis in axes:
        if (
            found
            and min(axis.source, axis.target) >= 0
            and found[-1].source == axis.source * axis.size
            and found[-1].target == axis.target * axis.size
        ):
            outer = found.pop()
            found.append(Axis(outer.size * axis.size, axis.source, axis.target))
        else:
            found.append(axis)
    return found


def _transpose_blocks(
    context: TilingContext,
    b: TaskBuilder,
    copy: Copy,
    rest: list[Axis],
    fast_in: Axis,
    fast_out: Axis,
) -> None:
    """Copy blocks: rows along ``fast_in`` come in, rows along ``fast_out`` go out."""
    bits = copy.dtype == "bit"
    size = 4 if copy.dtype == "f32" else 2  # of an element in the scratchpad
    rows, cols = fast_out.size, fast_in.size
    edge = 16
    while edge * 2 * edge * 2 * (8 if bits else 2 * size) + 1024 < context.limit and edge < 256:
        edge *= 2
    r_max, c_max = min(rows, edge), min(cols, edge)
    packed_in = b.sram("packed_in", r_max * row_bytes("bit", c_max)) if bits else None
    block = b.sram("block", r_max * c_max * size)
    turned = b.sram("turned", r_max * c_max * size)
    packed_out = b.sram("packed_out", c_max * row_bytes("bit", r_max)) if bits else None
    source, target = copy.source, copy.target
    assert source is not None

    def move(source_at: At, target_at: At, r: int, c: int) -> None:
        width_in, width_out = row_bytes(copy.dtype, c), row_bytes(copy.dtype, r)
        b.load(packed_in or block, ZERO, source, source_at, r, width_in, width_in, fast_out.source)
        if packed_in is not None:
            b.lanes(
                "ew",
                context.program("unpack", unpack_program()),
                [Stream(packed_in, ZERO, 0, width_in), Stream(block, ZERO, 0, c * 2)],
                1,
                r,
                c,
            )
        if size == 2:
            b.emit(
                "transpose",
                [("dst", turned, ZERO), ("src", block, ZERO)],
                dst_stride=r * 2,
                src_stride=c * 2,
                rows=r,
                cols=c,
            )
        else:  # the transposer moves halves only
            b.emit(
                "copy",
                [("dst", turned, ZERO), ("src", block, ZERO)],
                n0=c,
                n1=r,
                bytes=size,
                dst0=r * size,
                dst1=size,
                src0=size,
                src1=c * size,
            )
        if packed_out is not None:
            b.lanes(
                "ew",
                context.program("pack", pack_program()),
                [Stream(turned, ZERO, 0, r * 2), Stream(packed_out, ZERO, 0, width_out)],
                1,
                c,
                r,
            )
        b.store(
            target, target_at, packed_out or turned, ZERO, c, width_out, fast_in.target, width_out
        )

    def blocks(source_at: At, target_at: At, parallel: bool) -> None:
        def across(r_at: At, r: int, _: bool) -> None:
            def along(c_at: At, c: int, __: bool) -> None:
                step_in = c_at.exact_div(8) if bits else c_at * size
                step_out = r_at.exact_div(8) if bits else r_at * size
                move(
                    source_at + r_at * fast_out.source + step_in,
                    target_at + c_at * fast_in.target + step_out,
                    r,
                    c,
                )

            b.tiles(cols, c_max, along)

        b.tiles(rows, r_max, across, parallel=parallel)

    def walk(depth: int, source_at: At, target_at: At) -> None:
        if depth == len(rest):
            blocks(source_at, target_at, not rest)
            return
        axis = rest[depth]
        b.tiles(
            axis.size,
            1,
            lambda at, _, __: walk(
                depth + 1, source_at + at * axis.source, target_at + at * axis.target
            ),
            parallel=depth == 0,
        )

    walk(0, copy.source_start, copy.target_start)
