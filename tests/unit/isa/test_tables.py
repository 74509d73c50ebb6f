"""The unary tables: pinned bits, special values, correct rounding, error when they differ."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from snncc.isa.numbers import fp16, tables

U16 = npt.NDArray[np.uint16]
ALL_BITS: U16 = np.arange(1 << 16, dtype=np.uint16)
PINF, NINF, NAN = 0x7C00, 0xFC00, 0x7E00


def test_names_and_numbers_never_change() -> None:
    assert tables.UNARY_NAMES == (
        "exp", "exp2", "log", "log2", "tanh", "sigmoid", "rsqrt", "recip", "atan",
        "erf", "softplus", "sin", "cos",
    )  # fmt: skip
    assert dict(tables.UNARY) == {n: i for i, n in enumerate(tables.UNARY_NAMES)}


@pytest.mark.parametrize("name", tables.UNARY_NAMES)
def test_tables_have_their_pinned_bits(name: str) -> None:
    t = tables.table(name)  # raises where the hash differs
    assert t.shape == (65536,)
    assert t.dtype == np.uint16
    assert not t.flags.writeable
    assert tables.table(tables.UNARY[name]) is t
    nan_in = (ALL_BITS & 0x7FFF) > 0x7C00
    assert (t[nan_in] == NAN).all()
    assert not ((t & 0x7FFF) > 0x7C00)[t != NAN].any()


@pytest.mark.parametrize(
    ("name", "pairs"),
    [  # arguments and results as bits: +0, -0, +inf, -inf, then others
        ("exp", {0: 0x3C00, 0x8000: 0x3C00, PINF: PINF, NINF: 0, 0x3C00: 0x4170, 0x498B: 0x7BF7}),
        ("exp2", {0: 0x3C00, 0x8000: 0x3C00, PINF: PINF, NINF: 0, 0x4C00: PINF, 0xCE00: 0x0001}),
        ("log", {0: NINF, 0x8000: NINF, PINF: PINF, NINF: NAN, 0xBC00: NAN, 0x3C00: 0}),
        ("log2", {0: NINF, 0x8000: NINF, PINF: PINF, NINF: NAN, 0x8001: NAN, 0x0001: 0xCE00}),
        ("tanh", {0: 0, 0x8000: 0x8000, PINF: 0x3C00, NINF: 0xBC00, 0x0001: 0x0001}),
        ("sigmoid", {0: 0x3800, 0x8000: 0x3800, PINF: 0x3C00, NINF: 0, 0xFBFF: 0}),
        ("rsqrt", {0: PINF, 0x8000: NINF, PINF: 0, NINF: NAN, 0xBC00: NAN, 0x4400: 0x3800}),
        ("recip", {0: PINF, 0x8000: NINF, PINF: 0, NINF: 0x8000, 0x0001: PINF, 0x4000: 0x3800}),
        ("erf", {0: 0, 0x8000: 0x8000, PINF: 0x3C00, NINF: 0xBC00, 0x3C00: 0x3ABE, 0xC400: 0xBC00}),
        ("softplus", {0: 0x398C, 0x8000: 0x398C, PINF: PINF, NINF: 0, 0x4C00: 0x4C00, 0xD000: 0}),
        ("sin", {0: 0, 0x8000: 0x8000, PINF: NAN, NINF: NAN, 0x3C00: 0x3ABB, 0x4248: 0x13ED}),
        ("cos", {0: 0x3C00, 0x8000: 0x3C00, PINF: NAN, NINF: NAN, 0x3C00: 0x3853, 0x4248: 0xBC00}),
        ("atan", {0: 0, 0x8000: 0x8000, PINF: 0x3E48, NINF: 0xBE48, 0x3C00: 0x3A48}),
    ],
)
def test_special_values(name: str, pairs: dict[int, int]) -> None:
    x = np.array(list(pairs), np.uint16)
    got = tables.lookup(name, x)
    assert {int(a): int(b) for a, b in zip(x, got, strict=True)} == pairs


def test_recip_equals_division_everywhere() -> None:
    x = fp16.from_bits(ALL_BITS)
    want = fp16.to_bits(fp16.div(np.ones_like(x), x))
    np.testing.assert_array_equal(tables.table("recip"), want)


def test_rsqrt_is_nearest_everywhere() -> None:
    t, x = tables.table("rsqrt"), fp16.from_bits(ALL_BITS)
    for b in range(1, 0x7C00):
        r = int(t[b])
        value = Fraction(float(x[b]))
        below = (Fraction(float(x[r - 1])) + Fraction(float(x[r]))) / 2
        above = (Fraction(float(x[r])) + Fraction(float(x[r + 1]))) / 2
        assert below * below * value < 1 < above * above * value


def _series(name: str, d: Decimal) -> Decimal:
    """Sum a Taylor series around 0 in 110 digits: enough up to about 60."""
    with localcontext() as context:
        context.prec = 110
        term = total = Decimal(1) if name == "cos" else d
        for k in range(1, 2000):
            if name == "erf":
                term = -term * d * d / k
                more = term / (2 * k + 1)
            else:
                first = 2 * k - 1 if name == "cos" else 2 * k
                more = term = -term * d * d / (first * (first + 1))
            total += more
            if abs(more) < Decimal(10) ** -60:
                break
        return total * 2 / _root_of_pi() if name == "erf" else total


def _root_of_pi() -> Decimal:
    """The root of Machin's pi = 16 atan(1/5) - 4 atan(1/239)."""

    def atan(n: int) -> Decimal:
        return sum(
            (Decimal((-1) ** k) / ((2 * k + 1) * Decimal(n) ** (2 * k + 1)) for k in range(80)),
            Decimal(0),
        )

    return (16 * atan(5) - 4 * atan(239)).sqrt()


