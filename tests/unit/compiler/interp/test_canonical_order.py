"""The order of every reduction, against scalar loops written from the contract (ADR 0001)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from snncc.compiler.interp import evaluate
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Block, Func, Module, Type, seq, tensor

F = np.float32
Array = np.ndarray[Any, Any]


def run(
    name: str, types: Sequence[Type], values: Sequence[Array],
    **attrs: Attribute,
) -> Array:  # fmt: skip
    """Evaluate one op on arguments."""
    func = Func("f", Block())
    args = [func.body.add_arg(t, f"a{i}") for i, t in enumerate(types)]
    b = Builder(func.body)
    made = b.op(name, *args, attrs=attrs)
    b.op("phase.output", made.results[0], name="y")
    module = Module("m", {"stage": "phased"}, {}, {"f": func})
    inputs: Mapping[str, Array] = {f"a{i}": v for i, v in enumerate(values)}
    return np.asarray(evaluate(module, "f", inputs)["y"])


def half(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers of widely different sizes, so that every order gives other bits."""
    scale = 2.0 ** rng.integers(-6, 7, shape)
    return np.asarray((rng.normal(size=shape) * scale).astype(np.float16).astype(F))


def rounded(acc: np.float32) -> np.float32:
    return F(np.float16(acc))


def mac(pairs: Sequence[tuple[Any, Any]], start: Any = 0.0) -> np.float32:
    """One accumulator: terms one at a time, a zero of the first factor selects nothing."""
    acc = F(0) + F(start)
    for a, b in pairs:
        if a:
            acc = F(acc + F(F(a) * F(b)))
    return rounded(acc)


@pytest.mark.parametrize("bit", [False, True])
def test_linear_starts_with_the_bias_and_ascends(bit: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((3, 2, 70)) < 0.4 if bit else half(rng, 3, 2, 70)
    w, b = half(rng, 70, 5), half(rng, 5)
    types = [seq((3, 2, 70), "bit" if bit else "f16"), tensor((70, 5)), tensor((5,))]
    want = [
        [[mac(list(zip(row, w[:, j], strict=True)), b[j]) for j in range(5)] for row in xt]
        for xt in x
    ]
    np.testing.assert_array_equal(run("phase.linear", types, [x, w, b]), np.array(want))


def test_zeros_select_nothing_whatever_the_weight_holds() -> None:
    x, w = np.array([[1.0, 0.0, 2.0]], F), np.array([[1.0], [np.inf], [3.0]], F)
    types = [tensor((1, 3)), tensor((3, 1))]
    assert run("phase.linear", types, [x, w]) == 7.0
    types[0] = tensor((1, 3), "bit")
    assert run("phase.linear", types, [x > 0, w]) == 4.0
    g = np.array([[0.0, 2.0]], F)
    back = np.array([[np.nan, 1.0]], F)
    assert run("phase.linear_dx", [tensor((1, 2)), tensor((1, 2))], [g, back]) == 2.0


def canonical_rows(t: int, b: int, micro: int) -> list[tuple[int, int]]:
    """(step, sample) pairs: micro-batch, then t descending, then sample."""
    return [
        (step, sample)
        for lo in range(0, b, micro)
        for step in reversed(range(t))
        for sample in range(lo, lo + micro)
    ]


@pytest.mark.parametrize("micro", [1, 2, 4])
@pytest.mark.parametrize("bit", [False, True])
def test_weight_gradient_order(bit: bool, micro: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.random((5, 4, 3)) < 0.5 if bit else half(rng, 5, 4, 3)
    g = half(rng, 5, 4, 2)
    rows = canonical_rows(5, 4, micro)
    want = [[mac([(x[t, s, k], g[t, s, j]) for t, s in rows]) for j in range(2)] for k in range(3)]
    types = [seq((5, 4, 3), "bit" if bit else "f16"), seq((5, 4, 2))]
    found = run("phase.linear_dw", types, [x, g], microbatch=micro)
    np.testing.assert_array_equal(found, np.array(want))
    sums = [mac([(1, g[t, s, j]) for t, s in rows]) for j in range(2)]
    np.testing.assert_array_equal(
        run("phase.sum_rows", [types[1]], [g], axis=1, microbatch=micro), np.array(sums)
    )


def test_static_input_is_repeated() -> None:
    rng = np.random.default_rng(2)
    x, g = half(rng, 4, 3), half(rng, 5, 4, 2)
    found = run("phase.linear_dw", [tensor((4, 3)), seq((5, 4, 2))], [x, g])
    same = run("phase.linear_dw", [seq((5, 4, 3)), seq((5, 4, 2))], [np.stack([x] * 5), g])
    np.testing.assert_array_equal(found, same)


def taps(c: int, kh: int, kw: int) -> list[tuple[int, int, int]]:
    """Channels in blocks of 16, kernel row, kernel column, channel within the block."""
    return [
        (k, i, j)
        for lo in range(0, c, 16)
        for i in range(kh)
        for j in range(kw)
        for k in range(lo, min(lo + 16, c))
    ]


CONV: dict[str, Attribute] = {
    "rank": 2, "stride": (2, 1), "padding": (1, 0, 1, 2), "dilation": (1, 2),
}  # fmt: skip


def padded(x: Array) -> Array:
    return np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 2)])


