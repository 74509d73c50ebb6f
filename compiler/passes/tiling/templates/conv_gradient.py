"""Template for the weight gradient of a convolution."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Op
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.grid import Axis, Grid, deal, deal_parts
from snncc.compiler.passes.tiling.kit.kernels import BLOCK
from snncc.compiler.passes.tiling.kit.sizes import INSTRUCTION_CHARGE, candidates, choose, smallest
from snncc.compiler.passes.tiling.kit.stacks import Stack, each_band, load_images, pad64, stack_of
from snncc.compiler.passes.tiling.kit.task import ZERO, At, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import row_bytes
from snncc.compiler.passes.tiling.kit.windows import Geometry, band_rows, geometry_of, window_attr
from snncc.compiler.passes.tiling.templates.dispatch import Handler
from snncc.compiler.passes.tiling.templates.epilogue import Epilogue
from snncc.isa.numbers.integers import ceil_div
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
    window: Window
    channels: int
    outputs: int
    groups: int


def kernel_gradient(context: TilingContext, op: Op, work: GradientWork) -> None:
    """Emit the task of a convolution's weight gradient."""
    taps = work.window.k_h * work.window.k_w
    out_h, out_w = work.g.size
    grid = _grid(context, work)
    rows = work.steps * work.batch
    epilogue = Epilogue(context, op.result, taps, context.followers.get(op, ()))
    several = work.x_steps and work.g_steps and work.microbatch == work.batch

    def memory(c: int, n: int, i: int, h: int, t: int) -> int:
        in_h = band_rows(work.window, h)
        return (
            pad64(c * taps * n * 4)
            + pad64(t * i * in_h * work.x.size[1] * row_bytes(work.x.view.dtype, c))
            + pad64(t * i * h * out_w * n * 2)
            + epilogue.memory(c, n)
        )

    def cost(c: int, n: int, i: int, h: int, t: int) -> int:
        if (i > 1 and h < out_h) or (t > 1 and (i < work.batch or h < out_h)):
            return 1 << 60  # bands of single images only, several steps of whole batches only
        c_tiles, n_tiles = ceil_div(grid.first, c), ceil_div(grid.second, n)
        line = work.x.size[1] * row_bytes(work.x.view.dtype, grid.first)
        overlap = band_rows(work.window, h) * ceil_div(out_h, h)
        x = rows * overlap * line * n_tiles
        g = rows * out_h * out_w * grid.second * 2 * c_tiles
        pieces = ceil_div(rows, i) * ceil_div(out_h, h)
        count = epilogue.instructions(c, n) + 2 * pieces + ceil_div(pieces, t)
        return x + g + c_tiles * n_tiles * count * INSTRUCTION_CHARGE

    axes = [
        candidates(grid.first, BLOCK),
        candidates(grid.second, BLOCK),
        candidates(work.microbatch, 1),
        candidates(out_h, 1),
        candidates(work.steps if several else 1, 1),
    ]
    choice = choose(axes, memory, cost, context.room)
    if choice is None:
        context.too_small(op, f"layer {op.attrs.get('layer', op.name)}", smallest(axes, memory))
        return
    b = context.task(op, "conv_dw")
    task = _GradientTask(work, b, choice.sizes, epilogue)
    if work.groups > 1:
        b.tiles(
            work.groups,
            1,
            lambda g, _, __: task.part(g, ZERO, work.channels, ZERO, work.outputs),
            parallel=True,
        )
    else:
        deal_parts(
            b,
            work.channels,
            work.outputs,
            grid,
            lambda c_at, c, n_at, n: task.part(ZERO, c_at, c, n_at, n),
        )
    context.add(b)


def _grid(context: TilingContext, work: GradientWork) -> Grid:
    """Return how many channels and outputs (of a group) a part has."""
    if work.groups > 1:
        return Grid(work.channels, work.outputs)
    rows = work.steps * work.batch
    return deal(
        Axis(work.channels, BLOCK, rows * work.x.image),
        Axis(work.outputs, BLOCK, rows * work.g.image),
        rows * work.window.terms(),
        context.machine.wg,
        context.machine,
        context.cores,
    )


