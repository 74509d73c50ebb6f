"""Reductions: the order, the accumulator's precision, and gating as selection."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.isa.numbers import accumulators, fp16

F32 = npt.NDArray[np.float32]
INF, NAN = float("inf"), float("nan")
WIDTHS = [1, 2, 5, 31, 32, 33, 200]


def f32(*values: float) -> F32:
    return np.array(values, np.float32)


def bits(x: F32) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(x).view(np.uint32)


def wild(rng: np.random.Generator, *shape: int) -> F32:
    """Carriers of widely spread magnitude, so that the order of a sum shows in its bits."""
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-12, 8, shape)
    return fp16.round_f16(x.astype(np.float32))


def scalar_sum(terms: F32, half: bool = False) -> np.float32:
    acc = np.float32(0)
    for t in terms:
        acc = np.float32(acc + t)
        if half:
            acc = np.float32(np.float16(acc))
    return acc


# Hand-checked: the ascending order, and what other orders would give.
CANCEL = f32(4096 * 4096, 1, -4096 * 4096)  # ascending 0, descending 1, two-way split 1
SWAMP = f32(2.0**24, *[1.0] * 16, -(2.0**24))  # ascending 0, descending 16, tree 15, split 8


def test_the_vectors_discriminate() -> None:
    assert scalar_sum(CANCEL) == 0
    assert scalar_sum(CANCEL[::-1]) == 1
    assert scalar_sum(SWAMP) == 0
    assert scalar_sum(SWAMP[::-1]) == 16
    assert np.sum(np.tile(SWAMP, 16)) != scalar_sum(np.tile(SWAMP, 16))  # numpy sums pairwise


@pytest.mark.parametrize("width", WIDTHS)
def test_ordered_sum_ascends(width: int) -> None:
    rng = np.random.default_rng(width)
    terms = wild(rng, 300, width)
    want = np.array([scalar_sum(terms[:, j]) for j in range(width)], np.float32)
    np.testing.assert_array_equal(bits(accumulators.ordered_sum(terms)), bits(want))
    np.testing.assert_array_equal(bits(accumulators.ordered_sum(terms.T, axis=1)), bits(want))
    np.testing.assert_array_equal(bits(accumulators.ordered_sum(terms.T, axis=-1)), bits(want))
    assert not np.array_equal(accumulators.ordered_sum(terms[::-1]), want)
    half = np.array([scalar_sum(terms[:, j], half=True) for j in range(width)], np.float32)
    np.testing.assert_array_equal(
        bits(accumulators.ordered_sum(terms, accumulator="fp16")), bits(half)
    )


@pytest.mark.parametrize("width", [1, 40])
def test_ordered_sum_of_the_hand_checked_vectors(width: int) -> None:
    for v in (CANCEL, SWAMP):
        assert (accumulators.ordered_sum(np.tile(v[:, None], width)) == 0).all()
    tail = np.concatenate([SWAMP[:1], SWAMP[-1:], SWAMP[1:-1]])
    assert (accumulators.ordered_sum(np.tile(tail[:, None], width)) == 16).all()


def test_long_narrow_sums_cross_chunks() -> None:
    rng = np.random.default_rng(5)
    terms = wild(rng, 10_001)
    got = accumulators.ordered_sum(terms)
    assert got.shape == ()
    assert bits(got.reshape(1))[0] == scalar_sum(terms).view(np.uint32)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 40))
def test_splitting_a_sum_keeps_its_bits(cut: int, rest: int, width: int) -> None:
    terms = wild(np.random.default_rng(cut * 41 + rest), cut + rest, width)
    first = accumulators.ordered_sum(terms[:cut])
    np.testing.assert_array_equal(
        bits(accumulators.ordered_sum(terms[cut:], acc=first)),
        bits(accumulators.ordered_sum(terms)),
    )


def test_sums_start_from_plus_zero() -> None:
    z = np.full((3, 2), -0.0, np.float32)
    for width in (1, 2, 64):
        terms = np.full((3, width), -0.0, np.float32)
        assert (bits(accumulators.ordered_sum(terms)) == 0).all()
        assert (bits(accumulators.ordered_sum(terms, acc=terms[0])) == 0).all()
        assert (bits(accumulators.ordered_sum(terms[:0], acc=terms[0])) == 0).all()
        assert (bits(accumulators.ordered_sum(terms, accumulator="fp16")) == 0).all()
    assert (bits(accumulators.load_acc(z)) == 0).all()
    assert (
        bits(accumulators.mac_ordered(z.T, z, acc=np.full((2, 2), -0.0, np.float32))) == 0
    ).all()


def test_accumulator_nan_is_canonical() -> None:
    bad = np.array([0xFFC12345, 0x7F800001], np.uint32).view(np.float32)
    assert (bits(accumulators.load_acc(bad)) == fp16.F32_NAN_BITS).all()
    assert (bits(accumulators.ordered_sum(f32(INF, -INF)).reshape(1)) == fp16.F32_NAN_BITS).all()
    got = accumulators.mac_ordered(f32(INF, INF).reshape(1, 2), f32(1, -1).reshape(2, 1))
    assert bits(got)[0, 0] == fp16.F32_NAN_BITS
    got = accumulators.gated_mac_ordered(np.ones((1, 2), np.bool_), f32(INF, -INF).reshape(2, 1))
    assert bits(got)[0, 0] == fp16.F32_NAN_BITS


# -------------------------------------------------------------------------------------------- MAC


def scalar_mac(a: F32, w: F32, half: bool, skip: bool) -> F32:
    out = np.zeros((a.shape[0], w.shape[1]), np.float32)
    for i in range(a.shape[0]):
        for j in range(w.shape[1]):
            p = a[i] * w[:, j]
            p = p[a[i] != 0] if skip else p
            out[i, j] = scalar_sum(
                np.asarray(p.astype(np.float16).astype(np.float32)) if half else p, half
            )
    return out


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 70, 1), (4, 50, 7), (2, 33, 40), (1, 0, 3)])
def test_mac_ascends(
    shape: tuple[int, int, int], accumulator: Literal["fp32", "fp16"], skip: bool
) -> None:
    rows, depth, n = shape
    rng = np.random.default_rng(rows * depth + n)
    a, w = wild(rng, rows, depth), wild(rng, depth, n)
    a[rng.random(a.shape) < 0.3] = 0
    want = scalar_mac(a, w, accumulator == "fp16", skip)
    got = accumulators.mac_ordered(a, w, skip_zero=skip, accumulator=accumulator)
    np.testing.assert_array_equal(bits(got), bits(want))


def test_mac_on_the_hand_checked_vectors() -> None:
    a, b = f32(4096, 1, -4096), f32(4096, 1, 4096)
    assert accumulators.mac_ordered(a[None], b[:, None])[0, 0] == 0
    split = accumulators.mac_ordered(a[None, :1], b[:1, None]) + accumulators.mac_ordered(
        a[None, 1:], b[1:, None]
    )
    assert split[0, 0] == 1  # what adding separate partial sums would give
    assert accumulators.mac_ordered(a[None, ::-1], b[::-1, None])[0, 0] == 1


@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
def test_tiling_never_changes_bits(accumulator: Literal["fp32", "fp16"]) -> None:
    rng = np.random.default_rng(11)
    a, w = wild(rng, 9, 96), wild(rng, 96, 21)
    mask = rng.random((9, 96)) < 0.2
    start = wild(rng, 9, 21)
    whole = accumulators.mac_ordered(a, w, start, accumulator=accumulator)
    gated = accumulators.gated_mac_ordered(mask, w, start, accumulator=accumulator)
    for cut in (16, 48, 95):
        acc = accumulators.mac_ordered(a[:, :cut], w[:cut], start, accumulator=accumulator)
        acc = accumulators.mac_ordered(a[:, cut:], w[cut:], acc, accumulator=accumulator)
        np.testing.assert_array_equal(bits(acc), bits(whole))
        acc = accumulators.gated_mac_ordered(mask[:, :cut], w[:cut], start, accumulator=accumulator)
        acc = accumulators.gated_mac_ordered(mask[:, cut:], w[cut:], acc, accumulator=accumulator)
        np.testing.assert_array_equal(bits(acc), bits(gated))
    part = accumulators.mac_ordered(a[2:5], w[:, 3:9], start[2:5, 3:9], accumulator=accumulator)
    np.testing.assert_array_equal(bits(part), bits(whole[2:5, 3:9]))


def test_large_blocks_equal_small_ones() -> None:
    rng = np.random.default_rng(3)
    a, w = wild(rng, 70, 20), wild(rng, 20, 1000)  # more than one block of rows
    whole = accumulators.mac_ordered(a, w)
    rows = np.concatenate([accumulators.mac_ordered(a[i : i + 1], w) for i in range(70)])
    np.testing.assert_array_equal(bits(whole), bits(rows))


@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.6, 1.0])
def test_gating_equals_skipping_and_unit_products(
    density: float, accumulator: Literal["fp32", "fp16"]
) -> None:
    rng = np.random.default_rng(int(density * 10))
    w = wild(rng, 80, 37)
    mask = rng.random((6, 80)) < density
    got = accumulators.gated_mac_ordered(mask, w, accumulator=accumulator)
    for skip in (False, True):
        dense = accumulators.mac_ordered(
            mask.astype(np.float32), w, skip_zero=skip, accumulator=accumulator
        )
        np.testing.assert_array_equal(bits(got), bits(dense))


@pytest.mark.parametrize("bad", [INF, -INF, NAN])
@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
def test_a_gated_term_is_not_read(bad: float, accumulator: Literal["fp32", "fp16"]) -> None:
    w = f32(1, bad, 2).reshape(3, 1)
    mask = np.array([[True, False, True], [True, True, True]])
    got = accumulators.gated_mac_ordered(mask, w, accumulator=accumulator)
    assert got[0, 0] == 3
    assert not np.isfinite(got[1, 0])
    zero = f32(1, -0.0, 1).reshape(1, 3)
    assert accumulators.mac_ordered(zero, w, skip_zero=True, accumulator=accumulator)[0, 0] == 3
    assert np.isnan(accumulators.mac_ordered(zero, w, accumulator=accumulator)[0, 0])
    nan = f32(1, NAN, 1).reshape(1, 3)  # a NaN operand is not zero: it is selected
    assert np.isnan(accumulators.mac_ordered(nan, w, skip_zero=True, accumulator=accumulator)[0, 0])


def test_products_are_exact_in_float32() -> None:
    rng = np.random.default_rng(9)
    b = rng.integers(0, 0x7C00, 100_000).astype(np.uint16)
    x, y = fp16.from_bits(b), fp16.from_bits(rng.permutation(b))
    np.testing.assert_array_equal((x * y).astype(np.float64), x.astype(np.float64) * y)
    tiny, huge = fp16.from_bits(np.array([1, 0x7BFF], np.uint16))
    assert float(tiny) * float(tiny) == float(tiny * tiny) == 2.0**-48
    assert float(huge) * float(huge) == float(huge * huge) < 2.0**32


def test_writeback_rounds_once_then_saturates() -> None:
    acc = np.array([65519.0, 65520.0, -1e30, NAN, 1.0 + 2.0**-11, -0.0], np.float32)
    np.testing.assert_array_equal(
        fp16.to_bits(accumulators.writeback(acc)), [0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x3C00, 0x8000]
    )
    np.testing.assert_array_equal(
        fp16.to_bits(accumulators.writeback(acc, sat=True)),
        [0x7BFF, 0x7BFF, 0xFBFF, 0x7E00, 0x3C00, 0x8000],
    )


def test_arguments_are_checked_and_kept() -> None:
    a, w = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    acc = np.zeros((2, 4), np.float32)
    accumulators.mac_ordered(a, w, acc)
    accumulators.gated_mac_ordered(a > 0, w, acc)
    accumulators.ordered_sum(w, acc=acc[0])
    assert not acc.any()
    with pytest.raises(ValueError, match=r"\[rows, k\]"):
        accumulators.mac_ordered(a, w.T)
    with pytest.raises(ValueError, match="accumulator has shape"):
        accumulators.mac_ordered(a, w, acc.T)
    with pytest.raises(ValueError, match="'fp32' or 'fp16'"):
        accumulators.mac_ordered(a, w, accumulator="fp64")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bool"):
        accumulators.gated_mac_ordered(a, w)  # type: ignore[arg-type]


# ------------------------------------------------------------------ facts about numpy, not promises


@pytest.mark.parametrize("width", [2, 3, 8, 17, 64, 1000])
def test_numpy_adds_rows_in_order(width: int) -> None:
    """``np.add.reduce(axis=0)`` of C-contiguous rows is sequential.

    An implementation fact other modules may use for speed (never for width 1); if this test fails,
    they must go back to :func:`snncc.isa.numbers.accumulators.ordered_sum`.
    """
    terms = wild(np.random.default_rng(width), 517, width)
    np.testing.assert_array_equal(
        bits(np.add.reduce(terms, axis=0)), bits(accumulators.ordered_sum(terms))
    )


def test_numpy_sums_a_single_column_pairwise() -> None:
    terms = wild(np.random.default_rng(0), 517, 1)
    assert np.add.reduce(terms, axis=0)[0] != accumulators.ordered_sum(terms)[0]
