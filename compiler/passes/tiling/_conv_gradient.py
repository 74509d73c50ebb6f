"""Template for the weight gradient of a convolution."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Op
from snncc.compiler.passes.tiling._build import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling._context import TilingContext
from snncc.compiler.passes.tiling._handlers import Handler
from snncc.compiler.passes.tiling._kernels import BLOCK, KernelTensor, kernel_of
from snncc.compiler.passes.tiling._matmul import deals_first, write_back_program
from snncc.compiler.passes.tiling._sizes import (
    INSTRUCTION_CHARGE,
    candidates,
    ceil_div,
    choose,
    share,
    smallest,
)
from snncc.compiler.passes.tiling._stacks import Stack, each_band, load_images, pad64, stack_of
from snncc.compiler.passes.tiling._views import row_bytes
from snncc.compiler.passes.tiling._windows import Geometry, band_rows, geometry_of, window_attr
from snncc.isa.window import Window


@dataclass(frozen=True)
class GradientWork:
    """``dw[c, tap, o] = sum over rows of x through the window times g``."""

    x: Stack
    g: Stack
    x_steps: bool
    g_steps: bool
    steps: int
    batch: int
    microbatch: int
    dw: KernelTensor
    window: Window
    channels: int
    outputs: int
    groups: int


def kernel_gradient(context: TilingContext, op: Op, work: GradientWork) -> None:
    """Emit the task of a convolution's weight gradient."""
    taps = work.window.k_h * work.window.k_w
    out_h, out_w = work.g.size
    by_groups = work.groups > 1
    images = work.steps * work.batch
    by_channels = not by_groups and deals_first(
        (
            share(work.channels, BLOCK, context.cores) * work.outputs,
            work.channels,
            images * work.g.image,
        ),
        (
            share(work.outputs, BLOCK, context.cores) * work.channels,
            work.outputs,
            images * work.x.image,
        ),
        context.cores,
    )
    c_share = share(work.channels, BLOCK, context.cores) if by_channels else work.channels
    n_share = (
        work.outputs if by_channels or by_groups else share(work.outputs, BLOCK, context.cores)
    )

    def memory(c: int, n: int, i: int, h: int) -> int:
        in_h = band_rows(work.window, h)
        return (
            pad64(c * taps * n * 4)
            + pad64(c * taps * n * 2)
            + pad64(i * in_h * work.x.size[1] * row_bytes(work.x.view.dtype, c))
            + pad64(i * h * out_w * n * 2)
            + (pad64(BLOCK * n * 2) if work.channels % BLOCK else 0)
        )

    def cost(c: int, n: int, i: int, h: int) -> int:
        if i > 1 and h < out_h:
            return 1 << 60
        rows = work.steps * work.batch
        c_tiles, n_tiles = ceil_div(c_share, c), ceil_div(n_share, n)
        line = work.x.size[1] * row_bytes(work.x.view.dtype, c_share)
        overlap = band_rows(work.window, h) * ceil_div(out_h, h)
        x = rows * overlap * line * n_tiles
        g = rows * out_h * out_w * n_share * 2 * c_tiles
        pieces = ceil_div(rows, i) * ceil_div(out_h, h)
        return x + g + c_tiles * n_tiles * (2 + 3 * pieces) * INSTRUCTION_CHARGE

    axes = [
        candidates(c_share, BLOCK),
        candidates(n_share, BLOCK),
        candidates(work.microbatch, 1),
        candidates(out_h, 1),
    ]
    choice = choose(axes, memory, cost, context.limit)
    if choice is None:
        context.too_small(op, f"layer {op.attrs.get('layer', op.name)}", smallest(axes, memory))
        return
    b = context.task(op, "conv_dw")
    task = _GradientTask(context, work, b, choice.sizes)
    if by_groups:
        b.tiles(work.groups, 1, lambda g, _, __: task.group(g), parallel=True)
    elif by_channels:
        b.tiles(
            work.channels,
            task.c,
            lambda c_at, c, _: b.tiles(
                work.outputs, task.n, lambda at, n, __: task.tile(ZERO, c_at, c, at, n)
            ),
            parallel=True,
        )
    else:
        b.tiles(
            work.outputs,
            task.n,
            lambda at, n, _: b.tiles(
                work.channels, task.c, lambda c_at, c, __: task.tile(ZERO, c_at, c, at, n)
            ),
            parallel=True,
        )
    context.add(b)


