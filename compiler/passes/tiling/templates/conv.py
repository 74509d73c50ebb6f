"""Templates for convolutions: forward, transposed, input gradient, weight gradient.

Tensors lie channels last, weights in kernel order.  A task is dealt out by groups, by images or by
output channels; rows of large images are cut into bands whose windows see only what they need.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.grid import Axis, Grid, deal, deal_parts
from snncc.compiler.passes.tiling.kit.kernels import BLOCK, KernelTensor, kernel_of
from snncc.compiler.passes.tiling.kit.microprogram import write_back_program
from snncc.compiler.passes.tiling.kit.sizes import (
    INSTRUCTION_CHARGE,
    candidates,
    choose,
    share,
    smallest,
)
from snncc.compiler.passes.tiling.kit.stacks import Stack, each_band, load_images, pad64, stack_of
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, row_bytes
from snncc.compiler.passes.tiling.kit.windows import (
    Window,
    band_rows,
    geometry_of,
    window_attr,
)
from snncc.compiler.passes.tiling.templates.dispatch import Handler
from snncc.isa.numbers.integers import ceil_div


@dataclass(frozen=True)
class ConvWork:
    """``y = bias + sum over window taps and reduced channels of x * w``.

    ``turned``: reduced channels are the weight's outputs (input gradients).
    """

    x: Stack
    y: Stack
    w: KernelTensor
    bias: View | None
    window: Window
    reduced: int
    outputs: int
    groups: int
    turned: bool
    mnemonic: str


def convolve(context: TilingContext, op: Op, work: ConvWork) -> None:
    """Emit the task of a convolution."""
    out_h, out_w = work.y.size
    taps = work.window.k_h * work.window.k_w
    images = work.y.images
    by_groups = _by_groups(context, work)
    grid = _grid(context, work)

    def memory(n: int, i: int, h: int, k: int) -> int:
        in_h = band_rows(work.window, h)
        return (
            pad64(k * taps * n * 2)
            + pad64(i * in_h * work.x.size[1] * row_bytes(work.x.view.dtype, k))
            + pad64(i * h * out_w * n * 4)
            + pad64(i * h * out_w * n * 2)
            + (pad64(n * 2) if work.bias else 0)
        )

    def cost(n: int, i: int, h: int, k: int) -> int:
        if i > 1 and h < out_h:
            return 1 << 60  # bands only of single images
        n_tiles, k_tiles = ceil_div(grid.first, n), ceil_div(work.reduced, k)
        pieces = ceil_div(grid.second, i) * ceil_div(out_h, h)
        loads = pieces if k_tiles > 1 else 1
        weights = taps * work.reduced * grid.first * 2 * loads
        overlap = band_rows(work.window, h) * ceil_div(out_h, h)
        line = work.x.size[1] * row_bytes(work.x.view.dtype, work.reduced)
        inputs = n_tiles * grid.second * overlap * line
        return weights + inputs + n_tiles * pieces * (4 + 2 * k_tiles) * INSTRUCTION_CHARGE

    axes = [
        candidates(grid.first, BLOCK),
        candidates(grid.second, 1),
        candidates(out_h, 1),
        candidates(work.reduced, BLOCK),
    ]
    choice = choose(axes, memory, cost, context.room)
    if choice is None:
        context.too_small(op, f"layer {op.attrs.get('layer', op.name)}", smallest(axes, memory))
        return
    b = context.task(op, "conv")
    task = _ConvTask(context, work, b, choice.sizes)
    if by_groups:
        b.tiles(
            work.groups,
            1,
            lambda g, _, __: task.part(g, ZERO, work.outputs, ZERO, images),
            parallel=True,
        )
    elif work.groups > 1:
        b.tiles(images, grid.second, lambda at, n, _: task.groups_of(at, n), parallel=True)
    else:
        deal_parts(
            b,
            work.outputs,
            images,
            grid,
            lambda n_at, n, i_at, count: task.part(ZERO, n_at, n, i_at, count),
        )
    context.add(b)


def _by_groups(context: TilingContext, work: ConvWork) -> bool:
    """Whether whole groups are dealt out."""
    return work.groups > 1 and work.groups >= min(work.y.images, context.cores)


def _grid(context: TilingContext, work: ConvWork) -> Grid:
    """Return how many output channels (of a group) and images a part has."""
    images = work.y.images
    if work.groups > 1:
        whole = _by_groups(context, work)
        return Grid(work.outputs, images if whole else share(images, 1, context.cores))
    taps = work.window.k_h * work.window.k_w
    return deal(
        Axis(work.outputs, BLOCK, work.reduced * taps * work.outputs * 2),
        Axis(images, 1, images * work.x.image),
        work.window.terms() * work.reduced,
        context.machine.bp if work.mnemonic == "bmacw" else context.machine.fp,
        context.machine,
        context.cores,
    )


class _ConvTask:
    """Emits the loops of one convolution."""

    def __init__(
        self, context: TilingContext, work: ConvWork, b: TaskBuilder, sizes: tuple[int, ...]
    ) -> None:
        self.work, self.b = work, b
        self.n, self.i, self.h, self.k = sizes
        out_w = work.y.size[1]
        self.taps = work.window.k_h * work.window.k_w
        self.program = context.program("write_back", write_back_program())
        in_h = band_rows(work.window, self.h)
        self.w = b.sram("w", self.k * self.taps * self.n * 2)
        self.x = b.sram("x", self.i * in_h * work.x.size[1] * row_bytes(work.x.view.dtype, self.k))
        self.acc = b.sram("acc", self.i * self.h * out_w * self.n * 4)
        self.y = b.sram("y", self.i * self.h * out_w * self.n * 2)
        self.bias = b.sram("bias", self.n * 2) if work.bias else None
        self.whole_k = self.k >= work.reduced

    def groups_of(self, i_at: At, images: int) -> None:
        """All groups and output channels of some images."""
        outputs = self.work.outputs
        self.b.tiles(
            self.work.groups, 1, lambda g, _, __: self.part(g, ZERO, outputs, i_at, images)
        )

    def part(self, g_at: At, n_at: At, outputs: int, i_at: At, images: int) -> None:
        """Some output channels of a group, for some images."""
        self.b.tiles(outputs, self.n, lambda at, n, _: self.slice(g_at, n_at + at, n, i_at, images))

    def slice(self, g_at: At, n_at: At, n: int, i_at: At, images: int) -> None:
        """One slice of output channels, for some images."""
        work, b = self.work, self.b
        if work.bias is not None and self.bias is not None:
            at = work.bias.at(c=g_at * work.outputs + n_at)
            b.load(self.bias, ZERO, work.bias.dram, at, 1, n * 2, 0, 0)
        if self.whole_k:
            self._load_weights(g_at, ZERO, work.reduced, n_at, n)

        def chunk(at: At, count: int, first: bool) -> None:
            each_band(
                b,
                work.window,
                self.h,
                lambda low, out_row, window: self._piece(
                    g_at, n_at, n, i_at + at, count, low, out_row, window
                ),
            )

        b.tiles(images, self.i, chunk)

    def _load_weights(self, g_at: At, k_at: At, k: int, n_at: At, n: int) -> None:
        work = self.work
        if work.turned:  # channels come out, the weight's outputs are reduced
            work.w.load_turned(self.b, self.w, n_at, n, g_at * work.reduced + k_at, k)
        else:
            work.w.load(self.b, self.w, k_at, k, g_at * work.outputs + n_at, n)

    def _piece(
        self,
        g_at: At,
        n_at: At,
        n: int,
        i_at: At,
        images: int,
        low: At,
        out_row: At,
        window: Window,
    ) -> None:
        """A band of some images."""
        work, b = self.work, self.b

        def step(k_at: At, k: int, first: bool) -> None:
            if not self.whole_k:
                self._load_weights(g_at, k_at, k, n_at, n)
            position, image = load_images(
                b, self.x, work.x, i_at, images, low, window.in_h, g_at * work.reduced + k_at, k
            )
            self._accumulate(window._replace(channels=k), position, image, images, n, first)

        b.tiles(work.reduced, self.k, step, peel=True)
        rows = images * window.out_h * window.out_w
        lane = "ngrad" if work.mnemonic == "bmacw" else "neuron"
        streams = [Stream(self.acc, ZERO, 0, n * 4), Stream(self.y, ZERO, 0, n * 2)]
        b.lanes(lane, self.program, streams, 1, rows, n)
        y = work.y
        at = i_at * y.image + out_row * y.line + (g_at * work.outputs + n_at) * 2
        positions = window.out_h * window.out_w
        b.store(
            y.view.dram,
            at + y.view.start,
            self.y,
            ZERO,
            positions,
            n * 2,
            y.position,
            n * 2,
            (images, y.image, positions * n * 2),
        )

    def _accumulate(
        self, window: Window, position: int, image: int, images: int, n: int, first: bool
    ) -> None:
        work = self.work
        init = ("bias" if self.bias is not None else "zero") if first else "keep"
        buffers: list[tuple[str, Value, At]] = [
            ("acc", self.acc, ZERO),
            ("a", self.x, ZERO),
            ("w", self.w, ZERO),
        ]
        if self.bias is not None:
            buffers.append(("bias", self.bias, ZERO))
        k = window.channels * self.taps
        values: dict[str, int | str] = {
            "acc_stride": n * 4,
            "a_stride": position,
            "a_image": image,
            "w_stride": (k if work.turned else n) * 2,
            "images": images,
            "n": n,
            "init": init,
            "win": 0,
        }
        if work.mnemonic != "gaccw":
            values |= {"skip": 1, "trans": int(work.turned)}
        self.b.emit(work.mnemonic, buffers, window=window_attr(window), **values)


def _conv(context: TilingContext, op: Op) -> None:
    x, w = op.operands[0], op.operands[1]
    geometry = geometry_of(op, w.type.shape[2:])
    source, target = stack_of(context, x), stack_of(context, op.result)
    window = geometry.forward(source.size, target.size, w.type.shape[1])
    bias = context.view(op.operands[2]) if len(op.operands) > 2 else None
    convolve(
        context,
        op,
        ConvWork(
            source,
            target,
            kernel_of(context, w),
            bias,
            window,
            w.type.shape[1],
            w.type.shape[0] // geometry.groups,
            geometry.groups,
            False,
            "gaccw" if x.type.dtype == "bit" else "macw",
        ),
    )


def _turned(mnemonic: str) -> Handler:
    def handler(context: TilingContext, op: Op) -> None:
        g, w = op.operands[0], op.operands[1]
        geometry = geometry_of(op, w.type.shape[2:])
        source, target = stack_of(context, g), stack_of(context, op.result)
        window = geometry.backward(source.size, target.size, w.type.shape[0] // geometry.groups)
        bias = context.view(op.operands[2]) if len(op.operands) > 2 else None
        convolve(
            context,
            op,
            ConvWork(
                source,
                target,
                kernel_of(context, w),
                bias,
                window,
                window.channels,
                w.type.shape[1],
                geometry.groups,
                True,
                mnemonic,
            ),
        )

    return handler


HANDLERS: dict[str, Handler] = {
    "phase.conv": _conv,
    "phase.conv_dx": _turned("bmacw"),
    "phase.conv_transpose": _turned("macw"),
}
