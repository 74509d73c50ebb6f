"""Templates for pooling and its gradients, channels last."""

from __future__ import annotations

from collections.abc import Callable

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling._build import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling._context import TilingContext
from snncc.compiler.passes.tiling._handlers import Handler, unsupported
from snncc.compiler.passes.tiling._lanes import ProgramWriter, f32_bits
from snncc.compiler.passes.tiling._sizes import candidates, share
from snncc.compiler.passes.tiling._stacks import Stack, load_images, stack_of
from snncc.compiler.passes.tiling._views import row_bytes
from snncc.compiler.passes.tiling._windows import Window, geometry_of, window_attr
from snncc.isa.micro import MicroProgram

GRANULE = 16
TileBody = Callable[[At, int, At, int], None]
"""Called with (first image, images, first channel, channels)."""


def _divide_program(count: int, from_half: bool) -> MicroProgram:
    """Return ``out = x / count``: f32 to f16, or f16 to f32 (before a sum)."""
    w = ProgramWriter()
    x = w.add("ld.h" if from_half else "ld.f", imm=0)
    ratio = w.add("div.f", (x, w.add("const.f", imm=f32_bits(float(count)))))
    if from_half:
        w.add("st.f", (ratio,), imm=1)
    else:
        w.add("st.h", (w.add("f2h", (ratio,)),), imm=1)
    return w.program("average")


def _channel_tile(context: TilingContext, op: Op, per_channel: int, channels: int) -> int:
    """Return how many channels of one image fit; refuse when not even 16 do."""
    for c in candidates(channels, GRANULE):
        if c * per_channel + 1024 <= context.limit:
            return c
    context.too_small(
        op, "one image of a pooling layer", min(channels, GRANULE) * per_channel + 1024
    )
    return channels


