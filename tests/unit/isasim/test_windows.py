"""Convolution and pooling: the reference engine computes what the interpreter computes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from snncc.compiler.interp import windows
from snncc.compiler.interp.numerics import Fp16
from snncc.isa.numbers import accumulators, fp16
from snncc.isa.window import Window, reduced
from snncc.isasim.engines import Resolved, check, select_engine

Array = npt.NDArray[Any]
NUM = Fp16()
F16, F32, BIT = 0, 1, 2


@dataclass
class Layer:
    """A convolution, or (with ``groups`` = channels and one output) a pool."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    channels: int
    out_channels: int
    groups: int = 1

    @property
    def attrs(self) -> dict[str, Any]:
        return {
            "stride": self.stride, "padding": self.padding, "dilation": self.dilation,
            "groups": self.groups, "kernel": self.kernel,
        }  # fmt: skip

    @property
    def out(self) -> tuple[int, int]:
        shape = windows.ArrayWindow(self.kernel, self.stride, self.padding, self.dilation).output(
            self.size
        )
        return shape[0], shape[1]

    def forward(self, channels: int) -> Window:
        return Window(
            *self.size, *self.out, channels, *self.kernel, *self.stride, -self.padding[0],
            -self.padding[1], *self.dilation, 1, 1,
        )  # fmt: skip

    def backward(self, channels: int) -> Window:
        return Window(
            *self.out, *self.size, channels, *self.kernel, 1, 1, *self.padding[:2],
            -self.dilation[0], -self.dilation[1], *self.stride,
        )  # fmt: skip


