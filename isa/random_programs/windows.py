"""Steps of random programs that read through windows, and transposition."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.isa.instructions.table import TABLE
from snncc.isa.random_programs.core import RandomCore, RandomRegion, element
from snncc.isa.roles import Family
from snncc.isa.spec import ELEMENT, REDUCTION, Insn

WINDOWED = tuple(row for row in TABLE if row.windowed or row.family is Family.TRANSPOSE)
"""The instructions that these steps use."""

_TRIES = 20


@dataclass(frozen=True)
class Shape:
    """Sizes of a window and its taps along both axes."""

    images: int
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    taps: tuple[int, int]
    mul: tuple[int, int]
    base: tuple[int, int]
    step: tuple[int, int]
    div: tuple[int, int]

    @property
    def positions(self) -> int:
        """Input positions of an image."""
        return self.inputs[0] * self.inputs[1]

    @property
    def rows(self) -> int:
        """Output positions of all images."""
        return self.images * self.outputs[0] * self.outputs[1]

    @property
    def tap_count(self) -> int:
        """Taps of an output position."""
        return self.taps[0] * self.taps[1]


def step(core: RandomCore) -> None:
    """Append one of the windowed instructions or a transposition."""
    row = core.rng.choice(WINDOWED)
    _STEPS[row.family](core, row)


def _shape(
    core: RandomCore, *, inputs: int, outputs: int, taps: int, forward: bool = False
) -> Shape | None:
    """Return a window within limits of input rows, output rows and taps, if one is found."""
    rng = core.rng
    for _ in range(_TRIES):
        axes = [_axis(core, forward) for _ in range(2)]
        if min(min(axis[:2]) for axis in axes) < 1:
            continue
        (h, oh, kh, *y), (w, ow, kw, *x) = axes
        maps = [(a, b) for a, b in zip(y, x, strict=True)]
        shape = Shape(rng.randint(1, 2), (h, w), (oh, ow), (kh, kw), *maps)
        fits = shape.images * shape.positions <= inputs and shape.rows <= outputs
        if fits and shape.tap_count <= taps:
            return shape
    return None


def _axis(core: RandomCore, forward: bool) -> tuple[int, int, int, int, int, int, int]:
    """Return input size, output size, taps, mul, base, step, div of one axis."""
    rng = core.rng
    size, taps = rng.randint(1, 5), rng.randint(1, 3)
    stride, pad, dilation = rng.randint(1, 2), rng.randint(0, 1), rng.randint(1, 2)
    output = (size + 2 * pad - dilation * (taps - 1) - 1) // stride + 1
    if forward or rng.random() < 0.6:
        return size, output, taps, stride, -pad, dilation, 1
    return output, size, taps, 1, pad, -dilation, stride


def _set(core: RandomCore, shape: Shape, channels: int) -> int:
    """Append the instructions that set up a window; return its number."""
    window = core.rng.randrange(8)
    core.emit(
        "winsize", win=window, in_h=shape.inputs[0], in_w=shape.inputs[1],
        out_h=shape.outputs[0], out_w=shape.outputs[1], channels=channels,
    )  # fmt: skip
    core.emit(
        "winmap", win=window, k_h=shape.taps[0], k_w=shape.taps[1], mul_h=shape.mul[0],
        mul_w=shape.mul[1], base_h=shape.base[0], base_w=shape.base[1], step_h=shape.step[0],
        step_w=shape.step[1], div_h=shape.div[0], div_w=shape.div[1],
    )  # fmt: skip
    return window


def _stack(core: RandomCore, name: str, region: RandomRegion, shape: Shape) -> dict[str, int]:
    """Return the operands of an image stack that begins at a region's first row."""
    return {
        name: core.load(region.address),
        f"{name}_stride": core.load(region.stride),
        f"{name}_image": core.load(region.stride * shape.positions),
    }


