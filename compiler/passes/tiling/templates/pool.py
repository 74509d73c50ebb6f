"""Templates for pooling and its gradients, channels last."""

from __future__ import annotations

from collections.abc import Callable

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import ProgramWriter, f32_bits
from snncc.compiler.passes.tiling.kit.sizes import candidates, share
from snncc.compiler.passes.tiling.kit.stacks import Stack, each_band, load_images, stack_of
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import row_bytes
from snncc.compiler.passes.tiling.kit.windows import Window, band_rows, geometry_of, window_attr
from snncc.compiler.passes.tiling.templates.dispatch import Handler, unsupported
from snncc.isa.microprograms.table import MicroProgram

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


def _fit(
    context: TilingContext,
    op: Op,
    channels: int,
    rows: int,
    size: Callable[[int, int], int],
    whole: bool = False,
) -> tuple[int, int]:
    """Return (channels, output rows) of one image that fit; ``whole``: only whole images.

    ``size`` gives the bytes that so many channels and rows of an image need.
    """
    limit = context.limit - 1024
    for c in candidates(channels, GRANULE):
        if size(c, rows) <= limit:
            return c, rows
    c = min(channels, GRANULE)
    for h in candidates(rows, 1):
        if size(c, h) <= limit and not whole:
            return c, h
    context.too_small(op, "a band of a pooling layer", size(c, rows if whole else 1) + 1024)
    return c, rows


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

    def size(c: int, h: int) -> int:
        out = h * y.size[1] * c * (6 if wide else 2)
        return band_rows(window, h) * x.size[1] * row_bytes(dtype, c) + out

    c_max, h = _fit(context, op, x.channels, y.size[0], size)
    i_max = _image_tile(context, size(c_max, h), x.images) if h == y.size[0] else 1
    b = context.task(op, f"pool_{kind}")
    lines = h * y.size[1]
    source = b.sram("x", i_max * band_rows(window, h) * x.size[1] * row_bytes(dtype, c_max))
    sums = b.sram("sum", i_max * lines * c_max * 4) if wide else None
    out = b.sram("y", i_max * lines * c_max * 2)

    def tile(i_at: At, images: int, c_at: At, c: int) -> None:
        def band(low: At, out_row: At, part: Window) -> None:
            position, image = load_images(b, source, x, i_at, images, low, part.in_h, c_at, c)
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
                window=window_attr(part._replace(channels=c)),
            )
            if sums is not None:
                b.lanes(
                    "ew",
                    context.program("average", _divide_program(count, False)),
                    [Stream(sums, ZERO, 0, c * 4), Stream(out, ZERO, 0, c * 2)],
                    1,
                    images * part.out_h * part.out_w,
                    c,
                )
            _store(b, y, out, i_at, images, out_row, part.out_h, c_at, width)

        each_band(b, window, h, band)

    _over(b, x.images, i_max, x.channels, c_max, tile)
    context.add(b)