def random_layer(rng: np.random.Generator, *, pooling: bool = False) -> Layer:
    while True:
        pick = rng.integers
        kernel = (int(pick(1, 4)), int(pick(1, 4)))
        widest = [size // 2 if pooling else size for size in kernel]
        padding = tuple(int(pick(0, 1 + widest[i % 2])) for i in range(4))
        groups = int(pick(1, 4)) if not pooling else 1
        layer = Layer(
            (int(pick(1, 9)), int(pick(1, 9))),
            kernel,
            (int(pick(1, 4)), int(pick(1, 4))),
            (padding[0], padding[1], padding[2], padding[3]),
            (1, 1) if pooling else (int(pick(1, 3)), int(pick(1, 3))),
            groups * int(rng.choice([1, 3, 16, 21, 33])),
            groups * int(rng.choice([1, 2, 17])),
            groups,
        )
        if min(layer.out) > 0:
            return layer


class Memory:
    """A scratchpad in which arrays are laid out one behind the other."""

    def __init__(self) -> None:
        self.data = np.full(1 << 20, 0xAA, np.uint8)
        self.used = 64

    def put(self, rows: Array) -> tuple[int, int]:
        """Store rows (bool packed, f16 carriers, f32 as int32 patterns); return address, stride."""
        if rows.dtype == np.bool_:
            raw = fp16.pack_bits(rows)
        elif rows.dtype == np.float32:
            raw = fp16.to_bits(rows).view(np.uint8)
        else:
            raw = np.ascontiguousarray(rows).view(np.uint8)
        at, stride = self.used, raw.shape[1] + 4 - raw.shape[1] % 4
        for i, row in enumerate(raw):
            self.data[at + i * stride : at + i * stride + row.size] = row
        self.used += raw.shape[0] * stride + 64
        self.used += -self.used % 4
        return at, stride

    def room(self, rows: int, size: int) -> tuple[int, int]:
        return self.put(np.full((rows, size // 4 + 2), -1, np.int32))

    def words(self, at: int, stride: int, rows: int, n: int, dtype: str) -> Array:
        size = np.dtype(dtype).itemsize
        return np.ndarray((rows, n), dtype, self.data, at, (stride, size)).copy()

    def run(self, op: Resolved) -> None:
        check(op, self.data.size)
        select_engine("reference").execute(op, self.data)


def rows_of(x: Array) -> Array:
    """[N, C, H, W] -> [N*H*W, C]."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, x.shape[1])


def images_of(rows: Array, n: int, size: tuple[int, int]) -> Array:
    """Undo rows_of."""
    return rows.reshape(n, *size, -1).transpose(0, 3, 1, 2)


def ordered_weights(w: Array) -> Array:
    """[O, C, kh, kw] -> [k, O] in the canonical order, from the definition of that order."""
    tap, channel = reduced(w.shape[1], w.shape[2] * w.shape[3])
    return np.ascontiguousarray(w.reshape(*w.shape[:2], -1)[:, channel, tap].T)


def numbers(rng: np.random.Generator, *shape: int) -> Array:
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-6, 7, shape))
    return fp16.from_bits(fp16.f64_to_bits(x * (rng.random(shape) < 0.7)))


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", ["gaccw", "macw", "bmacw", "gouterw", "outerw"])
def test_convolutions_have_the_interpreters_bits(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, n = random_layer(rng), int(rng.integers(1, 4))
    spikes = name.startswith("g")
    x: Array = numbers(rng, n, layer.channels, *layer.size)
    if spikes:
        x = x > 0
    per_in, per_out = layer.channels // layer.groups, layer.out_channels // layer.groups
    w = numbers(rng, layer.out_channels, per_in, *layer.kernel)
    g = numbers(rng, n, layer.out_channels, *layer.out)
    bias = numbers(rng, layer.out_channels)
    image = layer.size[0] * layer.size[1]
    parts: list[Array] = []
    for group in range(layer.groups):
        m = Memory()
        ins = slice(group * per_in, (group + 1) * per_in)
        outs = slice(group * per_out, (group + 1) * per_out)
        if name == "bmacw":
            a, stride = m.put(rows_of(g[:, outs]))
            back = np.moveaxis(w[outs], 0, 1)
            trans = bool(seed % 2)
            weights = ordered_weights(back)
            place = m.put(np.ascontiguousarray(weights.T) if trans else weights)
            acc = m.room(n * image, 4 * per_in)
            values: tuple[int, ...] = (
                *acc, a, stride, layer.out[0] * layer.out[1] * stride, *place, n, per_in, 0, 0, 1,
                1, int(trans),
            )  # fmt: skip
            m.run(Resolved(name, values, (tuple(layer.backward(per_out)),)))
            sums = m.words(*acc, n * image, per_in, "<f4")
            parts.append(images_of(accumulators.writeback(sums), n, layer.size))
            continue
        if spikes and per_in % 16:
            a, stride = m.put(rows_of(x[:, ins]))
        else:  # one stack serves all groups: the channels begin at a multiple of 16
            a, stride = m.put(rows_of(x))
            a += group * per_in // 8 if spikes else 2 * group * per_in
        window = layer.forward(per_in)
        if "outer" in name:
            acc = m.room(window.depth, 4 * per_out)
            place = m.put(rows_of(g[:, outs]))
            values = (*acc, a, stride, image * stride, *place, n, per_out, 0, 1)
            m.run(Resolved(name, values + (() if spikes else (1,)), (tuple(window),)))
            sums = accumulators.writeback(m.words(*acc, window.depth, per_out, "<f4"))
            expected = np.empty((per_out, per_in, window.taps), np.float32)
            tap, channel = reduced(per_in, window.taps)
            expected[:, channel, tap] = sums.T
            parts.append(expected.reshape(per_out, per_in, *layer.kernel))
            continue
        place = m.put(ordered_weights(w[outs]))
        at, _ = m.put(bias[None, outs])
        acc = m.room(n * window.positions, 4 * per_out)
        values = (*acc, a, stride, image * stride, *place, n, per_out, at, 0, 2)
        m.run(Resolved(name, values + (() if spikes else (1, 0)), (tuple(window),)))
        sums = m.words(*acc, n * window.positions, per_out, "<f4")
        parts.append(images_of(accumulators.writeback(sums), n, layer.out))
    if name == "bmacw":
        result = np.concatenate(parts, axis=1)
        wanted = windows.conv_dx(NUM, g, w, None, layer.attrs, layer.size)
    elif "outer" in name:
        result = np.concatenate(parts, axis=0)
        wanted = windows.conv_dw(NUM, x, g, layer.attrs, w.shape)
    else:
        result = np.concatenate(parts, axis=1)
        wanted = windows.conv(NUM, x, w, bias, layer.attrs)
    assert (fp16.to_bits(result) == fp16.to_bits(wanted)).all()


def pooled(m: Memory, layer: Layer, x: Array, kind: int, red: int) -> tuple[int, int]:
    n, window = x.shape[0], layer.forward(x.shape[1])
    a, stride = m.put(rows_of(x))
    dst = m.room(n * window.positions, 4 * x.shape[1])
    image = layer.size[0] * layer.size[1]
    values = (*dst, a, stride, image * stride, n, 0, kind, red)
    m.run(Resolved("pool", values, (tuple(window),)))
    return dst


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("spikes", [False, True])
def test_max_pooling_and_its_gradient(spikes: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, n = random_layer(rng, pooling=True), int(rng.integers(1, 4))
    x: Array = rng.integers(-2, 3, (n, layer.channels, *layer.size)).astype(np.float32)
    x[x == -2] = -0.0
    if spikes:
        x = x > 0
    attrs = layer.attrs | {"kind": "max"}
    wanted = windows.pool(NUM, x, attrs)
    m, kind = Memory(), BIT if spikes else F16
    rows, channels = n * layer.out[0] * layer.out[1], layer.channels
    dst = pooled(m, layer, x, kind, 1)
    if spikes:
        packed = m.words(*dst, rows, fp16.packed_bytes(channels), "u1")
        assert (fp16.unpack_bits(packed, channels) == rows_of(wanted)).all()
    else:
        assert (m.words(*dst, rows, channels, "<u2") == fp16.to_bits(rows_of(wanted))).all()

    g = numbers(rng, *wanted.shape)
    m = Memory()
    gs, xs, ys = (m.put(rows_of(part)) for part in (g, x, wanted))
    image = layer.size[0] * layer.size[1]
    dx = m.room(n * image, 2 * channels)
    values = (*dx, image * dx[1], *gs, *xs, image * xs[1], *ys, n, 0, kind)
    m.run(Resolved("poolgrad", values, (tuple(layer.forward(channels)),)))
    expected = windows.pool_dx(NUM, g, x, wanted, attrs, layer.size)
    result = m.words(*dx, n * image, channels, "<u2")
    assert (result == fp16.to_bits(rows_of(expected))).all()


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("spikes", [False, True])
def test_average_pooling_and_its_gradient(spikes: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, n = random_layer(rng, pooling=True), int(rng.integers(1, 4))
    x: Array = numbers(rng, n, layer.channels, *layer.size)
    if spikes:
        x = x > 0
    attrs = layer.attrs | {"kind": "avg", "count_pad": bool(seed % 2)}
    rows, channels, window = n * layer.out[0] * layer.out[1], layer.channels, layer.forward(1)
    counts: Array = np.full(layer.out, window.taps, np.float32)
    if not seed % 2:
        down, across = (window.rows() >= 0).sum(axis=1), (window.columns() >= 0).sum(axis=1)
        counts = (down[:, None] * across).astype(np.float32)
    m = Memory()
    dst = pooled(m, layer, x, BIT if spikes else F16, 2)
    wanted = windows.pool(NUM, x, attrs)
    with np.errstate(all="ignore"):  # a window over padding alone has no average
        sums = images_of(m.words(*dst, rows, channels, "<f4"), n, layer.out)
        average = np.asarray(sums / counts, np.float32)
        assert (fp16.to_bits(accumulators.writeback(average)) == fp16.to_bits(wanted)).all()
        g = numbers(rng, *wanted.shape)
        share = np.asarray(g / counts, np.float32).view(np.int32)
    m = Memory()
    at, stride = m.put(rows_of(share))
    image = layer.size[0] * layer.size[1]
    dx = m.room(n * image, 2 * channels)
    values = (*dx, at, stride, layer.out[0] * layer.out[1] * stride, n, 0, F32, 0)
    m.run(Resolved("pool", values, (tuple(layer.backward(channels)),)))
    expected = windows.pool_dx(NUM, g, None, None, attrs, layer.size)
    result = m.words(*dx, n * image, channels, "<u2")
    assert (result == fp16.to_bits(rows_of(expected))).all()
