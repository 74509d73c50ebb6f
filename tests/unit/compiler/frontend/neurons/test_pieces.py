"""Piecewise linear functions have the values that numpy has, at breakpoints and between them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from snncc.compiler.frontend.flat.flat import Attrs
from snncc.compiler.frontend.neurons.pieces import IDENTITY, Bent, Piece, Pieces, apply, constant

FLOAT, BOOL, WHOLE = np.dtype(np.float32), np.dtype(np.bool_), np.dtype(np.int64)
FAR = 40.0


def at(f: Pieces, t: float) -> float:
    """Return the value at a number, as the definition of Pieces says."""
    if t in f.bounds:
        return f.values[f.bounds.index(t)]
    span = f.spans[sum(b < t for b in f.bounds)]
    return span.a * t + span.c


def points(f: Pieces) -> list[float]:
    """Return all breakpoints and numbers on both sides of each."""
    near = [b + d for b in f.bounds for d in (-0.0625, 0.0, 0.0625)]
    return sorted({*near, -FAR, -1.5, 0.0, 0.25, 2.0, FAR})


CLIPPED = apply("Clip", {"min": -2.0, "max": 3.0}, [IDENTITY])
FIRES = apply("Greater", {}, [IDENTITY, constant(1.0)])


Wanted: TypeAlias = Callable[[float], Any]
"""The same function as numpy computes it."""
OPERATORS: list[tuple[str, Attrs, list[Pieces], Wanted]] = [
    ("Clip", {"min": -2.0, "max": 3.0}, [IDENTITY], lambda t: np.clip(t, -2, 3)),
    ("Clip", {"min": 0.5}, [IDENTITY], lambda t: np.maximum(t, 0.5)),
    ("Relu", {}, [IDENTITY], lambda t: max(t, 0.0)),
    ("Abs", {}, [IDENTITY], abs),
    ("Sign", {}, [IDENTITY], np.sign),
    ("Neg", {}, [CLIPPED], lambda t: -np.clip(t, -2, 3)),
    ("Floor", {}, [CLIPPED], lambda t: np.floor(np.clip(t, -2, 3))),
    ("Ceil", {}, [CLIPPED], lambda t: np.ceil(np.clip(t, -2, 3))),
    ("Trunc", {}, [CLIPPED], lambda t: np.trunc(np.clip(t, -2, 3))),
    ("Round", {}, [CLIPPED], lambda t: float(np.rint(np.clip(t, -2, 3)))),
    ("Cast", {"to": WHOLE}, [CLIPPED], lambda t: np.trunc(np.clip(t, -2, 3))),
    ("Cast", {"to": BOOL}, [CLIPPED], lambda t: float(t != 0)),
    ("Cast", {"to": FLOAT}, [FIRES], lambda t: float(t > 1)),
    ("Greater", {}, [IDENTITY, CLIPPED], lambda t: float(t > 3)),
    ("GreaterOrEqual", {}, [IDENTITY, constant(1.0)], lambda t: float(t >= 1)),
    ("Equal", {}, [IDENTITY, CLIPPED], lambda t: float(-2 <= t <= 3)),
    ("Max", {}, [IDENTITY, CLIPPED], lambda t: max(t, -2.0)),
    ("Min", {}, [IDENTITY, CLIPPED], lambda t: min(t, 3.0)),
    ("Add", {}, [CLIPPED, FIRES], lambda t: np.clip(t, -2, 3) + (t > 1)),
    ("Sub", {}, [FIRES, IDENTITY], lambda t: (t > 1) - t),
    ("Mul", {}, [CLIPPED, FIRES], lambda t: np.clip(t, -2, 3) * (t > 1)),
    ("Mul", {}, [constant(-3.0), CLIPPED], lambda t: -3 * np.clip(t, -2, 3)),
    ("Div", {}, [CLIPPED, constant(4.0)], lambda t: np.clip(t, -2, 3) / 4),
    ("Where", {}, [FIRES, CLIPPED, IDENTITY], lambda t: np.clip(t, -2, 3) if t > 1 else t),
    ("Not", {}, [FIRES], lambda t: float(t <= 1)),
    ("And", {}, [FIRES, CLIPPED], lambda t: float(t > 1)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attrs", "ins", "wanted"), OPERATORS)
def test_operators(op: str, attrs: Attrs, ins: list[Pieces], wanted: Wanted) -> None:
    if op == "And":  # both operands are truths
        ins = [ins[0], apply("Cast", {"to": BOOL}, [ins[1]])]
    found = apply(op, attrs, ins)
    assert found.bounds == tuple(sorted(found.bounds))
    assert (len(found.spans), len(found.values)) == (len(found.bounds) + 1, len(found.bounds))
    for t in points(found):
        assert at(found, t) == pytest.approx(float(wanted(t)), abs=1e-12), t


def test_chains_of_operators() -> None:
    """Random chains, worked out for the whole line and number by number."""
    for seed in range(200):
        rng = random.Random(seed)
        f, numbers = IDENTITY, np.array([*np.arange(-6, 6, 0.125), -FAR, FAR])
        expected = numbers.copy()
        for _ in range(rng.randint(1, 6)):
            k, low = rng.choice((-2.0, -0.5, 0.5, 1.5)), rng.choice((-1.0, 0.0, 0.25))
            match rng.choice(("scale", "shift", "clip", "floor", "fires")):
                case "scale":
                    f, expected = apply("Mul", {}, [f, constant(k)]), expected * k
                case "shift":
                    f, expected = apply("Add", {}, [f, constant(k)]), expected + k
                case "clip":
                    f = apply("Clip", {"min": low, "max": low + 2}, [f])
                    expected = np.clip(expected, low, low + 2)
                case "floor" if all(map(math.isfinite, f.spread())):
                    f, expected = apply("Floor", {}, [f]), np.floor(expected)
                case _:
                    more = apply("Mul", {}, [apply("Greater", {}, [f, constant(low)]), constant(k)])
                    f, expected = apply("Add", {}, [f, more]), expected + k * (expected > low)
        assert [at(f, t) for t in numbers] == pytest.approx(list(expected), abs=1e-12), seed


def test_the_least_and_the_largest_value() -> None:
    """At breakpoints, at the ends of intervals, and far out."""
    inf = math.inf
    assert IDENTITY.spread() == (-inf, inf)
    assert constant(3.0).spread() == (3.0, 3.0)
    assert CLIPPED.spread() == (-2.0, 3.0)
    assert Pieces((1.0,), (Piece(0.0, 5.0), Piece(0.0, 7.0)), (6.0,)).spread() == (5.0, 7.0)
    assert Pieces((1.0,), (Piece(0.0, 5.0), Piece(0.0, 7.0)), (9.0,)).spread() == (5.0, 9.0)
    saw = Pieces((0.0, 1.0), (Piece(0.0, 0.0), Piece(4.0, -3.0), Piece(0.0, 0.0)), (0.0, 0.0))
    assert saw.spread() == (-3.0, 1.0)
    assert Pieces((0.0,), (Piece(0.0, 2.0), Piece(-1.0, 0.0)), (1.0,)).spread() == (-inf, 2.0)


def test_where_a_value_is_passed() -> None:
    saw = Pieces((0.0, 1.0), (Piece(0.0, 2.0), Piece(4.0, -3.0), Piece(1.0, 1.0)), (0.0, 0.0))
    assert saw.crossings([0.0, 2.0, -3.0]) == [0.75]  # 2 only after 1, and -3 only at 0 itself
    assert saw.crossings([5.0]) == [4.0]
    assert saw.ends(0) == (-math.inf, 0.0)
    assert saw.ends(2) == (1.0, math.inf)


def test_a_value_less_itself_passes_the_gradient_of_the_first() -> None:
    kept = apply("Sub", {}, [CLIPPED, CLIPPED], same=True)
    assert [(s.a, s.c, s.d) for s in kept.spans] == [(0, 0, s.d) for s in CLIPPED.spans]
    assert (kept.bounds, kept.values) == (CLIPPED.bounds, (0.0, 0.0))


@pytest.mark.parametrize(
    ("op", "ins"),
    [
        ("Floor", [IDENTITY]),
        ("Floor", [apply("Clip", {"min": 0.0, "max": 100.0}, [IDENTITY])]),
        ("Mul", [IDENTITY, CLIPPED]),
        ("Div", [constant(1.0), CLIPPED]),
        ("Exp", [CLIPPED]),
    ],
)
def test_what_is_bent_is_refused(op: str, ins: list[Pieces]) -> None:
    with pytest.raises(Bent):
        apply(op, {}, ins)


def test_further_breakpoints_change_nothing() -> None:
    cut = CLIPPED.cut([0.0, 3.0, 9.0])
    assert cut.bounds == (-2.0, 0.0, 3.0, 9.0)
    assert cut.values == (-2.0, 0.0, 3.0, 3.0)
    assert [at(cut, t) for t in points(cut)] == [at(CLIPPED, t) for t in points(cut)]
    with pytest.raises(Bent):
        CLIPPED.cut([float(n) for n in range(65)])