def _store(
    b: TaskBuilder,
    y: Stack,
    buffer: Value,
    i_at: At,
    images: int,
    row_at: At,
    rows: int,
    c_at: At,
    width: int,
) -> None:
    positions = rows * y.size[1]
    at = i_at * y.image + row_at * y.line + y.channel_at(c_at) + y.view.start
    b.store(
        y.view.dram,
        at,
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

    def size(c: int, h: int) -> int:
        return band_rows(window, h) * g.size[1] * c * 6 + h * dx.size[1] * c * 2

    c_max, h = _fit(context, op, g.channels, dx.size[0], size)
    i_max = _image_tile(context, size(c_max, h), g.images) if h == dx.size[0] else 1
    b = context.task(op, "pool_dx")
    g_positions = band_rows(window, h) * g.size[1]
    source = b.sram("g", i_max * g_positions * c_max * 2)
    shares = b.sram("share", i_max * g_positions * c_max * 4)
    out = b.sram("dx", i_max * h * dx.size[1] * c_max * 2)

    def tile(i_at: At, images: int, c_at: At, c: int) -> None:
        def band(low: At, out_row: At, part: Window) -> None:
            load_images(b, source, g, i_at, images, low, part.in_h, c_at, c)
            positions = part.in_h * part.in_w
            b.lanes(
                "ngrad",
                context.program("average", _divide_program(count, True)),
                [Stream(source, ZERO, 0, c * 2), Stream(shares, ZERO, 0, c * 4)],
                1,
                images * positions,
                c,
            )
            b.emit(
                "pool",
                [("dst", out, ZERO), ("x", shares, ZERO)],
                dst_stride=c * 2,
                x_stride=c * 4,
                x_image=positions * c * 4,
                images=images,
                win=0,
                type="f32",
                op="sum",
                window=window_attr(part._replace(channels=c)),
            )
            _store(b, dx, out, i_at, images, out_row, part.out_h, c_at, c * 2)

        each_band(b, window, h, band)

    _over(b, g.images, i_max, g.channels, c_max, tile)
    context.add(b)


def _max_dx(context: TilingContext, op: Op) -> None:
    """Whole images, or bands of them where windows do not overlap."""
    g, x, y = (stack_of(context, v) for v in op.operands)
    dx = stack_of(context, op.result)
    if any(s.images != dx.images for s in (g, x, y)):
        unsupported(op)
    geometry = geometry_of(op, op.ints_attr("kernel"))
    window = geometry.forward(x.size, y.size, x.channels)
    stride = window.mul_h
    apart = window.k_h <= stride and window.base_h == 0

    def size(c: int, h: int) -> int:
        rows = x.size[0] if h == y.size[0] else h * stride + x.size[0] % stride + stride
        return rows * x.size[1] * c * 4 + h * y.size[1] * c * 4

    c_max, h = _fit(context, op, x.channels, y.size[0], size, whole=not apart)
    whole = h == y.size[0]
    i_max = _image_tile(context, size(c_max, h), dx.images) if whole else 1
    x_rows = x.size[0] if whole else x.size[0] - (y.size[0] - 1) // h * h * stride
    x_rows = max(x_rows, min(h * stride, x.size[0]))
    b = context.task(op, "pool_max_dx")
    gs = b.sram("g", i_max * h * y.size[1] * c_max * 2)
    xs = b.sram("x", i_max * x_rows * x.size[1] * row_bytes(x.view.dtype, c_max))
    ys = b.sram("y", i_max * h * y.size[1] * row_bytes(y.view.dtype, c_max))
    out = b.sram("dx", i_max * x_rows * x.size[1] * c_max * 2)

    def band(i_at: At, count: int, c_at: At, c: int, y_at: At, rows: int, in_rows: int) -> None:
        low = y_at * stride
        g_row, _ = load_images(b, gs, g, i_at, count, y_at, rows, c_at, c)
        x_row, x_image = load_images(b, xs, x, i_at, count, low, in_rows, c_at, c)
        y_row, _ = load_images(b, ys, y, i_at, count, y_at, rows, c_at, c)
        part = window._replace(channels=c, in_h=in_rows, out_h=rows)
        b.emit(
            "poolgrad",
            [("dst", out, ZERO), ("g", gs, ZERO), ("x", xs, ZERO), ("y", ys, ZERO)],
            dst_stride=c * 2,
            dst_image=in_rows * x.size[1] * c * 2,
            g_stride=g_row,
            x_stride=x_row,
            x_image=x_image,
            y_stride=y_row,
            images=count,
            win=0,
            type=x.view.dtype,
            window=window_attr(part),
        )
        _store(b, dx, out, i_at, count, low, in_rows, c_at, c * 2)

    def tile(i_at: At, count: int, c_at: At, c: int) -> None:
        if whole:
            band(i_at, count, c_at, c, ZERO, h, x.size[0])
            return
        last = (y.size[0] - 1) // h * h  # the last band takes the rows that no window reaches
        b.tiles(last, h, lambda at, n, _: band(i_at, count, c_at, c, at, n, n * stride))
        band(i_at, count, c_at, c, At(last), y.size[0] - last, x.size[0] - last * stride)

    _over(b, dx.images, i_max, x.channels, c_max, tile)
    context.add(b)


HANDLERS: dict[str, Handler] = {"phase.pool": _pool, "phase.pool_dx": _pool_dx}
