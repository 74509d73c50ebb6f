"""Templates for convolutions: forward, transposed, input gradient, weight gradient.

Tensors lie channels last, weights in kernel order.  A task is dealt out by groups, by images or by
output channels; rows of large images are cut into bands whose windows see only what they need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling._build import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling._context import TilingContext
from snncc.compiler.passes.tiling._handlers import Handler
from snncc.compiler.passes.tiling._kernels import BLOCK, KernelTensor
from snncc.compiler.passes.tiling._matmul import write_back_program
from snncc.compiler.passes.tiling._sizes import (
    INSTRUCTION_CHARGE,
    candidates,
    ceil_div,
    choose,
    share,
    smallest,
)
from snncc.compiler.passes.tiling._views import View, row_bytes
from snncc.compiler.passes.tiling._windows import (
    Band,
    Geometry,
    Window,
    band_rows,
    bands,
    geometry_of,
    spatial,
    window_attr,
)


def pad64(size: int) -> int:
    """Round a buffer up to 64 bytes."""
    return max(64, (size + 63) // 64 * 64)


@dataclass(frozen=True)
class Stack:
    """Images of a channels-last tensor: ``images`` of ``size`` positions of ``channels``."""

    view: View
    images: int
    size: tuple[int, int]
    channels: int

    @property
    def position(self) -> int:
        """Bytes from one position to the next."""
        return self.view.row

    @property
    def line(self) -> int:
        """Bytes of one row of positions."""
        return self.size[1] * self.view.row

    @property
    def image(self) -> int:
        """Bytes of one image."""
        return self.size[0] * self.line

    def channel_at(self, c_at: At) -> At:
        """Return the byte offset of a channel."""
        return c_at.exact_div(8) if self.view.dtype == "bit" else c_at * 2


def stack_of(context: TilingContext, value: Value) -> Stack:
    """Return a channels-last tensor as images, steps and samples merged."""
    shape = value.type.step_shape
    steps = value.type.shape[0] if value.type.kind == "seq" else 1
    return Stack(context.view(value).flat(), steps * shape[0], spatial(shape), shape[1])


def load_images(
    b: TaskBuilder,
    buffer: Value,
    source: Stack,
    i_at: At,
    images: int,
    y_at: At,
    rows: int,
    c_at: At,
    channels: int,
) -> tuple[int, int]:
    """Load a band of images; return (position stride, image stride) in the scratchpad."""
    width = row_bytes(source.view.dtype, channels)
    positions = rows * source.size[1]
    at = i_at * source.image + y_at * source.line + source.channel_at(c_at) + source.view.start
    b.load(
        buffer,
        ZERO,
        source.view.dram,
        at,
        positions,
        width,
        width,
        source.position,
        (images, positions * width, source.image),
    )
    return width, positions * width


def each_band(
    b: TaskBuilder, window: Window, rows: int, body: Callable[[At, At, Window], None]
) -> None:
    """Call ``body(first input row, first output row, window)`` for every band."""

    def run(band: Band) -> None:
        b.tiles(band.count, 1, lambda y, _, __: body(band.in_at(y), band.out_at(y), band.window))

    for band in bands(window, rows):
        run(band)


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
    split = _split(context, work.groups, images, work.outputs)
    i_share = share(images, 1, context.cores) if split == "images" else images
    n_share = share(work.outputs, BLOCK, context.cores) if split == "outputs" else work.outputs

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
        n_tiles, k_tiles = ceil_div(n_share, n), ceil_div(work.reduced, k)
        pieces = ceil_div(i_share, i) * ceil_div(out_h, h)
        weights = (
            taps
            * work.reduced
            * n_share
            * 2
            * (pieces if k_tiles > 1 else ceil_div(i_share, i) if split == "images" else 1)
        )
        overlap = band_rows(work.window, h) * ceil_div(out_h, h)
        line = work.x.size[1] * row_bytes(work.x.view.dtype, work.reduced)
        inputs = n_tiles * i_share * overlap * line
        return weights + inputs + n_tiles * pieces * (4 + 2 * k_tiles) * INSTRUCTION_CHARGE

    axes = [
        candidates(n_share, BLOCK),
        candidates(i_share, 1),
        candidates(out_h, 1),
        candidates(work.reduced, BLOCK),
    ]
    choice = choose(axes, memory, cost, context.limit)
    if choice is None:
        context.too_small(op, f"layer {op.attrs.get('layer', op.name)}", smallest(axes, memory))
        return
    b = context.task(op, "conv")
    task = _ConvTask(context, work, b, choice.sizes)
    if split == "groups":
        b.tiles(work.groups, 1, lambda g, _, __: task.columns(g, ZERO, images), parallel=True)
    elif split == "images":
        b.tiles(images, task.i, lambda at, n, _: task.groups_of(at, n), parallel=True)
    else:
        b.tiles(
            work.outputs,
            task.n,
            lambda at, n, _: task.slice(ZERO, at, n, ZERO, images),
            parallel=True,
        )
    context.add(b)


def _split(context: TilingContext, groups: int, images: int, outputs: int) -> str:
    """Return what is dealt out to cores: groups, images or output channels."""
    if groups > 1:
        return "groups" if groups >= min(images, context.cores) else "images"
    by_images = share(images, 1, context.cores) * outputs
    by_outputs = share(outputs, BLOCK, context.cores) * images
    return "images" if by_images <= by_outputs else "outputs"


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
        self.b.tiles(self.work.groups, 1, lambda g, _, __: self.columns(g, i_at, images))

    def columns(self, g_at: At, i_at: At, images: int) -> None:
        """All output channels of a group, for some images."""
        self.b.tiles(
            self.work.outputs,
            self.n,
            lambda at, n, _: self.slice(g_at, at, n, i_at, images),
        )

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


def _kernel(context: TilingContext, value: Value) -> KernelTensor:
    outputs, channels, *kernel = value.type.shape
    taps = 1
    for d in kernel:
        taps *= d
    return KernelTensor(context.tensors[value], outputs, channels, taps)


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
            _kernel(context, w),
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
                _kernel(context, w),
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


# -------------------------------------------------------------------------- weight gradients


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
    by_channels = not by_groups and (
        share(work.channels, BLOCK, context.cores) * work.outputs
        <= share(work.outputs, BLOCK, context.cores) * work.channels
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
            _kernel(context, op.result),
            window,
            shape[1],
            shape[0] // geometry.groups,
            geometry.groups,
        ),
    )


HANDLERS: dict[str, Handler] = {
    "phase.conv": _conv,
    "phase.conv_dx": _turned("bmacw"),
    "phase.conv_transpose": _turned("macw"),
    "phase.conv_dw": _conv_dw,
}
