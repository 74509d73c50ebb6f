"""Conversions and elementwise operations against exact rational arithmetic."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snncc.isa.numbers import accumulators, fp16

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]

ALL_BITS: U16 = np.arange(1 << 16, dtype=np.uint16)
IS_NAN = (ALL_BITS & 0x7FFF) > 0x7C00
CANONICAL: U16 = np.where(IS_NAN, 0x7E00, ALL_BITS).astype(np.uint16)
ALL = fp16.from_bits(ALL_BITS)
NAN, INF = float("nan"), float("inf")

some_bits = st.integers(0, 0xFFFF)
finite_bits = some_bits.filter(lambda b: b & 0x7C00 != 0x7C00)


def exact(bits: int) -> Fraction:
    """Value of finite binary16 bits, from the definition of the format."""
    exp, man = (bits >> 10) & 31, bits & 0x3FF
    assert exp < 31
    mag = Fraction(man, 1 << 24) if exp == 0 else Fraction(1024 + man) * Fraction(2) ** (exp - 25)
    return -mag if bits & 0x8000 else mag


def rn16(x: Fraction, negative_zero: bool = False) -> int:
    """Binary16 bits nearest to ``x``, ties to even, by exact arithmetic."""
    sign = 0x8000 if x < 0 or (x == 0 and negative_zero) else 0
    mag = abs(x)
    e = -14
    while mag >= Fraction(2) ** (e + 1):
        e += 1
    n = round(mag / Fraction(2) ** (e - 10))  # Fraction rounds half to even
    return sign | min((e + 14) * 1024 + n, 0x7C00)


def f32(*values: float) -> F32:
    return np.array(values, np.float32)


def bits32(x: F32) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(x).view(np.uint32)


def one(x: F32) -> int:
    return int(fp16.to_bits(x)[0])


# ------------------------------------------------------------------------------------ conversions


def test_all_bits_decode_exactly() -> None:
    for b in range(1 << 16):
        got = float(ALL[b])
        if b & 0x7FFF > 0x7C00:
            assert math.isnan(got)
        elif b & 0x7FFF == 0x7C00:
            assert got == (-INF if b & 0x8000 else INF)
        else:
            assert Fraction(got) == exact(b)
            assert (math.copysign(1, got) < 0) == bool(b & 0x8000)
        assert struct.pack("<e", got) == struct.pack("<H", b) or math.isnan(got)
    assert (bits32(ALL)[IS_NAN] == fp16.F32_NAN_BITS).all()


def test_all_bits_survive_every_round_trip() -> None:
    np.testing.assert_array_equal(fp16.to_bits(ALL), CANONICAL)
    np.testing.assert_array_equal(fp16.to_bits(ALL_BITS.view(np.float16)), CANONICAL)
    np.testing.assert_array_equal(fp16.f64_to_bits(ALL.astype(np.float64)), CANONICAL)
    np.testing.assert_array_equal(bits32(fp16.round_f16(ALL)), bits32(ALL))


def test_every_tie_and_its_neighbours() -> None:
    mags = ALL[:0x7C00].astype(np.float64)
    upper = np.append(mags[1:], 65536.0)
    tie = ((mags + upper) / 2).astype(np.float32)
    low = np.arange(0x7C00)
    even = low + (low & 1)
    for sign, flag in ((np.float32(1), 0), (np.float32(-1), 0x8000)):
        for x, want in (
            (tie, even),
            (np.nextafter(tie, np.float32(0)), low),
            (np.nextafter(tie, np.float32(INF)), low + 1),
        ):
            np.testing.assert_array_equal(fp16.to_bits(sign * x), want | flag)
            np.testing.assert_array_equal(fp16.to_bits(fp16.round_f16(sign * x)), want | flag)
            np.testing.assert_array_equal(
                fp16.f64_to_bits((sign * x).astype(np.float64)), want | flag
            )


@pytest.mark.parametrize(
    ("x", "bits"),
    [
        (0x00000000, 0x0000),
        (0x80000000, 0x8000),
        (0x00000001, 0x0000),  # float32 subnormal
        (0x807FFFFF, 0x8000),
        (0x33000000, 0x0000),  # 2**-25 is a tie: even
        (0x33000001, 0x0001),
        (0x33C00000, 0x0002),  # 1.5 * 2**-24 is a tie: even
        (0x387FC000, 0x03FF),  # the largest subnormal
        (0x387FE000, 0x0400),  # a tie carries into the smallest normal
        (0x477FEFFF, 0x7BFF),  # just below 65520
        (0x477FF000, 0x7C00),  # 65520
        (0xC77FF000, 0xFC00),
        (0x7F7FFFFF, 0x7C00),
        (0x7F800000, 0x7C00),
        (0xFF800000, 0xFC00),
        (0x7F800001, 0x7E00),  # signalling NaN
        (0xFFFFFFFF, 0x7E00),
    ],
)
def test_float32_corners(x: int, bits: int) -> None:
    v = np.array([x], np.uint32).view(np.float32)
    assert one(v) == bits
    assert bits32(fp16.round_f16(v))[0] == bits32(fp16.from_bits(np.array([bits], np.uint16)))[0]


@given(st.integers(0, 0xFFFFFFFF))
def test_float32_rounds_like_exact_arithmetic(u: int) -> None:
    v = np.array([u], np.uint32).view(np.float32)
    x = float(v[0])
    if math.isfinite(x):
        want = rn16(Fraction(x), math.copysign(1, x) < 0)
        assert one(v) == want
        assert one(fp16.round_f16(v)) == want


@given(st.floats(-70000, 70000) | st.floats(-1e-4, 1e-4))
@example(1.0 + 2.0**-11 + 2.0**-40)  # through float32 this would be a tie
@example(65520.0 - 2.0**-30)
@example(5e-324)
def test_float64_rounds_once(x: float) -> None:
    assert fp16.f64_to_bits(np.array([x]))[0] == rn16(Fraction(x), math.copysign(1, x) < 0)


def test_float64_corners() -> None:
    x = np.array([INF, -INF, NAN, -NAN, 1e308, -1e308, -0.0])
    want = [0x7C00, 0xFC00, 0x7E00, 0x7E00, 0x7C00, 0xFC00, 0x8000]
    np.testing.assert_array_equal(fp16.f64_to_bits(x), want)
    through_f32 = fp16.to_bits(np.array([1.0 + 2.0**-11 + 2.0**-40]).astype(np.float32))
    assert through_f32[0] == 0x3C00
    assert fp16.f64_to_bits(np.array([1.0 + 2.0**-11 + 2.0**-40]))[0] == 0x3C01


@pytest.mark.slow
def test_all_float32_against_numpy() -> None:
    for start in range(0, 1 << 32, 1 << 22):
        x = np.arange(start, start + (1 << 22), dtype=np.int64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            ref = x.astype(np.float16).view(np.uint16)
        ref[np.isnan(x)] = 0x7E00
        assert np.array_equal(fp16.to_bits(x), ref), hex(start)
        assert np.array_equal(bits32(fp16.round_f16(x)), bits32(fp16.from_bits(ref))), hex(start)


def test_shapes_strides_and_inputs_are_respected() -> None:
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
    keep = x.copy()
    view = x[::2, ::-3]
    np.testing.assert_array_equal(fp16.round_f16(view), fp16.round_f16(view.copy()))
    np.testing.assert_array_equal(fp16.to_bits(view), fp16.to_bits(view.copy()))
    np.testing.assert_array_equal(x, keep)
    scalar = np.array(1.0001, np.float32)
    assert fp16.round_f16(scalar).shape == ()
    assert fp16.to_bits(scalar).shape == ()
    assert fp16.from_bits(fp16.to_bits(scalar)).shape == ()
    assert fp16.add(scalar, scalar).shape == ()
    assert fp16.stochastic_round(scalar, np.array(5, np.uint32)).shape == ()
    assert fp16.round_f16(x[:0]).shape == (0, 6)
    assert fp16.add(x, x[0]).shape == (4, 6)


@pytest.mark.parametrize("call", [fp16.round_f16, fp16.to_bits, fp16.sqrt, accumulators.load_acc])
def test_float64_is_refused(call: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="float64"):
        call(np.zeros(3))


def test_wrong_dtypes_are_refused() -> None:
    single: Any = np.zeros(3, np.float32)
    signed: Any = np.zeros(3, np.int64)
    with pytest.raises(TypeError, match="float32"):
        fp16.f64_to_bits(single)
    with pytest.raises(TypeError, match="uint16"):
        fp16.from_bits(signed)
    with pytest.raises(TypeError, match="float"):
        fp16.round_f16(1.0)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------- integers


def test_from_int_rounds_and_overflows() -> None:
    i = np.array([0, -1, 2049, 2051, 65519, 65520, -65520, 2**62, -(2**63)], np.int64)
    want = [rn16(Fraction(int(v))) for v in i]
    np.testing.assert_array_equal(fp16.to_bits(fp16.from_int(i)), want)
    assert want[2:4] == [0x6800, 0x6802]
    assert fp16.from_int(np.array([2**64 - 1], np.uint64))[0] == INF
    with pytest.raises(TypeError, match="float"):
        fp16.from_int(f32(1))  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "signed"), [(8, True), (8, False), (16, True), (32, False)])
def test_to_int_all_values(width: int, signed: bool) -> None:
    lo = -(1 << (width - 1)) if signed else 0
    hi = (1 << (width - 1)) - 1 if signed else (1 << width) - 1
    got = fp16.to_int(ALL, width, signed=signed)
    for b in range(1 << 16):
        if IS_NAN[b]:
            want = hi
        elif b & 0x7FFF == 0x7C00:
            want = lo if b & 0x8000 else hi
        else:
            want = min(max(round(exact(b)), lo), hi)
        assert got[b] == want


def test_rint_all_values() -> None:
    got = fp16.to_bits(fp16.rint(ALL))
    for b in range(1 << 16):
        if b & 0x7C00 == 0x7C00:
            assert got[b] == CANONICAL[b]
        else:
            back = float(fp16.from_bits(got[b : b + 1])[0])
            assert (back, math.copysign(1, back) < 0) == (round(exact(b)), bool(b & 0x8000))


# ------------------------------------------------------------------------------------ elementwise


def test_sqrt_all_values() -> None:
    got = fp16.to_bits(fp16.sqrt(ALL))
    assert got[0x0000] == 0x0000
    assert got[0x8000] == 0x8000
    assert got[0x7C00] == 0x7C00
    assert (got[0x8001:] == 0x7E00).all()
    assert (got[0x7C01:0x8000] == 0x7E00).all()
    for b in range(1, 0x7C00):
        # r is the nearest: (r - ulp/2)**2 < x < (r + ulp/2)**2; a square root is never a tie.
        x, r = exact(b), int(got[b])
        below, above = (exact(r - 1) + exact(r)) / 2, (exact(r) + exact(r + 1)) / 2
        assert below * below < x < above * above


def test_neg_absolute_saturate_all_values() -> None:
    nan = CANONICAL == 0x7E00
    np.testing.assert_array_equal(
        fp16.to_bits(fp16.neg(ALL)), np.where(nan, 0x7E00, CANONICAL ^ 0x8000)
    )
    np.testing.assert_array_equal(
        fp16.to_bits(fp16.absolute(ALL)), np.where(nan, 0x7E00, CANONICAL & 0x7FFF)
    )
    clamped = np.where(
        CANONICAL == 0x7C00, 0x7BFF, np.where(CANONICAL == 0xFC00, 0xFBFF, CANONICAL)
    )
    np.testing.assert_array_equal(fp16.to_bits(fp16.saturate(ALL)), clamped)
    assert (bits32(fp16.neg(ALL))[nan] == fp16.F32_NAN_BITS).all()


def _reference(op: str, a: int, b: int) -> int:
    """Binary16 result bits of ``a op b`` by exact arithmetic and the IEEE 754 rules."""
    special = {0x7C00: INF, 0xFC00: -INF}
    nan_in = (a & 0x7FFF) > 0x7C00 or (b & 0x7FFF) > 0x7C00
    if nan_in:
        return 0x7E00
    sa, sb = a >> 15, b >> 15
    if op == "sub":
        return _reference("add", a, b ^ 0x8000)
    if op == "add":
        if a in special or b in special:
            if a in special and b in special and a != b:
                return 0x7E00
            return a if a in special else b
        return rn16(exact(a) + exact(b), sa == 1 and sb == 1)
    sign = (sa ^ sb) << 15
    zero_a, zero_b = a & 0x7FFF == 0, b & 0x7FFF == 0
    if op == "mul":
        if a in special or b in special:
            return 0x7E00 if zero_a or zero_b else sign | 0x7C00
        return rn16(exact(a) * exact(b), bool(sign))
    if a in special:
        return 0x7E00 if b in special else sign | 0x7C00
    if b in special:
        return sign
    if zero_b:
        return 0x7E00 if zero_a else sign | 0x7C00
    return rn16(exact(a) / exact(b), bool(sign))


OPS = {"add": fp16.add, "sub": fp16.sub, "mul": fp16.mul, "div": fp16.div}
CORNERS = [
    0x0000, 0x0001, 0x0002, 0x03FF, 0x0400, 0x0401, 0x1400, 0x3BFF, 0x3C00, 0x3C01, 0x3555,
    0x6800, 0x7800, 0x7BFE, 0x7BFF, 0x7C00, 0x7C01, 0x7E00, 0x7FFF,
]  # fmt: skip


@pytest.mark.parametrize("op", OPS)
def test_operations_on_corner_values(op: str) -> None:
    v = np.array(CORNERS + [c | 0x8000 for c in CORNERS], np.uint16)
    x = fp16.from_bits(v)
    got = fp16.to_bits(OPS[op](x[:, None], x[None, :]))
    for i, a in enumerate(v.tolist()):
        for j, b in enumerate(v.tolist()):
            assert got[i, j] == _reference(op, a, b), (op, hex(a), hex(b))


@pytest.mark.parametrize("op", OPS)
@given(a=some_bits, b=some_bits)
def test_operations_on_random_values(op: str, a: int, b: int) -> None:
    x, y = (fp16.from_bits(np.array([v], np.uint16)) for v in (a, b))
    r = OPS[op](x, y)
    assert one(r) == _reference(op, a, b)
    assert bits32(r)[0] == bits32(fp16.from_bits(fp16.to_bits(r)))[0]  # a canonical carrier


@given(a=finite_bits, d=st.integers(-40, 40))
def test_addition_near_cancellation(a: int, d: int) -> None:
    b = (a + d) & 0xFFFF ^ 0x8000
    if b & 0x7C00 != 0x7C00:
        x, y = (fp16.from_bits(np.array([v], np.uint16)) for v in (a, b))
        assert one(fp16.add(x, y)) == _reference("add", a, b)


def test_minimum_and_maximum() -> None:
    v = np.array(CORNERS + [c | 0x8000 for c in CORNERS], np.uint16)
    x = fp16.from_bits(v)
    lo = fp16.to_bits(fp16.minimum(x[:, None], x[None, :]))
    hi = fp16.to_bits(fp16.maximum(x[:, None], x[None, :]))

    def key(bits: int) -> int:  # a total order of the finite and infinite values, -0 below +0
        return -(bits & 0x7FFF) - 1 if bits & 0x8000 else bits

    for i, a in enumerate(v.tolist()):
        for j, b in enumerate(v.tolist()):
            if max(a & 0x7FFF, b & 0x7FFF) > 0x7C00:
                assert (lo[i, j], hi[i, j]) == (0x7E00, 0x7E00)
            else:
                assert lo[i, j] == min(a, b, key=key)
                assert hi[i, j] == max(a, b, key=key)


def test_comparisons_of_carriers() -> None:
    n, z = f32(NAN), f32(0.0)
    assert not (n > z)[0]
    assert not (n >= z)[0]
    assert not (n == n)[0]
    assert (-z == z)[0]


# ----------------------------------------------------------------------------- stochastic rounding


def _sr(x: float, r: int) -> Fraction | float:
    """Evaluate the definition in ADR 0001 literally."""
    mag = abs(Fraction(x))
    e = -14
    while mag >= Fraction(2) ** (e + 1):
        e += 1
    q = Fraction(2) ** (e - 10)
    m = mag / (q / 8192)
    out = ((m.numerator // m.denominator + r) // 8192) * q
    return INF if out >= 65536 else out


@given(
    st.floats(-66000, 66000, width=32) | st.floats(-(2.0**-12), 2.0**-12, width=32),
    st.integers(0, 8191),
)
@example(65504.0, 8191)
@example(65535.99609375, 0)
@example(65535.99609375, 1)
@example(6.103515625e-05, 8191)
@example(6.103512e-05, 8191)
@example(-(2.0**-37), 8191)
@example(-(2.0**-38), 8191)
@example(-1e-45, 8191)
@example(0.0, 8191)
def test_stochastic_rounding_follows_its_definition(x: float, r: int) -> None:
    v = f32(x)
    got = fp16.stochastic_round(v, np.array([r], np.uint16))
    assert abs(float(got[0])) == _sr(float(v[0]), r)
    assert np.signbit(got[0]) == np.signbit(v[0])
    assert bits32(fp16.stochastic_round(-v, np.array([r], np.uint16)))[0] == bits32(-got)[0]


def test_stochastic_rounding_keeps_binary16_values() -> None:
    for r in (0, 1, 4096, 8191):
        got = fp16.stochastic_round(ALL, np.full(ALL.shape, r, np.uint32))
        np.testing.assert_array_equal(bits32(got), bits32(ALL))


@pytest.mark.parametrize("x", [1.0 + 2.0**-11, 1.0 + 2.0**-23, 3.7, 2.0**-24 * 5.25, -0.1])
def test_stochastic_rounding_is_exactly_proportional(x: float) -> None:
    r = np.arange(8192, dtype=np.uint16)
    v = f32(x)
    got = fp16.stochastic_round(np.broadcast_to(v, r.shape), r).astype(np.float64)
    assert np.unique(got).size == 2
    assert sum(Fraction(g) for g in got.tolist()) == Fraction(float(v[0])) * 8192


def test_stochastic_rounding_of_specials() -> None:
    x = np.array([0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000, 0x7F7FFFFF], np.uint32)
    for r in (0, 8191):
        got = fp16.stochastic_round(x.view(np.float32), np.full(5, r, np.uint32))
        np.testing.assert_array_equal(fp16.to_bits(got), [0x7C00, 0xFC00, 0x7E00, 0x7E00, 0x7C00])
    high = np.array([0xFFFFE000], np.uint32)  # bits above the low 13 are ignored
    assert fp16.stochastic_round(f32(1 + 2.0**-12), high)[0] == 1.0
    with pytest.raises(TypeError, match="unsigned"):
        fp16.stochastic_round(f32(1), np.array([1]))


# ----------------------------------------------------------------------------------- packed spikes


@given(st.integers(0, 70), st.integers(0, 2**70 - 1))
def test_packing_round_trips(n: int, pattern: int) -> None:
    mask = np.array([[pattern >> i & 1 for i in range(n)]] * 2, np.bool_).reshape(2, n)
    packed = fp16.pack_bits(mask)
    assert packed.shape == (2, 2 * math.ceil(n / 16)) == (2, fp16.packed_bytes(n))
    assert int.from_bytes(packed[0].tobytes(), "little") == pattern & ((1 << n) - 1)
    np.testing.assert_array_equal(fp16.unpack_bits(packed, n), mask)


def test_packing_checks_its_arguments() -> None:
    with pytest.raises(ValueError, match="17 bits need rows of 4 bytes"):
        fp16.unpack_bits(np.zeros((3, 3), np.uint8), 17)
    with pytest.raises(ValueError, match="axis"):
        fp16.pack_bits(np.array(True))
    np.testing.assert_array_equal(fp16.pack_bits(np.array([0, 2, 1])), [6, 0])