def _macs(core: RandomCore, row: Insn) -> None:
    rng = core.rng
    outer = row.family is Family.OUTER
    a = core.pick(element(row, "a"))
    b, acc, bias = core.pick("f16"), core.pick("f32"), core.pick("f16")
    trans = "trans" in row.names and rng.random() < 0.5
    depth = acc.rows if outer else b.cols if trans else b.rows
    shape = _shape(core, inputs=a.rows, outputs=b.rows if outer else acc.rows, taps=depth)
    if shape is None:
        return
    channels = rng.randint(1, max(1, min(a.cols, depth // shape.tap_count)))
    limits = [acc.cols, b.rows if trans else b.cols, bias.cols]
    n = core.size(*limits)
    init = rng.randint(0, 1 if outer else 2)
    core.access(row.unit, [a, b, *([bias] if init == 2 else [])], [acc])
    k = shape.tap_count * channels
    operands = _stack(core, "a", a, shape)
    operands["win"] = _set(core, shape, channels)
    key, rows = ("g", shape.rows) if outer else ("w", n if trans else k)
    operands[key], operands[f"{key}_stride"] = core.matrix(b, rows)
    acc_rows = k if outer else shape.rows
    operands["acc"], operands["acc_stride"] = core.matrix(acc, acc_rows)
    operands.update(images=core.load(shape.images), n=core.load(n), init=init)
    if not outer:
        operands["bias"] = core.load(bias.address)
    if "skip" in row.names:
        operands["skip"] = rng.getrandbits(1)
    if "trans" in row.names:
        operands["trans"] = int(trans)
    core.emit(row.mnemonic, **operands)


def _pool(core: RandomCore, row: Insn) -> None:
    rng = core.rng
    x = core.pick("f16", "f32", "bit")
    op = {"bit": "max", "f32": rng.choice(("sum", "sum32"))}.get(x.kind) or rng.choice(
        REDUCTION.words
    )
    result = "bit" if x.kind == "bit" else "f32" if op == "sum32" else "f16"
    dst = core.pick(result, but=(x,))
    shape = _shape(core, inputs=x.rows, outputs=dst.rows, taps=9)
    if shape is None:
        return
    core.access(row.unit, [x], [dst])
    window = _set(core, shape, rng.randint(1, min(x.cols, dst.cols)))
    address, stride = core.matrix(dst, shape.rows)
    core.emit(
        row.mnemonic, dst=address, dst_stride=stride, images=core.load(shape.images), win=window,
        type=ELEMENT.words.index(x.kind), op=REDUCTION.words.index(op),
        **_stack(core, "x", x, shape),
    )  # fmt: skip


def _poolgrad(core: RandomCore, row: Insn) -> None:
    rng = core.rng
    kind = rng.choice(("f16", "bit"))
    x = core.pick(kind)
    y = core.pick(kind, but=(x,))
    g = core.pick("f16", but=(x, y))
    dst = core.pick("f16", but=(x, y, g))
    shape = _shape(
        core, inputs=min(x.rows, dst.rows), outputs=min(y.rows, g.rows), taps=9, forward=True
    )
    if shape is None:
        return
    core.access(row.unit, [g, x, y], [dst])
    window = _set(core, shape, rng.randint(1, min(r.cols for r in (x, y, g, dst))))
    g_address, g_stride = core.matrix(g, shape.rows)
    y_address, y_stride = core.matrix(y, shape.rows)
    core.emit(
        row.mnemonic, g=g_address, g_stride=g_stride, y=y_address, y_stride=y_stride,
        images=core.load(shape.images), win=window, type=ELEMENT.words.index(kind),
        **_stack(core, "dst", dst, shape), **_stack(core, "x", x, shape),
    )  # fmt: skip


def _transpose(core: RandomCore, row: Insn) -> None:
    src = core.pick("f16")
    dst = core.pick("f16", but=(src,))
    rows, cols = core.size(src.rows, dst.cols), core.size(src.cols, dst.rows)
    core.access(row.unit, [src], [dst])
    address, stride = core.matrix(dst, cols)
    source, source_stride = core.matrix(src, rows)
    core.emit(
        row.mnemonic, dst=address, dst_stride=stride, src=source, src_stride=source_stride,
        rows=core.load(rows), cols=core.load(cols),
    )  # fmt: skip


_STEPS = {
    Family.MAC: _macs,
    Family.OUTER: _macs,
    Family.POOLING: _pool,
    Family.POOL_GRADIENT: _poolgrad,
    Family.TRANSPOSE: _transpose,
}