@pytest.mark.parametrize("bit", [False, True])
def test_convolution_order(bit: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.random((2, 18, 4, 4)) < 0.5 if bit else half(rng, 2, 18, 4, 4)
    w, b = half(rng, 2, 18, 3, 2), half(rng, 2)
    types = [tensor(x.shape, "bit" if bit else "f16"), tensor(w.shape), tensor((2,))]
    found = run("phase.conv", types, [x, w, b], **CONV)
    p = padded(x)
    for n, o, r, q in np.ndindex(*found.shape):
        terms = [(p[n, k, 2 * r + i, q + 2 * j], w[o, k, i, j]) for k, i, j in taps(18, 3, 2)]
        assert found[n, o, r, q] == mac(terms, b[o])


def test_convolution_gradients_order() -> None:
    rng = np.random.default_rng(4)
    x, w = half(rng, 3, 2, 2, 4, 4), half(rng, 18, 2, 3, 2)
    out = (18, 2, 4)
    g = half(rng, 3, 2, *out)
    g[rng.random(g.shape) < 0.3] = 0
    types = [seq(g.shape), tensor(w.shape)]
    dx = run("phase.conv_dx", types, [g, w], shape=(2, 2, 4, 4), **CONV)
    for t, n, c, y, z in np.ndindex(*dx.shape):
        terms: list[tuple[Any, Any]] = []
        for o, i, j in taps(18, 3, 2):
            r, q = y + 1 - i, z - 2 * j
            if r % 2 == 0 and 0 <= r // 2 < out[1] and 0 <= q < out[2]:
                terms.append((g[t, n, o, r // 2, q], w[o, c, i, j]))
        assert dx[t, n, c, y, z] == mac(terms)
    types = [seq(x.shape), seq(g.shape)]
    for micro in (1, 2):
        dw = run("phase.conv_dw", types, [x, g], shape=w.shape, microbatch=micro, **CONV)
        rows = canonical_rows(3, 2, micro)
        for o, c, i, j in np.ndindex(*dw.shape):
            terms = [
                (padded(x[t])[n, c, 2 * r + i, q + 2 * j], g[t, n, o, r, q])
                for t, n in rows for r in range(out[1]) for q in range(out[2])
            ]  # fmt: skip
            assert dw[o, c, i, j] == mac(terms)


def test_sums_to_a_shape() -> None:
    rng = np.random.default_rng(5)
    g = half(rng, 3, 2, 4, 5)
    rows = canonical_rows(3, 2, 2)
    found = run("phase.sum_to", [seq(g.shape)], [g], shape=(4, 1))
    want = [[mac([(1, g[t, n, c, k]) for t, n in rows for k in range(5)])] for c in range(4)]
    np.testing.assert_array_equal(found, np.array(want))
    kept = run("phase.sum_to", [seq(g.shape)], [g], shape=(2, 4, 5))
    for n, c, k in np.ndindex(2, 4, 5):
        assert kept[n, c, k] == mac([(1, g[t, n, c, k]) for t in (2, 1, 0)])


def test_reductions_ascend() -> None:
    rng = np.random.default_rng(6)
    x = half(rng, 4, 2, 3, 5)
    found = run("phase.reduce", [seq(x.shape)], [x], kind="mean", axes=(1, 2))
    for t, n in np.ndindex(4, 2):
        acc = F(0)
        for v in x[t, n].reshape(-1):
            acc = F(acc + v)
        assert found[t, n] == rounded(F(acc / F(15)))
    total = run("phase.reduce_time", [seq(x.shape)], [x], kind="sum")
    for n, c, k in np.ndindex(2, 3, 5):
        assert total[n, c, k] == mac([(1, x[t, n, c, k]) for t in range(4)])


def test_batch_statistics() -> None:
    rng = np.random.default_rng(7)
    x = half(rng, 3, 2, 4, 5)
    mean = run("phase.bn_stats", [seq(x.shape)], [x], axis=1)
    for c in range(4):
        acc = F(0)
        for t, n, k in np.ndindex(3, 2, 5):
            acc = F(acc + x[t, n, c, k])
        assert mean[c] == F(acc / F(30))
    each = run("phase.bn_stats", [seq(x.shape)], [x], axis=1, per_step=True)
    for t, c in np.ndindex(3, 4):
        acc = F(0)
        for n, k in np.ndindex(2, 5):
            acc = F(acc + x[t, n, c, k])
        assert each[t, c] == F(acc / F(10))


@pytest.mark.parametrize("per_step", [False, True])
def test_cross_entropy_arithmetic(per_step: bool) -> None:
    from snncc.isa.numbers import tables

    rng = np.random.default_rng(8)
    z = half(rng, 3, 4, 5) if per_step else half(rng, 4, 5)
    y = rng.integers(0, 5, 4)
    func = Func("f", Block())
    a = func.body.add_arg(seq(z.shape) if per_step else tensor(z.shape), "z")
    labels = func.body.add_arg(tensor((4,), "i32"), "y")
    b = Builder(func.body)
    made = b.op("phase.softmax_ce", a, labels, scale=64.0, batch=4)
    b.op("phase.output", b.one("phase.total", made.results[0], factor=0.25), name="loss")
    b.op("phase.output", made.results[1], name="g")
    found = evaluate(Module("m", {"stage": "phased"}, {}, {"f": func}), "f", {"z": z, "y": y})
    losses: list[np.float32] = []
    want = np.empty_like(z)
    for index in np.ndindex(*z.shape[:-1]):
        row, label = z[index], y[index[-1]]
        d = np.array([rounded(F(v - row.max())) for v in row])
        e = tables.apply("exp", d)
        total = F(0)
        for v in e:
            total = F(total + v)
        for j in range(5):
            p = F(e[j] / total)
            q = F(p - F(1)) if j == label else p
            want[(*index, j)] = rounded(F(q * F(64 / 4)))
        log = tables.apply("log", np.array([rounded(total)]))[0]
        losses.append(F(log - d[label]))
    acc = F(0)
    for value in losses:
        acc = F(acc + value)
    np.testing.assert_array_equal(found["g"], want)
    assert found["loss"] == rounded(F(acc * F(0.25)))
