"""Derivatives of element-wise ops.

With y = f(a, b) and adjoint g of y, a rule gives the adjoints of the operands:

* add: g, g; sub: g, -g; mul: g*b, g*a; div: g/b, -((g/b)*y); neg: -g
* min, max: g where the operand was taken, half of it to each of two equal operands, else 0
* abs: g where a > 0, -g where a < 0, else 0; sqrt: g/(2*y); trunc, floor: none
* table: exp g*y, exp2 g*y*ln2, log g/a, log2 g/(a*ln2), tanh g*(1-y*y), sigmoid g*(y*(1-y)),
  recip -(g*(y*y)), rsqrt g*(-1/2*(y*(y*y))), atan g/(1+a*a), erf g*(2/sqrt(pi)*exp(-(a*a))),
  softplus g*sigmoid(a), sin g*cos(a), cos -(g*sin(a))
* select(m, a, b): to m g*(a-b), to a select(m, g, 0), to b select(m, 0, g)
* and: to a g where b; or: to a g where not b; not: -g (bits as the numbers 0 and 1)
* spike(h, theta): g*s to h, -(g*s) to theta, s the surrogate derivative
* cast, expand: g; comparisons, rand, iota, const, stop_gradient: none

Adjoints of bits are numbers.  Sums, differences and products with the constants 0 and 1 are folded:
that changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from snncc.compiler.ir.build import Builder, number, text
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.surrogate import constant, derivative
from snncc.compiler.passes.phases.adjoint.tape import Tape


def known(v: Value) -> float | None:
    """Return the value of a constant."""
    owner = v.owner
    if isinstance(owner, Op) and owner.name == "ew.const":
        return number(owner.attrs, "value")
    return None


class Emit:
    """Emits arithmetic on adjoints, folding the constants 0 and 1."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def c(self, value: float) -> Value:
        """Emit a constant."""
        return constant(self.b, value)

    def add(self, a: Value, b: Value) -> Value:
        """Emit a + b."""
        return self.b.one("ew.add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        """Emit a - b."""
        if known(b) == 0.0:
            return a
        return self.neg(b) if known(a) == 0.0 else self.b.one("ew.sub", a, b)

    def neg(self, a: Value) -> Value:
        """Emit -a."""
        value = known(a)
        if value is not None:
            return self.c(-value)
        owner = a.owner
        if isinstance(owner, Op) and owner.name == "ew.neg":
            return owner.operands[0]
        return self.b.one("ew.neg", a)

    def mul(self, a: Value, b: Value) -> Value:
        """Emit a * b."""
        if known(b) == 1.0:
            return a
        if known(a) == 1.0:
            return b
        if known(b) == -1.0:
            return self.neg(a)
        return self.b.one("ew.mul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        """Emit a / b."""
        return a if known(b) == 1.0 else self.b.one("ew.div", a, b)

    def where(self, mask: Value, a: Value | None, b: Value | None) -> Value:
        """Emit select(mask, a, b); None is zero."""
        zero = self.c(0.0)
        return self.b.one("ew.select", mask, a or zero, b or zero)

    def table(self, fn: str, a: Value) -> Value:
        """Emit a table function."""
        return self.b.one("ew.table", a, fn=fn)

    def bell(self, a: Value) -> Value:
        """Emit the derivative of erf: 2/sqrt(pi) * exp(-a*a)."""
        bell = self.table("exp", self.neg(self.mul(a, a)))
        return self.mul(self.c(2 / math.sqrt(math.pi)), bell)


Rule = Callable[[Tape, Emit, Op, Value], None]


def _add(t: Tape, e: Emit, op: Op, g: Value) -> None:
    t.give(op.operands[0], g)
    t.give(op.operands[1], g)


def _sub(t: Tape, e: Emit, op: Op, g: Value) -> None:
    t.give(op.operands[0], g)
    if t.wants(op.operands[1]):
        t.give(op.operands[1], e.neg(g))


def _mul(t: Tape, e: Emit, op: Op, g: Value) -> None:
    a, b = op.operands
    if t.wants(a):
        t.give(a, e.mul(g, t.fwd(b)))
    if t.wants(b):
        t.give(b, e.mul(g, t.fwd(a)))


def _div(t: Tape, e: Emit, op: Op, g: Value) -> None:
    a, b = op.operands
    q = e.div(g, t.fwd(b))
    t.give(a, q)
    if t.wants(b):
        t.give(b, e.neg(e.mul(q, t.fwd(op.result))))


def _extreme(t: Tape, e: Emit, op: Op, g: Value) -> None:
    a, b = op.operands
    name = "ew.ge" if op.name == "ew.max" else "ew.le"
    if {known(a), known(b)} == {0.0, None}:  # relu: no gradient at 0
        name = "ew.gt" if (op.name == "ew.max") == (known(b) == 0.0) else "ew.le"
    first = t.b.one(name, t.fwd(a), t.fwd(b))
    if t.wants(a) and t.wants(b):
        beyond = t.b.one("ew.gt" if op.name == "ew.max" else "ew.lt", t.fwd(a), t.fwd(b))
        half = e.where(t.b.one("ew.eq", t.fwd(a), t.fwd(b)), e.mul(g, e.c(0.5)), None)
        t.give(a, e.where(beyond, g, half))
        t.give(b, e.where(first, half, g))
        return
    if t.wants(a):
        t.give(a, e.where(first, g, None))
    if t.wants(b):
        t.give(b, e.where(first, None, g))


def _neg(t: Tape, e: Emit, op: Op, g: Value) -> None:
    t.give(op.operands[0], e.neg(g))


def _abs(t: Tape, e: Emit, op: Op, g: Value) -> None:
    a, zero = t.fwd(op.operands[0]), e.c(0.0)
    negative = e.where(t.b.one("ew.lt", a, zero), e.neg(g), None)
    t.give(op.operands[0], e.where(t.b.one("ew.gt", a, zero), g, negative))


def _sqrt(t: Tape, e: Emit, op: Op, g: Value) -> None:
    t.give(op.operands[0], e.div(g, e.mul(e.c(2.0), t.fwd(op.result))))


def _table(t: Tape, e: Emit, op: Op, g: Value) -> None:
    (v,) = op.operands
    fn = text(op.attrs, "fn")
    if fn in ("log", "log2", "atan"):
        a = t.fwd(v)
        if fn == "atan":
            t.give(v, e.div(g, e.add(e.c(1.0), e.mul(a, a))))
        else:
            t.give(v, e.div(g, a if fn == "log" else e.mul(a, e.c(math.log(2)))))
        return
    slopes: Mapping[str, Callable[[Value], Value]] = {
        "erf": e.bell,
        "softplus": lambda a: e.table("sigmoid", a),
        "sin": lambda a: e.table("cos", a),
        "cos": lambda a: e.neg(e.table("sin", a)),
    }
    if fn in slopes:
        t.give(v, e.mul(g, slopes[fn](t.fwd(v))))
        return
    y = t.fwd(op.result)
    factors: Mapping[str, Callable[[], Value]] = {
        "exp": lambda: y,
        "exp2": lambda: e.mul(y, e.c(math.log(2))),
        "tanh": lambda: e.sub(e.c(1.0), e.mul(y, y)),
        "sigmoid": lambda: e.mul(y, e.sub(e.c(1.0), y)),
        "recip": lambda: e.neg(e.mul(y, y)),
        "rsqrt": lambda: e.mul(e.c(-0.5), e.mul(y, e.mul(y, y))),
    }
    t.give(v, e.mul(g, factors[fn]()))


def _select(t: Tape, e: Emit, op: Op, g: Value) -> None:
    mask, a, b = op.operands
    if t.wants(mask):
        t.give(mask, e.mul(g, e.sub(_real(t, a), _real(t, b))))
    if t.wants(a):
        t.give(a, e.where(t.fwd(mask), g, None))
    if t.wants(b):
        t.give(b, e.where(t.fwd(mask), None, g))


def _real(t: Tape, v: Value) -> Value:
    """Return a forward value as a number."""
    found = t.fwd(v)
    return t.b.one("ew.cast", found, to="f16") if found.type.dtype == "bit" else found


def _and(t: Tape, e: Emit, op: Op, g: Value) -> None:
    for this, other in (op.operands, op.operands[::-1]):
        if t.wants(this):
            t.give(this, e.where(t.fwd(other), g, None))


def _or(t: Tape, e: Emit, op: Op, g: Value) -> None:
    for this, other in (op.operands, op.operands[::-1]):
        if t.wants(this):
            t.give(this, e.where(t.fwd(other), None, g))


def _spike(t: Tape, e: Emit, op: Op, g: Value) -> None:
    h, theta = op.operands
    slope = derivative(t.b, t.fwd(h), t.fwd(theta), op.attrs.get("surrogate"))
    d = e.mul(g, slope)
    t.give(h, d)
    if t.wants(theta):
        t.give(theta, e.neg(d))


def _pass(t: Tape, e: Emit, op: Op, g: Value) -> None:
    t.give(op.operands[0], g)


RULES: Mapping[str, Rule] = {
    "ew.add": _add,
    "ew.sub": _sub,
    "ew.mul": _mul,
    "ew.div": _div,
    "ew.min": _extreme,
    "ew.max": _extreme,
    "ew.neg": _neg,
    "ew.abs": _abs,
    "ew.sqrt": _sqrt,
    "ew.table": _table,
    "ew.select": _select,
    "ew.and": _and,
    "ew.or": _or,
    "ew.not": _neg,
    "ew.spike": _spike,
    "ew.cast": _pass,
    "ew.expand": _pass,
}

# Which operands an adjoint flows to.
DIFFERENTIABLE: Mapping[str, tuple[int, ...]] = {
    "ew.select": (0, 1, 2),
    **{f"ew.{n}": (0, 1) for n in ("add", "sub", "mul", "div", "min", "max", "and", "or", "spike")},
    **{f"ew.{n}": (0,) for n in ("neg", "abs", "sqrt", "table", "not", "cast", "expand")},
}