def _exact(name: str, x: float) -> Decimal:
    """Evaluate a function to 50 digits."""
    with localcontext() as context:
        context.prec = 50
        d = Decimal(x)
        if name == "exp":
            return d.exp()
        if name == "exp2":
            return (d * Decimal(2).ln()).exp()
        if name == "log":
            return d.ln()
        if name == "log2":
            return d.ln() / Decimal(2).ln()
        if name in ("sin", "cos", "erf"):
            return _series(name, d)
        t = (-abs(d)).exp()
        if name == "softplus":
            return max(d, Decimal(0)) + (1 + t).ln()
        if name == "sigmoid":
            return 1 / (1 + t) if d >= 0 else t / (1 + t)
        assert name == "tanh"
        r = (1 - t * t) / (1 + t * t)
        return r if d >= 0 else -r


@pytest.mark.parametrize(
    "name",
    ["exp", "exp2", "log", "log2", "tanh", "sigmoid", "softplus", "erf", "sin", "cos"],
)
def test_tables_are_correctly_rounded(name: str) -> None:
    """A sample of arguments, against 50-digit decimal arithmetic (independent of libm)."""
    t, x = tables.table(name), fp16.from_bits(ALL_BITS)
    sample = np.random.default_rng(1).choice(1 << 16, 1500, replace=False)
    for b in sample.tolist():
        v = float(x[b])
        if not math.isfinite(v) or v == 0 or (name.startswith("log") and v < 0):
            continue
        if (name in ("sin", "cos") and abs(v) > 60) or (name == "erf" and abs(v) > 7):
            continue  # the series would need more digits
        r = int(t[b])
        want = _exact(name, v)
        mag, low = abs(want), r & 0x7FFF
        assert low < 0x7C00 or mag > 65519
        if low < 0x7C00:
            here = Decimal(float(x[low]))
            up = Decimal(float(x[low + 1])) if low + 1 < 0x7C00 else Decimal(65536)
            assert mag <= (here + up) / 2
            if low:
                assert mag >= (Decimal(float(x[low - 1])) + here) / 2
        assert mag < 1e-8 or (want < 0) == bool(r & 0x8000)


def test_lookup_and_apply_keep_shapes() -> None:
    x = fp16.from_bits(np.arange(12, dtype=np.uint16).reshape(3, 4))
    assert tables.apply("tanh", x).shape == (3, 4)
    assert tables.lookup(0, np.array(0x3C00, np.uint16)) == 0x4170
    with pytest.raises(TypeError, match="uint16"):
        tables.lookup("exp", x)  # type: ignore[arg-type]


def test_unknown_functions_are_named() -> None:
    with pytest.raises(KeyError, match="'gamma'; known: exp, exp2"):
        tables.table("gamma")
    with pytest.raises(KeyError, match=r"number 13; known: 0\.\.12"):
        tables.table(13)


def test_a_wrong_table_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(index: int) -> U16:
        return np.full(1 << 16, index, np.uint16)

    monkeypatch.setattr(tables, "_build", wrong)
    monkeypatch.setattr(tables, "_cache", {})
    with pytest.raises(tables.TableError, match="table of 'tanh' built on this machine is wrong"):
        tables.table("tanh")
