"""Functions of one number that are linear piece by piece, worked out exactly, not sampled.

A :class:`Pieces` has breakpoints; between two of them it is ``a*t + c``, at a breakpoint it has a
value of its own.  Beside the value stands the gradient that its operators pass to ``t``: that of
``x - x`` is the gradient of the first ``x``, for it is what exporters leave of ``x - x.detach()``;
roundings and comparisons pass none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snncc.compiler.frontend.flat.elementwise import evaluate
from snncc.compiler.frontend.flat.flat import Attrs

MOST = 64
"""Breakpoints that a function may have."""


class Bent(Exception):
    """The function is not linear piece by piece, or has too many pieces."""


@dataclass(frozen=True)
class Piece:
    """An open interval: the value is ``a*t + c``, ``d`` the gradient that is passed."""

    a: float
    c: float
    d: float = 0.0

    @property
    def flat(self) -> bool:
        """Whether the value is the same everywhere."""
        return self.a == 0


@dataclass(frozen=True)
class Pieces:
    """Breakpoints in order, what lies between them (one more), and the values at them."""

    bounds: tuple[float, ...]
    spans: tuple[Piece, ...]
    values: tuple[float, ...]

    def cut(self, bounds: Sequence[float]) -> Pieces:
        """Return the same function with further breakpoints."""
        spans, values, new = [self.spans[0]], list[float](), sorted({*self.bounds, *bounds})
        if len(new) > MOST:
            raise Bent("too many pieces")
        at = 0
        for b in new:
            if at < len(self.bounds) and b == self.bounds[at]:
                values.append(self.values[at])
                at += 1
            else:
                values.append(self.spans[at].a * b + self.spans[at].c)
            spans.append(self.spans[at])
        return Pieces(tuple(new), tuple(spans), tuple(values))

    def ends(self, k: int) -> tuple[float, float]:
        """Return where a span begins and ends."""
        low = self.bounds[k - 1] if k else -math.inf
        return low, self.bounds[k] if k < len(self.bounds) else math.inf

    def crossings(self, levels: Sequence[float]) -> list[float]:
        """Return where the function passes given values between its breakpoints."""
        found: list[float] = []
        for k, span in enumerate(self.spans):
            low, high = self.ends(k)
            for level in () if span.flat else levels:
                t = (level - span.c) / span.a
                if low < t < high:
                    found.append(t)
        return found

    def spread(self) -> tuple[float, float]:
        """Return the least and the largest value; infinite where there is none."""
        low, high = math.inf, -math.inf
        for k, span in enumerate(self.spans):
            for end in self.ends(k):
                value = span.c if span.flat else span.a * end + span.c
                low, high = min(low, value), max(high, value)
        return min((low, *self.values)), max((high, *self.values))


IDENTITY = Pieces((), (Piece(1.0, 0.0, 1.0),), ())


def constant(value: float) -> Pieces:
    """Return a constant function."""
    return Pieces((), (Piece(0.0, value),), ())


def apply(op: str, attrs: Attrs, ins: Sequence[Pieces], same: bool = False) -> Pieces:
    """Return an operator's result; ``same``: both operands are one value.  Raises Bent."""
    if op == "Sub" and same:
        return Pieces(ins[0].bounds, tuple(Piece(0.0, 0.0, s.d) for s in ins[0].spans),
                      (0.0,) * len(ins[0].bounds))  # fmt: skip
    ins = _cut(op, attrs, ins)
    bounds = sorted({b for f in ins for b in f.bounds})
    parts = [f.cut(bounds) for f in ins]
    spans = [_span(op, attrs, [f.spans[k] for f in parts], parts[0].ends(k))
             for k in range(len(bounds) + 1)]  # fmt: skip
    values = [_number(op, attrs, [f.values[k] for f in parts]) for k in range(len(bounds))]
    return Pieces(tuple(bounds), tuple(spans), tuple(values))