def _image_tile(context: TilingContext, per_image: int, images: int) -> int:
    room = max(1, (context.limit - 1024) // max(1, per_image))
    return min(room, share(images, 1, context.cores))


def _over(b: TaskBuilder, images: int, i: int, channels: int, c: int, body: TileBody) -> None:
    """Deal images out; loop over channel tiles inside."""
    b.tiles(
        images,
        i,
        lambda i_at, n, _: b.tiles(channels, c, lambda c_at, cc, __: body(i_at, n, c_at, cc)),
        parallel=True,
    )


def _pool(context: TilingContext, op: Op) -> None:
    kind = op.str_attr("kind")
    x, y = stack_of(context, op.operands[0]), stack_of(context, op.result)
    geometry = geometry_of(op, op.ints_attr("kernel"))
    window = geometry.forward(x.size, y.size, x.channels)
    count = geometry.kernel[0] * geometry.kernel[1]
    if kind == "avg" and not op.bool_attr("count_pad", True) and any(op.ints_attr("padding", (0,))):
        unsupported(op)
    dtype = x.view.dtype
    wide = kind == "avg"
    out_bytes = y.size[0] * y.size[1] * (6 if wide else 2)
    per_channel = x.size[0] * x.size[1] * 2 + out_bytes
    c_max = _channel_tile(context, op, per_channel, x.channels)
    i_max = _image_tile(context, c_max * per_channel, x.images)
    b = context.task(op, f"pool_{kind}")
    positions = y.size[0] * y.size[1]
    source = b.sram("x", i_max * x.size[0] * x.size[1] * row_bytes(dtype, c_max))
    sums = b.sram("sum", i_max * positions * c_max * 4) if wide else None
    out = b.sram("y", i_max * positions * c_max * 2)

    def tile(i_at: At, images: int, c_at: At, c: int) -> None:
        position, image = load_images(b, source, x, i_at, images, ZERO, x.size[0], c_at, c)
        width = row_bytes(y.view.dtype, c)
        b.emit(
            "pool",
            [("dst", sums or out, ZERO), ("x", source, ZERO)],
            dst_stride=c * 4 if wide else width,
            x_stride=position,
            x_image=image,
            images=images,
            win=0,
            type=dtype,
            op="max" if kind == "max" else "sum32" if wide else "sum",
            window=window_attr(window._replace(channels=c)),
        )
        if sums is not None:
            b.lanes(
                "ew",
                context.program("average", _divide_program(count, False)),
                [Stream(sums, ZERO, 0, c * 4), Stream(out, ZERO, 0, c * 2)],
                1,
                images * positions,
                c,
            )
        _store(b, y, out, i_at, images, c_at, width)

    _over(b, x.images, i_max, x.channels, c_max, tile)
    context.add(b)


def _store(
    b: TaskBuilder, y: Stack, buffer: Value, i_at: At, images: int, c_at: At, width: int
) -> None:
    positions = y.size[0] * y.size[1]
    b.store(
        y.view.dram,
        i_at * y.image + y.channel_at(c_at) + y.view.start,
        buffer,
        ZERO,
        positions,
        width,
        y.position,
        width,
        (images, y.image, positions * width),
    )


def _pool_dx(context: TilingContext, op: Op) -> None:
    if op.str_attr("kind") == "max":
        _max_dx(context, op)
    else:
        _sum_dx(context, op)


def _sum_dx(context: TilingContext, op: Op) -> None:
    """Average and sum: f32 shares, summed through the transposed window."""
    g, dx = stack_of(context, op.operands[0]), stack_of(context, op.result)
    geometry = geometry_of(op, op.ints_attr("kernel"))
    window: Window = geometry.backward(g.size, dx.size, g.channels)
    average = op.str_attr("kind") == "avg"
    if average and not op.bool_attr("count_pad", True) and any(op.ints_attr("padding", (0,))):
        unsupported(op)
    count = geometry.kernel[0] * geometry.kernel[1] if average else 1
    g_positions, positions = g.size[0] * g.size[1], dx.size[0] * dx.size[1]
    per_channel = g_positions * 6 + positions * 2
    c_max = _channel_tile(context, op, per_channel, g.channels)
    i_max = _image_tile(context, c_max * per_channel, g.images)
    b = context.task(op, "pool_dx")
    source = b.sram("g", i_max * g_positions * c_max * 2)
    shares = b.sram("share", i_max * g_positions * c_max * 4)
    out = b.sram("dx", i_max * positions * c_max * 2)

    def tile(i_at: At, images: int, c_at: At, c: int) -> None:
        load_images(b, source, g, i_at, images, ZERO, g.size[0], c_at, c)
        b.lanes(
            "ngrad",
            context.program("average", _divide_program(count, True)),
            [Stream(source, ZERO, 0, c * 2), Stream(shares, ZERO, 0, c * 4)],
            1,
            images * g_positions,
            c,
        )
        b.emit(
            "pool",
            [("dst", out, ZERO), ("x", shares, ZERO)],
            dst_stride=c * 2,
            x_stride=c * 4,
            x_image=g_positions * c * 4,
            images=images,
            win=0,
            type="f32",
            op="sum",
            window=window_attr(window._replace(channels=c)),
        )
        _store(b, dx, out, i_at, images, c_at, c * 2)

    _over(b, g.images, i_max, g.channels, c_max, tile)
    context.add(b)


def _max_dx(context: TilingContext, op: Op) -> None:
    g, x, y = (stack_of(context, v) for v in op.operands)
    dx = stack_of(context, op.result)
    geometry = geometry_of(op, op.ints_attr("kernel"))
    window = geometry.forward(x.size, y.size, x.channels)
    in_positions, positions = x.size[0] * x.size[1], y.size[0] * y.size[1]
    images = dx.images
    per_channel = in_positions * 4 + positions * 4
    c_max = _channel_tile(context, op, per_channel, x.channels)
    i_max = (
        1
        if len({s.images for s in (g, x, y)}) > 1
        else _image_tile(context, c_max * per_channel, images)
    )
    b = context.task(op, "pool_max_dx")
    gs = b.sram("g", i_max * positions * c_max * 2)
    xs = b.sram("x", i_max * in_positions * row_bytes(x.view.dtype, c_max))
    ys = b.sram("y", i_max * positions * row_bytes(y.view.dtype, c_max))
    out = b.sram("dx", i_max * in_positions * c_max * 2)
    if any(s.images != images for s in (g, x, y)):
        unsupported(op)

    def tile(i_at: At, count: int, c_at: At, c: int) -> None:
        g_row, _ = load_images(b, gs, g, i_at, count, ZERO, g.size[0], c_at, c)
        x_row, x_image = load_images(b, xs, x, i_at, count, ZERO, x.size[0], c_at, c)
        y_row, _ = load_images(b, ys, y, i_at, count, ZERO, y.size[0], c_at, c)
        b.emit(
            "poolgrad",
            [("dst", out, ZERO), ("g", gs, ZERO), ("x", xs, ZERO), ("y", ys, ZERO)],
            dst_stride=c * 2,
            dst_image=in_positions * c * 2,
            g_stride=g_row,
            x_stride=x_row,
            x_image=x_image,
            y_stride=y_row,
            images=count,
            win=0,
            type=x.view.dtype,
            window=window_attr(window._replace(channels=c)),
        )
        _store(b, dx, out, i_at, count, c_at, c * 2)

    _over(b, images, i_max, x.channels, c_max, tile)
    context.add(b)


HANDLERS: dict[str, Handler] = {"phase.pool": _pool, "phase.pool_dx": _pool_dx}