class _GradientTask:
    """Emits the loops of one weight gradient."""

    def __init__(
        self, context: TilingContext, work: GradientWork, b: TaskBuilder, sizes: tuple[int, ...]
    ) -> None:
        self.work, self.b = work, b
        self.c, self.n, self.i, self.h = sizes
        self.taps = work.window.k_h * work.window.k_w
        self.program = context.program("write_back", write_back_program())
        in_h, out_w = band_rows(work.window, self.h), work.g.size[1]
        self.acc = b.sram("acc", self.c * self.taps * self.n * 4)
        self.out = b.sram("out", self.c * self.taps * self.n * 2)
        self.x = b.sram("x", self.i * in_h * work.x.size[1] * row_bytes(work.x.view.dtype, self.c))
        self.g = b.sram("g", self.i * self.h * out_w * self.n * 2)
        rest = work.channels % BLOCK
        self.zero = b.sram("zero", (BLOCK - rest) * self.n * 2) if rest else None

    def group(self, g_at: At) -> None:
        """All tiles of one group."""
        self.b.tiles(
            self.work.channels,
            self.c,
            lambda c_at, c, _: self.b.tiles(
                self.work.outputs, self.n, lambda at, n, __: self.tile(g_at, c_at, c, at, n)
            ),
        )

    def tile(self, g_at: At, c_at: At, c: int, n_at: At, n: int) -> None:
        """One tile of the gradient: zero, all images in order, round, store."""
        work, b = self.work, self.b
        size = c * self.taps * n
        b.emit("fill", [("dst", self.acc, ZERO)], dst0=0, n0=1, bytes=size * 4, pattern=0)

        def micro(m_at: At, m: int, _: bool) -> None:
            def step(t_at: At, _: int, __: bool) -> None:
                last = At(work.steps - 1) + t_at * -1

                def images(i_at: At, count: int, _: bool) -> None:
                    each_band(
                        b,
                        work.window,
                        self.h,
                        lambda low, out_row, window: self._piece(
                            g_at, c_at, c, n_at, n, last, m_at + i_at, count, low, out_row, window
                        ),
                    )

                b.tiles(m, self.i, images)

            b.tiles(work.steps, 1, step)

        b.tiles(work.batch, work.microbatch, micro)
        streams = [Stream(self.acc, ZERO, 0, n * 4), Stream(self.out, ZERO, 0, n * 2)]
        b.lanes("ew", self.program, streams, 1, c * self.taps, n)
        work.dw.store(b, self.out, c_at, c, g_at * work.outputs + n_at, n)
        if self.zero is not None and c % BLOCK:
            b.emit(
                "fill",
                [("dst", self.zero, ZERO)],
                dst0=0,
                n0=1,
                bytes=(BLOCK - c % BLOCK) * n * 2,
                pattern=0,
            )
            work.dw.store_padding(b, self.zero, c_at, c, g_at * work.outputs + n_at, n)

    def _piece(
        self,
        g_at: At,
        c_at: At,
        c: int,
        n_at: At,
        n: int,
        t: At,
        i_at: At,
        images: int,
        low: At,
        out_row: At,
        window: Window,
    ) -> None:
        work, b = self.work, self.b
        x_image = (t * work.batch if work.x_steps else ZERO) + i_at
        g_image = (t * work.batch if work.g_steps else ZERO) + i_at
        position, image = load_images(
            b,
            self.x,
            work.x,
            x_image,
            images,
            low,
            window.in_h,
            g_at * work.channels + c_at,
            c,
        )
        load_images(
            b,
            self.g,
            work.g,
            g_image,
            images,
            out_row,
            window.out_h,
            g_at * work.outputs + n_at,
            n,
        )
        spikes = work.x.view.dtype == "bit"
        values: dict[str, int | str] = {
            "acc_stride": n * 4,
            "a_stride": position,
            "a_image": image,
            "g_stride": n * 2,
            "images": images,
            "n": n,
            "init": "keep",
            "win": 0,
        }
        if not spikes:
            values["skip"] = 1
        b.emit(
            "gouterw" if spikes else "outerw",
            [("acc", self.acc, ZERO), ("a", self.x, ZERO), ("g", self.g, ZERO)],
            window=window_attr(window._replace(channels=c)),
            **values,
        )


def _conv_dw(context: TilingContext, op: Op) -> None:
    x, g = op.operands
    shape = op.ints_attr("shape")
    geometry: Geometry = geometry_of(op, shape[2:])
    source, gradient = stack_of(context, x), stack_of(context, g)
    steps = max(v.type.shape[0] if v.type.kind == "seq" else 1 for v in (x, g))
    batch = g.type.step_shape[0]
    window = geometry.forward(source.size, gradient.size, shape[1])
    kernel_gradient(
        context,
        op,
        GradientWork(
            source,
            gradient,
            x.type.kind == "seq",
            g.type.kind == "seq",
            steps,
            batch,
            op.int_attr("microbatch", batch),
            kernel_of(context, op.result),
            window,
            shape[1],
            shape[0] // geometry.groups,
            geometry.groups,
        ),
    )


HANDLERS: dict[str, Handler] = {"phase.conv_dw": _conv_dw}