class _GradientTask:
    """Emits the loops of one weight gradient."""

    def __init__(
        self, work: GradientWork, b: TaskBuilder, sizes: tuple[int, ...], epilogue: Epilogue
    ) -> None:
        self.work, self.b, self.epilogue = work, b, epilogue
        self.c, self.n, self.i, self.h, self.t = sizes
        self.taps = work.window.k_h * work.window.k_w
        in_h, out_w = band_rows(work.window, self.h), work.g.size[1]
        images = self.t * self.i
        line = work.x.size[1] * row_bytes(work.x.view.dtype, self.c)
        self.acc = b.sram("acc", self.c * self.taps * self.n * 4)
        self.x = b.sram("x", images * in_h * line)
        self.g = b.sram("g", images * self.h * out_w * self.n * 2)
        epilogue.declare(b, self.c, self.n)

    def part(self, g_at: At, c_at: At, channels: int, n_at: At, outputs: int) -> None:
        """All tiles of some channels and outputs of a group."""
        self.b.tiles(
            channels,
            self.c,
            lambda c_tile, c, _: self.b.tiles(
                outputs,
                self.n,
                lambda n_tile, n, __: self.tile(g_at, c_at + c_tile, c, n_at + n_tile, n),
            ),
        )

    def tile(self, g_at: At, c_at: At, c: int, n_at: At, n: int) -> None:
        """One tile of the gradient: zero, all images in order, hand on."""
        work, b = self.work, self.b
        size = c * self.taps * n * 4
        b.emit("fill", [("dst", self.acc, ZERO)], dst0=0, n0=1, bytes=size, pattern=0)
        x_at, o_at = g_at * work.channels + c_at, g_at * work.outputs + n_at

        def micro(m_at: At, m: int, _: bool) -> None:
            def steps(t_at: At, count: int, __: bool) -> None:
                last = At(work.steps - 1) + t_at * -1
                b.tiles(
                    m,
                    self.i,
                    lambda i_at, images, _: self._images(
                        x_at, c, o_at, n, (last, count), m_at + i_at, images
                    ),
                )

            b.tiles(work.steps, self.t, steps)

        b.tiles(work.batch, work.microbatch, micro)
        self.epilogue.emit(b, self.acc, c_at, c, o_at, n)

    def _images(
        self, x_at: At, c: int, o_at: At, n: int, steps: tuple[At, int], i_at: At, images: int
    ) -> None:
        """Accumulate some images, band by band; ``steps``: the last one and how many down."""
        each_band(
            self.b,
            self.work.window,
            self.h,
            lambda low, out_row, window: self._band(
                x_at, c, o_at, n, steps, i_at, images, low, out_row, window
            ),
        )

    def _band(
        self,
        x_at: At,
        c: int,
        o_at: At,
        n: int,
        steps: tuple[At, int],
        i_at: At,
        images: int,
        low: At,
        out_row: At,
        window: Window,
    ) -> None:
        work, b = self.work, self.b
        last, count = steps
        line = work.x.size[1] * row_bytes(work.x.view.dtype, c)
        x_bytes = images * window.in_h * line
        g_bytes = images * window.out_h * work.g.size[1] * n * 2
        strides = (0, 0)

        def step(back: At, _: int, __: bool) -> None:
            nonlocal strides
            t = last + back * -1
            x_image = (t * work.batch if work.x_steps else ZERO) + i_at
            g_image = (t * work.batch if work.g_steps else ZERO) + i_at
            strides = load_images(
                b, self.x, work.x, x_image, images, low, window.in_h, x_at, c, back * x_bytes
            )
            load_images(
                b, self.g, work.g, g_image, images, out_row, window.out_h, o_at, n, back * g_bytes
            )

        b.tiles(count, 1, step)
        spikes = work.x.view.dtype == "bit"
        values: dict[str, int | str] = {
            "acc_stride": n * 4,
            "a_stride": strides[0],
            "a_image": strides[1],
            "g_stride": n * 2,
            "images": count * images,
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
            window,
            shape[1],
            shape[0] // geometry.groups,
            geometry.groups,
        ),
    )


HANDLERS: dict[str, Handler] = {"phase.conv_dw": _conv_dw}