def _number(op: str, attrs: Attrs, ins: Sequence[float]) -> float:
    if op == "Identity":
        return ins[0]
    arrays = [np.asarray(v) for v in ins]
    if op in ("And", "Or", "Xor", "Not") or op == "Where":
        arrays[0] = arrays[0] != 0
        if op != "Where":
            arrays = [a != 0 for a in arrays]
    return float(evaluate(op, arrays, attrs))


def _cut(op: str, attrs: Attrs, ins: Sequence[Pieces]) -> list[Pieces]:
    """Cut functions where an operator bends them."""
    f = ins[0]
    if op in ("Floor", "Ceil", "Trunc", "Round") or (op == "Cast" and _whole(attrs)):
        low, high = f.spread()
        if not math.isfinite(low) or not math.isfinite(high) or high - low > MOST:
            raise Bent("stairs without end")
        half = 0.5 if op == "Round" else 0.0
        levels = [n + half for n in range(math.floor(low) - 1, math.ceil(high) + 2)]
        return [f.cut(f.crossings(levels))]
    if op in ("Relu", "Abs", "Sign") or (op == "Cast" and attrs_kind(attrs) == "b"):
        return [f.cut(f.crossings([0.0]))]
    if op == "Clip":
        bounds = [v for v in (attrs.get("min"), attrs.get("max")) if isinstance(v, float)]
        return [f.cut(f.crossings(bounds))]
    if op in ("Max", "Min", "Greater", "GreaterOrEqual", "Equal"):
        difference = apply("Sub", {}, ins)
        return [each.cut(difference.crossings([0.0])) for each in ins]
    return list(ins)


def attrs_kind(attrs: Attrs) -> str:
    """Return the kind of type that a Cast gives."""
    to = attrs.get("to")
    return to.kind if isinstance(to, np.dtype) else ""


def _whole(attrs: Attrs) -> bool:
    return attrs_kind(attrs) in ("i", "u")


def _span(op: str, attrs: Attrs, ins: Sequence[Piece], ends: tuple[float, float]) -> Piece:
    """Return an operator's result on an interval on which nothing bends."""
    x = ins[0]
    y = ins[1] if len(ins) > 1 else x
    match op:
        case "Identity":
            return x
        case "Add":
            return Piece(x.a + y.a, x.c + y.c, x.d + y.d)
        case "Sub":
            return Piece(x.a - y.a, x.c - y.c, x.d - y.d)
        case "Neg":
            return Piece(-x.a, -x.c, -x.d)
        case "Mul" if x.flat or y.flat:
            if x.flat and y.flat:
                return Piece(0.0, x.c * y.c, x.c * y.d + x.d * y.c)
            k, f = (x, y) if x.flat else (y, x)
            if k.d:
                raise Bent("a product of two functions")
            return Piece(k.c * f.a, k.c * f.c, k.c * f.d)
        case "Div" if y.flat and y.c and not y.d:
            return Piece(x.a / y.c, x.c / y.c, x.d / y.c)
        case "Cast" if attrs_kind(attrs) == "f":
            return x
        case "Where" if x.flat:
            return ins[1] if x.c else ins[2]
        case _:
            pass
    middle = _inside(ends)
    values = [s.a * middle + s.c for s in ins]
    result = _number(op, attrs, values)
    if op in ("Relu", "Clip", "Max", "Min", "Abs"):
        for s, v in zip(ins, values, strict=True):
            if result == v:
                return s
        return Piece(-x.a, -x.c, -x.d) if op == "Abs" else Piece(0.0, result)
    rounded = ("Floor", "Ceil", "Trunc", "Round", "Sign", "Cast")
    if op in (*rounded, "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Xor", "Not") or all(
        s.flat and not s.d for s in ins
    ):
        return Piece(0.0, result)
    raise Bent(op)


def _inside(ends: tuple[float, float]) -> float:
    low, high = ends
    if math.isinf(low):
        return 0.0 if math.isinf(high) else high - max(1.0, abs(high))
    return low + max(1.0, abs(low)) if math.isinf(high) else (low + high) / 2
